// The section "model" of a tokenizer.json.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/format/json_fields.h"
#include "text/format/sections.h"
#include "text/model/byte_pair.h"
#include "text/model/unigram.h"
#include "text/model/word_level.h"
#include "text/model/word_piece.h"

namespace sluice::text {

using base::JsonValue;
using base::Result;
using base::Status;

namespace {

using Model = std::unique_ptr<const TokenModel>;

Result<Vocabulary> ReadVocabulary(JsonValue value, std::vector<Vocabulary::Entry>* kept = nullptr) {
  const JsonValue list = TRY(value.Get("vocab"));
  std::vector<Vocabulary::Entry> entries;
  entries.reserve(std::min(static_cast<size_t>(list.size()), Vocabulary::kTokensMax + 1));
  const auto add = [&](std::string_view token, JsonValue id) -> Status {
    entries.emplace_back(token, TRY(Within(IdOf(id), std::string(token))));
    return base::Ok();
  };
  TRY(Within(list.ForEachMember(add), "vocab"));
  Vocabulary vocabulary = TRY(Vocabulary::Create(entries));
  if (kept != nullptr) *kept = std::move(entries);
  return vocabulary;
}

Result<Model> ReadWordPiece(JsonValue value) {
  TRY(CheckMembers(value, {"type", "unk_token", "continuing_subword_prefix",
                           "max_input_chars_per_word", "vocab"}));
  WordPieceOptions options;
  options.unknown_token = TRY(StringOr(value, "unk_token", "[UNK]"));
  options.continuation_prefix = TRY(StringOr(value, "continuing_subword_prefix", "##"));
  options.word_runes_max = TRY(IntOr(value, "max_input_chars_per_word", 100, 1));
  std::vector<Vocabulary::Entry> entries;
  TRY(ReadVocabulary(value, &entries));
  WordPiece model = TRY(WordPiece::Create(entries, std::move(options)));
  return Model(std::make_unique<const WordPiece>(std::move(model)));
}

Result<Model> ReadWordLevel(JsonValue value) {
  TRY(CheckMembers(value, {"type", "unk_token", "vocab"}));
  const std::string unknown = TRY(StringOr(value, "unk_token", "<unk>"));
  Vocabulary vocabulary = TRY(ReadVocabulary(value));
  return Model(TRY(WordLevel::Create(std::move(vocabulary), unknown)));
}

// One merge: "a b" or ["a", "b"].
Result<std::pair<std::string_view, std::string_view>> ReadPair(JsonValue value) {
  if (value.is_string()) {
    const std::string_view text = TRY(value.AsString());
    const size_t blank = text.find(' ');
    if (blank == std::string_view::npos || text.find(' ', blank + 1) != std::string_view::npos) {
      return base::InvalidArgument("'" + std::string(text) + "', expected two tokens");
    }
    return std::make_pair(text.substr(0, blank), text.substr(blank + 1));
  }
  std::vector<std::string_view> tokens;
  const auto add = [&](JsonValue token) -> Status {
    if (tokens.size() < 3) tokens.push_back(TRY(token.AsString()));
    return base::Ok();
  };
  TRY(value.ForEachElement(add));
  if (tokens.size() != 2) return base::InvalidArgument("expected two tokens");
  return std::make_pair(tokens[0], tokens[1]);
}

Result<std::vector<BytePairMerge>> ReadMerges(JsonValue list, const Vocabulary& vocabulary,
                                              size_t prefix_bytes) {
  std::vector<BytePairMerge> merges;
  std::string whole;
  const auto id_of = [&](std::string_view token) -> Result<int32_t> {
    const int32_t id = vocabulary.Find(token);
    if (id == Vocabulary::kNone) {
      return base::InvalidArgument("'" + std::string(token) + "' is not in the vocabulary");
    }
    return id;
  };
  const auto add = [&](JsonValue value) -> Status {
    if (merges.size() >= Vocabulary::kTokensMax) return base::InvalidArgument("too many merges");
    const auto [left, right] = TRY(ReadPair(value));
    BytePairMerge merge;
    merge.left = TRY(id_of(left));
    merge.right = TRY(id_of(right));
    whole.assign(left).append(right.substr(std::min(prefix_bytes, right.size())));
    merge.id = TRY(id_of(whole));
    merge.rank = static_cast<int32_t>(merges.size());
    merges.push_back(merge);
    return base::Ok();
  };
  int64_t number = 0;
  TRY(list.ForEachElement([&](JsonValue value) {
    return Within(add(value), "merges[" + std::to_string(number++) + "]");
  }));
  return merges;
}

Result<Model> ReadBytePair(JsonValue value, bool byte_level) {
  TRY(CheckMembers(
      value, {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  const auto dropout = TRY(Section(value, "dropout"));
  const double rate = dropout ? TRY(Within(dropout->AsDouble(), "dropout")) : 0;
  if (rate != 0) {
    return base::Unimplemented("a dropout other than 0 is not supported");
  }
  BytePairOptions options;
  options.byte_level = byte_level;
  const bool knows_unknown = TRY(Section(value, "unk_token")).has_value();
  if (knows_unknown) options.unknown_token = TRY(StringOr(value, "unk_token", ""));
  options.continuation_prefix = TRY(StringOr(value, "continuing_subword_prefix", ""));
  options.word_suffix = TRY(StringOr(value, "end_of_word_suffix", ""));
  options.fuse_unknown = TRY(BoolOr(value, "fuse_unk", false));
  options.byte_fallback = TRY(BoolOr(value, "byte_fallback", false));
  options.ignore_merges = TRY(BoolOr(value, "ignore_merges", false));
  Vocabulary vocabulary = TRY(ReadVocabulary(value));
  const JsonValue list = TRY(value.Get("merges"));
  const std::vector<BytePairMerge> merges =
      TRY(ReadMerges(list, vocabulary, options.continuation_prefix.size()));
  return Model(TRY(BytePair::Create(std::move(vocabulary), merges, std::move(options))));
}

// A score as the library reads it: its JSON reader takes a number's digits for an integer and
// divides that by a power of ten, which rounds twice. Where two ways to cut a word are equally
// likely, the last bit decides. The digits are those of the shortest text that reads back as
// `score`, which is how files are written.
double AsLibraryReads(double score) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), std::abs(score),
                                 std::chars_format::scientific)
                       .ptr;
  uint64_t digits = 0;
  int exponent = 0;
  bool fraction = false;
  for (const char* at = text.data(); at < end; ++at) {
    if (*at == 'e') {
      int power = 0;
      std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, power);
      exponent += power;
      break;
    }
    if (*at == '.') {
      fraction = true;
      continue;
    }
    digits = digits * 10 + static_cast<uint64_t>(*at - '0');
    if (fraction) --exponent;
  }
  constexpr int kExactPower = 22;  // powers of ten up to here are exact
  if (exponent > 0 || exponent < -kExactPower) return score;
  static constexpr auto kPowers = [] {
    std::array<double, kExactPower + 1> powers{};
    double power = 1;
    for (double& each : powers) {
      each = power;
      power *= 10;
    }
    return powers;
  }();
  const double read = static_cast<double>(digits) / kPowers[static_cast<size_t>(-exponent)];
  return score < 0 ? -read : read;
}

// One token of Unigram: ["a", -3.5].
Status ReadScored(JsonValue value, std::vector<std::string_view>& tokens,
                  std::vector<double>& scores) {
  if (tokens.size() >= Vocabulary::kTokensMax) return base::InvalidArgument("too many tokens");
  int index = 0;
  const auto read = [&](JsonValue part) -> Status {
    if (index == 0) tokens.push_back(TRY(part.AsString()));
    if (index == 1) scores.push_back(AsLibraryReads(TRY(part.AsDouble())));
    ++index;
    return base::Ok();
  };
  TRY(value.ForEachElement(read));
  if (index != 2) return base::InvalidArgument("expected a token and its score");
  return base::Ok();
}

Result<Model> ReadUnigram(JsonValue value) {
  TRY(CheckMembers(value, {"type", "unk_id", "vocab", "byte_fallback"}));
  UnigramOptions options;
  const JsonValue unknown = TRY(value.Get("unk_id"));
  if (unknown.is_null()) return base::Unimplemented("a Unigram without unk_id is not supported");
  options.unknown_id = TRY(Within(IdOf(unknown), "unk_id"));
  options.byte_fallback = TRY(BoolOr(value, "byte_fallback", false));
  std::vector<std::string_view> tokens;
  std::vector<double> scores;
  const JsonValue list = TRY(value.Get("vocab"));
  TRY(list.ForEachElement([&](JsonValue token) {
    return Within(ReadScored(token, tokens, scores),
                  "vocab[" + std::to_string(tokens.size()) + "]");
  }));
  return Model(TRY(Unigram::Create(tokens, std::move(scores), options)));
}

}  // namespace

Result<std::string> ModelTypeOf(JsonValue value) {
  if (TRY(value.Find("type"))) return TypeOf(value);
  // Files of before the type was written are told by what they hold, as the library does.
  if (TRY(value.Find("merges"))) return std::string("BPE");
  if (TRY(value.Find("unk_id"))) return std::string("Unigram");
  if (TRY(value.Find("continuing_subword_prefix"))) return std::string("WordPiece");
  return std::string("without a type");
}

Result<Model> ReadModel(JsonValue value, bool byte_level) {
  const std::string type = TRY(ModelTypeOf(value));
  if (type == "BPE") return ReadBytePair(value, byte_level);
  if (type == "Unigram") return ReadUnigram(value);
  if (type == "WordPiece") return ReadWordPiece(value);
  if (type == "WordLevel") return ReadWordLevel(value);
  return base::Unimplemented("type '" + type + "' is not supported");
}

}  // namespace sluice::text
