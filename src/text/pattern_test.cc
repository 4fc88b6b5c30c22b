#include "text/pattern.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sluice::text {
namespace {

// Matches in brackets.
std::string Parts(const Pattern& pattern, std::string_view text) {
  std::vector<PatternPart> parts;
  EXPECT_TRUE(pattern.Parts(text, parts).ok());
  std::string out;
  for (const PatternPart& part : parts) {
    out += part.matches ? "[" + std::string(part.text) + "]" : std::string(part.text);
  }
  return out;
}

std::string Regex(std::string_view expression, std::string_view text) {
  return Parts(Pattern::Regex(expression).value(), text);
}

TEST(Pattern, ALiteralIsFoundWhereItStands) {
  EXPECT_EQ(Parts(Pattern::Literal("aa"), "aaa baa"), "[aa]a b[aa]");
  EXPECT_EQ(Parts(Pattern::Literal(".*"), "a.*b"), "a[.*]b");
  EXPECT_EQ(Parts(Pattern::Literal("x"), ""), "");
}

TEST(Pattern, AnExpressionIsReadAsOnigurumaReadsIt) {
  EXPECT_EQ(Regex(R"(\w+)", "a_1\xC3\xA9\xCC\x81-\xE2\x92\xB6"),
            "[a_1\xC3\xA9\xCC\x81]-[\xE2\x92\xB6]");
  EXPECT_EQ(Regex(R"([^\w\s]+)", "a!? b"), "a[!?] b");
  EXPECT_EQ(Regex(R"(\s)", "a\xE1\xA0\x8E\xC2\xA0"), "a\xE1\xA0\x8E[\xC2\xA0]")
      << "U+180E is no white space any more";
  EXPECT_EQ(Regex("^b$", "a\nb\nc"), "a\n[b]\nc");
  EXPECT_EQ(Regex("x*", "axb"), "[]a[x][]b[]");
}

TEST(Pattern, SearchesGoOnBehindLongStretchesWithoutAMatch) {
  const std::string gap(5000, '.');
  EXPECT_EQ(Regex("a+", gap + "aa" + gap + "a"), gap + "[aa]" + gap + "[a]");
  std::string wide;
  for (int i = 0; i < 2000; ++i) wide += "\xE6\x97\xA5";
  EXPECT_EQ(Regex("a", wide + "a"), wide + "[a]");
}

TEST(Pattern, WhatPcreReadsOtherwiseIsRefused) {
  for (const char* expression : {R"(\h)", R"([\W])", "a{2,3}+", "[a[b]]", "[a&&b]"}) {
    const auto pattern = Pattern::Regex(expression);
    ASSERT_FALSE(pattern.ok()) << expression;
    EXPECT_EQ(pattern.error().code, base::Code::kUnimplemented) << expression;
  }
  EXPECT_TRUE(Pattern::Regex(R"(\p{L}+)").ok());
  EXPECT_EQ(Pattern::Regex("(a").error().code, base::Code::kInvalidArgument);
  EXPECT_FALSE(Pattern::Regex(std::string(Pattern::kPatternBytesMax + 1, 'a')).ok());
}

TEST(Pattern, MatchesThatCostTooMuchAreRefused) {
  std::vector<PatternPart> parts;
  const Pattern nested = Pattern::Regex("(a+)+$").value();
  EXPECT_FALSE(nested.Parts(std::string(64, 'a') + "b", parts).ok());
  // Each start looks at all that follows: the thread's time ends it.
  const Pattern trailing = Pattern::Regex(R"(\s+$)").value();
  EXPECT_FALSE(trailing.Parts(std::string(Pattern::kRegexBytesMax - 1, ' ') + "x", parts).ok());
  EXPECT_FALSE(trailing.Parts(std::string(Pattern::kRegexBytesMax + 1, 'x'), parts).ok());
}

TEST(Pattern, ReplacingIsBounded) {
  const Pattern a = Pattern::Literal("a");
  EXPECT_EQ(a.Replace("banana", "oo", 100).value(), "boonoonoo");
  EXPECT_FALSE(a.Replace("aaaa", "12345", 10).ok());
}

}  // namespace
}  // namespace sluice::text
