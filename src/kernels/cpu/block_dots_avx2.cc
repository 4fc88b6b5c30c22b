// Products with weights in blocks with AVX2 alone: eight rows of W in a register, vpmaddubsw on
// unsigned codes and signed activations. Its sums of two products have 16 bits and saturate, so the
// codes of a format bound how many are added before they are widened: with activations of at most
// 127, codes of 15 leave room for eight pairs (15 * 127 * 16 = 30480), of 31 for four (31496), of
// 63 for two (32004). Codes of eight bits are multiplied as magnitudes with activations that took
// their signs: 128 * 127 * 2 = 32512. Nothing saturates; sums are those of every other path.
// Compiled for AVX2.
#include "kernels/cpu/block_tile.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

struct NarrowVec {
  using Int = __m256i;
  static constexpr int kRows = 8;

  static __m128i At(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  // Row 4 q + i in half q of register i.
  static void LoadLines(const BlockLines& rows, int64_t at, Int* x) {
    const int64_t one = rows.stride, three = 3 * rows.stride;
    const std::byte* const p0 = rows.data + at;
    const std::byte* const p1 = p0 + 4 * one;
    const auto take = [&](int64_t by) __attribute__((always_inline)) {
      return _mm256_inserti128_si256(_mm256_castsi128_si256(At(p0 + by)), At(p1 + by), 1);
    };
    x[0] = take(0);
    x[1] = take(one);
    x[2] = take(2 * one);
    x[3] = take(three);
  }
  // Four by four words turned within each 128 bits.
  static void Load(const BlockLines& rows, int64_t at, Int* out) {
    Int x[4];
    LoadLines(rows, at, x);
    const Int a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpacklo_epi32(x[2], x[3]);
    const Int c = _mm256_unpackhi_epi32(x[0], x[1]), d = _mm256_unpackhi_epi32(x[2], x[3]);
    out[0] = _mm256_unpacklo_epi64(a, b);
    out[1] = _mm256_unpackhi_epi64(a, b);
    out[2] = _mm256_unpacklo_epi64(c, d);
    out[3] = _mm256_unpackhi_epi64(c, d);
  }
  static void LoadTwo(const BlockLines& rows, int64_t at, Int* out) {
    Int x[4];
    LoadLines(rows, at, x);
    const Int a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpacklo_epi32(x[2], x[3]);
    out[0] = _mm256_unpacklo_epi64(a, b);
    out[1] = _mm256_unpackhi_epi64(a, b);
  }
  static Int LoadPanel(const std::byte* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static __m256 Half(Int words) {
    const Int low = And(words, _mm256_set1_epi32(0xffff));
    const Int packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
  }
  static __m256 Brain(const std::byte* from) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
  }
  static __m256 Negative(__m256 x) { return _mm256_sub_ps(_mm256_setzero_ps(), x); }

  static Int Bytes(char x) { return _mm256_set1_epi8(x); }
  static Int And(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int Or(Int a, Int b) { return _mm256_or_si256(a, b); }
  template <int kBits>
  static Int Right(Int x) {
    return _mm256_srli_epi16(x, kBits);
  }
  template <int kBits>
  static Int Left(Int x) {
    return _mm256_slli_epi16(x, kBits);
  }
  template <int kBits>
  static Int LeftWords(Int x) {
    return _mm256_slli_epi32(x, kBits);
  }
  template <int kBits>
  static Int RightWords(Int x) {
    return _mm256_srli_epi32(x, kBits);
  }
  static Int FromSigned(Int x) { return x; }
  // 16 in byte i of each word whose bit 4 kGroup + i is set.
  template <int kGroup>
  static Int AddFifth(Int codes, Int bits) {
    const Int byte = _mm256_shuffle_epi8(
        bits, _mm256_add_epi8(_mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0,
                                                0x04040404, 0x08080808, 0x0c0c0c0c),
                              Bytes(static_cast<char>(kGroup / 2))));
    const Int which =
        _mm256_set1_epi32(kGroup % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010));
    return Or(codes, And(_mm256_cmpeq_epi8(And(byte, which), which), Bytes(16)));
  }
  static void Store(uint8_t* to, Int x) { _mm256_store_si256(reinterpret_cast<__m256i*>(to), x); }
  static __m256 LoadF(const float* from) { return _mm256_loadu_ps(from); }
  static __m256 AddF(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
  static void StoreFU(float* to, __m256 x) { _mm256_storeu_ps(to, x); }
  static void StoreF(float* to, __m256 x) { _mm256_store_ps(to, x); }
  // Byte kByte of each word, times `by`.
  template <bool kSigned, int kByte>
  static __m256 Product(Int bytes, __m256 by) {
    Int x;
    if constexpr (kSigned) {
      x = _mm256_srai_epi32(_mm256_slli_epi32(bytes, 24 - 8 * kByte), 24);
    } else {
      x = And(_mm256_srli_epi32(bytes, 8 * kByte), _mm256_set1_epi32(255));
    }
    return _mm256_mul_ps(_mm256_cvtepi32_ps(x), by);
  }
};

// Whether codes are s8.
template <class Format>
constexpr bool kSignedCodes = Format::kLargest == 255;
// Groups of four whose pairs are added in 16 bits.
template <class Format>
constexpr int kPairSteps = Format::kLargest == 15   ? 8
                           : Format::kLargest == 31 ? 4
                           : Format::kLargest == 63 ? 2
                                                    : 1;

template <class Format>
__attribute__((always_inline)) inline __m256i Pairs(__m256i w, __m256i x) {
  return kSignedCodes<Format> ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                              : _mm256_maddubs_epi16(w, x);
}

// Multiplies the codes of a block with one row of activations.
template <class Format>
struct BytesSink {
  static constexpr int kUnits = Format::kElements / Format::kUnit;
  static constexpr int kGroups = Format::kUnit / 4;
  static constexpr int kRuns = kGroups / kPairSteps<Format>;  // of a unit
  __m256 sum = _mm256_setzero_ps();
  __m256 scales[kUnits];
  __m256 mins[kUnits];
  __m256i pairs[kUnits * kRuns];
  const int8_t* codes;
  const float* row_scales;
  const float* code_sums;
  const int32_t* begins;

