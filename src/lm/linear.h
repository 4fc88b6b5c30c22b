// A linear layer of a language model: a packed weight in the form that was chosen at load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "kernels/low_gemm.h"
#include "kernels/low_packing.h"
#include "kernels/weight_store.h"
#include "lm/runner.h"

namespace sluice::lm {

// Rows for one run of a layer.
struct LinearRows {
  int64_t rows = 0;
  const float* x = nullptr;  // [rows, k], rows `x_stride` floats apart
  int64_t x_stride = 0;
  // Where set, x as Linear::path() takes it; `x` itself is not read then.
  kernels::LowRows prepared;
  const float* residual = nullptr;  // [rows, n], or null; does not overlap y
  int64_t residual_stride = 0;
  float* y = nullptr;  // [rows, n], rows `y_stride` floats apart
  int64_t y_stride = 0;
  kernels::Activation activation = kernels::Activation::kNone;  // behind bias and residual
  // Where set, the result goes into these rows in place of `y`, prepared for a product of
  // `out_path`; Linear::Prepares(out_path) must hold.
  kernels::LowRows out;
  kernels::LowPath out_path = kernels::LowPath::kWords;
};

// Immutable; any thread may run it. y = act(x W + bias + residual). A row's bits do not depend on
// the others.
class Linear {
 public:
  Linear() = default;
  // The columns of all `parts`, which have the same k, side by side. A form that does not take this
  // size (kernels::LowFormTakes) becomes f32. Errors as WeightStore::Pack's.
  static base::Result<Linear> Pack(const std::vector<kernels::MatrixSource>& parts,
                                   kernels::WeightForm form);
  // One element a column of y; copied.
  void set_bias(std::vector<float> bias) { bias_ = std::move(bias); }

  int64_t k() const { return k_; }
  int64_t n() const { return n_; }
  int64_t weight_bytes() const;
  // How it takes prepared rows; nothing when it reads f32.
  std::optional<kernels::LowPath> path() const;
  // Whether it can leave its result prepared for `next`.
  bool Prepares(kernels::LowPath next) const;
  // Bytes of scratch, aligned to 64, for that many rows.
  int64_t ScratchBytes(int64_t rows) const;
  [[nodiscard]] bool Run(Runner& runner, const LinearRows& rows, std::byte* scratch) const;

 private:
  [[nodiscard]] bool RunLow(Runner& runner, const LinearRows& rows, std::byte* scratch) const;

  int64_t k_ = 0;
  int64_t n_ = 0;
  std::shared_ptr<const kernels::PackedWeight> packed_;  // of f32
  std::shared_ptr<const kernels::LowWeight> low_;        // of all other forms
  std::vector<float> bias_;
};

}  // namespace sluice::lm
