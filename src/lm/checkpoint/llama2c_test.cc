#include "lm/checkpoint/llama2c.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace sluice::lm {
namespace {

// A checkpoint of version 0 whose i-th float is i.
std::string Write(const std::string& name, std::array<int32_t, 7> sizes, int64_t floats) {
  const std::string path = testing::TempDir() + name;
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(sizes.data()), sizeof(sizes));
  for (int64_t i = 0; i < floats; ++i) {
    const auto value = static_cast<float>(i);
    file.write(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return path;
}

// dim 8, feed-forward 12, 2 layers, 2 heads, 1 key head, vocabulary 5, context 3.
constexpr std::array<int32_t, 7> kSizes = {8, 12, 2, 2, 1, 5, 3};
constexpr int64_t kTied =
    5 * 8 + 2 * 8 + 2 * 8 * 8 + 2 * 2 * 4 * 8 + 2 * 8 * 8 + 2 * 8 + 3 * 2 * 12 * 8 + 8 + 3 * 4;

TEST(Llama2c, FindsTensorsWhereTheFormatPutsThem) {
  const auto checkpoint = Llama2cCheckpoint::Open(Write("tied.bin", kSizes, kTied));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->config().head_dim, 4);
  EXPECT_TRUE(checkpoint->config().tied_head);
  const auto first = [&](const char* name) {
    return checkpoint->Find(name)->view().as<float>()[0];
  };
  EXPECT_EQ(first("model.embed_tokens.weight"), 0);
  EXPECT_EQ(first("model.layers.1.input_layernorm.weight"), 48);
  EXPECT_EQ(first("model.layers.0.self_attn.q_proj.weight"), 56);
  EXPECT_EQ(first("model.layers.1.self_attn.k_proj.weight"), 56 + 128 + 32);
  EXPECT_EQ(first("model.norm.weight"), kTied - 12 - 8);
  EXPECT_FALSE(checkpoint->Find("lm_head.weight").ok());
}

TEST(Llama2c, ANegativeVocabularyMeansAHeadOfItsOwn) {
  std::array<int32_t, 7> sizes = kSizes;
  sizes[5] = -5;
  const auto checkpoint = Llama2cCheckpoint::Open(Write("apart.bin", sizes, kTied + 40));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->Find("lm_head.weight")->view().as<float>()[0], static_cast<float>(kTied));
}

TEST(Llama2c, NamesWhatIsMissingAndWhatIsTooMuch) {
  const auto shorter = Llama2cCheckpoint::Open(Write("short.bin", kSizes, 100));
  ASSERT_FALSE(shorter.ok());
  EXPECT_NE(shorter.error().message.find("ends inside of model.layers.0.self_attn.q_proj"),
            std::string::npos);
  const auto longer = Llama2cCheckpoint::Open(Write("long.bin", kSizes, kTied + 1));
  ASSERT_FALSE(longer.ok());
  EXPECT_NE(longer.error().message.find("4 bytes more"), std::string::npos);
}

TEST(Llama2c, RefusesSizesThatNoModelHas) {
  std::array<int32_t, 7> sizes = kSizes;
  sizes[4] = 3;
  EXPECT_FALSE(Llama2cCheckpoint::Open(Write("heads.bin", sizes, kTied)).ok());
  sizes = kSizes;
  sizes[1] = -12;
  EXPECT_FALSE(Llama2cCheckpoint::Open(Write("negative.bin", sizes, kTied)).ok());
}

}  // namespace
}  // namespace sluice::lm
