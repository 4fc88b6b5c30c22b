#include "text/tokenizer.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"
#include "text/model/word_piece.h"
#include "text/truncation.h"

namespace sluice::text {
namespace {

int64_t FixedTokens(const std::vector<TemplatePiece>& pieces) {
  int64_t count = 0;
  for (const TemplatePiece& piece : pieces) count += static_cast<int64_t>(piece.ids.size());
  return count;
}

void AppendPiece(const std::vector<int32_t>& ids, int32_t type_id, Encoding& encoding) {
  encoding.ids.insert(encoding.ids.end(), ids.begin(), ids.end());
  encoding.type_ids.insert(encoding.type_ids.end(), ids.size(), type_id);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerSpec spec, std::unique_ptr<const TokenModel> model)
    : spec_(std::move(spec)), model_(std::move(model)), id_max_(model_->vocabulary().id_max()) {}

base::Result<std::shared_ptr<const Tokenizer>> Tokenizer::Create(
    TokenizerSpec spec, std::unique_ptr<const TokenModel> model) {
  const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(spec), std::move(model)));
  TRY(tokenizer->AddTokens());
  const TokenizerSpec& kept = tokenizer->spec_;
  for (const std::vector<TemplatePiece>* pieces : {&kept.single, &kept.pair}) {
    for (const TemplatePiece& piece : *pieces) {
      for (const int32_t id : piece.ids) tokenizer->id_max_ = std::max(tokenizer->id_max_, id);
    }
  }
  if (kept.padding) tokenizer->id_max_ = std::max(tokenizer->id_max_, kept.padding->id);
  const std::vector<NormalizerStep>& normalizers = kept.normalizer.steps;
  const std::vector<PreTokenizerStep>& cuts = kept.pre_tokenizer.steps;
  const auto* word_piece = dynamic_cast<const WordPiece*>(tokenizer->model_.get());
  if (word_piece != nullptr && normalizers.size() == 1 &&
      normalizers[0].kind == NormalizerKind::kBert && cuts.size() == 1 &&
      cuts[0].kind == PreTokenizerKind::kBert && tokenizer->normalized_tokens_.empty()) {
    tokenizer->bert_words_.emplace(normalizers[0].bert, *word_piece);
  }
  return std::shared_ptr<const Tokenizer>(tokenizer);
}

base::Status Tokenizer::AddTokens() {
  std::vector<Vocabulary::Entry> entries;
  std::vector<Vocabulary::Entry> written;
  std::deque<std::string> patterns;
  for (const AddedToken& token : spec_.added_tokens) {
    if (token.content.empty()) continue;  // the library ignores them too
    id_max_ = std::max(id_max_, token.id);
    entries.emplace_back(token.content, token.id);
    written.emplace_back(token.content, token.id);
    if (token.special) special_ids_.push_back(token.id);
    if (token.normalized) {
      patterns.push_back(token.literal ? token.content
                                       : TRY(spec_.normalizer.Apply(token.content)));
      TRY(normalized_tokens_.Add(token, patterns.back()));
      written.back().first = patterns.back();
    } else {
      TRY(raw_tokens_.Add(token, token.content));
    }
  }
  std::sort(special_ids_.begin(), special_ids_.end());
  added_ = TRY(Vocabulary::Create(entries));
  added_written_ = TRY(Vocabulary::Create(written));
  return base::Ok();
}

base::Result<Encoding> Tokenizer::Encode(std::string_view text,
                                         const EncodeOptions& options) const {
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  const TextSide own_side = spec_.truncation ? spec_.truncation->side : TextSide::kRight;
  const bool cuts_the_end = options.cut_side.value_or(own_side) == TextSide::kRight;
  // One token more than the limit tells that something was cut off.
  const bool stops = options.length_max > 0 && options.length_max < kAll && cuts_the_end;
  const int64_t count_max = stops ? options.length_max + 1 : kAll;
  return Assemble(TRY(Tokenize(text, count_max, options)), {}, false, options);
}

base::Result<Encoding> Tokenizer::EncodePair(std::string_view first, std::string_view second,
                                             const EncodeOptions& options) const {
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  std::vector<int32_t> first_ids = TRY(Tokenize(first, kAll, options));
  std::vector<int32_t> second_ids = TRY(Tokenize(second, kAll, options));
  return Assemble(std::move(first_ids), std::move(second_ids), true, options);
}

base::Result<std::vector<int32_t>> Tokenizer::Tokenize(std::string_view text, int64_t count_max,
                                                       const EncodeOptions& options) const {
  if (text.size() > kTextBytesMax) {
    return base::InvalidArgument("a text of " + std::to_string(text.size()) +
                                 " bytes is longer than the limit of " +
                                 std::to_string(kTextBytesMax));
  }
  std::string repaired;
  if (!base::IsValidUtf8(text)) {
    repaired = base::ReplaceInvalidUtf8(text);
    text = repaired;
  }
  const auto limit = static_cast<size_t>(count_max);
  std::vector<int32_t> ids;
  ids.reserve(std::min(limit, text.size() / 4 + 8));
  if (raw_tokens_.empty()) {
    TRY(TokenizeStretch({text, true}, limit, options, ids));
    return ids;
  }
  std::vector<AddedSegment> segments;
  raw_tokens_.Split(text, options.find_special_tokens, segments);
  for (const AddedSegment& segment : segments) {
    if (ids.size() >= limit) break;
    if (segment.id != TokenTrie::kNone) {
      ids.push_back(segment.id);
    } else {
      TRY(TokenizeStretch({segment.text, segment.text.data() == text.data()}, limit, options, ids));
    }
  }
  return ids;
}

