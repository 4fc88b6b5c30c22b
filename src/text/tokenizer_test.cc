#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace sluice::text {
namespace {

using Ids = std::vector<int32_t>;

// A tokenizer.json with one part exchanged.
std::string FileWith(std::string_view part, std::string_view value) {
  struct Part {
    std::string_view name;
    std::string_view value;
  };
  std::vector<Part> parts = {
      {"version", R"("1.0")"},
      {"truncation", "null"},
      {"padding", "null"},
      {"added_tokens",
       R"([{"id": 2, "content": "[CLS]", "special": true},
           {"id": 3, "content": "[SEP]", "special": true}])"},
      {"normalizer", R"({"type": "BertNormalizer", "lowercase": true, "strip_accents": null})"},
      {"pre_tokenizer", R"({"type": "BertPreTokenizer"})"},
      {"post_processor", R"({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]})"},
      {"decoder", R"({"type": "WordPiece", "prefix": "##", "cleanup": true})"},
      {"model", R"({"type": "WordPiece", "unk_token": "[UNK]", "vocab": {
          "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5, "c": 6, "##b": 7,
          "cafe": 8, ".": 9, "\u65e5": 10, "\u00e9": 11, "##c": 12,
          "##\ud834\udd65\u302e": 13}})"},
  };
  std::string file = "{";
  for (Part& each : parts) {
    if (each.name == part) each.value = value;
    if (each.value.empty()) continue;
    if (file.size() > 1) file += ",";
    file.append("\"").append(each.name).append("\":").append(each.value);
  }
  return file + "}";
}

std::shared_ptr<const Tokenizer> Make(std::string_view part = "", std::string_view value = "") {
  auto tokenizer = Tokenizer::Parse(FileWith(part, value));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.value();
}

Ids Encode(const Tokenizer& tokenizer, std::string_view text, int64_t length_max = 0) {
  return tokenizer.Encode(text, {.length_max = length_max}).value().ids;
}

std::string RefusalOf(std::string_view part, std::string_view value) {
  const auto tokenizer = Tokenizer::Parse(FileWith(part, value));
  return tokenizer.ok() ? "" : tokenizer.error().message;
}

TEST(Tokenizer, EncodesOneTextWithItsFixedTokens) {
  const auto tokenizer = Make();
  const Encoding encoding = tokenizer->Encode("AB. caf\xC3\xA9 \xE6\x97\xA5x[SEP]").value();
  EXPECT_EQ(encoding.ids, (Ids{2, 4, 7, 9, 8, 10, 1, 3, 3}));
  EXPECT_EQ(encoding.type_ids, Ids(9, 0));
  EXPECT_EQ(encoding.attention_mask, Ids(9, 1));
  EXPECT_FALSE(encoding.truncated);
  EXPECT_EQ(tokenizer->id_max(), 13);
}

TEST(Tokenizer, EncodesAPairWithTypeIds) {
  const Encoding encoding = Make()->EncodePair("a", "b c").value();
  EXPECT_EQ(encoding.ids, (Ids{2, 4, 3, 5, 6, 3}));
  EXPECT_EQ(encoding.type_ids, (Ids{0, 0, 0, 1, 1, 1}));
}

TEST(Tokenizer, WithoutFixedTokensOnlyTheTextsAreLeft) {
  const Encoding encoding = Make()->EncodePair("a", "b", {.add_fixed_tokens = false}).value();
  EXPECT_EQ(encoding.ids, (Ids{4, 5}));
  EXPECT_EQ(encoding.type_ids, (Ids{0, 1}));
}

TEST(Tokenizer, InvalidUtf8IsReadAsReplacementCharacters) {
  const auto tokenizer = Make("normalizer", "null");
  EXPECT_EQ(Encode(*tokenizer, "a\xFF b"), Encode(*tokenizer, "a\xEF\xBF\xBD b"));
  EXPECT_EQ(Encode(*Make(),
                   "a\xFF"
                   "b"),
            Encode(*Make(), "ab"))
      << "BERT drops them";
}

TEST(Tokenizer, EmptyAndBlankTextsGiveTheFixedTokens) {
  for (const char* text : {"", " ", "\t\n", "\x01\x02"}) {
    EXPECT_EQ(Encode(*Make(), text), (Ids{2, 3})) << text;
  }
}

