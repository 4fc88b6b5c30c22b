// What follows a product while its rows are hot, per target: residual, activation and factor.
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

// Rows beside those of C, or null.
struct BesideC {
  const float* data;
  int64_t row;
};

// f(C) * factor + residual.
template <bool kResidual, class F>
__attribute__((always_inline)) inline void CrossWith(float* c, int64_t c_row, BesideC factor,
                                                     BesideC residual, int64_t rows,
                                                     int64_t columns, F f) {
  const F32 d;
  for (int64_t i = 0; i < rows; ++i) {
    float* const to = c + i * c_row;
    const float* const by = factor.data + i * factor.row;
    const float* const add = kResidual ? residual.data + i * residual.row : nullptr;
    int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) {
      VF x = hn::Mul(f(hn::LoadU(d, to + j)), hn::LoadU(d, by + j));
      if constexpr (kResidual) x = hn::Add(x, hn::LoadU(d, add + j));
      hn::StoreU(x, d, to + j);
    }
    if (j == columns) continue;
    const auto rest = hn::FirstN(d, static_cast<size_t>(columns - j));
    VF x = hn::Mul(f(hn::MaskedLoad(rest, d, to + j)), hn::MaskedLoad(rest, d, by + j));
    if constexpr (kResidual) x = hn::Add(x, hn::MaskedLoad(rest, d, add + j));
    hn::BlendedStore(x, rest, d, to + j);
  }
}

// As Finish, with a factor.
__attribute__((noinline)) inline void FinishCross(float* c, int64_t c_row, BesideC factor,
                                                  BesideC residual, int64_t rows, int64_t columns,
                                                  Activation activation) {
  WithActivation(activation, [&](auto f) {
    if (residual.data == nullptr) {
      CrossWith<false>(c, c_row, factor, residual, rows, columns, f);
    } else {
      CrossWith<true>(c, c_row, factor, residual, rows, columns, f);
    }
  });
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
