// Products with weights in blocks by vpdpbusd: sixteen rows of W in a register, codes unsigned,
// activations signed. Compiled for AVX-512 with VNNI.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own headers begin unmasked operations with an undefined register (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include "kernels/cpu/block_tile.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

struct WideVec {
  using Int = __m512i;
  static constexpr int kRows = 16;

  static __m128i At(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  // Row 4 q + i in quarter q of register i.
  static void LoadLines(const BlockLines& rows, int64_t at, Int* x) {
    const int64_t one = rows.stride, three = 3 * rows.stride;
    const std::byte* const p0 = rows.data + at;
    const std::byte* const p1 = p0 + 4 * one;
    const std::byte* const p2 = p1 + 4 * one;
    const std::byte* const p3 = p2 + 4 * one;
    const auto take = [&](int64_t by) __attribute__((always_inline)) {
      Int v = _mm512_castsi128_si512(At(p0 + by));
      v = _mm512_inserti32x4(v, At(p1 + by), 1);
      v = _mm512_inserti32x4(v, At(p2 + by), 2);
      return _mm512_inserti32x4(v, At(p3 + by), 3);
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
    const Int a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpacklo_epi32(x[2], x[3]);
    const Int c = _mm512_unpackhi_epi32(x[0], x[1]), d = _mm512_unpackhi_epi32(x[2], x[3]);
    out[0] = _mm512_unpacklo_epi64(a, b);
    out[1] = _mm512_unpackhi_epi64(a, b);
    out[2] = _mm512_unpacklo_epi64(c, d);
    out[3] = _mm512_unpackhi_epi64(c, d);
  }
  static void LoadTwo(const BlockLines& rows, int64_t at, Int* out) {
    Int x[4];
    LoadLines(rows, at, x);
    const Int a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpacklo_epi32(x[2], x[3]);
    out[0] = _mm512_unpacklo_epi64(a, b);
    out[1] = _mm512_unpackhi_epi64(a, b);
  }
  static Int LoadPanel(const std::byte* from) { return _mm512_loadu_si512(from); }
  static __m512 Half(Int words) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)); }
  static __m512 Brain(const std::byte* from) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
  }
  static __m512 Negative(__m512 x) { return _mm512_sub_ps(_mm512_setzero_ps(), x); }

  static Int Bytes(char x) { return _mm512_set1_epi8(x); }
  static Int And(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int Or(Int a, Int b) { return _mm512_or_si512(a, b); }
  // Shifts move bits across bytes: what follows masks them.
  template <int kBits>
  static Int Right(Int x) {
    return _mm512_srli_epi16(x, kBits);
  }
  template <int kBits>
  static Int Left(Int x) {
    return _mm512_slli_epi16(x, kBits);
  }
  template <int kBits>
  static Int LeftWords(Int x) {
    return _mm512_slli_epi32(x, kBits);
  }
  template <int kBits>
  static Int RightWords(Int x) {
    return _mm512_srli_epi32(x, kBits);
  }
  static Int FromSigned(Int x) { return _mm512_xor_si512(x, Bytes(-128)); }
  // 16 in byte i of each word whose bit 4 kGroup + i is set.
  template <int kGroup>
  static Int AddFifth(Int codes, Int bits) {
    const Int byte = _mm512_shuffle_epi8(
        bits, _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                              Bytes(static_cast<char>(kGroup / 2))));
    const Int which =
        _mm512_set1_epi32(kGroup % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010));
    return _mm512_mask_add_epi8(codes, _mm512_test_epi8_mask(byte, which), codes, Bytes(16));
  }
  static void Store(uint8_t* to, Int x) { _mm512_store_si512(to, x); }
  static __m512 LoadF(const float* from) { return _mm512_loadu_ps(from); }
  static __m512 AddF(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static void StoreFU(float* to, __m512 x) { _mm512_storeu_ps(to, x); }
  static void StoreF(float* to, __m512 x) { _mm512_store_ps(to, x); }
  // Byte kByte of each word, times `by`.
  template <bool kSigned, int kByte>
  static __m512 Product(Int bytes, __m512 by) {
    Int x;
    if constexpr (kSigned) {
      x = _mm512_srai_epi32(_mm512_slli_epi32(bytes, 24 - 8 * kByte), 24);
    } else {
      x = _mm512_and_si512(_mm512_srli_epi32(bytes, 8 * kByte), _mm512_set1_epi32(255));
    }
    return _mm512_mul_ps(_mm512_cvtepi32_ps(x), by);
  }
};

