// Declares and calls the per-target copies of a kernel's entry points: plain code's door into cpu/.
#pragma once

#include "kernels/target.h"

// SLUICE_DECLARE_ISA(void RunGemm(const GemmArgs&, Tiles)) declares both copies, inside namespace
// sluice::kernels.
#define SLUICE_DECLARE_ISA(...) \
  namespace avx2 {              \
  __VA_ARGS__;                  \
  }                             \
  namespace avx512 {            \
  __VA_ARGS__;                  \
  }

// SLUICE_PICK_ISA(target, RunGemm): the copy for `target`, a function.
#define SLUICE_PICK_ISA(target, function) \
  ((target) == ::sluice::kernels::Target::kAvx512 ? avx512::function : avx2::function)