base::Status Tokenizer::TokenizeStretch(Stretch stretch, size_t count_max,
                                        const EncodeOptions& options,
                                        std::vector<int32_t>& ids) const {
  if (bert_words_) {
    const size_t before = ids.size();
    if (bert_words_->Append(stretch.text, count_max, ids)) return base::Ok();
    ids.resize(before);
  }
  std::string storage;
  TRY(spec_.normalizer.Apply(stretch, storage));
  WordList list;
  if (normalized_tokens_.empty()) return TokenizeWords(stretch, count_max, list, ids);
  std::vector<AddedSegment> segments;
  normalized_tokens_.Split(stretch.text, options.find_special_tokens, segments);
  for (const AddedSegment& segment : segments) {
    if (ids.size() >= count_max) break;
    if (segment.id != TokenTrie::kNone) {
      ids.push_back(segment.id);
      continue;
    }
    const bool at_start = stretch.at_start && segment.text.data() == stretch.text.data();
    TRY(TokenizeWords({segment.text, at_start}, count_max, list, ids));
  }
  return base::Ok();
}

base::Status Tokenizer::TokenizeWords(const Stretch& stretch, size_t count_max, WordList& list,
                                      std::vector<int32_t>& ids) const {
  TRY(spec_.pre_tokenizer.Split(stretch, list));
  for (const std::string_view word : list.words) {
    if (ids.size() >= count_max) break;
    model_->Append(word, ids);
  }
  return base::Ok();
}

base::Result<std::string> Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    const std::optional<std::string_view> token = Token(id);
    if (token) tokens.emplace_back(*token);
  }
  return spec_.decoder.Decode(std::move(tokens));
}

std::optional<int32_t> Tokenizer::FindToken(std::string_view token) const {
  int32_t id = added_.Find(token);
  if (id == Vocabulary::kNone) id = model_->vocabulary().Find(token);
  if (id == Vocabulary::kNone) return std::nullopt;
  return id;
}

std::optional<std::string_view> Tokenizer::Token(int32_t id) const {
  const std::optional<std::string_view> added = added_written_.Token(id);
  return added ? added : model_->vocabulary().Token(id);
}

bool Tokenizer::is_special(int32_t id) const {
  return std::binary_search(special_ids_.begin(), special_ids_.end(), id);
}

base::Result<Encoding> Tokenizer::Assemble(std::vector<int32_t> first, std::vector<int32_t> second,
                                           bool is_pair, const EncodeOptions& options) const {
  Encoding encoding;
  if (options.length_max > 0) {
    const int64_t fixed = options.add_fixed_tokens ? fixed_tokens(is_pair) : 0;
    if (options.length_max < fixed) {
      return base::InvalidArgument("a limit of " + std::to_string(options.length_max) +
                                   " tokens does not hold the " + std::to_string(fixed) +
                                   " fixed ones");
    }
    Truncation truncation = spec_.truncation.value_or(Truncation{});
    truncation.length_max = options.length_max - fixed;
    if (is_pair) truncation.strategy = options.strategy.value_or(truncation.strategy);
    truncation.side = options.cut_side.value_or(truncation.side);
    encoding.truncated = TRY(Truncate(truncation, first, is_pair ? &second : nullptr));
  }
  const size_t total = first.size() + second.size();
  encoding.ids.reserve(total + 4);
  encoding.type_ids.reserve(total + 4);
  for (const TemplatePiece& piece : is_pair ? spec_.pair : spec_.single) {
    const bool fixed = piece.kind == TemplatePiece::Kind::kFixed;
    if (fixed && !options.add_fixed_tokens) continue;
    AppendPiece(fixed                                       ? piece.ids
                : piece.kind == TemplatePiece::Kind::kFirst ? first
                                                            : second,
                piece.type_id, encoding);
  }
  encoding.attention_mask.assign(encoding.ids.size(), 1);
  return encoding;
}

int64_t Tokenizer::fixed_tokens(bool pair) const {
  return FixedTokens(pair ? spec_.pair : spec_.single);
}

int64_t Tokenizer::PaddedLength(int64_t longest) const {
  if (!spec_.padding) return longest;
  const int64_t length = std::max(longest, spec_.padding->fixed_length);
  const int64_t step = spec_.padding->multiple_of;
  return step > 0 ? (length + step - 1) / step * step : length;
}

void Tokenizer::Pad(int64_t length, Encoding& encoding) const {
  const Padding padding = spec_.padding.value_or(Padding{});
  const int64_t missing = length - static_cast<int64_t>(encoding.ids.size());
  if (missing <= 0) return;
  const auto fill = [&](int32_t value, std::vector<int32_t>& values) {
    values.insert(padding.side == TextSide::kRight ? values.end() : values.begin(),
                  static_cast<size_t>(missing), value);
  };
  fill(padding.id, encoding.ids);
  fill(padding.type_id, encoding.type_ids);
  fill(0, encoding.attention_mask);
}

}  // namespace sluice::text
