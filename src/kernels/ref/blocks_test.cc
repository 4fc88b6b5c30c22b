#include "kernels/ref/blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "kernels/block_int4.h"

namespace sluice::kernels {
namespace {

using tensor::BlockFormat;

std::string ReadAll(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(Blocks, ReadAsTheNumbersOfGgufsOwnPackage) {
  const std::string golden = ReadAll("tests/conformance/blocks/golden.bin");
  ASSERT_FALSE(golden.empty());
  size_t at = 0;
  const auto number = [&] {
    uint32_t value = 0;
    std::memcpy(&value, golden.data() + at, 4);
    at += 4;
    return value;
  };
  int formats = 0;
  while (at < golden.size()) {
    const uint32_t name_bytes = number();
    const std::string name = golden.substr(at, name_bytes);
    at += name_bytes;
    const uint32_t elements = number(), bytes = number();
    bool found = false;
    for (int f = 0; f < tensor::kBlockFormatCount; ++f) {
      const auto format = static_cast<BlockFormat>(f);
      if (tensor::BlockFormatName(format) != name) continue;
      found = true;
      ASSERT_EQ(*tensor::BlockRowBytes(format, elements), bytes) << name;
      std::vector<float> got(elements), want(elements);
      ref::DequantiseBlocks(format, reinterpret_cast<const std::byte*>(golden.data() + at),
                            elements, got.data());
      std::memcpy(want.data(), golden.data() + at + bytes, 4 * elements);
      EXPECT_EQ(got, want) << name;
    }
    EXPECT_TRUE(found) << name;
    at += bytes + 4 * size_t{elements};
    ++formats;
  }
  EXPECT_EQ(formats, 10);
}

std::vector<float> RandomWeights(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = normal(random);
  return values;
}

TEST(Int4, EveryWeightIsWithinHalfAStepOfItsGroup) {
  constexpr int64_t kN = 37, kK = 224;
  const std::vector<float> weights = RandomWeights(kN * kK, 1);
  for (const Int4Kind kind : {Int4Kind::kSymmetric, Int4Kind::kWithMinimum}) {
    for (const int64_t group : {32, 64, 96, 128}) {
      ASSERT_TRUE(Int4Takes(kK, kN, group));
      std::vector<std::byte> out(static_cast<size_t>(Int4Bytes(kK, kN, group, kind)) + 64);
      std::byte* const at = out.data() + (64 - reinterpret_cast<uintptr_t>(out.data()) % 64) % 64;
      const auto w =
          PackInt4({weights.data(), tensor::DType::kF32, kK, kN, 1, kK}, group, kind, at);
      ASSERT_TRUE(w.ok()) << w.error().message;
      for (int64_t n = 0; n < kN; ++n) {
        std::vector<float> row(kK);
        ref::BlockMatrixRow(*w, n, row.data());
        for (int64_t g = 0; g < kK; g += group) {
          float low = INFINITY, high = -INFINITY;
          const int64_t end = std::min(kK, g + group);
          for (int64_t k = g; k < end; ++k) {
            low = std::min(low, weights[static_cast<size_t>(n * kK + k)]);
            high = std::max(high, weights[static_cast<size_t>(n * kK + k)]);
          }
          const float peak = std::max(-low, high);
          // The other side of a symmetric scale has one code less; bf16 rounds scales by 1/256.
          const float step = kind == Int4Kind::kWithMinimum ? (high - low) / 15 : peak / 8;
          const float bound =
              kind == Int4Kind::kWithMinimum ? 0.6f * step + peak / 200 : 1.1f * step;
          for (int64_t k = g; k < end; ++k) {
            EXPECT_NEAR(row[static_cast<size_t>(k)], weights[static_cast<size_t>(n * kK + k)],
                        bound)
                << n << " " << k;
          }
        }
      }
    }
  }
}

TEST(Int4, TakesWholeBlocksAndFiniteWeightsOnly) {
  EXPECT_FALSE(Int4Takes(33, 1, 32));
  EXPECT_FALSE(Int4Takes(64, 1, 48));
  EXPECT_FALSE(Int4Takes(64, 0, 32));
  EXPECT_FALSE(Int4Takes(64, 1, 2048));
  std::vector<float> weights(64, 1.0f);
  weights[40] = NAN;
  alignas(64) std::byte out[2048];
  const auto w =
      PackInt4({weights.data(), tensor::DType::kF32, 64, 1, 1, 64}, 32, Int4Kind::kSymmetric, out);
  ASSERT_FALSE(w.ok());
  EXPECT_NE(w.error().message.find("column 0 of the weight"), std::string::npos)
      << w.error().message;
}

TEST(BlockMatrix, RefusesWhatNoProductTakes) {
  std::byte data[64] = {};
  EXPECT_EQ(BlockMatrixOf(data, BlockFormat::kI32, 1, 4).error().code, base::Code::kUnimplemented);
  EXPECT_EQ(BlockMatrixOf(data, BlockFormat::kQ8_0, 1, 33).error().code,
            base::Code::kInvalidArgument);
  EXPECT_EQ(BlockMatrixOf(data, BlockFormat::kQ8_0, 0, 32).error().code,
            base::Code::kInvalidArgument);
}

}  // namespace
}  // namespace sluice::kernels
