#include "tensor/float16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/machine.h"
#include "tensor/dispatch.h"

namespace sluice::tensor {
namespace {

// The value of binary16 bits by the definition of IEEE 754, in double arithmetic.
double HalfByDefinition(uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const int exponent = (bits >> 10) & 31;
  const double fraction = (bits & 1023) / 1024.0;
  if (exponent == 31) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  }
  return exponent == 0 ? sign * std::ldexp(fraction, -14)
                       : sign * std::ldexp(1.0 + fraction, exponent - 15);
}

TEST(Float16, EveryHalfHasTheValueOfItsDefinition) {
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const float got = ToFloat(F16{static_cast<uint16_t>(bits)});
    const double expected = HalfByDefinition(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(got)) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(got), expected) << bits;
      ASSERT_EQ(std::signbit(got), std::signbit(expected)) << bits;
    }
  }
}

TEST(Float16, EveryHalfSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const F16 half{static_cast<uint16_t>(bits)};
    if (std::isnan(ToFloat(half))) {
      ASSERT_TRUE(std::isnan(ToFloat(ToF16(ToFloat(half)))));
    } else {
      ASSERT_EQ(ToF16(ToFloat(half)).bits, half.bits);
    }
  }
}

// All halves from 0 to infinity ascend with their bits, so the nearest of a value is found among
// neighbours: the reference for rounding compares distances in double, exactly, and takes the even
// one on a tie.
uint16_t NearestHalf(double magnitude) {
  uint16_t low = 0;
  uint16_t high = 0x7C00;
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (HalfByDefinition(middle) <= magnitude ? low : high) = middle;
  }
  // Infinity stands where the next binade would start, for the sake of rounding.
  const double below = HalfByDefinition(low);
  const double above = high == 0x7C00 ? 65536.0 : HalfByDefinition(high);
  if (magnitude - below < above - magnitude) return low;
  if (magnitude - below > above - magnitude) return high;
  return (low & 1) == 0 ? low : high;
}

void CheckRounding(float x) {
  const auto sign = static_cast<uint16_t>(std::signbit(x) ? 0x8000 : 0);
  const uint16_t expected =
      std::isinf(x) ? uint16_t{0x7C00} : NearestHalf(std::fabs(static_cast<double>(x)));
  ASSERT_EQ(ToF16(x).bits, sign | expected) << x << " " << std::bit_cast<uint32_t>(x);
}

TEST(Float16, EveryMidpointBetweenHalvesAndItsNeighboursRoundToNearestEven) {
  for (uint16_t bits = 0; bits < 0x7C00; ++bits) {
    const double next =
        bits == 0x7BFF ? 65536.0 : HalfByDefinition(static_cast<uint16_t>(bits + 1));
    const auto middle = static_cast<float>((HalfByDefinition(bits) + next) / 2);
    for (const float x : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)}) {
      CheckRounding(x);
      CheckRounding(-x);
    }
  }
}

TEST(Float16, RandomFloatsRoundToNearestEven) {
  std::mt19937 random(5);
  for (int i = 0; i < 300000; ++i) {
    const auto x = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(ToFloat(ToF16(x))));
      continue;
    }
    CheckRounding(x);
    // Exponents of the half's range, where rounding is not trivial.
    int exponent = 0;
    const float fraction = std::frexp(std::isinf(x) ? 1.0f : x, &exponent);
    CheckRounding(std::ldexp(fraction, static_cast<int>(random() % 44) - 26));
  }
}

TEST(BFloat16, EveryBfloatIsTheUpperHalfOfItsFloatAndComesBack) {
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const BF16 x{static_cast<uint16_t>(bits)};
    const float value = ToFloat(x);
    ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(ToFloat(ToBF16(value))));
    } else {
      ASSERT_EQ(ToBF16(value).bits, x.bits);
    }
  }
}

TEST(BFloat16, RandomFloatsRoundToNearestEven) {
  std::mt19937 random(9);
  for (int i = 0; i < 1000000; ++i) {
    auto bits = static_cast<uint32_t>(random());
    if (i % 2 == 0) bits = (bits & 0xFFFF0000u) | 0x8000u;  // exactly half way
    const auto x = std::bit_cast<float>(bits);
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(ToFloat(ToBF16(x))));
      continue;
    }
    // The two neighbours toward zero and away from it, compared by exact distances in double. Past
    // the largest finite value the neighbour is 2^128, which stands for infinity.
    const uint32_t low = bits & 0xFFFF0000u;
    const auto value = [](uint32_t b) {
      const bool infinite = (b & 0x7FFFFFFFu) == 0x7F800000u;
      return infinite ? 0x1p128 : std::fabs(static_cast<double>(std::bit_cast<float>(b)));
    };
    if (std::isinf(x)) {
      ASSERT_EQ(ToBF16(x).bits, low >> 16);
      continue;
    }
    const double magnitude = std::fabs(static_cast<double>(x));
    const double down = magnitude - value(low);
    const double up = value(low + 0x10000u) - magnitude;
    const bool take_low = down < up || (down == up && ((low >> 16) & 1) == 0);
    ASSERT_EQ(ToBF16(x).bits, (take_low ? low : low + 0x10000u) >> 16) << bits;
  }
}

using FourFloats = float __attribute__((vector_size(16)));

__attribute__((target("f16c"))) uint16_t ToHalfInHardware(float x) {
  return static_cast<uint16_t>(__builtin_ia32_vcvtps2ph(FourFloats{x, 0, 0, 0}, 0)[0]);
}

TEST(Float16, AgreesWithTheProcessorsOwnConversion) {
  if (!base::Cpu().f16c) GTEST_SKIP() << "this processor has no F16C";
  std::mt19937 random(13);
  for (int i = 0; i < 2000000; ++i) {
    const auto bits = static_cast<uint32_t>(random());
    const auto x = std::bit_cast<float>(bits);
    ASSERT_EQ(ToF16(x).bits, ToHalfInHardware(x)) << bits;
  }
}

TEST(FromDouble, RoundsToEachFloatType) {
  EXPECT_EQ(FromDouble<float>(0.1), 0.1f);
  EXPECT_EQ(FromDouble<double>(0.1), 0.1);
  EXPECT_EQ(FromDouble<F16>(1.0).bits, 0x3C00);
  EXPECT_EQ(FromDouble<BF16>(-2.0).bits, 0xC000);
  EXPECT_EQ(ToDouble(F16{0x3C00}), 1.0);
  EXPECT_EQ(ToDouble(BF16{0xC000}), -2.0);
}

}  // namespace
}  // namespace sluice::tensor