TEST(Tokenizer, TheFastPathEqualsTheSlowOne) {
  // A normalised added token switches the fast path off.
  const auto slow = Make("added_tokens",
                         R"([{"id": 2, "content": "[CLS]", "special": true},
                             {"id": 3, "content": "[SEP]", "special": true},
                             {"id": 14, "content": "never", "normalized": true}])");
  const auto fast = Make();
  for (const std::string& text : {std::string("a.b \xC3\x89\xC3\xA9 \xE6\x97\xA5\xE6\x97\xA5"
                                              "c\x01[SEP]"),
                                  std::string(101, 'a'), std::string(100, 'b') + ".",
                                  std::string("a\xCC\x81\xE3\x80\xAE\xCC\x81"),
                                  std::string("\xC4\xB0 \xEA\xB0\x81 \xE2\x80\x8B"
                                              "b\xC2\xA0"
                                              "c")}) {
    EXPECT_EQ(Encode(*fast, text), Encode(*slow, text)) << text;
  }
}

TEST(Tokenizer, CombiningCharactersThatStayAreOrderedByTheirClass) {
  // U+302E has class 224, U+1D165 has 216: canonical order exchanges them, and the vocabulary has
  // them ordered.
  EXPECT_EQ(Encode(*Make(), "a\xE3\x80\xAE\xF0\x9D\x85\xA5"), (Ids{2, 4, 13, 3}));
}

TEST(Tokenizer, CutsAtTheLimitAndSaysSo) {
  const auto tokenizer = Make();
  const Encoding cut = tokenizer->Encode("a b c a", {.length_max = 5}).value();
  EXPECT_EQ(cut.ids, (Ids{2, 4, 5, 6, 3}));
  EXPECT_TRUE(cut.truncated);
  EXPECT_FALSE(tokenizer->Encode("a b c", {.length_max = 5})->truncated);
  EXPECT_EQ(Encode(*tokenizer, "abbbbb", 4), (Ids{2, 4, 7, 3})) << "a word may be cut";
  EXPECT_EQ(Encode(*tokenizer, "a", 2), (Ids{2, 3}));
  EXPECT_FALSE(tokenizer->Encode("a", {.length_max = 1}).ok());
  EXPECT_EQ(Encode(*tokenizer, "a", std::numeric_limits<int64_t>::max()), (Ids{2, 4, 3}));
}

TEST(Tokenizer, LongestFirstSharesTheRoomOfAPair) {
  const auto tokenizer = Make();
  const auto lengths = [&](int first, int second, int64_t limit) {
    std::string a;
    std::string b;
    for (int i = 0; i < first; ++i) a += "a ";
    for (int i = 0; i < second; ++i) b += "b ";
    const Encoding encoding = tokenizer->EncodePair(a, b, {.length_max = limit + 3}).value();
    const auto count = [&](int32_t id) {
      return static_cast<int>(std::count(encoding.ids.begin(), encoding.ids.end(), id));
    };
    return std::make_pair(count(4), count(5));
  };
  EXPECT_EQ(lengths(2, 10, 8), std::make_pair(2, 6));
  EXPECT_EQ(lengths(10, 2, 8), std::make_pair(6, 2));
  EXPECT_EQ(lengths(10, 10, 8), std::make_pair(4, 4));
  EXPECT_EQ(lengths(10, 12, 7), std::make_pair(3, 4));
  EXPECT_EQ(lengths(12, 10, 7), std::make_pair(4, 3));
  EXPECT_EQ(lengths(3, 3, 0), std::make_pair(0, 0));
}

TEST(Tokenizer, TheFilesTruncationChoosesStrategyAndSide) {
  const auto left = Make("truncation", R"({"direction": "Left", "max_length": 8,
                                           "strategy": "OnlySecond", "stride": 0})");
  EXPECT_EQ(left->truncation()->length_max, 8);
  EXPECT_EQ(left->EncodePair("a", "a b c", {.length_max = 5})->ids, (Ids{2, 4, 3, 6, 3}));
  EXPECT_FALSE(left->EncodePair("a b c", "a", {.length_max = 5}).ok());
  EXPECT_FALSE(left->Encode("a b c", {.length_max = 3}).ok());
}

TEST(Tokenizer, PadsAsTheFileSays) {
  const auto tokenizer =
      Make("padding", R"({"strategy": {"Fixed": 5}, "direction": "Left", "pad_to_multiple_of": 4,
                          "pad_id": 0, "pad_type_id": 1, "pad_token": "[PAD]"})");
  EXPECT_EQ(tokenizer->PaddedLength(2), 8);
  EXPECT_EQ(tokenizer->PaddedLength(9), 12);
  Encoding encoding = tokenizer->Encode("a").value();
  tokenizer->Pad(5, encoding);
  EXPECT_EQ(encoding.ids, (Ids{0, 0, 2, 4, 3}));
  EXPECT_EQ(encoding.type_ids, (Ids{1, 1, 0, 0, 0}));
  EXPECT_EQ(encoding.attention_mask, (Ids{0, 0, 1, 1, 1}));
  tokenizer->Pad(2, encoding);
  EXPECT_EQ(encoding.ids.size(), 5u);
  EXPECT_EQ(Make()->PaddedLength(7), 7);
}

