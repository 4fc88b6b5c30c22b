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
    BlockSink sink = {panel.codes + 4 * first, panel.scales + first, panel.mins + first};
    for (int64_t b = k0 / 32; b < (k0 + elements) / 32; ++b) {
      const int64_t g = b / group_blocks;
      const std::byte* const scales = from + g * (head + group_blocks * kInt4BlockBytes);
      const std::byte* const codes = from + (g + 1) * head + b * kInt4BlockBytes;
      for (int i = 0; i < 4; ++i) {
        const auto x = Vec::LoadPanel(codes + 64 * i + 4 * first);
        BlockDecoder<Vec>::Low(sink, i, x);
        BlockDecoder<Vec>::High(sink, i + 4, x);
      }
      Vec::StoreF(sink.scales, Vec::Brain(scales + 2 * first));
      if constexpr (Format::kMin)
        Vec::StoreF(sink.mins, Vec::Brain(scales + 2 * kBlockPanel + 2 * first));
      BlockDecoder<Vec>::Advance(sink, 1, 32);
      fetch.Next();
    }
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
