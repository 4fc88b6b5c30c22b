// Pre-tokenisers of a tokenizer.json: how a normalised text is cut into words.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/normalizer.h"
#include "text/pattern.h"
#include "text/word_scanner.h"

namespace sluice::text {

enum class PreTokenizerKind {
  kBert,             // at white space, and around each punctuation character
  kWhitespace,       // runs of \w, and runs of what is neither \w nor white space
  kWhitespaceSplit,  // at white space
  kPunctuation,      // at punctuation characters, by the step's behaviour
  kDigits,           // around numbers: each alone, or runs of them
  kSplit,            // at what a pattern matches, by the step's behaviour
  kScan,             // the words of a scanner
  kDelimiter,        // at a character, which is dropped
  kFixedLength,      // every so many characters
  kScripts,          // where the script changes
  kMetaspace,        // blanks become a character, which words begin with
  kPrefixSpace,      // a blank before a word that has none
  kByteLevel,        // bytes become GPT-2's alphabet
};

// What becomes of the places where a text is cut.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

enum class PrependScheme { kNever, kFirst, kAlways };

struct PreTokenizerStep {
  PreTokenizerKind kind;
  SplitBehavior behavior = SplitBehavior::kIsolated;  // of kPunctuation and kSplit
  bool invert = false;                                // of kSplit: the pattern matches words
  std::optional<Pattern> pattern{};                   // of kSplit
  WordScanner scanner = WordScanner::kGpt2;           // of kScan
  bool each_digit = false;                            // of kDigits
  std::string delimiter{};                            // of kDelimiter and kMetaspace: a character
  size_t length = 1;                                  // of kFixedLength
  PrependScheme prepend = PrependScheme::kAlways;     // of kMetaspace: the character before words
  bool splits = true;                                 // of kMetaspace
};

// Words and the texts that they are views of, where steps rewrote them.
struct WordList {
  std::vector<std::string_view> words;
  bool first_at_start = false;  // the first word begins where the text that was given does
  std::deque<std::string> storage;
};

// Steps in order, each cutting what the one before left; none: the text is one word. Immutable.
struct PreTokenizer {
  std::vector<PreTokenizerStep> steps;

  // The words of the stretch's valid UTF-8, none empty, in order. kResourceExhausted as
  // Pattern::Parts.
  base::Status Split(const Stretch& stretch, WordList& list) const;
};

}  // namespace sluice::text