// Multiplies the codes of a block with one row of activations.
template <class Format>
struct VnniSink {
  static constexpr int kUnits = Format::kElements / Format::kUnit;
  static constexpr int kGroups = Format::kUnit / 4;
  __m512 sum = _mm512_setzero_ps();
  __m512 scales[kUnits];
  __m512 mins[kUnits];
  __m512i dots[kUnits];
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
    RepeatBlock<kUnits>([&](auto u) __attribute__((always_inline)) {
      dots[u] = Format::kOffset == 0 ? _mm512_setzero_si512() : _mm512_set1_epi32(begins[u]);
    });
  }
  __attribute__((always_inline)) void Put(int group, __m512i w) {
    int32_t x;
    __builtin_memcpy(&x, codes + 4 * group, 4);
    dots[group / kGroups] = _mm512_dpbusd_epi32(dots[group / kGroups], w, _mm512_set1_epi32(x));
  }
  __attribute__((always_inline)) void Finish() {
    RepeatBlock<kUnits>([&](auto u) __attribute__((always_inline)) {
      const __m512 both =
          _mm512_mul_ps(scales[u], _mm512_set1_ps(row_scales[u * Format::kUnit / 32]));
      sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[u]), both, sum);
      if constexpr (Format::kMin) sum = _mm512_fmadd_ps(mins[u], _mm512_set1_ps(code_sums[u]), sum);
    });
    codes += Format::kElements;
    row_scales += Format::kElements / 32;
    code_sums += Format::kElements / 32;
    begins += kUnits;
  }
};

struct VnniKit {
  using Vec = WideVec;
  template <class Format>
  using DotSink = VnniSink<Format>;
  template <class Format>
  static constexpr int64_t kStrip = 6;
  template <class Format>
  static constexpr int kOffset = Format::kOffset;

  template <class Format, int kRows, int kPanels>
  static void AddUnits(const BlockStrip& strip, const BlockPanel* panels, int64_t units,
                       float* sums) {
    constexpr int kGroups = Format::kUnit / 4;
    __m512 sum[kRows][kPanels];
    RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
      RepeatBlock<kPanels>([&](auto p) __attribute__((always_inline)) {
        sum[r][p] = _mm512_load_ps(sums + r * kBlockColumns + p * kBlockPanel);
      });
    });
    for (int64_t u = 0; u < units; ++u) {
      __m512i dot[kRows][kPanels];
      RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
        const __m512i begin =
            Format::kOffset == 0 ? _mm512_setzero_si512() : _mm512_set1_epi32(strip.begins[r][u]);
        RepeatBlock<kPanels>([&](auto p) __attribute__((always_inline)) { dot[r][p] = begin; });
      });
      const int64_t at = u * Format::kUnit;
      RepeatBlock<kGroups>([&](auto g) __attribute__((always_inline)) {
        __m512i w[kPanels];
        RepeatBlock<kPanels>([&](auto p) __attribute__((always_inline)) {
          w[p] = _mm512_load_si512(panels[p].codes + (u * kGroups + g) * 64);
        });
        RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
          int32_t group;
          __builtin_memcpy(&group, strip.codes[r] + at + 4 * g, 4);
          const __m512i x = _mm512_set1_epi32(group);
          RepeatBlock<kPanels>([&](auto p) __attribute__((always_inline)) {
            dot[r][p] = _mm512_dpbusd_epi32(dot[r][p], w[p], x);
          });
        });
      });
      RepeatBlock<kPanels>([&](auto p) __attribute__((always_inline)) {
        const __m512 scale = _mm512_load_ps(panels[p].scales + u * 16);
        RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
          const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(strip.scales[r][at / 32]));
          sum[r][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r][p]), both, sum[r][p]);
        });
        if constexpr (Format::kMin) {
          const __m512 least = _mm512_load_ps(panels[p].mins + u * 16);
          RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
            sum[r][p] = _mm512_fmadd_ps(least, _mm512_set1_ps(strip.code_sums[r][u]), sum[r][p]);
          });
        }
      });
    }
    RepeatBlock<kRows>([&](auto r) __attribute__((always_inline)) {
      RepeatBlock<kPanels>([&](auto p) __attribute__((always_inline)) {
        _mm512_store_ps(sums + r * kBlockColumns + p * kBlockPanel, sum[r][p]);
      });
    });
  }

  template <class Format, int kPanels>
  static void AddRows(const BlockStrip& strip, int64_t rows, const BlockPanel* panels,
                      int64_t units, float* sums) {
    switch (rows) {
      case 1:
        return AddUnits<Format, 1, kPanels>(strip, panels, units, sums);
      case 2:
        return AddUnits<Format, 2, kPanels>(strip, panels, units, sums);
      case 3:
        return AddUnits<Format, 3, kPanels>(strip, panels, units, sums);
      case 4:
        return AddUnits<Format, 4, kPanels>(strip, panels, units, sums);
      case 5:
        return AddUnits<Format, 5, kPanels>(strip, panels, units, sums);
      default:
        return AddUnits<Format, 6, kPanels>(strip, panels, units, sums);
    }
  }
  template <class Format>
  static void Add(const BlockStrip& strip, int64_t rows, const BlockPanel* panels, bool two,
                  int64_t units, float* sums) {
    two ? AddRows<Format, 2>(strip, rows, panels, units, sums)
        : AddRows<Format, 1>(strip, rows, panels, units, sums);
  }
};

}  // namespace

void RunBlocks(const BlockGemmArgs& args, const BlockRegion& region) {
  RunEveryBlock<VnniKit>(args, region);
}

}  // namespace sluice::kernels::SLUICE_ISA
