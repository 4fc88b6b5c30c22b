#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"

namespace sluice::text {
namespace {

std::string Words(std::vector<PreTokenizerStep> steps, std::string_view text,
                  bool at_start = true) {
  WordList list;
  EXPECT_TRUE((PreTokenizer{std::move(steps)}.Split({text, at_start}, list).ok()));
  std::string out;
  for (const std::string_view word : list.words) out.append(word).append("|");
  return out;
}

std::string Words(PreTokenizerKind kind, std::string_view text) {
  return Words(std::vector<PreTokenizerStep>{{kind}}, text);
}

TEST(PreTokenizer, EachKindCutsWhereItsNameSays) {
  const std::string_view text = " a-b  c_d!! \xE2\x82\xAC\xE2\x82\xAC x";
  EXPECT_EQ(Words(PreTokenizerKind::kBert, text), "a|-|b|c|_|d|!|!|\xE2\x82\xAC\xE2\x82\xAC|x|");
  EXPECT_EQ(Words(PreTokenizerKind::kWhitespace, text), "a|-|b|c_d|!!|\xE2\x82\xAC\xE2\x82\xAC|x|");
  EXPECT_EQ(Words(PreTokenizerKind::kWhitespaceSplit, text),
            "a-b|c_d!!|\xE2\x82\xAC\xE2\x82\xAC|x|");
  EXPECT_EQ(Words(PreTokenizerKind::kPunctuation, "a,,b"), "a|,|,|b|");
  EXPECT_EQ(Words(PreTokenizerKind::kScan, "I'm  2x!"), "I|'m| | 2|x|!|");
  EXPECT_EQ(Words(PreTokenizerKind::kPrefixSpace, "a b"), " a b|");
  EXPECT_EQ(Words(PreTokenizerKind::kByteLevel, " \n"), "\xC4\xA0\xC4\x8A|");
  EXPECT_EQ(Words(PreTokenizerKind::kScripts, "ab \xE6\x97\xA5\xE3\x81\x82 c"),
            "ab |\xE6\x97\xA5\xE3\x81\x82 |c|");
  PreTokenizerStep step{PreTokenizerKind::kDigits};
  EXPECT_EQ(Words({step}, "a12b"), "a|12|b|");
  step.each_digit = true;
  EXPECT_EQ(Words({step}, "a12b"), "a|1|2|b|");
  step = {PreTokenizerKind::kFixedLength};
  step.length = 2;
  EXPECT_EQ(Words({step}, "a\xC3\xA9i.x"), "a\xC3\xA9|i.|x|");
  step = {PreTokenizerKind::kDelimiter};
  step.delimiter = "-";
  EXPECT_EQ(Words({step}, "-a--b"), "a|b|");
}

TEST(PreTokenizer, ABehaviourSaysWhatBecomesOfThePlacesToCutAt) {
  PreTokenizerStep step{PreTokenizerKind::kSplit};
  step.pattern = Pattern::Literal("-");
  const auto words = [&](SplitBehavior behavior, std::string_view text) {
    step.behavior = behavior;
    return Words({step}, text);
  };
  const std::string_view text = "the-final--countdown-";
  EXPECT_EQ(words(SplitBehavior::kRemoved, text), "the|final|countdown|");
  EXPECT_EQ(words(SplitBehavior::kIsolated, text), "the|-|final|-|-|countdown|-|");
  EXPECT_EQ(words(SplitBehavior::kMergedWithPrevious, text), "the-|final-|-|countdown-|");
  EXPECT_EQ(words(SplitBehavior::kMergedWithNext, text), "the|-final|-|-countdown|-|");
  EXPECT_EQ(words(SplitBehavior::kContiguous, text), "the|-|final|--|countdown|-|");
  step.invert = true;
  EXPECT_EQ(words(SplitBehavior::kRemoved, text), "-|-|-|-|");
}

TEST(PreTokenizer, MetaspaceStandsBeforeWordsAsItsSchemeSays) {
  PreTokenizerStep step{PreTokenizerKind::kMetaspace};
  step.delimiter = "_";
  EXPECT_EQ(Words({step}, "a  b"), "_a|_|_b|");
  EXPECT_EQ(Words({step}, " a"), "_a|");
  step.prepend = PrependScheme::kFirst;
  EXPECT_EQ(Words({step}, "a b"), "_a|_b|");
  EXPECT_EQ(Words({step}, "a b", false), "a|_b|");
  step.prepend = PrependScheme::kNever;
  step.splits = false;
  EXPECT_EQ(Words({step}, "a b"), "a_b|");
}

TEST(PreTokenizer, StepsCutWhatTheOneBeforeLeft) {
  PreTokenizerStep punctuation{PreTokenizerKind::kPunctuation};
  punctuation.behavior = SplitBehavior::kRemoved;
  EXPECT_EQ(Words({{PreTokenizerKind::kWhitespaceSplit}, punctuation}, "a.b c."), "a|b|c|");
  EXPECT_EQ(Words({punctuation}, ",a,,b."), "a|b|");
  EXPECT_EQ(Words(std::vector<PreTokenizerStep>{}, "a b"), "a b|");
  EXPECT_EQ(Words(std::vector<PreTokenizerStep>{}, ""), "");
  EXPECT_EQ(Words(PreTokenizerKind::kBert, " \xC2\xA0\t"), "");
}

TEST(PreTokenizer, AnExpressionThatTakesTooManyStepsIsRefused) {
  PreTokenizerStep step{PreTokenizerKind::kSplit};
  step.pattern = Pattern::Regex("(a+)+$").value();
  WordList list;
  const std::string text = std::string(64, 'a') + "b";
  const auto status = PreTokenizer{{step}}.Split({text, true}, list);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, base::Code::kResourceExhausted);
}

std::string Apply(std::vector<NormalizerStep> steps, std::string_view text) {
  return Normalizer{std::move(steps)}.Apply(text).value();
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
