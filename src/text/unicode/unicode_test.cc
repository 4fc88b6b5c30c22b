#include "text/unicode/unicode.h"

#include <gtest/gtest.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/utf8.h"

namespace sluice::text {
namespace {

std::string Utf8(std::u32string_view runes) {
  std::string out;
  for (const char32_t rune : runes) base::AppendRune(rune, out);
  return out;
}

TEST(Classify, AsciiClassesAreTheObviousOnes) {
  for (char32_t c = 0; c < 128; ++c) {
    const uint16_t classes = Classify(c);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const bool space = c == ' ' || (c >= 9 && c <= 13);
    const bool control = c < 32 || c == 127;
    EXPECT_EQ((classes & kWord) != 0, letter || c == '_') << static_cast<uint32_t>(c);
    EXPECT_EQ((classes & kSpace) != 0, space) << static_cast<uint32_t>(c);
    EXPECT_EQ((classes & kControl) != 0, control) << static_cast<uint32_t>(c);
    EXPECT_EQ((classes & kPunctuation) != 0, !letter && c != ' ' && !control)
        << static_cast<uint32_t>(c);
    EXPECT_EQ(classes & (kNonspacing | kMark | kChinese | kCombines | kDecomposes), 0);
  }
}

TEST(Classify, KnowsWhatTheLibrarysOldTablesKnowAndNoMore) {
  EXPECT_TRUE(Classify(0x2E42) & kPunctuation);   // Unicode 7
  EXPECT_FALSE(Classify(0x2E43) & kPunctuation);  // Unicode 9
  EXPECT_TRUE(Classify(0x166D) & kPunctuation);   // became a symbol later
  EXPECT_TRUE(Classify(0x0301) & kNonspacing);
  EXPECT_FALSE(Classify(0x1DFB) & kNonspacing);  // Unicode 9
  EXPECT_TRUE(Classify(0x1DFB) & kMark);
  EXPECT_TRUE(Classify(0x200B) & kControl);
  EXPECT_TRUE(Classify(0xE000) & kControl);
  EXPECT_FALSE(Classify(0x0378) & kControl);  // unassigned
  EXPECT_TRUE(Classify(0x3000) & kSpace);
  EXPECT_TRUE(Classify(0x4E2D) & kChinese);
  EXPECT_FALSE(Classify(0xAC00) & kChinese);
  EXPECT_TRUE(Classify(0x2A6DF) & kChinese);
}

TEST(Lower, IsSimpleAndKnowsTheNewestLetters) {
  EXPECT_EQ(Lower(U'A'), U'a');
  EXPECT_EQ(Lower(0x03A3), 0x03C3u);  // capital sigma, also at a word's end
  EXPECT_EQ(Lower(0x1E9E), 0xDFu);
  EXPECT_EQ(Lower(0x10D50), 0x10D70u);
  EXPECT_EQ(Lower(0x4E2D), 0x4E2Du);
  std::string out;
  AppendLower(0x130, out);
  EXPECT_EQ(out, Utf8(U"i\u0307"));
}

TEST(Decompose, IsFullAndCanonical) {
  const Decomposition parts = Decompose(0x1EAD);  // a with circumflex and dot below
  ASSERT_EQ(parts.count, 3);
  EXPECT_EQ(parts.runes[0], U'a');
  EXPECT_EQ(parts.runes[1], 0x323u);
  EXPECT_EQ(parts.runes[2], 0x302u);
  EXPECT_EQ(Decompose(0xAC01).count, 3);   // Hangul
  EXPECT_EQ(Decompose(0xFB01).count, 1);   // a ligature decomposes only for compatibility
  EXPECT_EQ(Decompose(0x11938).count, 1);  // newer than the library's tables
}

TEST(Decompose, NoRuneExceedsTheLimit) {
  for (char32_t rune = 0; rune <= 0x10FFFF; ++rune) {
    if (rune == 0xD800) rune = 0xE000;
    ASSERT_LE(Decompose(rune).count, kDecompositionMax);
  }
}

// ICU's own normalisation of the whole text: another algorithm over the same character data.
std::string NormalizeWithIcu(NormalForm form, const std::u32string& runes) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* const normalizer = form == NormalForm::kNfc   ? unorm2_getNFCInstance(&error)
                                         : form == NormalForm::kNfd ? unorm2_getNFDInstance(&error)
                                         : form == NormalForm::kNfkc
                                             ? unorm2_getNFKCInstance(&error)
                                             : unorm2_getNFKDInstance(&error);
  std::u16string units;
  for (const char32_t rune : runes) {
    if (rune >= 0x10000) {
      units += static_cast<char16_t>(0xD7C0 + (rune >> 10));
      units += static_cast<char16_t>(0xDC00 + (rune & 0x3FF));
    } else {
      units += static_cast<char16_t>(rune);
    }
  }
  std::u16string out(units.size() * 18 + 1, u'\0');
  const int32_t length =
      unorm2_normalize(normalizer, units.data(), static_cast<int32_t>(units.size()), out.data(),
                       static_cast<int32_t>(out.size()), &error);
  EXPECT_TRUE(U_SUCCESS(error));
  std::u32string back;
  for (int32_t i = 0; i < length; ++i) {
    char32_t rune = out[static_cast<size_t>(i)];
    if (rune >= 0xD800 && rune < 0xDC00) {
      rune = 0x10000 + ((rune - 0xD800) << 10) + (out[static_cast<size_t>(++i)] - 0xDC00u);
    }
    back += rune;
  }
  return Utf8(back);
}

TEST(Normalize, EqualsIcuOnRandomTextOfCharactersThatBothKnow) {
  std::vector<char32_t> pool;
  std::vector<char32_t> combining;
  for (char32_t rune = 1; rune < 0x30000; ++rune) {
    if (rune >= 0xD800 && rune < 0xE000) continue;
    UVersionInfo age;
    u_charAge(static_cast<UChar32>(rune), age);
    if (age[0] == 0 || age[0] > 9) continue;
    pool.push_back(rune);
    if (u_getCombiningClass(static_cast<UChar32>(rune)) != 0) combining.push_back(rune);
  }
  std::mt19937 random(21);
  for (int round = 0; round < 20000; ++round) {
    std::u32string text;
    const size_t length = random() % 24;
    for (size_t i = 0; i < length; ++i) {
      switch (random() % 4) {
        case 0:
          text += combining[random() % combining.size()];
          break;
        case 1:
          text += pool[random() % pool.size()];
          break;
        case 2:
          text += U"aeEocChHiAuU"[random() % 12];
          break;
        default:  // Hangul jamo and syllables, and Latin letters with marks
          text += random() % 2 == 0 ? char32_t{0x1100} + random() % 0x100
                                    : char32_t{0xC0} + random() % 0x180;
      }
    }
    for (const NormalForm form :
         {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
      ASSERT_EQ(Normalize(form, Utf8(text)), NormalizeWithIcu(form, text))
          << "form " << static_cast<int>(form) << ", round " << round;
    }
  }
}

TEST(Normalize, ALongRunOfCombiningCharactersIsSortedStably) {
  std::string text = "a";
  std::string expected = "a";
  for (int i = 0; i < 100000; ++i) text += Utf8(U"\u0301\u0323");
  for (int i = 0; i < 100000; ++i) expected += Utf8(U"\u0323");
  for (int i = 0; i < 100000; ++i) expected += Utf8(U"\u0301");
  EXPECT_EQ(Normalize(NormalForm::kNfd, text), expected);
}

}  // namespace
}  // namespace sluice::text
