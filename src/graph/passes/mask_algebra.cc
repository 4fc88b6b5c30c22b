#include "graph/passes/mask_algebra.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "graph/interpreter.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr int64_t kElementsMax = int64_t{1} << 20;  // of one table
constexpr int kParts = 4;                           // bit, bit, position, distance
// An additive mask excludes what it lowers by this much: e to that power is 0 beside any score.
constexpr double kMaskedMax = -1e4;

Tensor MakeTensor(DType dtype, const Shape& shape) {
  return {dtype, shape, tensor::Buffer::Allocate(shape.elements() * tensor::DTypeSize(dtype))};
}

void Store(Tensor& tensor, int64_t at, int64_t value) {
  if (tensor.dtype == DType::kI64) tensor.mutable_view().as<int64_t>()[at] = value;
  if (tensor.dtype == DType::kI32) {
    tensor.mutable_view().as<int32_t>()[at] = static_cast<int32_t>(value);
  }
}

std::optional<double> Number(const Tensor& tensor, int64_t at) {
  switch (tensor.dtype) {
    case DType::kF32:
      return static_cast<double>(tensor.view().as<float>()[at]);
    case DType::kF64:
      return tensor.view().as<double>()[at];
    case DType::kI64:
      return static_cast<double>(tensor.view().as<int64_t>()[at]);
    case DType::kI32:
      return static_cast<double>(tensor.view().as<int32_t>()[at]);
    case DType::kBool:
      return tensor.view().as<bool>()[at] ? 1.0 : 0.0;
    default:
      return std::nullopt;
  }
}

// The tensor with the axes whose slices are all equal made 1 long.
Tensor Collapse(const Tensor& tensor) {
  Tensor result = tensor;
  const int64_t size = tensor::DTypeSize(tensor.dtype);
  for (int axis = 0; axis < kParts; ++axis) {
    const Shape& shape = result.shape;
    const int64_t outer = shape.elements(0, axis);
    const int64_t inner = shape.elements(axis + 1, kParts) * size;
    const int64_t extent = shape[axis];
    const std::byte* const data = result.buffer.data();
    bool equal = extent > 1;
    for (int64_t o = 0; equal && o < outer; ++o) {
      const std::byte* const first = data + o * extent * inner;
      for (int64_t i = 1; equal && i < extent; ++i) {
        equal = std::memcmp(first, first + i * inner, static_cast<size_t>(inner)) == 0;
      }
    }
    if (!equal) continue;
    Shape smaller = shape;
    smaller.set_dim(axis, 1);
    Tensor kept = MakeTensor(result.dtype, smaller);
    for (int64_t o = 0; o < outer; ++o) {
      std::memcpy(kept.buffer.mutable_data() + o * inner, data + o * extent * inner,
                  static_cast<size_t>(inner));
    }
    result = std::move(kept);
  }
  return result;
}

// Forgets the axes that the values do not depend on.
void Normalize(MaskTable& table) {
  table.values = Collapse(table.values);
  Shape shape = table.values.shape;
  const bool needs_first = shape[0] > 1 || shape[2] > 1 || shape[3] > 1;
  const bool needs_second = shape[1] > 1 || shape[3] > 1;
  if (shape[0] == 1 && shape[1] == 1) table.batch = -1;
  if (!needs_second) table.axes[1] = -1;
  if (!needs_first) {
    table.axes[0] = table.axes[1];
    table.axes[1] = -1;
    // The bit of what was the second axis is now that of the first.
    table.values.shape = Shape({shape[1], 1, 1, 1});
  }
}

// [b, c, p, d] as [c, b, 1, d reversed].
std::optional<Tensor> SwapAxes(const Tensor& values) {
  const Shape& from = values.shape;
  if (from[2] > 1) return std::nullopt;
  Tensor to = MakeTensor(values.dtype, Shape({from[1], from[0], 1, from[3]}));
  const int64_t size = tensor::DTypeSize(values.dtype);
  for (int64_t b = 0; b < from[0]; ++b) {
    for (int64_t c = 0; c < from[1]; ++c) {
      for (int64_t d = 0; d < from[3]; ++d) {
        std::memcpy(
            to.buffer.mutable_data() + ((c * from[0] + b) * from[3] + (from[3] - 1 - d)) * size,
            values.buffer.data() + ((b * from[1] + c) * from[3] + d) * size,
            static_cast<size_t>(size));
      }
    }
  }
  return to;
}

}  // namespace

