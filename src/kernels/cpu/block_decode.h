// Spreads blocks of a few rows of W into a panel: bytes of codes that lie along k in groups of
// four, one group for each row, with scales and minimums in f32 beside them. Written once over a
// Vec of 8 or 16 rows; only for files that are compiled once per target.
//
// A Vec has: Int, a register of kRows words; Load(rows, at, out), the sixteen bytes behind `at` of
// every row as four registers of a word a row, and LoadTwo the first two of them; Half(words), bits
// 0 to 15 as f16 to f32; and what little arithmetic stands below. Loops are unrolled by Repeat: an
// array of registers under a loop would lie in memory.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/cpu/block_gemm.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

template <int kCount, class F>
__attribute__((always_inline)) inline void RepeatBlock(F f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, kIndex>{}), ...);
  }
  (std::make_integer_sequence<int, kCount>{});
}

// Elements of k that are spread at a time.
constexpr int64_t kBlockChunk = 512;

// Rows of W from the block in use on: `stride` bytes apart, the next block `step` bytes behind.
struct BlockLines {
  const std::byte* data;
  int64_t stride;
  int64_t step;
};

// A chunk of sixteen rows of W: [k / 4] groups of a word a row.
struct BlockPanel {
  alignas(64) uint8_t codes[kBlockChunk / 4 * 64];
  alignas(64) float scales[kBlockChunk / 16 * 16];  // [units, 16]
  alignas(64) float mins[kBlockChunk / 32 * 16];    // [units, 16] of formats that have them
};

// Where a block of some of the panel's rows goes: the next of a panel. (Kits have a sink that
// multiplies instead.)
struct PanelSink {
  uint8_t* codes;
  float* scales;
  float* mins;
};

// Bytes that L1 is asked for ahead where W is read in the order of memory.
constexpr int64_t kBlockNear = 2048;

