// Allowed error of every kernel against kernels/ref. Inputs are of magnitude 1 unless a check
// scales the absolute part.
#include <array>

#include "conformance/kernel_table.h"

namespace sluice::conformance {

std::span<const Tolerance> TolerancesTable() {
  static constexpr std::array kTable = {
      // Products scale the absolute part by k: each step of a chain rounds a partial sum that
      // grows like sqrt(k), and the errors of k steps walk at random.
      Tolerance{"gemm", 4e-8, 1e-6},
      Tolerance{"matmul", 4e-8, 1e-6},
      Tolerance{"attention", 3e-6, 3e-6},
      // Polynomials and exponentials in f32.
      Tolerance{"activation", 6e-7, 1e-6},
  };
  return kTable;
}

}  // namespace sluice::conformance