MaskTable UniformTable(const Tensor& scalar) {
  MaskTable table;
  table.values = scalar;
  table.values.shape = Shape({1, 1, 1, 1});
  return table;
}

std::optional<MaskTable> TableOf(const Affine& affine, const SymShape& shape, Dim length,
                                 DType dtype, int64_t length_max) {
  if (!affine.constant.is_constant() || (dtype != DType::kI64 && dtype != DType::kI32)) {
    return std::nullopt;
  }
  const int64_t constant = affine.constant.constant();
  MaskTable table;
  int count = 0;
  std::array<int64_t, 2> factors{};
  for (size_t axis = 0; axis < affine.coefficients.size(); ++axis) {
    const Dim factor = affine.coefficients[axis];
    if (factor.Is(0) || shape[axis].Is(1)) continue;
    if (count == 2 || !factor.is_constant() || !(shape[axis] == length)) return std::nullopt;
    factors[static_cast<size_t>(count)] = factor.constant();
    table.axes[count++] = static_cast<int>(axis);
  }
  if (count == 2 && factors[0] != -factors[1]) return std::nullopt;
  const int64_t extent = count == 0 ? 1 : count == 1 ? length_max : 2 * length_max - 1;
  table.values =
      MakeTensor(dtype, count == 1 ? Shape({1, 1, extent, 1}) : Shape({1, 1, 1, extent}));
  const int64_t first = count == 2 ? 1 - length_max : 0;
  for (int64_t i = 0; i < extent; ++i) {
    Store(table.values, i, constant + factors[0] * (first + i));
  }
  return table;
}

base::Result<MaskTable> CombineTables(const Node& node, const std::vector<TableOperand>& operands,
                                      int output_rank) {
  MaskTable result;
  std::vector<int> axes;  // of the output
  for (const TableOperand& operand : operands) {
    if (operand.table == nullptr) continue;
    const int shift = output_rank - operand.rank;
    for (const int axis : operand.table->axes) {
      if (axis < 0) continue;
      if (std::find(axes.begin(), axes.end(), axis + shift) == axes.end()) {
        axes.push_back(axis + shift);
      }
    }
    if (operand.table->batch < 0) continue;
    if (result.batch >= 0 && result.batch != operand.table->batch + shift) {
      return base::InvalidArgument("it joins masks whose sequences lie on different axes");
    }
    result.batch = operand.table->batch + shift;
  }
  if (axes.size() > 2) return base::InvalidArgument("it depends on more than two positions");
  std::sort(axes.begin(), axes.end());
  std::copy(axes.begin(), axes.end(), result.axes);
  std::vector<Tensor> inputs;
  int64_t elements = 1;
  Shape extents({1, 1, 1, 1});
  for (const TableOperand& operand : operands) {
    if (operand.table == nullptr) {
      inputs.emplace_back();
      continue;
    }
    Tensor values = operand.table->values;
    const int shift = output_rank - operand.rank;
    const bool second = axes.size() == 2 && operand.table->axes[1] < 0 &&
                        operand.table->axes[0] >= 0 && operand.table->axes[0] + shift == axes[1];
    if (second) {
      if (values.shape[2] > 1) return base::InvalidArgument("it depends on two positions apart");
      values.shape = Shape({1, values.shape[0], 1, 1});
    }
    for (int part = 0; part < kParts; ++part) {
      extents.set_dim(part, std::max(extents[part], values.shape[part]));
    }
    inputs.push_back(std::move(values));
  }
  for (int part = 0; part < kParts; ++part) elements *= extents[part];
  if (elements > kElementsMax) return base::InvalidArgument("it has too many cases");
  std::vector<Tensor> outputs = TRY(RunNode(node, inputs, {.bytes_max = 64 * kElementsMax}));
  result.values = std::move(outputs[0]);
  if (result.values.shape.rank() != kParts) {
    return base::InvalidArgument("its result does not follow its operands");
  }
  Normalize(result);
  return result;
}

