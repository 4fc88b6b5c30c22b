// The section "pre_tokenizer" of a tokenizer.json.
#include <optional>
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

Result<SplitBehavior> BehaviorOf(JsonValue value, std::string_view absent) {
  static constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  };
  const std::string name = TRY(StringOr(value, "behavior", absent));
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  return base::Unimplemented("behavior '" + name + "' is not supported");
}

Result<PreTokenizerStep> ReadSplit(JsonValue value) {
  TRY(CheckMembers(value, {"type", "pattern", "behavior", "invert"}));
  PreTokenizerStep step{PreTokenizerKind::kSplit};
  step.behavior = TRY(BehaviorOf(value, "Isolated"));
  step.invert = TRY(BoolOr(value, "invert", false));
  const JsonValue pattern = TRY(value.Get("pattern"));
  const auto expression = TRY(pattern.Find("Regex"));
  if (expression && expression->is_string()) {
    // A known pattern leaves nothing between its matches.
    const std::optional<WordScanner> scanner = FindScanner(TRY(expression->AsString()));
    const bool keeps_matches = step.invert ? step.behavior == SplitBehavior::kRemoved
                                           : step.behavior == SplitBehavior::kIsolated;
    if (scanner && keeps_matches && pattern.size() == 1) {
      step.kind = PreTokenizerKind::kScan;
      step.scanner = *scanner;
      return step;
    }
  }
  step.pattern = TRY(Within(ReadPattern(pattern), "pattern"));
  return step;
}

Result<PreTokenizerStep> ReadMetaspace(JsonValue value) {
  TRY(CheckMembers(
      value, {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"}));
  PreTokenizerStep step{PreTokenizerKind::kMetaspace};
  step.delimiter = TRY(RuneOr(value, "replacement", "\xE2\x96\x81"));
  step.splits = TRY(BoolOr(value, "split", true));
  const std::string scheme = TRY(StringOr(value, "prepend_scheme", "always"));
  if (scheme == "always") {
    step.prepend = PrependScheme::kAlways;
  } else if (scheme == "first") {
    step.prepend = PrependScheme::kFirst;
  } else if (scheme == "never") {
    step.prepend = PrependScheme::kNever;
  } else {
    return base::Unimplemented("prepend_scheme '" + scheme + "' is not supported");
  }
  if (!TRY(BoolOr(value, "add_prefix_space", true))) step.prepend = PrependScheme::kNever;
  return step;
}

Result<PreTokenizerStep> ReadOne(JsonValue value, const std::string& type) {
  PreTokenizerStep step{PreTokenizerKind::kBert};
  if (type == "Split") return ReadSplit(value);
  if (type == "Metaspace") return ReadMetaspace(value);
  if (type == "Punctuation") {
    TRY(CheckMembers(value, {"type", "behavior"}));
    step.kind = PreTokenizerKind::kPunctuation;
    step.behavior = TRY(BehaviorOf(value, "Isolated"));
    return step;
  }
  if (type == "Digits") {
    TRY(CheckMembers(value, {"type", "individual_digits"}));
    step.kind = PreTokenizerKind::kDigits;
    step.each_digit = TRY(BoolOr(value, "individual_digits", false));
    return step;
  }
  if (type == "CharDelimiterSplit") {
    TRY(CheckMembers(value, {"type", "delimiter"}));
    step.kind = PreTokenizerKind::kDelimiter;
    step.delimiter = TRY(RuneOr(value, "delimiter", ""));
    return step;
  }
  if (type == "FixedLength") {
    TRY(CheckMembers(value, {"type", "length"}));
    step.kind = PreTokenizerKind::kFixedLength;
    step.length = static_cast<size_t>(TRY(IntOr(value, "length", 5, 1)));
    return step;
  }
  TRY(CheckMembers(value, {"type"}));
  if (type == "BertPreTokenizer") {
    step.kind = PreTokenizerKind::kBert;
  } else if (type == "Whitespace") {
    step.kind = PreTokenizerKind::kWhitespace;
  } else if (type == "WhitespaceSplit") {
    step.kind = PreTokenizerKind::kWhitespaceSplit;
  } else if (type == "UnicodeScripts") {
    step.kind = PreTokenizerKind::kScripts;
  } else {
    return base::Unimplemented("type '" + type + "' is not supported");
  }
  return step;
}

// ByteLevel is three steps: a blank before the text, GPT-2's words, and the alphabet.
Status ReadByteLevel(JsonValue value, PreTokenizer& pre_tokenizer) {
  TRY(CheckMembers(value, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  if (TRY(BoolOr(value, "add_prefix_space", true))) {
    pre_tokenizer.steps.push_back({PreTokenizerKind::kPrefixSpace});
  }
  if (TRY(BoolOr(value, "use_regex", true))) {
    pre_tokenizer.steps.push_back({PreTokenizerKind::kScan});
  }
  pre_tokenizer.steps.push_back({PreTokenizerKind::kByteLevel});
  return base::Ok();
}

Status ReadStep(JsonValue value, int nesting, PreTokenizer& pre_tokenizer) {
  const std::string type = TRY(TypeOf(value));
  if (type == "Sequence") {
    if (nesting >= kNestingMax) return base::InvalidArgument("Sequences nest too deeply");
    TRY(CheckMembers(value, {"type", "pretokenizers"}));
    const JsonValue steps = TRY(value.Get("pretokenizers"));
    return steps.ForEachElement(
        [&](JsonValue step) { return ReadStep(step, nesting + 1, pre_tokenizer); });
  }
  if (pre_tokenizer.steps.size() >= kStepsMax) {
    return base::InvalidArgument("too many pre-tokenizers");
  }
  if (type == "ByteLevel") return Within(ReadByteLevel(value, pre_tokenizer), type);
  pre_tokenizer.steps.push_back(TRY(Within(ReadOne(value, type), type)));
  return base::Ok();
}

}  // namespace

Status ReadPreTokenizer(JsonValue value, PreTokenizer& pre_tokenizer) {
  return ReadStep(value, 0, pre_tokenizer);
}

}  // namespace sluice::text
