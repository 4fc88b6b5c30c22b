#include "text/token_offsets.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::text {
namespace {

// The pieces of the text that the spans say, in brackets.
std::string Spelled(const Tokenizer& tokenizer, const std::string& text) {
  const Encoding encoding = tokenizer.Encode(text).value();
  const auto spans = FindTokenSpans(tokenizer, text, encoding.ids);
  if (!spans.has_value()) return "none";
  std::string pieces;
  for (const TokenSpan& span : *spans) {
    pieces +=
        "[" +
        text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin)) +
        "]";
  }
  return pieces;
}

std::shared_ptr<const Tokenizer> Parse(const std::string& json) {
  return Tokenizer::Parse(json).value();
}

std::shared_ptr<const Tokenizer> Words() {
  return Parse(R"({"normalizer":{"type":"BertNormalizer","lowercase":true,"clean_text":true,
    "handle_chinese_chars":true,"strip_accents":null},
    "pre_tokenizer":{"type":"BertPreTokenizer"},
    "added_tokens":[{"id":0,"content":"[CLS]","special":true},
      {"id":1,"content":"[UNK]","special":true}],
    "post_processor":{"type":"TemplateProcessing",
      "single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
      "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
      "special_tokens":{"[CLS]":{"id":"[CLS]","ids":[0],"tokens":["[CLS]"]}}},
    "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
    "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
      "max_input_chars_per_word":100,
      "vocab":{"[CLS]":0,"[UNK]":1,"hel":2,"##lo":3,"world":4,"cafe":5,"!":6}}})");
}

TEST(TokenOffsets, FollowWordsThatAreLoweredAndCut) {
  EXPECT_EQ(Spelled(*Words(), "  Hello   WORLD!"), "[][Hel][lo][WORLD][!]");
}

TEST(TokenOffsets, AreNotGuessedWhereATokenIsSpelledOtherwise) {
  EXPECT_EQ(Spelled(*Words(), "caf\xc3\xa9"), "none");
  EXPECT_EQ(Spelled(*Words(), "hello martians"), "none");
}

TEST(TokenOffsets, CoverEveryByteOfAByteLevelVocabulary) {
  const auto tokenizer = Parse(R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
    "decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","vocab":{"a":0,"\u0120":1,"b":2,"\u0120b":3,"\u00c3":4,"\u00a9":5},
      "merges":["\u0120 b"]}})");
  EXPECT_EQ(Spelled(*tokenizer, "ab b  b"), "[a][b][ b][ ][ b]");
  // A character of two bytes is two tokens.
  EXPECT_EQ(Spelled(*tokenizer, "a\xc3\xa9"), "[a][\xc3][\xa9]");
}

}  // namespace
}  // namespace sluice::text