std::optional<MaskTable> MoveAxes(const MaskTable& table, const std::vector<int>& map) {
  MaskTable moved = table;
  const auto at = [&](int axis) { return axis < 0 ? -1 : map[static_cast<size_t>(axis)]; };
  moved.batch = at(table.batch);
  moved.axes[0] = at(table.axes[0]);
  moved.axes[1] = at(table.axes[1]);
  if ((table.batch >= 0 && moved.batch < 0) || (table.axes[0] >= 0 && moved.axes[0] < 0) ||
      (table.axes[1] >= 0 && moved.axes[1] < 0)) {
    return std::nullopt;
  }
  if (moved.axes[1] >= 0 && moved.axes[1] < moved.axes[0]) {
    std::optional<Tensor> swapped = SwapAxes(table.values);
    if (!swapped.has_value()) return std::nullopt;
    moved.values = *std::move(swapped);
    std::swap(moved.axes[0], moved.axes[1]);
  }
  return moved;
}

std::optional<TokenValues> AsTokenValues(const MaskTable& table) {
  const Shape& shape = table.values.shape;
  if (table.axes[1] >= 0 || shape[1] > 1 || shape[3] > 1) return std::nullopt;
  TokenValues values;
  const int64_t positions = shape[2];
  const int64_t size = tensor::DTypeSize(table.values.dtype);
  values.kept = MakeTensor(table.values.dtype, Shape({positions}));
  std::memcpy(values.kept.buffer.mutable_data(),
              table.values.buffer.data() + (shape[0] - 1) * positions * size,
              static_cast<size_t>(positions * size));
  if (positions == 1) values.padded = Number(table.values, 0);
  return values;
}

base::Result<AttentionMask> ReadAttentionMask(const MaskTable& table, int mask_rank, int rank,
                                              int64_t length_max) {
  AttentionMask mask;
  if (table.values.dtype != DType::kF32) return base::InvalidArgument("its mask is not f32");
  const int shift = rank - mask_rank;
  Tensor values = table.values;
  for (const int axis : table.axes) {
    if (axis >= 0 && axis + shift < rank - 2) {
      return base::InvalidArgument("its mask depends on positions elsewhere than its scores");
    }
  }
  if (table.axes[0] >= 0 && table.axes[1] < 0 && table.axes[0] + shift == rank - 1) {
    if (values.shape[2] > 1) return base::InvalidArgument("its mask depends on where a key is");
    values.shape = Shape({1, values.shape[0], 1, 1});
  }
  if (values.shape[2] > 1) return base::InvalidArgument("its mask depends on where a query is");
  const Shape& shape = values.shape;
  const float* const data = values.view().as<float>();
  const int64_t query = shape[0] - 1;  // queries that are no padding
  const auto at = [&](int64_t key, int64_t distance) {
    return static_cast<double>(data[(query * shape[1] + key) * shape[3] + distance]);
  };
  mask.excludes_padding = shape[1] == 2;
  for (int64_t d = 0; shape[1] == 2 && d < shape[3]; ++d) {
    // NaN does not exclude either.
    if (!(at(0, d) <= kMaskedMax)) mask.excludes_padding = false;
  }
  if (shape[3] == 1) {
    if (at(shape[1] - 1, 0) != 0)
      return base::InvalidArgument("its mask lowers keys that it keeps");
    return mask;
  }
  // Index d stands for query - key = d - (length_max - 1).
  int64_t first = -1, last = -1;
  for (int64_t d = 0; d < shape[3]; ++d) {
    const double value = at(shape[1] - 1, d);
    if (value <= kMaskedMax) continue;
    if (value != 0) return base::InvalidArgument("its mask adds a bias that depends on distance");
    if (last >= 0 && last != d - 1) return base::InvalidArgument("its mask has gaps");
    if (first < 0) first = d;
    last = d;
  }
  const int64_t middle = length_max - 1;
  if (first < 0 || first > middle || last < middle) {
    return base::InvalidArgument("its mask hides a query's own key");
  }
  if (first > 0) mask.after = middle - first;
  if (last < shape[3] - 1) mask.before = last - middle;
  return mask;
}

}  // namespace sluice::graph
