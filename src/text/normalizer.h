// Normalisers of a tokenizer.json: what happens to a text before it is cut into words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::text {

struct BertNormalizer {
  bool clean_text = true;            // drop control characters, make every white space a blank
  bool handle_chinese_chars = true;  // blanks around ideographs
  bool strip_accents = true;         // decompose and drop non-spacing marks
  bool lowercase = true;
};

enum class NormalizerKind { kBert, kNfc, kNfd, kNfkc, kNfkd, kLowercase, kStripAccents };

struct NormalizerStep {
  NormalizerKind kind;
  BertNormalizer bert;  // for kBert
};

// Steps in order; none: the text stays as it is. Immutable.
struct Normalizer {
  std::vector<NormalizerStep> steps;

  // `text` is valid UTF-8, and so is the result.
  std::string Apply(std::string_view text) const;
};

}  // namespace sluice::text
