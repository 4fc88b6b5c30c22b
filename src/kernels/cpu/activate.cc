// Compiled once per target. Not inlined into the products: behind their live accumulators it would
// spill them.
#include "kernels/cpu/activate.h"

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {

void ActivateRow(float* x, int64_t count, Activation activation) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  WithActivation(activation, [&](auto f) HWY_ATTR {
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) hn::StoreU(f(hn::LoadU(d, x + i)), d, x + i);
    if (i == count) return;
    const auto rest = hn::FirstN(d, static_cast<size_t>(count - i));
    hn::BlendedStore(f(hn::MaskedLoad(rest, d, x + i)), rest, d, x + i);
  });
}

}  // namespace sluice::kernels::SLUICE_ISA