TEST(Tokenizer, TextsAboveTheLimitAreRefused) {
  const auto tokenizer = Make();
  EXPECT_TRUE(tokenizer->Encode(std::string(Tokenizer::kTextBytesMax, ' ')).ok());
  EXPECT_FALSE(tokenizer->Encode(std::string(Tokenizer::kTextBytesMax + 1, ' ')).ok());
}

TEST(TokenizerFile, WhatIsNotBuiltIsRefusedByItsName) {
  const auto names = [](std::string_view part, std::string_view value, std::string_view name) {
    const std::string message = RefusalOf(part, value);
    EXPECT_NE(message.find(name), std::string::npos) << part << " " << value << ": " << message;
  };
  names("model", R"({"type": "Markov", "vocab": {}})", "Markov");
  names("model", R"({"type": "BPE", "dropout": 0.1, "vocab": {}, "merges": []})", "dropout");
  names("model", R"({"type": "WordPiece", "fuse": 1, "vocab": {"[UNK]": 0}})", "fuse");
  names("normalizer", R"({"type": "Upper"})", "Upper");
  names("normalizer", R"({"type": "Sequence", "normalizers": [{"type": "Trim"}]})", "Trim");
  names("normalizer", R"({"type": "Replace", "pattern": {"Regex": "\\h"}, "content": ""})", "\\h");
  names("pre_tokenizer", R"({"type": "Jieba"})", "Jieba");
  names("pre_tokenizer", R"({"type": "Punctuation", "behavior": "Doubled"})", "Doubled");
  names("post_processor", R"({"type": "Sequence", "processors": [{"type": "Swap"}]})", "Swap");
  names("decoder", R"({"type": "Morse"})", "Morse");
  names("truncation", R"({"strategy": "Middle", "max_length": 3})", "Middle");
  names("version", R"("2.0")", "2.0");
}

TEST(TokenizerFile, WhatIsWrongIsRefusedWithItsPlace) {
  const auto says = [](std::string_view part, std::string_view value, std::string_view text) {
    const std::string message = RefusalOf(part, value);
    EXPECT_NE(message.find(text), std::string::npos) << part << " " << value << ": " << message;
  };
  says("model", "", "'model'");
  says("model", R"({"type": "WordPiece", "vocab": {"a": 1}})", "unknown token");
  says("model", R"({"type": "WordPiece", "vocab": {"[UNK]": -1}})", "out of range");
  says("model", R"({"type": "WordPiece", "vocab": {"[UNK]": 1.5}})", "an integer");
  says("added_tokens", R"([{"id": 99, "content": "new"}])", "has id 99, expected 14");
  says("added_tokens", R"([{"id": 4, "content": "[CLS]"}])", "has id 4, expected 2");
  says("post_processor",
       R"({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}})",
       "single");
  says("post_processor",
       R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}],
           "pair": [], "special_tokens": {}})",
       "[X]");
  says("truncation", R"({"max_length": -1})", "max_length");
  says("padding", R"({"strategy": {"Fixed": -4}})", "Fixed");
  says("normalizer", R"({"type": "BertNormalizer", "lowercase": 3})", "lowercase");
  EXPECT_FALSE(Tokenizer::Parse("not json").ok());
  EXPECT_FALSE(Tokenizer::Parse("[]").ok());
  EXPECT_FALSE(Tokenizer::Load("/nowhere/tokenizer.json").ok());
}

TEST(TokenizerFile, SequencesLongerThanTheLimitAreRefused) {
  std::string steps = R"({"type": "Sequence", "normalizers": [{"type": "NFC"})";
  for (int i = 0; i < 32; ++i) steps += R"(, {"type": "NFC"})";
  EXPECT_NE(RefusalOf("normalizer", steps + "]}").find("too many"), std::string::npos);
}

TEST(TokenizerFile, TheTestsOwnVocabularyLoads) {
  const auto tokenizer = Tokenizer::Load("tests/conformance/tokenizer/small.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->fixed_tokens(false), 2);
  EXPECT_EQ((*tokenizer)->fixed_tokens(true), 3);
}

}  // namespace
}  // namespace sluice::text