  __attribute__((always_inline)) void Begin(const BlockStrip& strip) {
    codes = strip.codes[0];
    row_scales = strip.scales[0];
    code_sums = strip.code_sums[0];
    begins = strip.begins[0];
  }
  __attribute__((always_inline)) void NextBlock() {
    RepeatBlock<kUnits * kRuns>([&](auto i) __attribute__((always_inline)) {
      pairs[i] = _mm256_setzero_si256();
    });
  }
  __attribute__((always_inline)) void Put(int group, __m256i w) {
    int32_t x;
    __builtin_memcpy(&x, codes + 4 * group, 4);
    __m256i& to = pairs[group / kPairSteps<Format>];
    to = _mm256_add_epi16(to, Pairs<Format>(w, _mm256_set1_epi32(x)));
  }
  __attribute__((always_inline)) void Finish() {
    RepeatBlock<kUnits>([&](auto u) __attribute__((always_inline)) {
      __m256i dot = kSignedCodes<Format> || Format::kOffset == 0 ? _mm256_setzero_si256()
                                                                 : _mm256_set1_epi32(begins[u]);
      RepeatBlock<kRuns>([&](auto i) __attribute__((always_inline)) {
        dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs[u * kRuns + i], _mm256_set1_epi16(1)));
      });
      const __m256 both =
          _mm256_mul_ps(scales[u], _mm256_set1_ps(row_scales[u * Format::kUnit / 32]));
      sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), both, sum);
      if constexpr (Format::kMin) sum = _mm256_fmadd_ps(mins[u], _mm256_set1_ps(code_sums[u]), sum);
    });
    codes += Format::kElements;
    row_scales += Format::kElements / 32;
    code_sums += Format::kElements / 32;
    begins += kUnits;
  }
};

