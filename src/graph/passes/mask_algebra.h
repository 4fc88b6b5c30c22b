// Values that a mask, positions and shapes decide, evaluated for every case there is instead of
// matched by form: exporters write masks in a hundred ways, but each element comes from two bits of
// the mask and the distance of two positions. propagate_ragged.cc asks what a mask does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/ir.h"
#include "tensor/tensor.h"

namespace sluice::graph {

// Elements that depend on at most two positions: on whether the mask marks each of them (in the row
// of the batch axis), on where the first is, and on their distance.
struct MaskTable {
  // [bit of axes[0], bit of axes[1], position on axes[0], i(axes[0]) - i(axes[1]) + length_max -
  // 1]; an extent of 1 where the value does not depend on it.
  tensor::Tensor values;
  int batch = -1;          // the axis of the sequences that bits are taken from; -1: no bits
  int axes[2] = {-1, -1};  // ascending; -1: unused. axes[0] == batch: the two are one axis, merged

  bool uniform() const { return axes[0] < 0; }
};

// Integer elements: constant + sum over axes of coefficient[axis] * index on it.
struct Affine {
  Dim constant;
  std::vector<Dim> coefficients;  // one an axis
};

// The table of an affine value over length axes alone: one position, or the distance of two.
// nullopt when it is neither. `shape` is the value's, `length` the extent of a length axis.
std::optional<MaskTable> TableOf(const Affine& affine, const SymShape& shape, Dim length,
                                 tensor::DType dtype, int64_t length_max);
// A table of one value everywhere.
MaskTable UniformTable(const tensor::Tensor& scalar);

// An operand of an elementwise node: its table and its rank.
struct TableOperand {
  const MaskTable* table = nullptr;  // null: the optional input is absent
  int rank = 0;
};
// What the node, elementwise, makes of its operands; runs the node's reference over the cases. The
// error says why it cannot be told.
base::Result<MaskTable> CombineTables(const Node& node, const std::vector<TableOperand>& operands,
                                      int output_rank);
// The table as that of a value whose axis i is `map[i]` of another; -1 for axes that go.
// nullopt when a needed axis goes or the order of the two makes the position ambiguous.
std::optional<MaskTable> MoveAxes(const MaskTable& table, const std::vector<int>& map);

// Values of a single-axis or uniform table as numbers.
struct TokenValues {
  std::optional<double> padded;  // the same for every position, or nullopt
  tensor::Tensor kept;           // [1] or [length_max]: at positions that the mask marks
};
std::optional<TokenValues> AsTokenValues(const MaskTable& table);

// What an additive attention mask lets through.
struct AttentionMask {
  bool excludes_padding = false;  // for every query that is no padding
  // Keys at distance key - query within [-before, after] alone are seen; -1: no bound.
  int64_t before = -1;
  int64_t after = -1;
};
// Of a f32 table aligned with scores of `rank`; the error says what is in the way.
base::Result<AttentionMask> ReadAttentionMask(const MaskTable& table, int mask_rank, int rank,
                                              int64_t length_max);

}  // namespace sluice::graph
