// What normalisers and pre-tokenisers of a tokenizer.json look for: a string, or a regular
// expression (PCRE2 underneath, seen only by pattern.cc).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::text {

// A stretch of a text, and whether the pattern matches it or it lies between matches.
struct PatternPart {
  std::string_view text;
  bool matches = false;
};

// Immutable; any thread may search.
class Pattern {
 public:
  static constexpr size_t kPatternBytesMax = 16 * 1024;
  // What an expression may cost: PCRE2's steps of one match, bytes of a text, and this thread's
  // time for all of its matches. A text that needs more is refused. Word scanners have no such
  // limit.
  static constexpr unsigned kStepsMax = 1'000'000;
  static constexpr size_t kRegexBytesMax = size_t{4} << 20;
  static constexpr int64_t kMicrosecondsMax = 2'000'000;

  static Pattern Literal(std::string text);
  // Oniguruma's dialect as tokenizer.json files use it. kInvalidArgument: no regular expression;
  // kUnimplemented: something that PCRE2 reads in another way.
  static base::Result<Pattern> Regex(std::string_view expression);

  // Appends the parts of valid UTF-8 `text`, in order: all of it; empty parts only where an
  // expression matches nothing. kResourceExhausted: an expression exceeds a limit.
  base::Status Parts(std::string_view text, std::vector<PatternPart>& parts) const;
  // Replaces each match by `content`. kResourceExhausted also when the result is longer than
  // `bytes_max`.
  base::Result<std::string> Replace(std::string_view text, std::string_view content,
                                    size_t bytes_max) const;

 private:
  struct Code;
  base::Status RegexParts(std::string_view text, std::vector<PatternPart>& parts) const;

  std::string literal_;
  std::shared_ptr<const Code> code_;  // null: a literal
};

}  // namespace sluice::text
