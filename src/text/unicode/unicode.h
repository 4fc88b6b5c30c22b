// Character classes, case mapping and normal forms, as the tokeniser library `tokenizers` (PyPI)
// sees them.
//
// That library's tables are of several Unicode versions: categories of 8.0, marks and combining
// classes of 9.0, decompositions of 11.0, case mapping of 17.0. ICU's tables are newer or older;
// the difference is a rule about a character's age and a short list of exceptions, found by
// comparing every code point. Equal ids matter more than new categories: a model was trained on
// what that library made.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::text {

// Bits of Classify.
enum RuneClass : uint16_t {
  kControl = 1 << 0,  // categories Cc, Cf, Co
  kPunctuation =
      1 << 1,  // category P*, and all of ASCII that is neither letter, digit, space nor control
  kSpace = 1 << 2,       // White_Space
  kNonspacing = 1 << 3,  // category Mn
  kMark = 1 << 4,        // category M*
  kWord = 1 << 5,        // what a regular expression's \w matches
  kChinese = 1 << 6,     // BERT's ranges of ideographs
  kCombines = 1 << 7,    // has a combining class other than 0: canonical ordering may move it
  kDecomposes = 1 << 8,  // has a canonical decomposition
  kNfcInert = 1 << 9,    // stays as it is in NFC, whatever follows and precedes it
};

// The classes of a scalar value. A table for the basic plane, ICU for the rest.
uint16_t Classify(char32_t rune);

// Appends the full, context-free lower case: one code point, or two for U+0130.
void AppendLower(char32_t rune, std::string& out);
// The simple lower case; not for U+0130.
char32_t Lower(char32_t rune);

// The full canonical decomposition, at most kDecompositionMax code points; the rune itself when it
// has none.
inline constexpr int kDecompositionMax = 4;
struct Decomposition {
  std::array<char32_t, kDecompositionMax> runes{};
  int count = 0;
};
Decomposition Decompose(char32_t rune);

// A character's script, as a number, for pre-tokenisers that cut where it changes: Japanese is one
// script; kAnyScript goes with whatever stands before it. Unicode 9.0.
inline constexpr int kAnyScript = -1;
int Script(char32_t rune);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
// The normal form of valid UTF-8. O(n log n) on any input, also on long runs of combining
// characters.
std::string Normalize(NormalForm form, std::string_view text);
// Whether valid UTF-8 is its own NFC; false also where only the whole computation would tell.
bool IsNfc(std::string_view text);

}  // namespace sluice::text