struct BytesKit {
  using Vec = NarrowVec;
  template <class Format>
  using DotSink = BytesSink<Format>;
  template <class Format>
  static constexpr int64_t kStrip = kPairSteps<Format> == 8 || kPairSteps<Format> == 1 ? 4 : 3;
  template <class Format>
  static constexpr int kOffset = kSignedCodes<Format> ? 0 : Format::kOffset;

  // Sixteen columns are two registers.
  template <class Format, int kRows>
  static void AddUnits(const BlockStrip& strip, const BlockPanel& panel, int64_t units,
                       float* sums) {
    constexpr int kGroups = Format::kUnit / 4;
    constexpr int kRun = kPairSteps<Format> < kGroups ? kPairSteps<Format> : kGroups;
    const __m256i ones = _mm256_set1_epi16(1);
    for (int64_t u = 0; u < units; ++u) {
      __m256i dot[kRows][2];
      RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
        const __m256i begin =
            kOffset<Format> == 0 ? _mm256_setzero_si256() : _mm256_set1_epi32(strip.begins[r][u]);
        dot[r][0] = begin;
        dot[r][1] = begin;
      });
      const int64_t at = u * Format::kUnit;
      RepeatBlock<kGroups / kRun>([&](auto run) __attribute__((always_inline)) {
        __m256i pairs[kRows][2];
        RepeatBlock<kRun>([&](auto step) __attribute__((always_inline)) {
          constexpr int kGroup = run * kRun + step;
          const auto* const codes =
              reinterpret_cast<const __m256i*>(panel.codes + (u * kGroups + kGroup) * 64);
          const __m256i w[2] = {_mm256_load_si256(codes), _mm256_load_si256(codes + 1)};
          RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
            int32_t group;
            __builtin_memcpy(&group, strip.codes[r] + at + 4 * kGroup, 4);
            const __m256i x = _mm256_set1_epi32(group);
            RepeatBlock<2>([&](auto p) __attribute__((always_inline)) {
              const __m256i two = Pairs<Format>(w[p], x);
              pairs[r][p] = step == 0 ? two : _mm256_add_epi16(pairs[r][p], two);
            });
          });
        });
        RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
          RepeatBlock<2>([&](auto p) __attribute__((always_inline)) {
            dot[r][p] = _mm256_add_epi32(dot[r][p], _mm256_madd_epi16(pairs[r][p], ones));
          });
        });
      });
      RepeatBlock<2>([&](auto p) __attribute__((always_inline)) {
        const __m256 scale = _mm256_load_ps(panel.scales + u * 16 + 8 * p);
        RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
          float* const to = sums + r * kBlockColumns + 8 * p;
          const __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(strip.scales[r][at / 32]));
          __m256 sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[r][p]), both, _mm256_load_ps(to));
          if constexpr (Format::kMin) {
            sum = _mm256_fmadd_ps(_mm256_load_ps(panel.mins + u * 16 + 8 * p),
                                  _mm256_set1_ps(strip.code_sums[r][u]), sum);
          }
          _mm256_store_ps(to, sum);
        });
      });
    }
  }

  template <class Format>
  static void Add(const BlockStrip& strip, int64_t rows, const BlockPanel* panels, bool two,
                  int64_t units, float* sums) {
    for (int64_t p = 0; p < (two ? 2 : 1); ++p) {
      float* const to = sums + p * kBlockPanel;
      if (rows == 1) {
        AddUnits<Format, 1>(strip, panels[p], units, to);
      } else if (rows == 2) {
        AddUnits<Format, 2>(strip, panels[p], units, to);
      } else if (rows == 3) {
        AddUnits<Format, 3>(strip, panels[p], units, to);
      } else if constexpr (kStrip<Format> == 4) {
        AddUnits<Format, 4>(strip, panels[p], units, to);
      }
    }
  }
};

}  // namespace

void RunBlocks(const BlockGemmArgs& args, const BlockRegion& region) {
  RunEveryBlock<BytesKit>(args, region);
}

}  // namespace sluice::kernels::SLUICE_ISA
