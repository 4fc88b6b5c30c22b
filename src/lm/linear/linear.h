// A linear layer of a language model: weights in the form that was chosen at load, or in the blocks
// of their file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernels/activation.h"
#include "kernels/block_gemm.h"
#include "kernels/gemm.h"
#include "kernels/low_gemm.h"
#include "kernels/low_packing.h"
#include "kernels/packing.h"
#include "kernels/weight_store.h"
#include "lm/checkpoint/checkpoint.h"
#include "lm/linear/column_places.h"
#include "lm/linear/linear_form.h"
#include "lm/linear/runner.h"

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
  // Behind bias and residual; none where weights lie in blocks.
  kernels::Activation activation = kernels::Activation::kNone;
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
  // The columns of all `parts`, [n, k] each as their file has them, side by side. Those in blocks
  // are used where they lie; others are packed, and their file's pages let go. A form that does not
  // take this size (kernels::LowFormTakes) becomes f32, int4 first int8. Errors as
  // WeightStore::Pack's, and kInvalidArgument for weights that are not finite where they are
  // quantised.
  static base::Result<Linear> Load(const std::vector<StoredTensor>& parts, const LinearForm& form);
  // One element a column of y; copied.
  void set_bias(std::vector<float> bias) { bias_ = std::move(bias); }

  int64_t k() const { return k_; }
  int64_t n() const { return n_; }
  // Bytes that a run reads, mapped ones among them.
  int64_t weight_bytes() const;
  // Whether its weights lie there as they are.
  bool reads(const std::byte* stored) const {
    return parts_.size() == 1 && parts_[0].block_bytes > 0 && parts_[0].memory.data() == stored;
  }
  // How it takes prepared rows; nothing when it reads f32, or blocks.
  std::optional<kernels::LowPath> path() const;
  // Whether it can leave its result prepared for `next`.
  bool Prepares(kernels::LowPath next) const;
  // Bytes of scratch, aligned to 64, for that many rows.
  int64_t ScratchBytes(int64_t rows) const;
  [[nodiscard]] bool Run(Runner& runner, const LinearRows& rows, std::byte* scratch) const;
  // These columns alone, with the bits that Run gives them: y [rows, columns]. Panels that hold
  // none of them are not read. At most kColumnRowsMax rows, without residual and activation.
  static constexpr int64_t kColumnRowsMax = 64;
  [[nodiscard]] bool RunColumns(Runner& runner, const LinearRows& rows, const ColumnPlaces& columns,
                                std::byte* scratch) const;
  // The gate of a two-armed layer, whose first half of columns is the gate: rows.y [rows, n / 2] =
  // act(gate) * up, with the bits of Run and kernels::GatedRows. `arms` holds [rows, n] floats.
  // Where the arms of all rows would leave the caches, both are made and met in pieces that do not.
  [[nodiscard]] bool RunGated(Runner& runner, const LinearRows& rows,
                              kernels::Activation activation, float* arms,
                              std::byte* scratch) const;

 private:
  // Columns that are one product: one of the three.
  struct Part {
    int64_t column = 0;
    int64_t n = 0;
    std::shared_ptr<const kernels::PackedWeight> packed;  // of f32
    std::shared_ptr<const kernels::LowWeight> low;        // of all other packed forms
    kernels::BlockMatrix blocks;                          // of none of them
    tensor::Buffer memory;                                // the blocks
    int64_t block_bytes = 0;
  };

  base::Status AddPacked(kernels::MatrixParts parts, kernels::WeightForm form);
  base::Status AddInt4(kernels::MatrixParts parts, const LinearForm& form);
  base::Status AddBlocks(const StoredTensor& stored);
  void Add(Part part);
  // A part's product, with its rows prepared in the scratch where it takes them so. False:
  // abandoned.
  kernels::GemmArgs PackedProduct(const Part& part, const LinearRows& rows) const;
  [[nodiscard]] bool LowProduct(const Part& part, Runner& runner, const LinearRows& rows,
                                std::byte* scratch, kernels::LowGemmArgs& args) const;
  // `prepared`: a part before has left the rows in the scratch, and whether one has now.
  [[nodiscard]] bool BlockProduct(const Part& part, Runner& runner, const LinearRows& rows,
                                  std::byte* scratch, bool& prepared,
                                  kernels::BlockGemmArgs& args) const;
  // Calls run(product, speedup) for the part, and says what it says.
  template <class F>
  [[nodiscard]] bool WithProduct(const Part& part, Runner& runner, const LinearRows& rows,
                                 std::byte* scratch, bool& prepared, F run) const;

  int64_t k_ = 0;
  int64_t n_ = 0;
  std::vector<Part> parts_;
  std::vector<float> bias_;
};

}  // namespace sluice::lm