// What will be read soon, in the order of memory: lines for each block that is spread, every line
// once, so that it runs a little faster than the blocks. kLocality 2 asks L2 for them, 3 L1.
struct BlockFetch {
  const std::byte* at;
  template <int kBytes, int kLocality = 2>
  __attribute__((always_inline)) void Next() {
    constexpr int kLines = (kBytes + 63) / 64;
    RepeatBlock<kLines>([&](auto line) __attribute__((always_inline)) {
      __builtin_prefetch(at + 64 * line, 0, kLocality);
    });
    at += 64 * kLines;
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
  using Rows = BlockLines;

  // Codes of a group of four elements, the block's scales and minimums, and its end.
  template <class Sink>
  __attribute__((always_inline)) static void Put(Sink& sink, int group, Int codes) {
    if constexpr (std::is_same_v<Sink, PanelSink>) {
      Vec::Store(sink.codes + group * 64, codes);
    } else {
      sink.Put(group, codes);
    }
  }
  template <class Sink, class Floats>
  __attribute__((always_inline)) static void PutScale(Sink& sink, int unit, Floats x) {
    if constexpr (std::is_same_v<Sink, PanelSink>) {
      Vec::StoreF(sink.scales + unit * 16, x);
    } else {
      sink.scales[unit] = x;
    }
  }
  template <class Sink, class Floats>
  __attribute__((always_inline)) static void PutMin(Sink& sink, int unit, Floats x) {
    if constexpr (std::is_same_v<Sink, PanelSink>) {
      Vec::StoreF(sink.mins + unit * 16, x);
    } else {
      sink.mins[unit] = x;
    }
  }
  template <class Sink>
  __attribute__((always_inline)) static void Advance(Sink& sink, int units, int elements) {
    if constexpr (std::is_same_v<Sink, PanelSink>) {
      sink.codes += elements / 4 * 64;
      sink.scales += units * 16;
      sink.mins += units * 16;
    } else {
      sink.Finish();
    }
  }
  // Byte j of each word, times `by`, is the scale (or minimum) of unit + j.
  template <bool kSigned, class Sink, class Floats>
  __attribute__((always_inline)) static void PutScales(Sink& sink, int unit, Int bytes, Floats by) {
    RepeatBlock<4>([&](auto j) __attribute__((always_inline)) {
      PutScale(sink, unit + j, Vec::template Product<kSigned, j>(bytes, by));
    });
  }
  template <class Sink, class Floats>
  __attribute__((always_inline)) static void PutMins(Sink& sink, int unit, Int bytes, Floats by) {
    RepeatBlock<4>([&](auto j) __attribute__((always_inline)) {
      PutMin(sink, unit + j, Vec::template Product<false, j>(bytes, by));
    });
  }

  template <class Sink>
  __attribute__((always_inline)) static void Low(Sink& sink, int group, Int x) {
    Put(sink, group, Vec::And(x, Vec::Bytes(15)));
  }
  template <class Sink>
  __attribute__((always_inline)) static void High(Sink& sink, int group, Int x) {
    Put(sink, group, Vec::And(Vec::template Right<4>(x), Vec::Bytes(15)));
  }
  // Sixteen bytes of codes of four bits: the low halves come first.
  template <class Sink>
  __attribute__((always_inline)) static void Fours(const Rows& rows, int64_t at, Sink& sink) {
    Int x[4];
    Vec::Load(rows, at, x);
    RepeatBlock<4>([&](auto g) __attribute__((always_inline)) {
      Low(sink, g, x[g]);
      High(sink, g + 4, x[g]);
    });
  }

  struct Q8_0 : BlockTraits<32, 34, 32, 128, 255, false> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      Int x[8], head[2];
      Vec::Load(rows, 2, x);
      Vec::Load(rows, 18, x + 4);
      RepeatBlock<8>([&](auto g)
                         __attribute__((always_inline)) { Put(sink, g, Vec::FromSigned(x[g])); });
      Vec::LoadTwo(rows, 0, head);
      PutScale(sink, 0, Vec::Half(head[0]));
      Advance(sink, 1, 32);
    }
  };
  struct Q4_0 : BlockTraits<32, 18, 32, 8, 15, false> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      Int head[2];
      Fours(rows, 2, sink);
      Vec::LoadTwo(rows, 0, head);
      PutScale(sink, 0, Vec::Half(head[0]));
      Advance(sink, 1, 32);
    }
  };
  struct Q4_1 : BlockTraits<32, 20, 32, 0, 15, true> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      Int head[2];
      Fours(rows, 4, sink);
      Vec::LoadTwo(rows, 0, head);
      PutScale(sink, 0, Vec::Half(head[0]));
      PutMin(sink, 0, Vec::Half(Vec::template RightWords<16>(head[0])));
      Advance(sink, 1, 32);
    }
  };
  // Codes of five bits whose fifth bits lie in a word: bit j of element j.
  template <class Sink>
  __attribute__((always_inline)) static void Fives(const Rows& rows, int64_t at, Int fifth,
                                                   Sink& sink) {
    Int x[4];
    Vec::Load(rows, at, x);
    RepeatBlock<4>([&](auto g) __attribute__((always_inline)) {
      const Int low = Vec::And(x[g], Vec::Bytes(15));
      const Int high = Vec::And(Vec::template Right<4>(x[g]), Vec::Bytes(15));
      Put(sink, g, Vec::template AddFifth<g>(low, fifth));
      Put(sink, g + 4, Vec::template AddFifth<g + 4>(high, fifth));
    });
  }
  struct Q5_0 : BlockTraits<32, 22, 32, 16, 31, false> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      Int head[2];
      Vec::LoadTwo(rows, 0, head);
      const Int fifth =
          Vec::Or(Vec::template RightWords<16>(head[0]), Vec::template LeftWords<16>(head[1]));
      Fives(rows, 6, fifth, sink);
      PutScale(sink, 0, Vec::Half(head[0]));
      Advance(sink, 1, 32);
    }
  };
  struct Q5_1 : BlockTraits<32, 24, 32, 0, 31, true> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      Int head[2];
      Vec::LoadTwo(rows, 0, head);
      Fives(rows, 8, head[1], sink);
      PutScale(sink, 0, Vec::Half(head[0]));
      PutMin(sink, 0, Vec::Half(Vec::template RightWords<16>(head[0])));
      Advance(sink, 1, 32);
    }
  };

  // The first sixteen bytes of Q4_K and Q5_K: scale and minimum of the block, then eight of each in
  // six bits, spread to words of four bytes and multiplied by the block's; the minimums negative.
  template <class Sink>
  __attribute__((always_inline)) static void SixBitScales(const Rows& rows, Sink& sink) {
    Int head[4];
    Vec::Load(rows, 0, head);
    const auto scale = Vec::Half(head[0]);
    const auto least = Vec::Negative(Vec::Half(Vec::template RightWords<16>(head[0])));
    const Int six = Vec::Bytes(63), four = Vec::Bytes(15), top = Vec::Bytes(48);
    const Int scales1 =
        Vec::Or(Vec::And(head[3], four), Vec::And(Vec::template Right<2>(head[1]), top));
    const Int mins1 = Vec::Or(Vec::And(Vec::template Right<4>(head[3]), four),
                              Vec::And(Vec::template Right<2>(head[2]), top));
    PutScales<false>(sink, 0, Vec::And(head[1], six), scale);
    PutScales<false>(sink, 4, scales1, scale);
    PutMins(sink, 0, Vec::And(head[2], six), least);
    PutMins(sink, 4, mins1, least);
  }
  struct Q4_K : BlockTraits<256, 144, 32, 0, 15, true> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      SixBitScales(rows, sink);
      RepeatBlock<8>([&](auto part) __attribute__((always_inline)) {
        constexpr int kGroup = part / 2 * 16 + part % 2 * 4;
        Int x[4];
        Vec::Load(rows, 16 + 16 * part, x);
        RepeatBlock<4>([&](auto g) __attribute__((always_inline)) {
          Low(sink, kGroup + g, x[g]);
          High(sink, kGroup + 8 + g, x[g]);
        });
      });
      Advance(sink, 8, 256);
    }
  };
  // Bit `kBit` of each byte, moved to bit 4.
  template <int kBit>
  __attribute__((always_inline)) static Int FifthOf(Int x) {
    if constexpr (kBit < 4) {
      return Vec::And(Vec::template Left<4 - kBit>(x), Vec::Bytes(16));
    } else {
      return Vec::And(Vec::template Right<kBit - 4>(x), Vec::Bytes(16));
    }
  }
  struct Q5_K : BlockTraits<256, 176, 32, 0, 31, true> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      SixBitScales(rows, sink);
      RepeatBlock<2>([&](auto half) __attribute__((always_inline)) {
        Int fifth[4];
        Vec::Load(rows, 16 + 16 * half, fifth);
        RepeatBlock<4>([&](auto c) __attribute__((always_inline)) {
          Int x[4];
          Vec::Load(rows, 48 + 32 * c + 16 * half, x);
          RepeatBlock<4>([&](auto g) __attribute__((always_inline)) {
            const Int low = Vec::And(x[g], Vec::Bytes(15));
            const Int high = Vec::And(Vec::template Right<4>(x[g]), Vec::Bytes(15));
            const int group = 16 * c + 4 * half + g;
            Put(sink, group, Vec::Or(low, FifthOf<2 * c>(fifth[g])));
            Put(sink, group + 8, Vec::Or(high, FifthOf<2 * c + 1>(fifth[g])));
          });
        });
      });
      Advance(sink, 8, 256);
    }
  };
  struct Q6_K : BlockTraits<256, 210, 16, 32, 63, false> {
    template <class Sink>
    __attribute__((always_inline)) static void Decode(const Rows& rows, Sink& sink) {
      Int scales[4], last[4];
      Vec::Load(rows, 192, scales);
      Vec::Load(rows, 194, last);
      const auto scale = Vec::Half(Vec::template RightWords<16>(last[3]));
      RepeatBlock<4>([&](auto i) __attribute__((always_inline)) {
        PutScales<true>(sink, 4 * i, scales[i], scale);
      });
      const Int low = Vec::Bytes(15), top = Vec::Bytes(48);
      RepeatBlock<4>([&](auto part) __attribute__((always_inline)) {
        constexpr int kHalf = part / 2, kSide = part % 2;
        Int h[4], x[4];
        Vec::Load(rows, 128 + 32 * kHalf + 16 * kSide, h);
        Vec::Load(rows, 64 * kHalf + 16 * kSide, x);
        constexpr int group = 32 * kHalf + 4 * kSide;
        RepeatBlock<4>([&](auto g) __attribute__((always_inline)) {
          Put(sink, group + g,
              Vec::Or(Vec::And(x[g], low), Vec::And(Vec::template Left<4>(h[g]), top)));
          Put(sink, group + 16 + g,
              Vec::Or(Vec::And(Vec::template Right<4>(x[g]), low), Vec::And(h[g], top)));
        });
        Vec::Load(rows, 64 * kHalf + 32 + 16 * kSide, x);
        RepeatBlock<4>([&](auto g) __attribute__((always_inline)) {
          Put(sink, group + 8 + g,
              Vec::Or(Vec::And(x[g], low), Vec::And(Vec::template Left<2>(h[g]), top)));
          Put(sink, group + 24 + g,
              Vec::Or(Vec::And(Vec::template Right<4>(x[g]), low),
                      Vec::And(Vec::template Right<2>(h[g]), top)));
        });
      });
      Advance(sink, 16, 256);
    }
  };
};

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
