#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"

namespace sluice::text {
namespace {

std::string Words(std::vector<PreTokenizerKind> steps, std::string_view text) {
  std::string out;
  for (const std::string_view word : PreTokenizer{std::move(steps)}.Split(text)) {
    out.append(word).append("|");
  }
  return out;
}

TEST(PreTokenizer, EachKindCutsWhereItsNameSays) {
  const std::string_view text = " a-b  c_d!! \xE2\x82\xAC\xE2\x82\xAC x";
  EXPECT_EQ(Words({PreTokenizerKind::kBert}, text), "a|-|b|c|_|d|!|!|\xE2\x82\xAC\xE2\x82\xAC|x|");
  EXPECT_EQ(Words({PreTokenizerKind::kWhitespace}, text),
            "a|-|b|c_d|!!|\xE2\x82\xAC\xE2\x82\xAC|x|");
  EXPECT_EQ(Words({PreTokenizerKind::kWhitespaceSplit}, text),
            "a-b|c_d!!|\xE2\x82\xAC\xE2\x82\xAC|x|");
  EXPECT_EQ(Words({PreTokenizerKind::kPunctuationIsolated}, "a,,b"), "a|,|,|b|");
  EXPECT_EQ(Words({PreTokenizerKind::kPunctuationRemoved}, ",a,,b."), "a|b|");
}

TEST(PreTokenizer, StepsCutWhatTheOneBeforeLeft) {
  EXPECT_EQ(
      Words({PreTokenizerKind::kWhitespaceSplit, PreTokenizerKind::kPunctuationRemoved}, "a.b c."),
      "a|b|c|");
  EXPECT_EQ(Words({}, "a b"), "a b|");
  EXPECT_EQ(Words({}, ""), "");
  EXPECT_EQ(Words({PreTokenizerKind::kBert}, " \xC2\xA0\t"), "");
}

std::string Apply(std::vector<NormalizerStep> steps, std::string_view text) {
  return Normalizer{std::move(steps)}.Apply(text);
}

TEST(Normalizer, BertDoesWhatItsSwitchesSay) {
  const std::string_view text("A\xC3\x89\x01\t\xE6\x97\xA5", 8);
  EXPECT_EQ(Apply({{NormalizerKind::kBert, {}}}, text), "ae  \xE6\x97\xA5 ");
  EXPECT_EQ(Apply({{NormalizerKind::kBert, {true, false, false, false}}}, text),
            "A\xC3\x89 \xE6\x97\xA5");
  EXPECT_EQ(Apply({{NormalizerKind::kBert, {false, true, false, false}}}, text),
            std::string("A\xC3\x89\x01\t \xE6\x97\xA5 "));
  EXPECT_EQ(Apply({{NormalizerKind::kBert, {false, false, true, false}}}, text),
            std::string("AE\x01\t\xE6\x97\xA5"));
  EXPECT_EQ(Apply({{NormalizerKind::kBert, {false, false, false, true}}}, text),
            std::string("a\xC3\xA9\x01\t\xE6\x97\xA5"));
}

TEST(Normalizer, StepsRunInOrder) {
  EXPECT_EQ(Apply({{NormalizerKind::kNfkc, {}}, {NormalizerKind::kLowercase, {}}},
                  "\xEF\xBC\xA1\xEF\xAC\x81"),
            "afi");
  EXPECT_EQ(Apply({{NormalizerKind::kStripAccents, {}}},
                  "\xC3\xA9"
                  "e\xCC\x81"),
            "\xC3\xA9"
            "e");
  EXPECT_EQ(Apply({{NormalizerKind::kNfd, {}}, {NormalizerKind::kStripAccents, {}}}, "\xC3\xA9"),
            "e");
  EXPECT_EQ(Apply({{NormalizerKind::kNfc, {}}}, "e\xCC\x81"), "\xC3\xA9");
  EXPECT_EQ(Apply({{NormalizerKind::kNfkd, {}}}, "\xC2\xBD"),
            "1\xE2\x81\x84"
            "2");
  EXPECT_EQ(Apply({}, "As it is"), "As it is");
}

}  // namespace
}  // namespace sluice::text
