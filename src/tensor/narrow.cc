#include "tensor/narrow.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace sluice::tensor {
namespace {

// A float of sign, exponent and mantissa. Sources: the OCP 8-bit floating point specification 1.0,
// the OCP microscaling specification 1.0 (E2M1), arXiv 2206.02915 (the FNUZ types).
struct Format {
  int mantissa_bits;
  int bias;
  uint8_t max;       // bits of the largest number
  uint8_t nan;       // bits of NaN
  uint8_t infinity;  // 0: none
  bool unsigned_zero;
  uint8_t sign;
};

Format FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF8E4M3FN:
      return {3, 7, 0x7E, 0x7F, 0, false, 0x80};
    case DType::kF8E4M3FNUZ:
      return {3, 8, 0x7F, 0x80, 0, true, 0x80};
    case DType::kF8E5M2:
      return {2, 15, 0x7B, 0x7E, 0x7C, false, 0x80};
    case DType::kF8E5M2FNUZ:
      return {2, 16, 0x7F, 0x80, 0, true, 0x80};
    default:  // E2M1 has no NaN; like ml_dtypes we make it -0
      CHECK(dtype == DType::kF4E2M1) << DTypeName(dtype);
      return {1, 1, 0x7, 0x8, 0, false, 0x8};
  }
}

float DecodeFloat(const Format& format, uint8_t bits) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const uint8_t magnitude = bits & static_cast<uint8_t>(format.sign - 1);
  const bool negative = (bits & format.sign) != 0;
  if (format.unsigned_zero && bits == format.nan) return kNan;
  if (format.sign == 0x80 && magnitude > format.max) {
    if (magnitude != format.infinity) return kNan;
    return negative ? -std::numeric_limits<float>::infinity()
                    : std::numeric_limits<float>::infinity();
  }
  const int one = 1 << format.mantissa_bits;
  const int exponent = magnitude >> format.mantissa_bits;
  const int mantissa = (magnitude & (one - 1)) + (exponent > 0 ? one : 0);
  const float value =
      std::ldexp(static_cast<float>(mantissa),
                 (exponent > 0 ? exponent : 1) - format.bias - format.mantissa_bits);
  return negative ? -value : value;
}

uint8_t EncodeFloat(const Format& format, double x, bool saturate, bool always_saturates) {
  if (std::isnan(x)) return format.nan;
  const uint8_t sign = std::signbit(x) ? format.sign : 0;
  const double size = std::fabs(x);
  // Bits of a positive number are its position among all: rounding in units of the last place
  // carries into the exponent by itself.
  double position = std::numeric_limits<double>::infinity();
  if (std::isfinite(size)) {
    const int exponent = std::max(size > 0 ? std::ilogb(size) : 1 - format.bias, 1 - format.bias);
    const double units = std::nearbyint(std::ldexp(size, format.mantissa_bits - exponent));
    position = std::ldexp(exponent + format.bias - 1, format.mantissa_bits) + units;
  }
  if (position > format.max) {
    if (saturate || always_saturates) return sign | format.max;
    return format.infinity != 0
               ? static_cast<uint8_t>(sign | format.infinity)
               : static_cast<uint8_t>(format.unsigned_zero ? format.nan : sign | format.nan);
  }
  const auto bits = static_cast<uint8_t>(position);
  return bits == 0 && format.unsigned_zero ? 0 : sign | bits;
}

// An exponent of a binary32; the sign is dropped, zero becomes the smallest power, 2^-127.
uint8_t EncodeE8M0(double x, const NarrowOptions& options) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(x));
  const uint32_t exponent = bits >> 23 & 0xFF;
  const uint32_t mantissa = bits & 0x7FFFFF;
  if (exponent == 0xFF) return 0xFF;
  // What is above the power below, as mantissa bits: the smallest power is half of a subnormal.
  const uint32_t above = exponent > 0 ? mantissa : mantissa - std::min(mantissa, 0x400000U);
  const bool up = options.e8m0 == NarrowRounding::kUp ? above != 0
                  : options.e8m0 == NarrowRounding::kNearest
                      ? above >= (exponent > 0 ? 0x400000U : 0x200000U)
                      : false;
  if (exponent == 0xFE && options.saturate) return 0xFE;
  return static_cast<uint8_t>(exponent + (up ? 1 : 0));
}

// The low `bits` bits, as a number.
int8_t LowBits(uint8_t value, int bits, bool is_signed) {
  const int low = value & ((1 << bits) - 1);
  return static_cast<int8_t>(is_signed && low >> (bits - 1) != 0 ? low - (1 << bits) : low);
}

bool IsSigned(DType dtype) {
  return dtype == DType::kI4 || dtype == DType::kI2;
}

}  // namespace

int StorageBits(DType dtype) {
  if (dtype == DType::kF4E2M1 || dtype == DType::kI4 || dtype == DType::kU4) return 4;
  if (dtype == DType::kI2 || dtype == DType::kU2) return 2;
  CHECK(IsStorage(dtype)) << DTypeName(dtype);
  return 8;
}

float DecodeNarrow(DType dtype, uint8_t bits) {
  if (IsNarrowInteger(dtype)) {
    return static_cast<float>(LowBits(bits, StorageBits(dtype), IsSigned(dtype)));
  }
  if (dtype == DType::kF8E8M0) {
    return bits == 0xFF ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0F, bits - 127);
  }
  return DecodeFloat(FormatOf(dtype), bits);
}

uint8_t EncodeNarrow(DType dtype, double x, const NarrowOptions& options) {
  if (IsNarrowInteger(dtype)) {
    // Beyond 64 bits no low bits are left to keep.
    const bool fits = std::fabs(x) < 0x1p63;
    const auto low = static_cast<uint8_t>(fits ? static_cast<int64_t>(x) : 0);
    return static_cast<uint8_t>(LowBits(low, StorageBits(dtype), IsSigned(dtype)));
  }
  if (dtype == DType::kF8E8M0) return EncodeE8M0(x, options);
  return EncodeFloat(FormatOf(dtype), x, options.saturate, dtype == DType::kF4E2M1);
}

void UnpackStorage(DType dtype, const std::byte* packed, int64_t count, std::byte* out) {
  const int bits = StorageBits(dtype);
  const int per_byte = 8 / bits;
  for (int64_t i = 0; i < count; ++i) {
    const auto low =
        static_cast<uint8_t>(static_cast<uint8_t>(packed[i / per_byte]) >> (i % per_byte * bits));
    out[i] = static_cast<std::byte>(LowBits(low, bits, IsSigned(dtype)));
  }
}

}  // namespace sluice::tensor
