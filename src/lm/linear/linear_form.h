// What the products of a language model keep their weights as, by the names that deployments use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernels/block_int4.h"
#include "kernels/low_path.h"

namespace sluice::lm {

// Weights that lie in blocks stay as they are, whatever is asked: nothing is quantised twice. All
// others become one of
// - packed: kernels::WeightForm,
// - int4: four bits in groups of `group` elements, each with a scale, and a minimum if so,
// - stored: F16 and BF16 as they lie in the file, which stays mapped; F32 packed.
struct LinearForm {
  enum class Kind : uint8_t { kPacked, kInt4, kStored };

  LinearForm() = default;
  LinearForm(kernels::WeightForm form) : packed(form) {}  // NOLINT: one is the other
  static LinearForm Stored();
  static LinearForm Int4(int64_t group, kernels::Int4Kind kind);

  // "f32", "bf16", …, "stored", "int4", "int4_g64" (the group: 32, 64, 96 or 128), and with "m"
  // behind ("int4m", "int4m_g64") with minimums. kInvalidArgument lists them.
  static base::Result<LinearForm> Parse(std::string_view name);
  std::string Name() const;

  Kind kind = Kind::kPacked;
  kernels::WeightForm packed = kernels::WeightForm::kF32;
  int64_t group = 32;
  kernels::Int4Kind int4 = kernels::Int4Kind::kSymmetric;
};

}  // namespace sluice::lm
