// The section "normalizer" of a tokenizer.json.
#include <string>
#include <string_view>
#include <utility>

#include "text/format/json_fields.h"
#include "text/format/sections.h"

namespace sluice::text {

using base::JsonValue;
using base::Result;
using base::Status;

namespace {

constexpr std::pair<std::string_view, NormalizerKind> kPlain[] = {
    {"NFC", NormalizerKind::kNfc},
    {"NFD", NormalizerKind::kNfd},
    {"NFKC", NormalizerKind::kNfkc},
    {"NFKD", NormalizerKind::kNfkd},
    {"Lowercase", NormalizerKind::kLowercase},
    {"StripAccents", NormalizerKind::kStripAccents},
    {"Nmt", NormalizerKind::kNmt},
    {"ByteLevel", NormalizerKind::kByteLevel},
};

Result<NormalizerStep> ReadOne(JsonValue value, const std::string& type) {
  NormalizerStep step{NormalizerKind::kBert};
  if (type == "BertNormalizer") {
    TRY(CheckMembers(value,
                     {"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"}));
    step.bert.clean_text = TRY(BoolOr(value, "clean_text", true));
    step.bert.handle_chinese_chars = TRY(BoolOr(value, "handle_chinese_chars", true));
    step.bert.lowercase = TRY(BoolOr(value, "lowercase", true));
    step.bert.strip_accents = TRY(BoolOr(value, "strip_accents", step.bert.lowercase));
    return step;
  }
  if (type == "Strip") {
    TRY(CheckMembers(value, {"type", "strip_left", "strip_right"}));
    step.kind = NormalizerKind::kStrip;
    step.strip_left = TRY(BoolOr(value, "strip_left", true));
    step.strip_right = TRY(BoolOr(value, "strip_right", true));
    return step;
  }
  if (type == "Replace") {
    TRY(CheckMembers(value, {"type", "pattern", "content"}));
    step.kind = NormalizerKind::kReplace;
    const JsonValue pattern = TRY(value.Get("pattern"));
    step.pattern = TRY(Within(ReadPattern(pattern), "pattern"));
    step.content = TRY(StringOr(value, "content", ""));
    return step;
  }
  if (type == "Prepend") {
    TRY(CheckMembers(value, {"type", "prepend"}));
    step.kind = NormalizerKind::kPrepend;
    step.content = TRY(StringOr(value, "prepend", ""));
    return step;
  }
  if (type == "Precompiled") {
    TRY(CheckMembers(value, {"type", "precompiled_charsmap"}));
    step.kind = NormalizerKind::kCharsmap;
    const std::string charsmap = TRY(StringOr(value, "precompiled_charsmap", ""));
    step.charsmap = std::make_shared<const Charsmap>(TRY(Charsmap::ParseBase64(charsmap)));
    return step;
  }
  TRY(CheckMembers(value, {"type"}));
  for (const auto& [name, kind] : kPlain) {
    if (type != name) continue;
    step.kind = kind;
    return step;
  }
  return base::Unimplemented("type '" + type + "' is not supported");
}

Status ReadStep(JsonValue value, int nesting, Normalizer& normalizer) {
  const std::string type = TRY(TypeOf(value));
  if (type == "Sequence") {
    if (nesting >= kNestingMax) return base::InvalidArgument("Sequences nest too deeply");
    TRY(CheckMembers(value, {"type", "normalizers"}));
    const JsonValue steps = TRY(value.Get("normalizers"));
    return steps.ForEachElement(
        [&](JsonValue step) { return ReadStep(step, nesting + 1, normalizer); });
  }
  if (normalizer.steps.size() >= kStepsMax) return base::InvalidArgument("too many normalizers");
  normalizer.steps.push_back(TRY(Within(ReadOne(value, type), type)));
  return base::Ok();
}

}  // namespace

Result<Pattern> ReadPattern(JsonValue value) {
  TRY(CheckMembers(value, {"String", "Regex"}));
  if (value.size() != 1) return base::InvalidArgument("expected one of String and Regex");
  if (const auto literal = TRY(value.Find("String"))) {
    std::string text(TRY(literal->AsString()));
    if (text.empty()) return base::Unimplemented("an empty String is not supported");
    return Pattern::Literal(std::move(text));
  }
  const JsonValue expression = TRY(value.Get("Regex"));
  return Pattern::Regex(TRY(expression.AsString()));
}

Status ReadNormalizer(JsonValue value, Normalizer& normalizer) {
  return ReadStep(value, 0, normalizer);
}

}  // namespace sluice::text
