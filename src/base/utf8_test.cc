#include "base/utf8.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace sluice::base {
namespace {

TEST(Utf8, EveryScalarValueRoundTrips) {
  for (char32_t rune = 0; rune <= 0x10FFFF; ++rune) {
    if (rune >= 0xD800 && rune <= 0xDFFF) continue;
    std::string text;
    AppendRune(rune, text);
    const Rune decoded = DecodeRune(text, 0);
    ASSERT_TRUE(decoded.valid && decoded.rune == rune &&
                decoded.bytes == static_cast<int>(text.size()))
        << static_cast<uint32_t>(rune);
  }
}

TEST(Utf8, OverlongFormsSurrogatesAndValuesAboveTheLastPlaneAreInvalid) {
  for (const char* text : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF",
                           "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                           "\xF5\x80\x80\x80", "\xFF", "\xC2", "\xE2\x82", "\xF0\x9F\x98"}) {
    EXPECT_FALSE(IsValidUtf8(text)) << text;
    EXPECT_FALSE(DecodeRune(text, 0).valid);
  }
  EXPECT_TRUE(IsValidUtf8("plain ascii of some length, \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 end"));
}

TEST(Utf8, MaximalSubpartsAreReplacedAsTheUnicodeStandardsExampleShows) {
  // Unicode 15, table 3-8.
  EXPECT_EQ(ReplaceInvalidUtf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
            "b\xEF\xBF\xBD"
            "c\xEF\xBF\xBD\xEF\xBF\xBD"
            "d");
}

TEST(Utf8, RepairedTextIsValidAndRepairOfValidTextChangesNothing) {
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::string text(random() % 30, '\0');
    for (char& c : text) c = static_cast<char>(random());
    const std::string repaired = ReplaceInvalidUtf8(text);
    ASSERT_TRUE(IsValidUtf8(repaired));
    ASSERT_EQ(IsValidUtf8(text), repaired == text);
  }
}

}  // namespace
}  // namespace sluice::base
