// Spreads panels of block_int4.h: codes lie there as a panel's registers want them. Only for files
// that are compiled once per target.
#pragma once

#include "kernels/block_int4.h"
#include "kernels/cpu/block_decode.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

template <class Vec, class Format>
void SpreadInt4(const BlockMatrix& w, int64_t column, int64_t k0, int64_t elements,
                BlockFetch& fetch, BlockPanel& panel) {
  const std::byte* const from = w.data + column / kBlockPanel * Int4PanelBytes(w);
  const int64_t head = Int4HeadBytes(w);
  const int64_t group_blocks = w.group / 32;
  for (int first = 0; first < static_cast<int>(kBlockPanel); first += Vec::kRows) {
    PanelSink sink = {panel.codes + 4 * first, panel.scales + first, panel.mins + first};
    int64_t left = group_blocks - k0 / 32 % group_blocks;  // of a group
    const std::byte* codes = from + (k0 / w.group + 1) * head + k0 / 32 * kInt4BlockBytes;
    const std::byte* scales = codes - (group_blocks - left) * kInt4BlockBytes - head;
    for (int64_t b = 0; b < elements / 32; ++b) {
      if (left == 0) {
        left = group_blocks;
        scales = codes;
        codes += head;
      }
      --left;
      RepeatBlock<4>([&](auto i) __attribute__((always_inline)) {
        const auto x = Vec::LoadPanel(codes + 64 * i + 4 * first);
        BlockDecoder<Vec>::Low(sink, i, x);
        BlockDecoder<Vec>::High(sink, i + 4, x);
      });
      Vec::StoreF(sink.scales, Vec::Brain(scales + 2 * first));
      if constexpr (Format::kMin)
        Vec::StoreF(sink.mins, Vec::Brain(scales + 2 * kBlockPanel + 2 * first));
      BlockDecoder<Vec>::Advance(sink, 1, 32);
      codes += kInt4BlockBytes;
      fetch.Next();
    }
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
