#include "text/added_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sluice::text {
namespace {

AddedToken Token(int32_t id, std::string content) {
  AddedToken token;
  token.id = id;
  token.content = std::move(content);
  return token;
}

// Texts in brackets, tokens as numbers.
std::string Split(const AddedTokenMatcher& matcher, std::string_view text) {
  std::vector<AddedSegment> segments;
  matcher.Split(text, true, segments);
  std::string out;
  for (const AddedSegment& segment : segments) {
    out += segment.id == TokenTrie::kNone ? "(" + std::string(segment.text) + ")"
                                          : std::to_string(segment.id);
  }
  return out;
}

AddedTokenMatcher Make(const std::vector<AddedToken>& tokens) {
  AddedTokenMatcher matcher;
  for (const AddedToken& token : tokens) matcher.Add(token, token.content).value();
  return matcher;
}

TEST(AddedTokens, AreFoundAnywhereTheLeftmostAndThenTheLongest) {
  const AddedTokenMatcher matcher =
      Make({Token(1, "[A]"), Token(2, "[A][A]"), Token(3, "]x"), Token(4, "[")});
  EXPECT_EQ(Split(matcher, "a[A]b"), "(a)1(b)");
  EXPECT_EQ(Split(matcher, "[A][A][A]"), "21");
  EXPECT_EQ(Split(matcher, "[A]x"), "1(x)");
  EXPECT_EQ(Split(matcher, "[]x"), "43");
  EXPECT_EQ(Split(matcher, ""), "");
  EXPECT_EQ(Split(matcher, "none"), "(none)");
}

TEST(AddedTokens, StripTakesTheWhiteSpaceOfItsSide) {
  AddedToken left = Token(1, "<l>");
  left.lstrip = true;
  AddedToken right = Token(2, "<r>");
  right.rstrip = true;
  const AddedTokenMatcher matcher = Make({left, right});
  EXPECT_EQ(Split(matcher, "a \xC2\xA0 <l> b"), "(a)1( b)");
  EXPECT_EQ(Split(matcher, "a <r> \n b"), "(a )2(b)");
  EXPECT_EQ(Split(matcher, "<r>  <l>"), "21");
}

TEST(AddedTokens, SingleWordsAreNotFoundInsideWords) {
  AddedToken word = Token(1, "cat");
  word.single_word = true;
  const AddedTokenMatcher matcher = Make({word});
  EXPECT_EQ(Split(matcher, "cat"), "1");
  EXPECT_EQ(Split(matcher, "a cat."), "(a )1(.)");
  EXPECT_EQ(Split(matcher, "concat cats _cat cat\xC3\xA9"), "(concat cats _cat cat\xC3\xA9)");
}

TEST(AddedTokens, ContentsBeyondTheLimitsAreRefused) {
  AddedTokenMatcher matcher;
  const std::string longest(AddedTokenMatcher::kContentBytesMax, 'x');
  EXPECT_TRUE(matcher.Add(Token(1, longest), longest).ok());
  EXPECT_FALSE(matcher.Add(Token(2, longest + "x"), longest + "x").ok());
  EXPECT_FALSE(matcher.Add(Token(3, "a"), "").ok());
  while (matcher.Add(Token(4, "a"), "a").ok()) {
  }
  EXPECT_EQ(Split(matcher, "a"), "4");
}

}  // namespace
}  // namespace sluice::text
