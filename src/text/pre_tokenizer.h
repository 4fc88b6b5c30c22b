// Pre-tokenisers of a tokenizer.json: how a normalised text is cut into words.
#pragma once

#include <string_view>
#include <vector>

namespace sluice::text {

enum class PreTokenizerKind {
  kBert,                 // at white space, and around each punctuation character
  kWhitespace,           // runs of \w, and runs of what is neither \w nor white space
  kWhitespaceSplit,      // at white space
  kPunctuationIsolated,  // around each punctuation character
  kPunctuationRemoved,   // at punctuation, which is dropped
};

// Steps in order, each cutting what the one before left; none: the text is one word. Immutable.
struct PreTokenizer {
  std::vector<PreTokenizerKind> steps;

  // The words of valid UTF-8 `text`, none empty, in order; views into it.
  std::vector<std::string_view> Split(std::string_view text) const;
};

}  // namespace sluice::text
