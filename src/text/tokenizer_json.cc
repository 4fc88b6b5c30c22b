// Reads a tokenizer.json. What is not understood is refused by its name: ids that are nearly right
// are worse than none.
#include <algorithm>
#include <initializer_list>
#include <limits>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

using base::JsonValue;
using base::Result;
using base::Status;

constexpr int kStepsMax = 32;       // of a Sequence, nested ones included
constexpr int64_t kPiecesMax = 64;  // of a template
constexpr int64_t kLengthMax = int64_t{1} << 30;

Status Prefix(Status status, const std::string& where) {
  if (status.ok()) return status;
  return base::Error{status.error().code, where + ": " + status.error().message};
}
template <class T>
Result<T> Prefix(Result<T> result, const std::string& where) {
  if (result.ok()) return result;
  return base::Error{result.error().code, where + ": " + result.error().message};
}

// Refuses members other than `known`, and members that occur twice.
Status CheckMembers(JsonValue object, std::initializer_list<std::string_view> known) {
  std::set<std::string_view> seen;
  return object.ForEachMember([&](std::string_view key, JsonValue) -> Status {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return base::Unimplemented("'" + std::string(key) + "' is not supported");
    }
    if (!seen.insert(key).second) {
      return base::InvalidArgument("'" + std::string(key) + "' occurs twice");
    }
    return base::Ok();
  });
}

Result<std::string> TypeOf(JsonValue object) {
  const JsonValue type = TRY(object.Get("type"));
  return std::string(TRY(type.AsString()));
}

// The member `key`, or `absent` when it is missing or null.
Result<bool> BoolOr(JsonValue object, std::string_view key, bool absent) {
  const std::optional<JsonValue> value = TRY(object.Find(key));
  if (!value || value->is_null()) return absent;
  return Prefix(value->AsBool(), std::string(key));
}
Result<int64_t> IntOr(JsonValue object, std::string_view key, int64_t absent, int64_t least) {
  const std::optional<JsonValue> value = TRY(object.Find(key));
  if (!value || value->is_null()) return absent;
  const int64_t number = TRY(Prefix(value->AsInt(), std::string(key)));
  if (number < least || number > kLengthMax) {
    return base::InvalidArgument(std::string(key) + " is " + std::to_string(number) +
                                 ", expected " + std::to_string(least) + " to " +
                                 std::to_string(kLengthMax));
  }
  return number;
}
Result<std::string> StringOr(JsonValue object, std::string_view key, std::string_view absent) {
  const std::optional<JsonValue> value = TRY(object.Find(key));
  if (!value || value->is_null()) return std::string(absent);
  return std::string(TRY(Prefix(value->AsString(), std::string(key))));
}

Result<int32_t> IdOf(JsonValue value) {
  const int64_t id = TRY(value.AsInt());
  if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
    return base::InvalidArgument("token id " + std::to_string(id) + " is out of range");
  }
  return static_cast<int32_t>(id);
}

Result<TextSide> SideOf(JsonValue object) {
  const std::string side = TRY(StringOr(object, "direction", "Right"));
  if (side == "Left") return TextSide::kLeft;
  if (side == "Right") return TextSide::kRight;
  return base::InvalidArgument("direction '" + side + "', expected Left or Right");
}

// A member that is present and not null.
Result<std::optional<JsonValue>> Section(JsonValue root, std::string_view key) {
  std::optional<JsonValue> value = TRY(root.Find(key));
  if (value && value->is_null()) value.reset();
  return value;
}

