#include "tensor/narrow.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace sluice::tensor {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr DType kFloats[] = {DType::kF8E4M3FN,   DType::kF8E4M3FNUZ, DType::kF8E5M2,
                             DType::kF8E5M2FNUZ, DType::kF8E8M0,     DType::kF4E2M1};

int CodesOf(DType dtype) {
  return 1 << StorageBits(dtype);
}

TEST(Narrow, EveryNumberOfEveryTypeReadsBackAsItself) {
  for (int d = kWireTypeCount; d < kDTypeCount; ++d) {
    const auto dtype = static_cast<DType>(d);
    for (int code = 0; code < CodesOf(dtype); ++code) {
      const float value = DecodeNarrow(dtype, static_cast<uint8_t>(code));
      const uint8_t back = EncodeNarrow(dtype, static_cast<double>(value), {.saturate = false});
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(DecodeNarrow(dtype, back))) << DTypeName(dtype) << " " << code;
      } else {
        EXPECT_EQ(DecodeNarrow(dtype, back), value) << DTypeName(dtype) << " " << code;
        EXPECT_EQ(std::signbit(DecodeNarrow(dtype, back)), std::signbit(value)) << code;
      }
    }
  }
}

TEST(Narrow, TheLargestNumbersAreThoseOfTheSpecifications) {
  const float largest[] = {448, 240, 57344, 57344, std::ldexp(1.0F, 127), 6};
  for (size_t i = 0; i < std::size(kFloats); ++i) {
    EXPECT_EQ(DecodeNarrow(kFloats[i], EncodeNarrow(kFloats[i], 3.4e38)), largest[i])
        << DTypeName(kFloats[i]);
  }
}

// Against the definition: the nearest of all the numbers, the even code of two equally near.
TEST(Narrow, RoundsToTheNearestNumberWithTiesToTheEvenCode) {
  for (const DType dtype :
       {DType::kF8E4M3FN, DType::kF8E4M3FNUZ, DType::kF8E5M2, DType::kF8E5M2FNUZ, DType::kF4E2M1}) {
    const int half = CodesOf(dtype) / 2;
    for (int code = 0; code + 1 < half; ++code) {
      const auto low = static_cast<double>(DecodeNarrow(dtype, static_cast<uint8_t>(code)));
      const auto high = static_cast<double>(DecodeNarrow(dtype, static_cast<uint8_t>(code + 1)));
      if (!std::isfinite(high)) break;
      const double middle = (low + high) / 2;
      const double even = code % 2 == 0 ? low : high;
      for (const double sign : {1.0, -1.0}) {
        const auto round = [&](double x) {
          return static_cast<double>(DecodeNarrow(dtype, EncodeNarrow(dtype, sign * x)));
        };
        EXPECT_EQ(round(std::nextafter(middle, 0)), sign * low) << DTypeName(dtype) << " " << code;
        EXPECT_EQ(round(middle), sign * even) << DTypeName(dtype) << " " << code;
        EXPECT_EQ(round(std::nextafter(middle, 1e9)), sign * high) << DTypeName(dtype);
      }
    }
  }
}

TEST(Narrow, WithoutSaturationWhatIsTooLargeIsInfinityOrNaN) {
  const NarrowOptions open{.saturate = false};
  EXPECT_TRUE(
      std::isnan(DecodeNarrow(DType::kF8E4M3FN, EncodeNarrow(DType::kF8E4M3FN, 1e6, open))));
  EXPECT_TRUE(
      std::isnan(DecodeNarrow(DType::kF8E5M2FNUZ, EncodeNarrow(DType::kF8E5M2FNUZ, -1e6, open))));
  EXPECT_EQ(DecodeNarrow(DType::kF8E5M2, EncodeNarrow(DType::kF8E5M2, -kInfinity, open)),
            -std::numeric_limits<float>::infinity());
  EXPECT_EQ(DecodeNarrow(DType::kF8E5M2, EncodeNarrow(DType::kF8E5M2, kInfinity)), 57344.0F);
}

TEST(Narrow, PowersOfTwoRoundUpDownOrToTheNearest) {
  const auto round = [](double x, NarrowRounding mode) {
    return DecodeNarrow(DType::kF8E8M0, EncodeNarrow(DType::kF8E8M0, x, {.e8m0 = mode}));
  };
  EXPECT_EQ(round(1.1, NarrowRounding::kUp), 2.0F);
  EXPECT_EQ(round(1.9, NarrowRounding::kDown), 1.0F);
  EXPECT_EQ(round(1.4, NarrowRounding::kNearest), 1.0F);
  EXPECT_EQ(round(1.6, NarrowRounding::kNearest), 2.0F);
  EXPECT_EQ(round(0.0, NarrowRounding::kUp), std::ldexp(1.0F, -127));
}

TEST(Narrow, IntegersTruncateAndKeepTheLowBits) {
  EXPECT_EQ(DecodeNarrow(DType::kI4, EncodeNarrow(DType::kI4, -9)), 7.0F);
  EXPECT_EQ(DecodeNarrow(DType::kI4, EncodeNarrow(DType::kI4, 8)), -8.0F);
  EXPECT_EQ(DecodeNarrow(DType::kU4, EncodeNarrow(DType::kU4, -1)), 15.0F);
  EXPECT_EQ(DecodeNarrow(DType::kI2, EncodeNarrow(DType::kI2, 2.9)), -2.0F);
  EXPECT_EQ(DecodeNarrow(DType::kU2, EncodeNarrow(DType::kU2, 7)), 3.0F);
  EXPECT_EQ(DecodeNarrow(DType::kI4, EncodeNarrow(DType::kI4, 1e30)), 0.0F);
}

TEST(Narrow, PackedElementsLieFromTheLowBitsOn) {
  const std::byte packed[] = {std::byte{0x8F}, std::byte{0x07}};
  std::vector<std::byte> out(3);
  UnpackStorage(DType::kI4, packed, 3, out.data());
  EXPECT_EQ(static_cast<int8_t>(out[0]), -1);
  EXPECT_EQ(static_cast<int8_t>(out[1]), -8);
  EXPECT_EQ(static_cast<int8_t>(out[2]), 7);
  out.resize(5);
  UnpackStorage(DType::kU2, packed, 5, out.data());
  const int expected[] = {3, 3, 0, 2, 3};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(static_cast<int>(out[i]), expected[i]);
}

}  // namespace
}  // namespace sluice::tensor
