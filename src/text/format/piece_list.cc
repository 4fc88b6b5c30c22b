#include "text/format/piece_list.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "base/utf8.h"
#include "text/model/byte_pair.h"
#include "text/model/unigram.h"

namespace sluice::text {
namespace {

bool IsModelPiece(PieceType type) {
  return type == PieceType::kNormal || type == PieceType::kByte || type == PieceType::kUnknown;
}

base::Result<int32_t> UnknownOf(const PieceList& list) {
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    if (list.pieces[i].type == PieceType::kUnknown) return static_cast<int32_t>(i);
  }
  return base::InvalidArgument("the vocabulary has no unknown piece");
}

}  // namespace

base::Result<std::unique_ptr<const TokenModel>> MakeScoredBytePair(const PieceList& list) {
  // Ranks by descending score; pieces of one score have one rank, so that the leftmost pair goes
  // first.
  std::vector<size_t> order;
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    if (std::isnan(list.pieces[i].score)) {
      return base::InvalidArgument("the score of piece " + std::to_string(i) + " is no number");
    }
    if (IsModelPiece(list.pieces[i].type)) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return list.pieces[a].score > list.pieces[b].score; });
  std::vector<int32_t> rank_of(list.pieces.size(), 0);
  int32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && list.pieces[order[i]].score < list.pieces[order[i - 1]].score) ++rank;
    rank_of[order[i]] = rank;
  }
  std::vector<Vocabulary::Entry> entries;
  std::vector<Vocabulary::Entry> merging;  // pieces that merges make and take
  std::vector<int32_t> ranks;
  BytePairOptions options;
  options.byte_fallback = list.byte_fallback;
  options.fuse_unknown = true;
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    const Piece& piece = list.pieces[i];
    if (!IsModelPiece(piece.type)) continue;
    const Vocabulary::Entry entry{piece.text, static_cast<int32_t>(i)};
    entries.push_back(entry);
    if (piece.type == PieceType::kUnknown && !options.unknown_token) {
      options.unknown_token = std::string(piece.text);
    }
    if (piece.type != PieceType::kNormal) continue;
    merging.push_back(entry);
    ranks.push_back(rank_of[i]);
  }
  Vocabulary vocabulary = TRY(Vocabulary::Create(entries));
  const Vocabulary normal = TRY(Vocabulary::Create(merging));
  if (normal.size() != ranks.size()) return base::InvalidArgument("a piece occurs twice");
  const std::vector<BytePairMerge> merges = TRY(BytePair::MergesByRank(normal, ranks));
  auto model = TRY(BytePair::Create(std::move(vocabulary), merges, std::move(options)));
  return std::unique_ptr<const TokenModel>(std::move(model));
}

base::Result<std::unique_ptr<const TokenModel>> MakeScoredUnigram(const PieceList& list) {
  UnigramOptions options;
  options.unknown_id = TRY(UnknownOf(list));
  options.byte_fallback = list.byte_fallback;
  options.single_precision = true;
  std::vector<std::string_view> tokens;
  std::vector<double> scores;
  for (const Piece& piece : list.pieces) {
    tokens.push_back(piece.text);
    scores.push_back(static_cast<double>(piece.score));
    options.matched.push_back(piece.type == PieceType::kNormal);
  }
  auto model = TRY(Unigram::Create(tokens, std::move(scores), std::move(options)));
  return std::unique_ptr<const TokenModel>(std::move(model));
}

void AddTypedTokens(const PieceList& list, TokenizerSpec& spec) {
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    const Piece& piece = list.pieces[i];
    const bool user_defined = piece.type == PieceType::kUserDefined;
    if ((piece.type != PieceType::kControl && !user_defined) || piece.text.empty()) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(i);
    token.content = std::string(piece.text);
    token.special = !user_defined;
    // A user-defined piece is written as it stands in the normalised text.
    token.normalized = user_defined;
    token.literal = user_defined;
    spec.added_tokens.push_back(std::move(token));
  }
}

Decoder PieceDecoder(bool add_dummy_prefix) {
  Decoder decoder;
  DecoderStep blanks{DecoderKind::kReplace};
  blanks.pattern = Pattern::Literal("\xE2\x96\x81");
  blanks.content = " ";
  decoder.steps.push_back(std::move(blanks));
  decoder.steps.push_back({DecoderKind::kByteFallback});
  decoder.steps.push_back({DecoderKind::kFuse});
  if (add_dummy_prefix) {
    DecoderStep strip{DecoderKind::kStrip};
    strip.text = " ";
    strip.start = 1;
    decoder.steps.push_back(std::move(strip));
  }
  return decoder;
}

void AddFixedTokens(const int32_t* begin_id, const int32_t* end_id, TokenizerSpec& spec) {
  using Kind = TemplatePiece::Kind;
  const auto add = [&](Kind kind, int32_t type_id, std::vector<TemplatePiece>& pieces) {
    if (begin_id != nullptr) pieces.push_back({Kind::kFixed, {*begin_id}, type_id});
    pieces.push_back({kind, {}, type_id});
    if (end_id != nullptr) pieces.push_back({Kind::kFixed, {*end_id}, type_id});
  };
  spec.single.clear();
  spec.pair.clear();
  add(Kind::kFirst, 0, spec.single);
  add(Kind::kFirst, 0, spec.pair);
  add(Kind::kSecond, 1, spec.pair);
}

}  // namespace sluice::text
