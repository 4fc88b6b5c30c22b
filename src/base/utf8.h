// Decoding and repairing UTF-8. Character classes and normalisation are not here: text/ asks ICU
// for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::base {

inline constexpr char32_t kReplacementRune = 0xFFFD;

// One code point of a text. For bytes that are no UTF-8 (also overlong forms, surrogates and values
// above U+10FFFF) `rune` is U+FFFD and `bytes` is the length of the maximal subpart to replace
// (Unicode 15, section 3.9, "best practice"), at least 1.
struct Rune {
  char32_t rune = 0;
  int bytes = 0;
  bool valid = true;
};

// The code point that starts at text[at]; at < text.size().
Rune DecodeRune(std::string_view text, size_t at);
// `rune` must be a scalar value: at most U+10FFFF and no surrogate.
void AppendRune(char32_t rune, std::string& out);
bool IsValidUtf8(std::string_view text);
// `text` with every invalid part replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace sluice::base
