#include "lm/linear/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/gated_rows.h"
#include "tensor/float16.h"

namespace sluice::lm {
namespace {

using kernels::WeightForm;
using tensor::BlockFormat;

// Seeded f32 weights [n, k], in a plain format.
StoredTensor RandomWeight(int64_t n, int64_t k, BlockFormat format, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.1f);
  StoredTensor out;
  out.format = format;
  out.shape = {n, k};
  out.buffer =
      tensor::Buffer::Allocate(n * k / tensor::BlockElements(format) * tensor::BlockBytes(format));
  std::byte* to = out.buffer.mutable_data();
  for (int64_t i = 0; i < n * k; ++i) {
    const float x = normal(random);
    if (format == BlockFormat::kF32) {
      std::memcpy(to + 4 * i, &x, 4);
    } else if (format == BlockFormat::kF16) {
      const tensor::F16 half = tensor::ToF16(x);
      std::memcpy(to + 2 * i, &half, 2);
    } else if (format == BlockFormat::kBF16) {
      const tensor::BF16 half = tensor::ToBF16(x);
      std::memcpy(to + 2 * i, &half, 2);
    } else {  // Q8_0, of which a block's codes are its numbers over its scale
      if (i % 32 == 0) {
        const tensor::F16 scale = tensor::ToF16(0.004f);
        std::memcpy(to + i / 32 * 34, &scale, 2);
      }
      const auto code = static_cast<int8_t>(std::lround(std::clamp(x / 0.004f, -127.0f, 127.0f)));
      std::memcpy(to + i / 32 * 34 + 2 + i % 32, &code, 1);
    }
  }
  return out;
}

double Element(const StoredTensor& w, int64_t n, int64_t k) {
  const int64_t i = n * w.shape[1] + k;
  const std::byte* const data = w.buffer.data();
  if (w.format == BlockFormat::kF32) return reinterpret_cast<const float*>(data)[i];
  if (w.format == BlockFormat::kF16)
    return tensor::ToFloat(reinterpret_cast<const tensor::F16*>(data)[i]);
  if (w.format == BlockFormat::kBF16)
    return tensor::ToFloat(reinterpret_cast<const tensor::BF16*>(data)[i]);
  tensor::F16 scale;
  std::memcpy(&scale, data + i / 32 * 34, 2);
  return static_cast<double>(tensor::ToFloat(scale)) *
         reinterpret_cast<const int8_t*>(data)[i / 32 * 34 + 2 + i % 32];
}

struct Case {
  std::vector<StoredTensor> parts;
  LinearForm form;
  double error_max;  // of outputs of a spread of about 1
};

constexpr int64_t kInputs = 96;
constexpr int64_t kRows = 37;

std::vector<float> RandomRows(int64_t columns) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(kRows * columns));
  for (float& value : x) value = normal(random);
  return x;
}

// Calls run(first row, rows of x, scratch) for at most `rows_max` of them at a time.
template <class F>
void ForRows(const Linear& linear, const std::vector<float>& x, int64_t rows_max, F run) {
  for (int64_t row = 0; row < kRows; row += rows_max) {
    LinearRows rows;
    rows.rows = std::min(rows_max, kRows - row);
    rows.x = x.data() + row * kInputs;
    rows.x_stride = kInputs;
    tensor::Buffer scratch = tensor::Buffer::Allocate(linear.ScratchBytes(rows.rows) + 64);
    run(row, rows, scratch.mutable_data());
  }
}

// Rows of x times `columns`, computed alone.
std::vector<float> RunColumns(const Linear& linear, const std::vector<float>& x,
                              const std::vector<int32_t>& columns, int64_t rows_max) {
  const ColumnPlaces places(columns);
  std::vector<float> y(static_cast<size_t>(kRows * places.size()));
  Runner runner({});
  ForRows(linear, x, rows_max, [&](int64_t row, LinearRows& rows, std::byte* scratch) {
    rows.y = y.data() + row * places.size();
    rows.y_stride = places.size();
    EXPECT_TRUE(linear.RunColumns(runner, rows, places, scratch));
  });
  return y;
}

std::vector<float> Run(const Linear& linear, const std::vector<float>& x,
                       const std::vector<float>& residual, int64_t rows_max) {
  std::vector<float> y(static_cast<size_t>(kRows * linear.n()));
  Runner runner({});
  ForRows(linear, x, rows_max, [&](int64_t row, LinearRows& rows, std::byte* scratch) {
    if (!residual.empty()) rows.residual = residual.data() + row * linear.n();
    rows.y = y.data() + row * linear.n();
    rows.residual_stride = rows.y_stride = linear.n();
    EXPECT_TRUE(linear.Run(runner, rows, scratch));
  });
  return y;
}

