// Gates of feed-forward layers, compiled once per target.
#include "kernels/cpu/gated_rows.h"

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {

void RunGatedRow(const GatedRowsArgs& args, int64_t row, int64_t begin, int64_t end) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* const gate = args.x + row * args.x_stride;
  const float* const up = gate + args.columns;
  float* const y = args.y + row * args.y_stride;
  WithActivation(args.activation, [&](auto act) HWY_ATTR {
    int64_t j = begin;
    for (; j + lanes <= end; j += lanes) {
      hn::StoreU(hn::Mul(act(hn::LoadU(d, gate + j)), hn::LoadU(d, up + j)), d, y + j);
    }
    if (j == end) return;
    const auto rest = hn::FirstN(d, static_cast<size_t>(end - j));
    const VF g = hn::MaskedLoad(rest, d, gate + j);
    hn::BlendedStore(hn::Mul(act(g), hn::MaskedLoad(rest, d, up + j)), rest, d, y + j);
  });
}

}  // namespace sluice::kernels::SLUICE_ISA
