#include "text/word_scanner.h"

#include <gtest/gtest.h>
#include <unicode/uchar.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "text/pattern.h"

namespace sluice::text {
namespace {

constexpr int kPcreUnicode = 14;  // the version of PCRE2's tables
constexpr WordScanner kScanners[] = {WordScanner::kGpt2,   WordScanner::kThreeDigits,
                                     WordScanner::kCl100k, WordScanner::kOneDigit,
                                     WordScanner::kMarks,  WordScanner::kCased};

std::string Words(WordScanner scanner, std::string_view text) {
  std::vector<std::string_view> words;
  ScanWords(scanner, text, words);
  std::string out;
  for (const std::string_view word : words) out.append(word).append("|");
  return out;
}

// PCRE2 on the pattern itself; the parentheses keep it from being recognised.
std::string WordsOfPattern(const Pattern& pattern, std::string_view text) {
  std::vector<PatternPart> parts;
  EXPECT_TRUE(pattern.Parts(text, parts).ok());
  std::string out;
  for (const PatternPart& part : parts) out.append(part.text).append("|");
  return out;
}

// Texts of few characters of every class, so that all ways through a pattern are met, also those
// where it has to give back.
std::string RandomText(std::mt19937& random) {
  static constexpr char32_t kRunes[] = {
      U'a',   U'b',  U'Z',   U'A',   U'\'',  U's', U'S',    U'l',     U'L',   U'r',   U'E',
      U'e',   U'1',  U'2',   U' ',   U' ',   U' ', U'\n',   U'\r',    U'\t',  U'.',   U'/',
      U'!',   0xA0,  0x3000, 0x17F,  0xE9,   0xC9, 0x1C5,   0x2B0,    0xAA,   0x5D0,  0x4E2D,
      0x301,  0x302, 0x903,  0x661,  0x2167, 0xBD, 0x1F44D, 0x10FFFF, 0x20AC, 0x200D, 0x85,
      0x2028, 0x345, 0x24B6, 0xFEFF, U'_',   U'(', 0x1D400, 0x16F51,
  };
  std::string text;
  const size_t length = random() % 24;
  for (size_t i = 0; i < length; ++i) {
    base::AppendRune(kRunes[random() % std::size(kRunes)], text);
  }
  return text;
}

TEST(WordScanner, EveryScannerCutsAsItsRegularExpressionDoes) {
  for (const WordScanner scanner : kScanners) {
    const Pattern pattern = Pattern::Regex(PatternOf(scanner)).value();
    std::mt19937 random(static_cast<unsigned>(scanner) + 1);
    for (int round = 0; round < 40000; ++round) {
      const std::string text = RandomText(random);
      ASSERT_EQ(Words(scanner, text), WordsOfPattern(pattern, text))
          << PatternOf(scanner) << " of '" << text << "'";
    }
  }
}

TEST(WordScanner, EveryTwoCharactersOfTheBasicPlaneAreCutAsTheExpressionCutsThem) {
  for (const WordScanner scanner : kScanners) {
    const Pattern pattern = Pattern::Regex(PatternOf(scanner)).value();
    for (char32_t rune = 1; rune < 0x3100; ++rune) {
      UVersionInfo age;
      u_charAge(static_cast<UChar32>(rune), age);
      if (age[0] == 0 || age[0] > kPcreUnicode) continue;
      std::string text = "a";
      base::AppendRune(rune, text);
      text += " ";
      base::AppendRune(rune, text);
      text += "1";
      ASSERT_EQ(Words(scanner, text), WordsOfPattern(pattern, text)) << static_cast<uint32_t>(rune);
    }
  }
}

TEST(WordScanner, KnownTextsAreCutAsTheirModelsCutThem) {
  EXPECT_EQ(Words(WordScanner::kGpt2, "I'll  pay 100$\n\n now"), "I|'ll| | pay| 100|$|\n\n| now|");
  EXPECT_EQ(Words(WordScanner::kThreeDigits, "I'LL pay 1234$\n\n now"),
            "I|'LL| pay| |123|4|$\n\n| now|");
  EXPECT_EQ(Words(WordScanner::kThreeDigits, "a\n  "), "a|\n|  |");
  EXPECT_EQ(Words(WordScanner::kCl100k, "a\n  "), "a|\n  |");
  EXPECT_EQ(Words(WordScanner::kOneDigit, "12(x)"), "1|2|(x|)|");
  EXPECT_EQ(Words(WordScanner::kCased, "camelCaseHTTPServer don't a/\n"),
            "camel|Case|HTTPServer| don't| a|/\n|");
  EXPECT_EQ(Words(WordScanner::kGpt2, ""), "");
}

TEST(WordScanner, IsFoundByItsPatternOnly) {
  for (const WordScanner scanner : kScanners) {
    EXPECT_EQ(FindScanner(PatternOf(scanner)), scanner);
  }
  EXPECT_FALSE(FindScanner(R"(\w+)").has_value());
}

}  // namespace
}  // namespace sluice::text