void Check(const Case& what, const std::string& name) {
  auto linear = Linear::Load(what.parts, what.form);
  ASSERT_TRUE(linear.ok()) << name << linear.error().message;
  std::vector<float> bias(static_cast<size_t>(linear->n()));
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) * 0.01f;
  linear->set_bias(bias);
  const std::vector<float> x = RandomRows(kInputs), residual = RandomRows(linear->n());
  const std::vector<float> whole = Run(*linear, x, residual, kRows);
  for (const int64_t rows_max : {1, 5, 16}) {
    EXPECT_EQ(Run(*linear, x, residual, rows_max), whole) << name << " " << rows_max;
  }
  const std::vector<float> plain = Run(*linear, x, {}, kRows);
  const auto last = static_cast<int32_t>(linear->n() - 1);
  // In one panel, in several, the last one, one twice.
  for (const std::vector<int32_t>& columns :
       {std::vector<int32_t>{0}, {last}, {last, 7 % (last + 1), 0, last / 2, 0}}) {
    std::vector<float> want;
    for (int64_t row = 0; row < kRows; ++row) {
      for (const int32_t column : columns) {
        want.push_back(plain[static_cast<size_t>(row * linear->n() + column)]);
      }
    }
    for (const int64_t rows_max : {kRows, int64_t{1}, int64_t{5}}) {
      EXPECT_EQ(RunColumns(*linear, x, columns, rows_max), want) << name << " " << rows_max;
    }
  }
  int64_t column = 0;
  double worst = 0;
  for (const StoredTensor& part : what.parts) {
    for (int64_t n = 0; n < part.shape[0]; ++n, ++column) {
      for (int64_t row = 0; row < kRows; ++row) {
        const auto at = static_cast<size_t>(row * linear->n() + column);
        double want = static_cast<double>(bias[static_cast<size_t>(column)]) + residual[at];
        for (int64_t k = 0; k < kInputs; ++k) {
          want += Element(part, n, k) * x[static_cast<size_t>(row * kInputs + k)];
        }
        worst = std::max(worst, std::fabs(want - whole[at]));
      }
    }
  }
  EXPECT_LT(worst, what.error_max) << name;
}

TEST(LinearTest, GivesTheProductInEveryFormAndTheSameBitsForAnyCutOfRows) {
  using kernels::Int4Kind;
  const auto plain = [](BlockFormat format) {
    return std::vector<StoredTensor>{RandomWeight(48, kInputs, format, 1),
                                     RandomWeight(20, kInputs, format, 2)};
  };
  for (const BlockFormat format : {BlockFormat::kF32, BlockFormat::kF16, BlockFormat::kBF16}) {
    const std::string name(tensor::BlockFormatName(format));
    Check({plain(format), WeightForm::kF32, 1e-5}, name + " f32");
    Check({plain(format), LinearForm::Stored(), 1e-5}, name + " stored");
    Check({plain(format), WeightForm::kInt8, 0.05}, name + " int8");
    Check({plain(format), LinearForm::Int4(32, Int4Kind::kSymmetric), 0.6}, name + " int4");
    Check({plain(format), LinearForm::Int4(64, Int4Kind::kWithMinimum), 0.6}, name + " int4m");
  }
  Check({plain(BlockFormat::kQ8_0), WeightForm::kF32, 0.04}, "Q8_0");
}

TEST(LinearTest, ColumnsAloneHaveTheirBitsInTheLastPanelToo) {
  // One column in the last panel, and one in all.
  for (const int64_t n : {1, 33, 97}) {
    for (const char* form :
         {"f32", "bf16", "int8", "bf16-storage", "int8-storage", "stored", "int4", "int4m_g96"}) {
      for (const BlockFormat format : {BlockFormat::kF32, BlockFormat::kBF16}) {
        // Only the comparison of columns with the whole is at stake here.
        Check({{RandomWeight(n, kInputs, format, 5)}, *LinearForm::Parse(form), 2}, form);
      }
    }
    Check({{RandomWeight(n, kInputs, BlockFormat::kQ8_0, 5)}, LinearForm(), 0.04}, "Q8_0");
  }
}

TEST(LinearTest, PartsMayLieInDifferentFormats) {
  const std::vector<StoredTensor> parts = {RandomWeight(40, kInputs, BlockFormat::kQ8_0, 1),
                                           RandomWeight(24, kInputs, BlockFormat::kF16, 2),
                                           RandomWeight(16, kInputs, BlockFormat::kF32, 3),
                                           RandomWeight(33, kInputs, BlockFormat::kQ8_0, 4)};
  Check({parts, LinearForm::Stored(), 0.04}, "stored");
  Check({parts, kernels::WeightForm::kInt8, 0.06}, "int8");
}

