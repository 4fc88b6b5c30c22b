// What follows a product while its rows are hot, per target: residual and activation.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/cpu/micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// f(C + residual).
template <bool kResidual, class F>
__attribute__((always_inline)) inline void FinishWith(float* c, int64_t c_row,
                                                      const float* residual, int64_t residual_row,
                                                      int64_t rows, int64_t columns, F f) {
  const F32 d;
  const int64_t whole = columns / kLanes * kLanes;
  for (int64_t i = 0; i < rows; ++i) {
    float* const to = c + i * c_row;
    for (int64_t j = 0; j < whole; j += kLanes) {
      VF x = hn::LoadU(d, to + j);
      if constexpr (kResidual) x = hn::Add(x, hn::LoadU(d, residual + i * residual_row + j));
      hn::StoreU(f(x), d, to + j);
    }
  }
  if (whole == columns) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(columns - whole));
  for (int64_t i = 0; i < rows; ++i) {
    float* const to = c + i * c_row + whole;
    VF x = hn::MaskedLoad(rest, d, to);
    if constexpr (kResidual) {
      x = hn::Add(x, hn::MaskedLoad(rest, d, residual + i * residual_row + whole));
    }
    hn::BlendedStore(f(x), rest, d, to);
  }
}

// Residual and activation of C [rows, columns] that was stored just now and is hot. Not inlined
// into the products: behind their live accumulators it would spill them.
__attribute__((noinline)) inline void Finish(float* c, int64_t c_row, const float* residual,
                                             int64_t residual_row, int64_t rows, int64_t columns,
                                             Activation activation) {
  WithActivation(activation, [&](auto f) {
    if (residual == nullptr) {
      FinishWith<false>(c, c_row, nullptr, 0, rows, columns, f);
    } else {
      FinishWith<true>(c, c_row, residual, residual_row, rows, columns, f);
    }
  });
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
