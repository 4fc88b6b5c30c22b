// Spreads blocks of a few rows of W into a panel: bytes of codes that lie along k in groups of
// four, one group for each row, with scales and minimums in f32 beside them. Written once over a
// Vec of 8 or 16 rows; only for files that are compiled once per target.
//
// A Vec has: Int, a register of kRows words; Load(rows, at, out), the sixteen bytes behind `at` of
// every row as four registers of a word a row; Words(rows, at), one word of each row; Half(words),
// bits 0 to 15 as f16 to f32; and what little arithmetic stands below.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/block_gemm.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// Elements of k that are spread at a time.
constexpr int64_t kBlockChunk = 512;

// A chunk of sixteen rows of W: [k / 4] groups of a word a row.
struct BlockPanel {
  alignas(64) uint8_t codes[kBlockChunk / 4 * 64];
  alignas(64) float scales[kBlockChunk / 16 * 16];  // [units, 16]
  alignas(64) float mins[kBlockChunk / 32 * 16];    // [units, 16] of formats that have them
};

// Where the next unit of some of the panel's rows goes.
struct BlockSink {
  uint8_t* codes;
  float* scales;
  float* mins;
};

// What will be read soon, a few lines for each block that is spread.
struct BlockFetch {
  const std::byte* at;
  const std::byte* end;
  int64_t step;  // bytes a block
  __attribute__((always_inline)) void Next() {
    const std::byte* const stop = at + step < end ? at + step : end;
    for (; at < stop; at += 64) _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
  }
};

// Where a format keeps its codes on the way to an integer: code - kOffset is the weight's integer,
// codes are at most kLargest; kSigned: s8 already.
template <int kElementsOf, int kBytesOf, int kUnitOf, int kOffsetOf, int kLargestOf, bool kMinOf>
struct BlockTraits {
  static constexpr int kElements = kElementsOf;
  static constexpr int kBytes = kBytesOf;
  static constexpr int kUnit = kUnitOf;
  static constexpr int kOffset = kOffsetOf;
  static constexpr int kLargest = kLargestOf;
  static constexpr bool kMin = kMinOf;
};

template <class Vec>
struct BlockDecoder {
  using Int = typename Vec::Int;
  using Rows = typename Vec::Rows;

  static void Put(BlockSink& sink, int group, Int codes) {
    Vec::Store(sink.codes + group * 64, codes);
  }
  static void Low(BlockSink& sink, int group, Int x) {
    Put(sink, group, Vec::And(x, Vec::Bytes(15)));
  }
  static void High(BlockSink& sink, int group, Int x) {
    Put(sink, group, Vec::And(Vec::template Right<4>(x), Vec::Bytes(15)));
  }
  static void Advance(BlockSink& sink, int units, int elements) {
    sink.codes += elements / 4 * 64;
    sink.scales += units * 16;
    sink.mins += units * 16;
  }

  struct Q8_0 : BlockTraits<32, 34, 32, 128, 255, false> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      Int x[8];
      Vec::Load(rows, at + 2, x);
      Vec::Load(rows, at + 18, x + 4);
      for (int g = 0; g < 8; ++g) Put(sink, g, Vec::FromSigned(x[g]));
      Vec::StoreF(sink.scales, Vec::Half(Vec::Words(rows, at)));
      Advance(sink, 1, 32);
    }
  };
  struct Q4_0 : BlockTraits<32, 18, 32, 8, 15, false> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      Int x[4];
      Vec::Load(rows, at + 2, x);
      for (int g = 0; g < 4; ++g) {
        Low(sink, g, x[g]);
        High(sink, g + 4, x[g]);
      }
      Vec::StoreF(sink.scales, Vec::Half(Vec::Words(rows, at)));
      Advance(sink, 1, 32);
    }
  };
  struct Q4_1 : BlockTraits<32, 20, 32, 0, 15, true> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      Int x[4];
      Vec::Load(rows, at + 4, x);
      for (int g = 0; g < 4; ++g) {
        Low(sink, g, x[g]);
        High(sink, g + 4, x[g]);
      }
      const Int both = Vec::Words(rows, at);
      Vec::StoreF(sink.scales, Vec::Half(both));
      Vec::StoreF(sink.mins, Vec::Half(Vec::template RightWords<16>(both)));
      Advance(sink, 1, 32);
    }
  };
  // Codes of five bits whose fifth bits lie in a word: bit j of element j.
  static void Fives(const Rows& rows, int64_t at, Int fifth, BlockSink& sink) {
    Int x[4];
    Vec::Load(rows, at, x);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const Int low = Vec::And(x[g], Vec::Bytes(15));
      const Int high = Vec::And(Vec::template Right<4>(x[g]), Vec::Bytes(15));
      Put(sink, g, Vec::AddFifth(low, fifth, g));
      Put(sink, g + 4, Vec::AddFifth(high, fifth, g + 4));
    }
  }
  struct Q5_0 : BlockTraits<32, 22, 32, 16, 31, false> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      Fives(rows, at + 6, Vec::Words(rows, at + 2), sink);
      Vec::StoreF(sink.scales, Vec::Half(Vec::Words(rows, at)));
      Advance(sink, 1, 32);
    }
  };
  struct Q5_1 : BlockTraits<32, 24, 32, 0, 31, true> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      Fives(rows, at + 8, Vec::Words(rows, at + 4), sink);
      const Int both = Vec::Words(rows, at);
      Vec::StoreF(sink.scales, Vec::Half(both));
      Vec::StoreF(sink.mins, Vec::Half(Vec::template RightWords<16>(both)));
      Advance(sink, 1, 32);
    }
  };

  // Eight scales and eight minimums of six bits in twelve bytes: four words of four, then times the
  // block's own, the minimums negative.
  static void SixBitScales(const Rows& rows, int64_t at, BlockSink& sink) {
    const Int both = Vec::Words(rows, at);
    const auto scale = Vec::Half(both);
    const auto least = Vec::Negative(Vec::Half(Vec::template RightWords<16>(both)));
    const Int s0 = Vec::Words(rows, at + 4);
    const Int s1 = Vec::Words(rows, at + 8);
    const Int s2 = Vec::Words(rows, at + 12);
    const Int six = Vec::Bytes(63), four = Vec::Bytes(15), top = Vec::Bytes(48);
    const Int scales[2] = {Vec::And(s0, six),
                           Vec::Or(Vec::And(s2, four), Vec::And(Vec::template Right<2>(s0), top))};
    const Int mins[2] = {Vec::And(s1, six), Vec::Or(Vec::And(Vec::template Right<4>(s2), four),
                                                    Vec::And(Vec::template Right<2>(s1), top))};
    for (int half = 0; half < 2; ++half) {
      Vec::template StoreBytes<false>(sink.scales + half * 64, scales[half], scale);
      Vec::template StoreBytes<false>(sink.mins + half * 64, mins[half], least);
    }
  }
  struct Q4_K : BlockTraits<256, 144, 32, 0, 15, true> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      SixBitScales(rows, at, sink);
      for (int c = 0; c < 4; ++c) {
        Int x[8];
        Vec::Load(rows, at + 16 + 32 * c, x);
        Vec::Load(rows, at + 32 + 32 * c, x + 4);
        for (int g = 0; g < 8; ++g) {
          Low(sink, 16 * c + g, x[g]);
          High(sink, 16 * c + 8 + g, x[g]);
        }
      }
      Advance(sink, 8, 256);
    }
  };
  struct Q5_K : BlockTraits<256, 176, 32, 0, 31, true> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      SixBitScales(rows, at, sink);
      Int fifth[8];
      Vec::Load(rows, at + 16, fifth);
      Vec::Load(rows, at + 32, fifth + 4);
      const Int bit = Vec::Bytes(16);
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        Int x[8];
        Vec::Load(rows, at + 48 + 32 * c, x);
        Vec::Load(rows, at + 64 + 32 * c, x + 4);
