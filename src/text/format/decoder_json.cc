// The section "decoder" of a tokenizer.json.
#include <string>
#include <utility>

#include "text/format/json_fields.h"
#include "text/format/sections.h"

namespace sluice::text {

using base::JsonValue;
using base::Result;
using base::Status;

namespace {

Result<DecoderStep> ReadOne(JsonValue value, const std::string& type) {
  DecoderStep step{DecoderKind::kFuse};
  if (type == "ByteLevel") {
    TRY(CheckMembers(value, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    step.kind = DecoderKind::kByteLevel;
    return step;
  }
  if (type == "WordPiece") {
    TRY(CheckMembers(value, {"type", "prefix", "cleanup"}));
    step.kind = DecoderKind::kWordPiece;
    step.text = TRY(StringOr(value, "prefix", "##"));
    step.cleanup = TRY(BoolOr(value, "cleanup", true));
    return step;
  }
  if (type == "Metaspace") {
    TRY(CheckMembers(
        value, {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"}));
    step.kind = DecoderKind::kMetaspace;
    step.text = TRY(RuneOr(value, "replacement", "\xE2\x96\x81"));
    const std::string scheme = TRY(StringOr(value, "prepend_scheme", "always"));
    step.drops_first = scheme != "never" && TRY(BoolOr(value, "add_prefix_space", true));
    return step;
  }
  if (type == "Strip") {
    TRY(CheckMembers(value, {"type", "content", "start", "stop"}));
    step.kind = DecoderKind::kStrip;
    step.text = TRY(RuneOr(value, "content", " "));
    step.start = static_cast<size_t>(TRY(IntOr(value, "start", 0, 0)));
    step.stop = static_cast<size_t>(TRY(IntOr(value, "stop", 0, 0)));
    return step;
  }
  if (type == "Replace") {
    TRY(CheckMembers(value, {"type", "pattern", "content"}));
    step.kind = DecoderKind::kReplace;
    const JsonValue pattern = TRY(value.Get("pattern"));
    step.pattern = TRY(Within(ReadPattern(pattern), "pattern"));
    step.content = TRY(StringOr(value, "content", ""));
    return step;
  }
  if (type == "CTC") {
    TRY(CheckMembers(value, {"type", "pad_token", "word_delimiter_token", "cleanup"}));
    step.kind = DecoderKind::kCtc;
    step.text = TRY(StringOr(value, "pad_token", "<pad>"));
    step.content = TRY(StringOr(value, "word_delimiter_token", "|"));
    step.cleanup = TRY(BoolOr(value, "cleanup", true));
    return step;
  }
  if (type == "BPEDecoder") {
    TRY(CheckMembers(value, {"type", "suffix"}));
    step.kind = DecoderKind::kSuffix;
    step.text = TRY(StringOr(value, "suffix", "</w>"));
    return step;
  }
  TRY(CheckMembers(value, {"type"}));
  if (type == "ByteFallback") {
    step.kind = DecoderKind::kByteFallback;
  } else if (type != "Fuse") {
    return base::Unimplemented("type '" + type + "' is not supported");
  }
  return step;
}

Status ReadStep(JsonValue value, int nesting, Decoder& decoder) {
  const std::string type = TRY(TypeOf(value));
  if (type == "Sequence") {
    if (nesting >= kNestingMax) return base::InvalidArgument("Sequences nest too deeply");
    TRY(CheckMembers(value, {"type", "decoders"}));
    const JsonValue steps = TRY(value.Get("decoders"));
    return steps.ForEachElement(
        [&](JsonValue step) { return ReadStep(step, nesting + 1, decoder); });
  }
  if (decoder.steps.size() >= kStepsMax) return base::InvalidArgument("too many decoders");
  decoder.steps.push_back(TRY(Within(ReadOne(value, type), type)));
  return base::Ok();
}

}  // namespace

Status ReadDecoder(JsonValue value, Decoder& decoder) {
  return ReadStep(value, 0, decoder);
}

}  // namespace sluice::text