TEST(LinearTest, BlocksAreNotCopied) {
  const StoredTensor weight = RandomWeight(48, kInputs, BlockFormat::kQ8_0, 1);
  const auto linear = Linear::Load({weight}, kernels::WeightForm::kF32);
  ASSERT_TRUE(linear.ok());
  EXPECT_EQ(linear->weight_bytes(), weight.buffer.bytes());
}

TEST(LinearTest, Int4OfASizeThatItDoesNotTakeIsNoError) {
  const auto linear = Linear::Load({RandomWeight(48, 40, BlockFormat::kF32, 1)},
                                   LinearForm::Int4(32, kernels::Int4Kind::kSymmetric));
  ASSERT_TRUE(linear.ok());
  EXPECT_GT(linear->weight_bytes(), 48 * 40 - 1);
}

TEST(LinearFormTest, ReadsTheNamesThatItWrites) {
  for (const char* name : {"f32", "bf16", "int8", "bf16-storage", "int8-storage", "stored",
                           "int4_g32", "int4_g128", "int4m_g64"}) {
    const auto form = LinearForm::Parse(name);
    ASSERT_TRUE(form.ok()) << name;
    EXPECT_EQ(form->Name(), name);
  }
  EXPECT_EQ(LinearForm::Parse("int4")->group, 32);
  for (const char* name : {"", "int", "int4_", "int4_g", "int4_g33", "int4_g160", "int5"}) {
    EXPECT_FALSE(LinearForm::Parse(name).ok()) << name;
  }
}

struct Gated {
  const char* name;
  BlockFormat format;
  LinearForm form;
};

class GatedTest : public testing::TestWithParam<Gated> {};

// As many rows as make pieces, and the few before that; 300 rows end within a piece.
TEST_P(GatedTest, PiecesGiveTheBitsOfTheProductAndItsGate) {
  constexpr int64_t kHalf = 1024;
  const auto& [name, format, form] = GetParam();
  auto linear = Linear::Load(
      {RandomWeight(kHalf, kInputs, format, 1), RandomWeight(kHalf, kInputs, format, 2)}, form);
  ASSERT_TRUE(linear.ok()) << linear.error().message;
  std::vector<float> bias(2 * kHalf);
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) * 0.001f;
  linear->set_bias(bias);
  base::ThreadPool::Options options;
  options.workers = 2;
  base::ThreadPool pool(options);
  Runner runner({.pool = &pool});
  for (const int64_t count : {20, 300}) {
    std::vector<float> x;
    while (static_cast<int64_t>(x.size()) < count * kInputs) {
      const std::vector<float> more = RandomRows(kInputs);
      x.insert(x.end(), more.begin(), more.end());
    }
    LinearRows rows;
    rows.rows = count;
    rows.x = x.data();
    rows.x_stride = kInputs;
    tensor::Buffer scratch = tensor::Buffer::Allocate(linear->ScratchBytes(count) + 64);
    tensor::Buffer arms = tensor::Buffer::Allocate(count * 2 * kHalf * 4);
    kernels::GatedRowsArgs gate;
    gate.rows = count;
    gate.columns = kHalf;
    gate.x = rows.y = reinterpret_cast<float*>(arms.mutable_data());
    gate.x_stride = rows.y_stride = 2 * kHalf;
    std::vector<float> want(static_cast<size_t>(count * kHalf)), got(want.size());
    gate.y = want.data();
    gate.y_stride = kHalf;
    ASSERT_TRUE(linear->Run(runner, rows, scratch.mutable_data()));
    kernels::GatedRows(gate, {0, kernels::GatedRowsTiles(gate)});
    rows.y = got.data();
    rows.y_stride = kHalf;
    ASSERT_TRUE(linear->RunGated(runner, rows, kernels::Activation::kSilu,
                                 reinterpret_cast<float*>(arms.mutable_data()),
                                 scratch.mutable_data()));
    EXPECT_EQ(got, want) << name << " " << count;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms, GatedTest,
    testing::Values(Gated{"f32", BlockFormat::kF32, WeightForm::kF32},
                    Gated{"bf16", BlockFormat::kF32, WeightForm::kBF16},
                    Gated{"int8", BlockFormat::kF16, WeightForm::kInt8},
                    Gated{"int8Storage", BlockFormat::kF16, WeightForm::kInt8Storage},
                    Gated{"int4", BlockFormat::kF16, *LinearForm::Parse("int4")},
                    Gated{"stored", BlockFormat::kBF16, LinearForm::Stored()},
                    Gated{"blocks", BlockFormat::kQ8_0, LinearForm::Stored()}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace sluice::lm