#pragma GCC unroll 8
        for (int g = 0; g < 8; ++g) {
          const Int low = Vec::And(x[g], Vec::Bytes(15));
          const Int high = Vec::And(Vec::template Right<4>(x[g]), Vec::Bytes(15));
          // Bits 2c and 2c + 1 of the byte, moved to bit 4.
          const Int f = c == 0   ? Vec::template Left<4>(fifth[g])
                        : c == 1 ? Vec::template Left<2>(fifth[g])
                        : c == 2 ? fifth[g]
                                 : Vec::template Right<2>(fifth[g]);
          const Int f1 = c == 0   ? Vec::template Left<3>(fifth[g])
                         : c == 1 ? Vec::template Left<1>(fifth[g])
                         : c == 2 ? Vec::template Right<1>(fifth[g])
                                  : Vec::template Right<3>(fifth[g]);
          Put(sink, 16 * c + g, Vec::Or(low, Vec::And(f, bit)));
          Put(sink, 16 * c + 8 + g, Vec::Or(high, Vec::And(f1, bit)));
        }
      }
      Advance(sink, 8, 256);
    }
  };
  struct Q6_K : BlockTraits<256, 210, 16, 32, 63, false> {
    static void Decode(const Rows& rows, int64_t at, BlockSink& sink) {
      const auto scale = Vec::Half(Vec::template RightWords<16>(Vec::Words(rows, at + 206)));
      for (int i = 0; i < 4; ++i)
        Vec::template StoreBytes<true>(sink.scales + i * 64, Vec::Words(rows, at + 192 + 4 * i),
                                       scale);
      const Int low = Vec::Bytes(15), top = Vec::Bytes(48);
      for (int half = 0; half < 2; ++half) {
        for (int part = 0; part < 2; ++part) {
          Int a[4], b[4], h[4];
          Vec::Load(rows, at + 64 * half + 16 * part, a);
          Vec::Load(rows, at + 64 * half + 32 + 16 * part, b);
          Vec::Load(rows, at + 128 + 32 * half + 16 * part, h);
          const int at_group = 32 * half + 4 * part;
          for (int g = 0; g < 4; ++g) {
            Put(sink, at_group + g,
                Vec::Or(Vec::And(a[g], low), Vec::And(Vec::template Left<4>(h[g]), top)));
            Put(sink, at_group + 8 + g,
                Vec::Or(Vec::And(b[g], low), Vec::And(Vec::template Left<2>(h[g]), top)));
            Put(sink, at_group + 16 + g,
                Vec::Or(Vec::And(Vec::template Right<4>(a[g]), low), Vec::And(h[g], top)));
            Put(sink, at_group + 24 + g,
                Vec::Or(Vec::And(Vec::template Right<4>(b[g]), low),
                        Vec::And(Vec::template Right<2>(h[g]), top)));
          }
        }
      }
      Advance(sink, 16, 256);
    }
  };
};

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
