// Compiled once per target: blocked transposes of 4-byte elements and conversions.
#include "kernels/cpu/transpose.h"

#include <immintrin.h>

#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

using tensor::DType;

// Eight rows of eight words, turned.
HWY_INLINE void Turn8x8(const uint32_t* x, int64_t xs, uint32_t* y, int64_t ys) {
  const auto load = [&](int64_t i) HWY_ATTR {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(x + i * xs));
  };
  const __m256 r0 = load(0), r1 = load(1), r2 = load(2), r3 = load(3);
  const __m256 r4 = load(4), r5 = load(5), r6 = load(6), r7 = load(7);
  const __m256 a0 = _mm256_unpacklo_ps(r0, r1), a1 = _mm256_unpackhi_ps(r0, r1);
  const __m256 a2 = _mm256_unpacklo_ps(r2, r3), a3 = _mm256_unpackhi_ps(r2, r3);
  const __m256 a4 = _mm256_unpacklo_ps(r4, r5), a5 = _mm256_unpackhi_ps(r4, r5);
  const __m256 a6 = _mm256_unpacklo_ps(r6, r7), a7 = _mm256_unpackhi_ps(r6, r7);
  const __m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xee);
  const __m256 b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xee);
  const __m256 b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xee);
  const __m256 b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xee);
  const auto store = [&](int64_t j, __m256 v)
                         HWY_ATTR { _mm256_storeu_ps(reinterpret_cast<float*>(y + j * ys), v); };
  store(0, _mm256_permute2f128_ps(b0, b4, 0x20));
  store(1, _mm256_permute2f128_ps(b1, b5, 0x20));
  store(2, _mm256_permute2f128_ps(b2, b6, 0x20));
  store(3, _mm256_permute2f128_ps(b3, b7, 0x20));
  store(4, _mm256_permute2f128_ps(b0, b4, 0x31));
  store(5, _mm256_permute2f128_ps(b1, b5, 0x31));
  store(6, _mm256_permute2f128_ps(b2, b6, 0x31));
  store(7, _mm256_permute2f128_ps(b3, b7, 0x31));
}

void TurnRest(const uint32_t* x, int64_t x_stride, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
              uint32_t* y, int64_t y_stride) {
  for (int64_t j = j0; j < j1; ++j) {
    for (int64_t i = i0; i < i1; ++i) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

}  // namespace

void TransposeWords(const uint32_t* x, int64_t x_stride, int64_t columns, int64_t rows, uint32_t* y,
                    int64_t y_stride) {
  // Blocks of 16 x 16: whole cache lines are read and whole cache lines are written, one behind the
  // other.
  constexpr int64_t kBlock = 16;
  for (int64_t j0 = 0; j0 < rows; j0 += kBlock) {
    const int64_t j1 = rows - j0 < kBlock ? rows : j0 + kBlock;
    for (int64_t i0 = 0; i0 < columns; i0 += kBlock) {
      const int64_t i1 = columns - i0 < kBlock ? columns : i0 + kBlock;
      for (int64_t j = j0; j < j1; j += 8) {
        for (int64_t i = i0; i < i1; i += 8) {
          if (i + 8 <= i1 && j + 8 <= j1) {
            Turn8x8(x + i * x_stride + j, x_stride, y + j * y_stride + i, y_stride);
          } else {
            TurnRest(x, x_stride, i, i1 - i < 8 ? i1 : i + 8, j, j1 - j < 8 ? j1 : j + 8, y,
                     y_stride);
          }
        }
      }
    }
  }
}

namespace {

void ToHalf(const float* x, int64_t n, uint16_t* y) {
  constexpr int kRound = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(x + i), kRound));
  }
  for (; i < n; ++i) {
    y[i] =
        static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x[i]), kRound)) & 0xffff);
  }
}

// The upper half after rounding to nearest even; NaN keeps its sign and is quiet.
HWY_INLINE __m128i ToBrain8(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i y = _mm256_blendv_epi8(rounded, quiet, nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
}

void ToBrain(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), ToBrain8(_mm256_loadu_ps(x + i)));
  }
  for (; i < n; ++i)
    y[i] = static_cast<uint16_t>(_mm_cvtsi128_si32(ToBrain8(_mm256_set1_ps(x[i]))) & 0xffff);
}

}  // namespace

void RunConvert(const ConvertArgs& args, int64_t begin, int64_t end) {
  if (args.to == DType::kF32) {
    const int64_t size = args.from == DType::kI64 ? 8 : args.from == DType::kI32 ? 4 : 2;
    WidenRun(args.from, static_cast<const char*>(args.x) + begin * size, end - begin,
             static_cast<float*>(args.y) + begin);
    return;
  }
  const float* x = static_cast<const float*>(args.x) + begin;
  uint16_t* y = static_cast<uint16_t*>(args.y) + begin;
  if (args.to == DType::kF16) return ToHalf(x, end - begin, y);
  ToBrain(x, end - begin, y);
}

}  // namespace sluice::kernels::SLUICE_ISA
