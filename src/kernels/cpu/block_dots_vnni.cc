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
  struct Rows {
    const std::byte* at[kRows];
  };

  static __m128i Quarter(const Rows& rows, int row, int64_t at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.at[row] + at));
  }
  // Row 4 q + i in quarter q of register i, then four by four words turned within each quarter.
  static void Load(const Rows& rows, int64_t at, Int* out) {
    Int x[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      Int v = _mm512_castsi128_si512(Quarter(rows, i, at));
      v = _mm512_inserti32x4(v, Quarter(rows, 4 + i, at), 1);
      v = _mm512_inserti32x4(v, Quarter(rows, 8 + i, at), 2);
      x[i] = _mm512_inserti32x4(v, Quarter(rows, 12 + i, at), 3);
    }
    const Int a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpacklo_epi32(x[2], x[3]);
    const Int c = _mm512_unpackhi_epi32(x[0], x[1]), d = _mm512_unpackhi_epi32(x[2], x[3]);
    out[0] = _mm512_unpacklo_epi64(a, b);
    out[1] = _mm512_unpackhi_epi64(a, b);
    out[2] = _mm512_unpacklo_epi64(c, d);
    out[3] = _mm512_unpackhi_epi64(c, d);
  }
  static Int LoadPanel(const std::byte* from) {
    return _mm512_loadu_si512(from);
  }
  static __m128i Word(const Rows& rows, int row, int64_t at) {
    int32_t word;
    __builtin_memcpy(&word, rows.at[row] + at, 4);
    return _mm_cvtsi32_si128(word);
  }
  static Int Words(const Rows& rows, int64_t at) {
    __m128i x[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      const __m128i low = _mm_unpacklo_epi32(Word(rows, 4 * q, at), Word(rows, 4 * q + 1, at));
      const __m128i high = _mm_unpacklo_epi32(Word(rows, 4 * q + 2, at), Word(rows, 4 * q + 3, at));
      x[q] = _mm_unpacklo_epi64(low, high);
    }
    Int v = _mm512_castsi128_si512(x[0]);
    v = _mm512_inserti32x4(v, x[1], 1);
    v = _mm512_inserti32x4(v, x[2], 2);
    return _mm512_inserti32x4(v, x[3], 3);
  }
  static __m512 Half(Int words) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
  }
  static __m512 Brain(const std::byte* from) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
  }
  static __m512 Negative(__m512 x) {
    return _mm512_sub_ps(_mm512_setzero_ps(), x);
  }

  static Int Bytes(char x) {
    return _mm512_set1_epi8(x);
  }
  static Int And(Int a, Int b) {
    return _mm512_and_si512(a, b);
  }
  static Int Or(Int a, Int b) {
    return _mm512_or_si512(a, b);
  }
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
  static Int RightWords(Int x) {
    return _mm512_srli_epi32(x, kBits);
  }
  static Int FromSigned(Int x) {
    return _mm512_xor_si512(x, Bytes(-128));
  }
  // 16 in byte i of each word whose bit 4 group + i is set.
  static Int AddFifth(Int codes, Int bits, int group) {
    const Int byte = _mm512_shuffle_epi8(
        bits, _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                              Bytes(static_cast<char>(group / 2))));
    const Int which = _mm512_set1_epi32(group % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010));
    return _mm512_mask_add_epi8(codes, _mm512_test_epi8_mask(byte, which), codes, Bytes(16));
  }
  static void Store(uint8_t* to, Int x) {
    _mm512_store_si512(to, x);
  }
  static void StoreF(float* to, __m512 x) {
    _mm512_store_ps(to, x);
  }
  // Byte j of each word, times `by`, to row j.
  template <bool kSigned>
  static void StoreBytes(float* to, Int bytes, __m512 by) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      Int x;
      if constexpr (kSigned) {
        x = _mm512_srai_epi32(_mm512_slli_epi32(bytes, static_cast<unsigned>(24 - 8 * j)), 24);
      } else {
        x = _mm512_and_si512(_mm512_srli_epi32(bytes, static_cast<unsigned>(8 * j)),
                             _mm512_set1_epi32(255));
      }
      StoreF(to + 16 * j, _mm512_mul_ps(_mm512_cvtepi32_ps(x), by));
    }
  }
};

struct VnniKit {
  using Vec = WideVec;
  template <class Format>
  static constexpr int64_t kStrip = 6;
  template <class Format>
  static constexpr int kOffset = Format::kOffset;
  template <class Format>
  static constexpr int64_t FetchStep() {
    return Vec::kRows * Format::kBytes;
  }

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
