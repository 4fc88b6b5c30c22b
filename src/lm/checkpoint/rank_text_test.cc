#include "lm/checkpoint/rank_text.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lm/checkpoint/model_text.h"

namespace sluice::lm {
namespace {

using Ids = std::vector<int32_t>;

std::string Base64(const std::string& bytes) {
  constexpr const char* kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t j = 0; j < 3; ++j) {
      three = three << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? kLetters[three >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

// All bytes, then "an" as 256.
std::string Ranks() {
  std::string file;
  for (int byte = 0; byte < 256; ++byte) {
    file += Base64(std::string(1, static_cast<char>(byte))) + " " + std::to_string(byte) + "\n";
  }
  return file + Base64("an") + " 256\n";
}

std::string FamilyOf(const RankFiles& files) {
  const auto family = RankFamilyOf(files);
  return family.ok() ? std::string((*family)->name) : family.error().message;
}

TEST(RankText, TheFamilyIsToldByTheFirstFileThatNamesOne) {
  RankFiles files;
  files.name = "tokenizer.model";
  files.config = R"({"model_type": "llama"})";
  EXPECT_EQ(FamilyOf(files), "llama3");
  files.settings = R"({"tokenizer_class": "QWenTokenizer"})";
  EXPECT_EQ(FamilyOf(files), "qwen");
  files.name = "o200k_base.tiktoken";
  EXPECT_EQ(FamilyOf(files), "o200k_base");
  files.settings = R"({"tokenizer_class": "QWenTokenizer", "encoding_name": "cl100k_base"})";
  EXPECT_EQ(FamilyOf(files), "cl100k_base");
}

TEST(RankText, WhatWasLookedForIsSaidWhereNothingTells) {
  RankFiles files;
  files.name = "words.tiktoken";
  files.settings = R"({"tokenizer_class": "Hers"})";
  files.config = R"({"model_type": "mamba"})";
  const std::string message = FamilyOf(files);
  for (const char* const part : {"words.tiktoken", "'Hers'", "'mamba'", "encoding_name",
                                 "cl100k_base", "llama3", "tokenizer.json"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
  files.settings = R"({"encoding_name": "p100k"})";
  EXPECT_NE(FamilyOf(files).find("'p100k'"), std::string::npos);
}

TEST(RankText, Llama3sSpecialTokensFollowItsRanksAndBeginATextWhereAsked) {
  RankFiles files;
  files.name = "tokenizer.model";
  files.ranks = Ranks();
  files.config = R"({"model_type": "llama"})";
  const auto tokenizer = ReadFolderRanks(files).value();
  EXPECT_EQ(tokenizer->Encode("an<|eot_id|>")->ids, (Ids{257, 256, 257 + 9}));
  EXPECT_EQ(tokenizer->FindToken("<|reserved_special_token_247|>"), 257 + 255);
  EXPECT_EQ(tokenizer->id_max(), 257 + 255);
  files.settings = R"({"add_bos_token": false, "add_eos_token": true})";
  EXPECT_EQ(ReadFolderRanks(files).value()->Encode("an")->ids, (Ids{256, 258}));
}

TEST(RankText, AddedTokensOfTheFolderReplaceTheFamilys) {
  RankFiles files;
  files.name = "cl100k_base.tiktoken";
  files.ranks = Ranks();
  files.settings = R"({"added_tokens_decoder": {"257": {"content": "<|end|>", "special": true},
                                                "258": {"content": "word", "lstrip": true}}})";
  const auto tokenizer = ReadFolderRanks(files).value();
  EXPECT_EQ(tokenizer->Encode("  word<|end|>")->ids, (Ids{258, 257}));
  EXPECT_TRUE(tokenizer->is_special(257));
  EXPECT_FALSE(tokenizer->is_special(258));
  EXPECT_EQ(tokenizer->id_max(), 258);
  files.settings = R"({"added_tokens_decoder": {"x": {"content": "<|end|>"}}})";
  const auto wrong = ReadFolderRanks(files);
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message.find("'x'"), std::string::npos) << wrong.error().message;
}

TEST(RankText, AFolderIsReadByItsRanks) {
  const std::string folder = testing::TempDir() + "rank_text";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder + "/" + name, std::ios::binary) << text;
  };
  write("config.json", R"({"model_type": "llama"})");
  write("qwen.tiktoken", Ranks());
  const auto vocabulary = ModelText::Load(folder, 1000);
  ASSERT_FALSE(vocabulary.ok());
  EXPECT_NE(vocabulary.error().message.find("151850"), std::string::npos);
  EXPECT_EQ((*ModelText::Load(folder, 200000))->Encode("an", 9).value(), (Ids{256}));
  // A tokenizer.model goes before, and its content says what it is.
  write("tokenizer.model", Ranks());
  EXPECT_EQ((*ModelText::Load(folder, 1000))->Encode("an", 9).value(), (Ids{257, 256}));
  std::filesystem::remove(folder + "/tokenizer.model");
  write("other.tiktoken", Ranks());
  const auto two = ModelText::Load(folder, 200000);
  ASSERT_FALSE(two.ok());
  EXPECT_NE(two.error().message.find("other.tiktoken"), std::string::npos) << two.error().message;
}

TEST(RankText, APieceFileIsNoRanks) {
  EXPECT_TRUE(text::LooksLikeRanks("IQ== 0\n"));
  EXPECT_TRUE(text::LooksLikeRanks("IQ== 0\r\nIg== 1\r\n"));
  EXPECT_FALSE(text::LooksLikeRanks("\n\x0e\n\x05<unk>\x15"));
  EXPECT_FALSE(text::LooksLikeRanks("IQ== x\n"));
  EXPECT_FALSE(text::LooksLikeRanks(""));
}

}  // namespace
}  // namespace sluice::lm
