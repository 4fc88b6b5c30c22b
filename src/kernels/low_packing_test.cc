#include "kernels/low_packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/block_int4.h"
#include "kernels/weight_store.h"
#include "tensor/float16.h"
#include "tensor/tensor.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

constexpr uint32_t kFeatureSets[] = {~0u, 0, kHasVnni, kHasBF16Dots};

// A weight [k, n] of random elements that every dtype holds, by its elements and as a file has it.
struct Weight {
  int64_t k = 0, n = 0;
  std::vector<float> elements;  // (k, n) at k * n_ + n
  std::vector<std::byte> stored;
  MatrixSource source;

  float at(int64_t i, int64_t j) const { return elements[static_cast<size_t>(i * n + j)]; }
};

Weight MakeWeight(int64_t k, int64_t n, DType dtype, bool transposed, uint32_t seed) {
  Weight weight{k, n, {}, {}, {}};
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> eighths(-120, 120);
  for (int64_t i = 0; i < k * n; ++i)
    weight.elements.push_back(static_cast<float>(eighths(random)) / 64.0f);
  const int64_t size = tensor::DTypeSize(dtype);
  weight.stored.resize(static_cast<size_t>(k * n * size));
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      std::byte* const to = weight.stored.data() + (transposed ? j * k + i : i * n + j) * size;
      const float x = weight.at(i, j);
      if (dtype == DType::kF16) {
        const tensor::F16 half = tensor::ToF16(x);
        std::memcpy(to, &half, 2);
      } else if (dtype == DType::kBF16) {
        const tensor::BF16 brain = tensor::ToBF16(x);
        std::memcpy(to, &brain, 2);
      } else {
        std::memcpy(to, &x, 4);
      }
    }
  }
  weight.source = {weight.stored.data(), dtype, k, n, transposed ? 1 : n, transposed ? k : 1};
  return weight;
}

struct Packed {
  tensor::Buffer memory;
  base::Result<LowMatrix> matrix = base::Internal("not packed");
};
Packed Pack(MatrixParts parts, int64_t n, WeightForm form) {
  Packed packed;
  packed.memory = tensor::Buffer::Allocate(LowMatrixBytes(parts[0].k, n, form));
  // Whatever the memory held before must not show.
  std::memset(packed.memory.mutable_data(), 0x5a, static_cast<size_t>(packed.memory.bytes()));
  packed.matrix = PackLow(parts, form, packed.memory.mutable_data());
  return packed;
}

// The column's scale by its definition.
float ScaleOf(const Weight& weight, int64_t n) {
  float low = 0, high = 0;
  for (int64_t k = 0; k < weight.k; ++k) {
    low = std::min(low, weight.at(k, n));
    high = std::max(high, weight.at(k, n));
  }
  const float peak = std::max(-low, high);
  if (peak == 0) return 0;
  for (int code = -low >= high ? 128 : 127; code >= 1; --code) {
    bool all = true;
    for (int64_t k = 0; all && k < weight.k; ++k) {
      const double codes = double{weight.at(k, n)} * code / peak;
      all = std::fabs(codes - std::nearbyint(codes)) < 1e-5;
    }
    if (all) return peak / static_cast<float>(code);
  }
  return peak / 127.0f;
}

class LowPackingTest : public ::testing::Test {
 protected:
  void TearDown() override { LimitLowFeaturesForTesting(~0u); }
};

