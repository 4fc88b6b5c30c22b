#include "kernels/weight_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "tensor/float16.h"

namespace sluice::kernels {
namespace {

std::vector<float> Random(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = uniform(random);
  return values;
}

MatrixSource SourceOf(const std::vector<float>& values, int64_t k, int64_t n) {
  return {values.data(), tensor::DType::kF32, k, n, n, 1};
}

TEST(WeightStore, EqualContentIsPackedOnceHoweverItIsStored) {
  WeightStore store;
  const std::vector<float> values = Random(40 * 50, 1);
  std::vector<float> transposed(values.size());
  for (int64_t k = 0; k < 40; ++k) {
    for (int64_t n = 0; n < 50; ++n) {
      transposed[static_cast<size_t>(n * 40 + k)] = values[static_cast<size_t>(k * 50 + n)];
    }
  }
  const auto first = store.Pack(SourceOf(values, 40, 50)).value();
  const auto second = store.Pack({transposed.data(), tensor::DType::kF32, 40, 50, 1, 40}).value();
  EXPECT_EQ(first, second);
  EXPECT_EQ(store.resident_count(), 1);
  EXPECT_EQ(store.resident_bytes(), PackedMatrixBytes(40, 50, ActiveTarget()));
}

TEST(WeightStore, DifferentContentShapeOrTargetIsNotShared) {
  WeightStore store;
  std::vector<float> values = Random(40 * 50, 2);
  const auto first = store.Pack(SourceOf(values, 40, 50)).value();
  const auto reshaped = store.Pack(SourceOf(values, 50, 40)).value();
  values.back() = 7.0f;
  const auto changed = store.Pack(SourceOf(values, 40, 50)).value();
  EXPECT_NE(first, reshaped);
  EXPECT_NE(first, changed);
  EXPECT_EQ(store.resident_count(), 3);
}

TEST(WeightStore, HalfPrecisionIsPackedAsTheFloatsThatItStandsFor) {
  WeightStore store;
  std::vector<float> values = Random(8 * 8, 3);
  std::vector<tensor::F16> halves;
  for (float& v : values) {
    halves.push_back(tensor::ToF16(v));
    v = ToFloat(halves.back());
  }
  const auto from_half = store.Pack({halves.data(), tensor::DType::kF16, 8, 8, 8, 1}).value();
  EXPECT_EQ(from_half, store.Pack(SourceOf(values, 8, 8)).value());
}

TEST(WeightStore, WhatNobodyHoldsIsNoLongerResident) {
  WeightStore store;
  const std::vector<float> values = Random(64, 4);
  {
    const auto weight = store.Pack(SourceOf(values, 8, 8)).value();
    EXPECT_EQ(store.resident_count(), 1);
  }
  EXPECT_EQ(store.resident_count(), 0);
  EXPECT_EQ(store.resident_bytes(), 0);
}

TEST(WeightStore, SizesAndTypesFromAFileAreRefusedByName) {
  WeightStore store;
  const std::vector<float> values(4);
  const auto refused = [&](MatrixSource source) {
    const auto result = store.Pack(source);
    return !result.ok() && result.error().code == base::Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused({values.data(), tensor::DType::kF32, 0, 4, 4, 1}));
  EXPECT_TRUE(
      refused({values.data(), tensor::DType::kF32, int64_t{1} << 40, int64_t{1} << 40, 1, 1}));
  EXPECT_TRUE(refused({values.data(), tensor::DType::kF32, 1, INT64_MAX, 1, 1}));
  EXPECT_TRUE(refused({values.data(), tensor::DType::kI8, 2, 2, 2, 1}));
}

TEST(WeightStore, ThreadsThatRaceForTheSameContentShareOneResult) {
  WeightStore store;
  const std::vector<float> values = Random(300 * 70, 5);
  std::vector<std::shared_ptr<const PackedWeight>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        result = store.Pack(SourceOf(values, 300, 70)).value();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(store.resident_count(), 1);
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

TEST(WeightStore, EqualInt8WeightsAreOneAndOtherFormsAndScalesAreNot) {
  WeightStore store;
  std::vector<float> values;
  for (int i = 0; i < 40 * 33; ++i) values.push_back(static_cast<float>((i * 37) % 101) - 50.5f);
  const MatrixSource source = {values.data(), tensor::DType::kF32, 40, 33, 33, 1};
  const auto first = store.PackLow(source, WeightForm::kInt8).value();
  const std::vector<float> copy = values;
  MatrixSource again = source;
  again.data = copy.data();
  EXPECT_EQ(store.PackLow(again, WeightForm::kInt8).value(), first);
  EXPECT_NE(store.PackLow(source, WeightForm::kInt8Storage).value()->matrix().data,
            first->matrix().data);
  for (float& x : values) x *= 2;  // the same codes with another scale
  const auto scaled = store.PackLow(source, WeightForm::kInt8).value();
  EXPECT_NE(scaled, first);
  EXPECT_EQ(store.resident_bytes(), first->bytes() + scaled->bytes());
  EXPECT_EQ(store.resident_count(), 2);
}

TEST(WeightStore, AWeightThatIsNotFiniteIsNoInt8Weight) {
  WeightStore store;
  std::vector<float> values(40 * 33, 1.0f);
  values[70] = NAN;
  const auto packed =
      store.PackLow({values.data(), tensor::DType::kF32, 40, 33, 33, 1}, WeightForm::kInt8);
  ASSERT_FALSE(packed.ok());
  EXPECT_NE(packed.error().message.find("column 4"), std::string::npos);
}

}  // namespace
}  // namespace sluice::kernels
