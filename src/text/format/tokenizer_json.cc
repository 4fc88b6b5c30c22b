// Reads a tokenizer.json. What is not understood is refused by its name: ids that are nearly right
// are worse than none.
#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "text/format/json_fields.h"
#include "text/format/sections.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

using base::JsonValue;
using base::Result;
using base::Status;

Result<TextSide> SideOf(JsonValue object) {
  const std::string side = TRY(StringOr(object, "direction", "Right"));
  if (side == "Left") return TextSide::kLeft;
  if (side == "Right") return TextSide::kRight;
  return base::InvalidArgument("direction '" + side + "', expected Left or Right");
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

// An id of its own must be the next free one, as the library would number it; a token of the
// vocabulary keeps its id.
Status ReadAddedToken(JsonValue value, const TokenModel& model, int64_t& next_id,
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
  const int32_t known = model.vocabulary().Find(token.content);
  const int64_t expected = known != TokenTrie::kNone ? known : next_id;
  if (token.id != expected) {
    return base::InvalidArgument("'" + token.content + "' has id " + std::to_string(token.id) +
                                 ", expected " + std::to_string(expected));
  }
  next_id = std::max(next_id, int64_t{token.id} + 1);
  tokens.push_back(std::move(token));
  return base::Ok();
}

// Whether the pre-tokeniser's last step writes bytes in GPT-2's alphabet for a model that can take
// them as they are. Then the step is dropped.
bool TakeByteLevel(const std::string& model_type, PreTokenizer& pre_tokenizer) {
  if (model_type != "BPE" || pre_tokenizer.steps.empty() ||
      pre_tokenizer.steps.back().kind != PreTokenizerKind::kByteLevel) {
    return false;
  }
  const auto bytes = [](const PreTokenizerStep& step) {
    return step.kind == PreTokenizerKind::kByteLevel;
  };
  if (std::count_if(pre_tokenizer.steps.begin(), pre_tokenizer.steps.end(), bytes) > 1) {
    return false;
  }
  pre_tokenizer.steps.pop_back();
  return true;
}

Result<std::shared_ptr<const Tokenizer>> ReadTokenizer(JsonValue root) {
  TRY(CheckMembers(root, {"version", "truncation", "padding", "added_tokens", "normalizer",
                          "pre_tokenizer", "post_processor", "decoder", "model"}));
  const std::string version = TRY(StringOr(root, "version", "1.0"));
  if (version != "1.0") return base::Unimplemented("version '" + version + "' is not supported");
  TokenizerSpec spec;
  const JsonValue model_value = TRY(root.Get("model"));
  if (const auto value = TRY(Section(root, "normalizer"))) {
    TRY(Within(ReadNormalizer(*value, spec.normalizer), "normalizer"));
  }
  if (const auto value = TRY(Section(root, "pre_tokenizer"))) {
    TRY(Within(ReadPreTokenizer(*value, spec.pre_tokenizer), "pre_tokenizer"));
  }
  const std::string model_type = TRY(Within(ModelTypeOf(model_value), "model"));
  const bool byte_level = TakeByteLevel(model_type, spec.pre_tokenizer);
  std::unique_ptr<const TokenModel> model =
      TRY(Within(ReadModel(model_value, byte_level), "model"));
  spec.single = {{TemplatePiece::Kind::kFirst, {}, 0}};
  spec.pair = {{TemplatePiece::Kind::kFirst, {}, 0}, {TemplatePiece::Kind::kSecond, {}, 1}};
  if (const auto value = TRY(Section(root, "post_processor"))) {
    TRY(Within(ReadPostProcessor(*value, spec), "post_processor"));
  }
  if (const auto value = TRY(Section(root, "truncation"))) {
    spec.truncation = TRY(Within(ReadTruncation(*value), "truncation"));
  }
  if (const auto value = TRY(Section(root, "padding"))) {
    spec.padding = TRY(Within(ReadPadding(*value), "padding"));
  }
  spec.decoder.joins_with_blanks = true;
  if (const auto value = TRY(Section(root, "decoder"))) {
    spec.decoder.joins_with_blanks = false;
    TRY(Within(ReadDecoder(*value, spec.decoder), "decoder"));
  }
  if (const auto value = TRY(Section(root, "added_tokens"))) {
    auto next_id = static_cast<int64_t>(model->vocabulary().size());
    TRY(Within(value->ForEachElement([&](JsonValue token) {
      return ReadAddedToken(token, *model, next_id, spec.added_tokens);
    }),
               "added_tokens"));
  }
  return Tokenizer::Create(std::move(spec), std::move(model));
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Load(const std::string& path) {
  const std::string text = TRY(base::ReadFile(path, kFileBytesMax));
  return Within(Parse(text), path);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::Parse(std::string_view json) {
  base::JsonDocument document(base::JsonLimits{.bytes_max = static_cast<size_t>(kFileBytesMax)});
  const JsonValue root = TRY(document.Parse(json));
  return ReadTokenizer(root);
}

}  // namespace sluice::text