TEST_F(LowPackingTest, EveryElementOfInt8IsTheNearestCodeOfItsColumnsScale) {
  uint32_t seed = 1;
  for (const uint32_t features : kFeatureSets) {
    LimitLowFeaturesForTesting(features);
    for (const auto& [k, n] : {std::pair<int64_t, int64_t>{1, 1}, {5, 17}, {64, 32}, {67, 45}}) {
      for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
        for (const bool transposed : {false, true}) {
          const Weight weight = MakeWeight(k, n, dtype, transposed, seed++);
          for (const WeightForm form : {WeightForm::kInt8, WeightForm::kInt8Storage}) {
            const Packed packed = Pack({&weight.source, 1}, n, form);
            const LowMatrix& matrix = packed.matrix.value();
            for (int64_t j = 0; j < n; ++j) {
              const float scale = ScaleOf(weight, j);
              ASSERT_FLOAT_EQ(matrix.scales[j], scale);
              float sum = 0;
              for (int64_t i = 0; i < k; ++i) {
                const float element = LowElement(matrix, i, j);
                ASSERT_LE(std::fabs(element - weight.at(i, j)), scale * 0.5001f);
                sum += scale == 0 ? 0 : std::nearbyint(element / scale);
              }
              if (form == WeightForm::kInt8) {
                ASSERT_EQ(matrix.sums[j], sum);
              }
            }
          }
        }
      }
    }
  }
}

TEST_F(LowPackingTest, WeightsOf16BitsAreTheSourcesRounded) {
  uint32_t seed = 100;
  for (const uint32_t features : kFeatureSets) {
    LimitLowFeaturesForTesting(features);
    for (const WeightForm form : {WeightForm::kBF16, WeightForm::kBF16Storage}) {
      for (const bool transposed : {false, true}) {
        Weight weight = MakeWeight(67, 45, DType::kF32, transposed, seed++);
        const Packed packed = Pack({&weight.source, 1}, 45, form);
        for (int64_t i = 0; i < 67; ++i) {
          for (int64_t j = 0; j < 45; ++j) {
            ASSERT_EQ(LowElement(packed.matrix.value(), i, j),
                      ToFloat(tensor::ToBF16(weight.at(i, j))));
          }
        }
      }
    }
  }
}

TEST_F(LowPackingTest, PartsSideBySideArePackedAsTheMatrixThatTheyMake) {
  constexpr int64_t kK = 64;
  const int64_t widths[] = {7, 40, 1, 30};
  for (const bool transposed : {false, true}) {
    const Weight whole = MakeWeight(kK, 78, DType::kF32, transposed, 7);
    std::vector<MatrixSource> parts;
    int64_t first = 0;
    for (const int64_t width : widths) {
      MatrixSource part = whole.source;
      part.n = width;
      part.data = whole.stored.data() + first * part.n_stride * 4;
      parts.push_back(part);
      first += width;
    }
    for (const WeightForm form : {WeightForm::kInt8, WeightForm::kBF16, WeightForm::kInt8Storage}) {
      const Packed together = Pack({&whole.source, 1}, 78, form);
      const Packed apart = Pack(parts, 78, form);
      const int64_t bytes = PackedLowBytes(together.matrix.value());
      ASSERT_EQ(PackedLowBytes(apart.matrix.value()), bytes);
      EXPECT_EQ(
          std::memcmp(together.memory.data(), apart.memory.data(), static_cast<size_t>(bytes)), 0);
    }
    WeightStore store;
    EXPECT_EQ(store.Pack(parts).value(), store.Pack(whole.source).value());
  }
}

TEST_F(LowPackingTest, TheFirstColumnThatIsNotFiniteIsNamed) {
  Weight weight = MakeWeight(33, 300, DType::kF32, true, 8);
  for (const int64_t column : {291, 40, 250}) {
    const float odd = column == 40 ? std::nanf("") : INFINITY;
    std::memcpy(weight.stored.data() + (column * 33 + 32) * 4, &odd, 4);
  }
  const std::string expected = "column 40 of the weight holds a value that is not finite";
  EXPECT_EQ(Pack({&weight.source, 1}, 300, WeightForm::kInt8).matrix.error().message, expected);
  // Of int4 the depth is a multiple of 32.
  weight.source.k = 32;
  weight.source.data = weight.stored.data() + 4;
  tensor::Buffer memory = tensor::Buffer::Allocate(Int4Bytes(32, 300, 32, Int4Kind::kSymmetric));
  const auto blocks = PackInt4(weight.source, 32, Int4Kind::kSymmetric, memory.mutable_data());
  EXPECT_EQ(blocks.error().message, expected);
}

}  // namespace
}  // namespace sluice::kernels