Status ReadNormalizer(JsonValue value, Normalizer& normalizer) {
  const std::string type = TRY(TypeOf(value));
  if (type == "Sequence") {
    TRY(CheckMembers(value, {"type", "normalizers"}));
    const JsonValue steps = TRY(value.Get("normalizers"));
    return steps.ForEachElement([&](JsonValue step) { return ReadNormalizer(step, normalizer); });
  }
  if (normalizer.steps.size() >= kStepsMax) return base::InvalidArgument("too many normalizers");
  NormalizerStep step{};
  if (type == "BertNormalizer") {
    TRY(CheckMembers(value,
                     {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"}));
    step.kind = NormalizerKind::kBert;
    step.bert.clean_text = TRY(BoolOr(value, "clean_text", true));
    step.bert.handle_chinese_chars = TRY(BoolOr(value, "handle_chinese_chars", true));
    step.bert.lowercase = TRY(BoolOr(value, "lowercase", true));
    step.bert.strip_accents = TRY(BoolOr(value, "strip_accents", step.bert.lowercase));
    normalizer.steps.push_back(step);
    return base::Ok();
  }
  TRY(CheckMembers(value, {"type"}));
  static constexpr std::pair<std::string_view, NormalizerKind> kPlain[] = {
      {"NFC", NormalizerKind::kNfc},
      {"NFD", NormalizerKind::kNfd},
      {"NFKC", NormalizerKind::kNfkc},
      {"NFKD", NormalizerKind::kNfkd},
      {"Lowercase", NormalizerKind::kLowercase},
      {"StripAccents", NormalizerKind::kStripAccents},
  };
  for (const auto& [name, kind] : kPlain) {
    if (type != name) continue;
    step.kind = kind;
    normalizer.steps.push_back(step);
    return base::Ok();
  }
  return base::Unimplemented("type '" + type + "' is not supported");
}

Status ReadPreTokenizer(JsonValue value, PreTokenizer& pre_tokenizer) {
  const std::string type = TRY(TypeOf(value));
  if (type == "Sequence") {
    TRY(CheckMembers(value, {"type", "pretokenizers"}));
    const JsonValue steps = TRY(value.Get("pretokenizers"));
    return steps.ForEachElement(
        [&](JsonValue step) { return ReadPreTokenizer(step, pre_tokenizer); });
  }
  if (pre_tokenizer.steps.size() >= kStepsMax) {
    return base::InvalidArgument("too many pre-tokenizers");
  }
  if (type == "Punctuation") {
    TRY(CheckMembers(value, {"type", "behavior"}));
    const std::string behavior = TRY(StringOr(value, "behavior", "Isolated"));
    if (behavior == "Isolated") {
      pre_tokenizer.steps.push_back(PreTokenizerKind::kPunctuationIsolated);
    } else if (behavior == "Removed") {
      pre_tokenizer.steps.push_back(PreTokenizerKind::kPunctuationRemoved);
    } else {
      return base::Unimplemented("Punctuation with behavior '" + behavior + "' is not supported");
    }
    return base::Ok();
  }
  TRY(CheckMembers(value, {"type"}));
  if (type == "BertPreTokenizer") {
    pre_tokenizer.steps.push_back(PreTokenizerKind::kBert);
  } else if (type == "Whitespace") {
    pre_tokenizer.steps.push_back(PreTokenizerKind::kWhitespace);
  } else if (type == "WhitespaceSplit") {
    pre_tokenizer.steps.push_back(PreTokenizerKind::kWhitespaceSplit);
  } else {
    return base::Unimplemented("type '" + type + "' is not supported");
  }
  return base::Ok();
}

// One element of a template: {"Sequence": {"id": "A", "type_id": 0}} or {"SpecialToken": {"id":
// "[CLS]", "type_id": 0}}.
Result<TemplatePiece> ReadPiece(JsonValue element, JsonValue fixed_tokens) {
  TRY(CheckMembers(element, {"Sequence", "SpecialToken"}));
  TemplatePiece piece;
  const std::optional<JsonValue> sequence = TRY(element.Find("Sequence"));
  if (element.size() != 1) {
    return base::InvalidArgument("expected one of Sequence and SpecialToken in each piece");
  }
  const JsonValue body = sequence ? *sequence : TRY(element.Get("SpecialToken"));
  TRY(CheckMembers(body, {"id", "type_id"}));
  const JsonValue id_value = TRY(body.Get("id"));
  const std::string id(TRY(id_value.AsString()));
  piece.type_id = static_cast<int32_t>(TRY(IntOr(body, "type_id", 0, 0)));
  if (sequence) {
    if (id != "A" && id != "B") {
      return base::InvalidArgument("sequence '" + id + "', expected A or B");
    }
    piece.kind = id == "A" ? TemplatePiece::Kind::kFirst : TemplatePiece::Kind::kSecond;
    return piece;
  }
  piece.kind = TemplatePiece::Kind::kFixed;
  const JsonValue token = TRY(Prefix(fixed_tokens.Get(id), "special_tokens"));
  TRY(CheckMembers(token, {"id", "ids", "tokens"}));
  const JsonValue ids = TRY(token.Get("ids"));
  if (ids.size() > kPiecesMax) return base::InvalidArgument("too many ids of '" + id + "'");
  const auto add_id = [&](JsonValue value) -> Status {
    piece.ids.push_back(TRY(IdOf(value)));
    return base::Ok();
  };
  TRY(ids.ForEachElement(add_id));
  return piece;
}

Result<std::vector<TemplatePiece>> ReadPieces(JsonValue list, JsonValue fixed_tokens,
                                              int64_t texts) {
  if (list.size() > kPiecesMax) return base::InvalidArgument("too many pieces");
  std::vector<TemplatePiece> pieces;
  const auto add_piece = [&](JsonValue element) -> Status {
    pieces.push_back(TRY(ReadPiece(element, fixed_tokens)));
    return base::Ok();
  };
  TRY(list.ForEachElement(add_piece));
  const auto count = [&](TemplatePiece::Kind kind) {
    return std::count_if(pieces.begin(), pieces.end(),
                         [&](const TemplatePiece& piece) { return piece.kind == kind; });
  };
  if (count(TemplatePiece::Kind::kFirst) != 1 || count(TemplatePiece::Kind::kSecond) != texts - 1) {
    return base::InvalidArgument("expected each text exactly once in the template");
  }
  return pieces;
}

// BertProcessing: ["[SEP]", 102]
Result<TemplatePiece> ReadNamedId(JsonValue value) {
  TemplatePiece piece;
  piece.kind = TemplatePiece::Kind::kFixed;
  int index = 0;
  const auto add_element = [&](JsonValue element) -> Status {
    if (index == 1) piece.ids.push_back(TRY(IdOf(element)));
    ++index;
    return base::Ok();
  };
  TRY(value.ForEachElement(add_element));
  if (index != 2) return base::InvalidArgument("expected a token and its id");
  return piece;
}

Status ReadPostProcessor(JsonValue value, TokenizerSpec& spec) {
  const std::string type = TRY(TypeOf(value));
  if (type == "TemplateProcessing") {
    TRY(CheckMembers(value, {"type", "single", "pair", "special_tokens"}));
    const JsonValue fixed_tokens = TRY(value.Get("special_tokens"));
    const JsonValue single = TRY(value.Get("single"));
    const JsonValue pair = TRY(value.Get("pair"));
    spec.single = TRY(Prefix(ReadPieces(single, fixed_tokens, 1), "single"));
    spec.pair = TRY(Prefix(ReadPieces(pair, fixed_tokens, 2), "pair"));
    return base::Ok();
  }
  if (type != "BertProcessing") {
    return base::Unimplemented("type '" + type + "' is not supported");
  }
  TRY(CheckMembers(value, {"type", "sep", "cls"}));
  const JsonValue sep_value = TRY(value.Get("sep"));
  const JsonValue cls_value = TRY(value.Get("cls"));
  const TemplatePiece sep = TRY(Prefix(ReadNamedId(sep_value), "sep"));
  const TemplatePiece cls = TRY(Prefix(ReadNamedId(cls_value), "cls"));
  const TemplatePiece first{TemplatePiece::Kind::kFirst, {}, 0};
  const TemplatePiece second{TemplatePiece::Kind::kSecond, {}, 1};
  TemplatePiece last = sep;
  last.type_id = 1;
  spec.single = {cls, first, sep};
  spec.pair = {cls, first, sep, second, last};
  return base::Ok();
}

Result<Truncation> ReadTruncation(JsonValue value) {
  TRY(CheckMembers(value, {"direction", "max_length", "strategy", "stride"}));
  Truncation truncation;
  truncation.length_max = TRY(IntOr(value, "max_length", 512, 0));
  truncation.side = TRY(SideOf(value));
  TRY(IntOr(value, "stride", 0, 0));  // of overflowing pieces, which are not made here
  const std::string strategy = TRY(StringOr(value, "strategy", "LongestFirst"));
  if (strategy == "LongestFirst") {
    truncation.strategy = TruncationStrategy::kLongestFirst;
  } else if (strategy == "OnlyFirst") {
    truncation.strategy = TruncationStrategy::kOnlyFirst;
  } else if (strategy == "OnlySecond") {
    truncation.strategy = TruncationStrategy::kOnlySecond;
  } else {
    return base::Unimplemented("strategy '" + strategy + "' is not supported");
  }
  return truncation;
}

Result<Padding> ReadPadding(JsonValue value) {
  TRY(CheckMembers(value, {"strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id",
                           "pad_token"}));
  Padding padding;
  const JsonValue strategy = TRY(value.Get("strategy"));
  if (strategy.is_object()) {
    TRY(CheckMembers(strategy, {"Fixed"}));
    padding.fixed_length = TRY(IntOr(strategy, "Fixed", 0, 0));
  } else {
    const std::string_view name = TRY(strategy.AsString());
    if (name != "BatchLongest") {
      return base::Unimplemented("strategy '" + std::string(name) + "' is not supported");
    }
  }
  padding.side = TRY(SideOf(value));
  padding.multiple_of = TRY(IntOr(value, "pad_to_multiple_of", 0, 0));
  padding.id = static_cast<int32_t>(TRY(IntOr(value, "pad_id", 0, 0)));
  padding.type_id = static_cast<int32_t>(TRY(IntOr(value, "pad_type_id", 0, 0)));
  TRY(StringOr(value, "pad_token", "[PAD]"));
  return padding;
}

Result<WordPiece> ReadModel(JsonValue value) {
  const std::optional<JsonValue> type_value = TRY(value.Find("type"));
  const std::string type = type_value ? TRY(TypeOf(value)) : "without a type";
  if (type != "WordPiece") return base::Unimplemented("type '" + type + "' is not supported");
  TRY(CheckMembers(value, {"type", "unk_token", "continuing_subword_prefix",
                           "max_input_chars_per_word", "vocab"}));
  WordPieceOptions options;
  options.unknown_token = TRY(StringOr(value, "unk_token", "[UNK]"));
  options.continuation_prefix = TRY(StringOr(value, "continuing_subword_prefix", "##"));
  options.word_runes_max = TRY(IntOr(value, "max_input_chars_per_word", 100, 1));
  const JsonValue vocabulary = TRY(value.Get("vocab"));
  std::vector<std::pair<std::string, int32_t>> entries;
  entries.reserve(static_cast<size_t>(vocabulary.size()));
  const auto add_entry = [&](std::string_view token, JsonValue id) -> Status {
    entries.emplace_back(token, TRY(Prefix(IdOf(id), std::string(token))));
    return base::Ok();
  };
  TRY(vocabulary.ForEachMember(add_entry));
  return WordPiece::Create(entries, std::move(options));
}

// An id of its own must be the next free one, as the library would number it; a token of the
// vocabulary keeps its id.
Status ReadAddedToken(JsonValue value, const WordPiece& model, int64_t& next_id,
                      std::vector<AddedToken>& tokens) {
  TRY(CheckMembers(value,
                   {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
  if (tokens.size() >= AddedTokenMatcher::kTokensMax) {
    return base::InvalidArgument("too many of them");
  }
  AddedToken token;
  const JsonValue id = TRY(value.Get("id"));
  token.id = TRY(IdOf(id));
  token.content = TRY(StringOr(value, "content", ""));
  token.special = TRY(BoolOr(value, "special", false));
  token.single_word = TRY(BoolOr(value, "single_word", false));
  token.lstrip = TRY(BoolOr(value, "lstrip", false));
  token.rstrip = TRY(BoolOr(value, "rstrip", false));
  token.normalized = TRY(BoolOr(value, "normalized", !token.special));
  const int32_t known = model.Find(token.content);
  const int64_t expected = known != TokenTrie::kNone ? known : next_id;
  if (token.id != expected) {
    return base::InvalidArgument("'" + token.content + "' has id " + std::to_string(token.id) +
                                 ", expected " + std::to_string(expected));
  }
  next_id = std::max(next_id, int64_t{token.id} + 1);
  tokens.push_back(std::move(token));
  return base::Ok();
}

Status CheckDecoder(JsonValue root) {
  // Text is never made from ids here, so that a decoder is only checked for its kind.
  const std::optional<JsonValue> decoder = TRY(Section(root, "decoder"));
  if (!decoder) return base::Ok();
  const std::string type = TRY(TypeOf(*decoder));
  if (type != "WordPiece") return base::Unimplemented("type '" + type + "' is not supported");
  return base::Ok();
}

Result<std::shared_ptr<const Tokenizer>> ReadTokenizer(JsonValue root) {
  TRY(CheckMembers(root, {"version", "truncation", "padding", "added_tokens", "normalizer",
                          "pre_tokenizer", "post_processor", "decoder", "model"}));
  const std::string version = TRY(StringOr(root, "version", "1.0"));
  if (version != "1.0") return base::Unimplemented("version '" + version + "' is not supported");
  TokenizerSpec spec;
  const JsonValue model_value = TRY(root.Get("model"));
  WordPiece model = TRY(Prefix(ReadModel(model_value), "model"));
  const JsonValue vocabulary = TRY(model_value.Get("vocab"));
  if (const auto value = TRY(Section(root, "normalizer"))) {
    TRY(Prefix(ReadNormalizer(*value, spec.normalizer), "normalizer"));
  }
  if (const auto value = TRY(Section(root, "pre_tokenizer"))) {
    TRY(Prefix(ReadPreTokenizer(*value, spec.pre_tokenizer), "pre_tokenizer"));
  }
  spec.single = {{TemplatePiece::Kind::kFirst, {}, 0}};
  spec.pair = {{TemplatePiece::Kind::kFirst, {}, 0}, {TemplatePiece::Kind::kSecond, {}, 1}};
  if (const auto value = TRY(Section(root, "post_processor"))) {
    TRY(Prefix(ReadPostProcessor(*value, spec), "post_processor"));
  }
  if (const auto value = TRY(Section(root, "truncation"))) {
    spec.truncation = TRY(Prefix(ReadTruncation(*value), "truncation"));
  }
  if (const auto value = TRY(Section(root, "padding"))) {
    spec.padding = TRY(Prefix(ReadPadding(*value), "padding"));
  }
  TRY(Prefix(CheckDecoder(root), "decoder"));
  if (const auto value = TRY(Section(root, "added_tokens"))) {
    int64_t next_id = vocabulary.size();
    TRY(Prefix(value->ForEachElement([&](JsonValue token) {
      return ReadAddedToken(token, model, next_id, spec.added_tokens);
    }),
               "added_tokens"));
  }
  return Tokenizer::Create(std::move(spec), std::move(model));
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Load(const std::string& path) {
  const std::string text = TRY(base::ReadFile(path, kFileBytesMax));
  return Prefix(Parse(text), path);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Parse(std::string_view json) {
  base::JsonDocument document(base::JsonLimits{.bytes_max = static_cast<size_t>(kFileBytesMax)});
  const JsonValue root = TRY(document.Parse(json));
  return ReadTokenizer(root);
}

}  // namespace sluice::text
