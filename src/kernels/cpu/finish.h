// What follows a product while its rows are hot, per target: residual and activation.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/cpu/micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// Residual and activation of C [rows, columns] that was stored just now and is hot.
__attribute__((noinline)) inline void Finish(float* c, int64_t c_row, const float* residual,
                                             int64_t residual_row, int64_t rows, int64_t columns,
                                             Activation activation) {
  const F32 d;
  WithActivation(activation, [&](auto f) {
    for (int64_t i = 0; i < rows; ++i) {
      float* const to = c + i * c_row;
      const float* const from = residual == nullptr ? nullptr : residual + i * residual_row;
      int64_t j = 0;
      for (; j + kLanes <= columns; j += kLanes) {
        VF x = hn::LoadU(d, to + j);
        if (from != nullptr) x = hn::Add(x, hn::LoadU(d, from + j));
        hn::StoreU(f(x), d, to + j);
      }
      if (j == columns) continue;
      const auto rest = hn::FirstN(d, static_cast<size_t>(columns - j));
      VF x = hn::MaskedLoad(rest, d, to + j);
      if (from != nullptr) x = hn::Add(x, hn::MaskedLoad(rest, d, from + j));
      hn::BlendedStore(f(x), rest, d, to + j);
    }
  });
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
