// Spreads panels of block_int4.h: codes lie there as a panel's registers want them. Only for files
// that are compiled once per target.
#pragma once

#include "kernels/block_int4.h"
#include "kernels/cpu/block_decode.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// Rows [first, first + Vec::kRows) of a panel into a sink of block_decode.h.
template <class Vec, class Format, class Sink>
__attribute__((always_inline)) inline void WalkInt4(const BlockMatrix& w, int64_t column,
                                                    int64_t first, int64_t k0, int64_t elements,
                                                    Sink& sink) {
  using Decoder = BlockDecoder<Vec>;
  const int64_t head = Int4HeadBytes(w);
  const int64_t group_blocks = w.group / 32;
  int64_t left = group_blocks - k0 / 32 % group_blocks;  // of a group
  const std::byte* codes = w.data + column / kBlockPanel * Int4PanelBytes(w) +
                           (k0 / w.group + 1) * head + k0 / 32 * kInt4BlockBytes;
  const std::byte* scales = codes - (group_blocks - left) * kInt4BlockBytes - head;
  for (int64_t b = 0; b < elements / 32; ++b) {
    if (left == 0) {
      left = group_blocks;
      scales = codes;
      codes += head;
      _mm_prefetch(reinterpret_cast<const char*>(scales + kBlockNear), _MM_HINT_T0);
    }
    --left;
    if constexpr (!std::is_same_v<Sink, PanelSink>) sink.NextBlock();
    RepeatBlock<4>([&](auto i) __attribute__((always_inline)) {
      const auto x = Vec::LoadPanel(codes + 64 * i + 4 * first);
      Decoder::Low(sink, i, x);
      Decoder::High(sink, i + 4, x);
      _mm_prefetch(reinterpret_cast<const char*>(codes + kBlockNear + 64 * i), _MM_HINT_T0);
    });
    Decoder::PutScale(sink, 0, Vec::Brain(scales + 2 * first));
    if constexpr (Format::kMin)
      Decoder::PutMin(sink, 0, Vec::Brain(scales + 2 * kBlockPanel + 2 * first));
    Decoder::Advance(sink, 1, 32);
    codes += kInt4BlockBytes;
  }
}

template <class Vec, class Format>
__attribute__((noinline)) void SpreadInt4(const BlockMatrix& w, int64_t column, int64_t k0,
                                          int64_t elements, BlockPanel& panel) {
  for (int first = 0; first < static_cast<int>(kBlockPanel); first += Vec::kRows) {
    PanelSink sink = {panel.codes + 4 * first, panel.scales + first, panel.mins + first};
    WalkInt4<Vec, Format>(w, column, first, k0, elements, sink);
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
