// Reference ensembles of decision trees, one row and one tree at a time.
#pragma once

#include <cstdint>

#include "kernels/trees.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

// As kernels::TreeNode, for features and splits in double.
struct WideTreeNode {
  double split = 0;
  uint32_t feature = 0;
  int32_t yes = 0;
  int32_t no = 0;
  int32_t unused = 0;
};

enum class TreeAggregate { kSum, kMin, kMax };

// y [rows, targets] of x's type, f32 or f64. Nodes are TreeNode for f32, WideTreeNode for f64;
// leaf_weights have x's type. A target that no leaf names is 0.
struct TreesArgs {
  tensor::ConstView x;  // [rows, features]
  tensor::ConstView nodes;
  tensor::ConstView roots;         // i32 [trees, 2]
  tensor::ConstView leaf_begin;    // i32 [nodes + 1]
  tensor::ConstView leaf_targets;  // i32
  tensor::ConstView leaf_weights;
  tensor::View y;
  TreeAggregate aggregate = TreeAggregate::kSum;
};
void Trees(const TreesArgs& args);

// y[i] = values[k] for the k with keys[k] == x[i], else fallback. Keys, of x's type, are sorted and
// unlike each other; NaN is below every number and equals itself. y and values have one type.
struct MapValuesArgs {
  tensor::ConstView x;
  tensor::ConstView keys;
  tensor::ConstView values;
  tensor::ConstView fallback;
  tensor::View y;
};
void MapValues(const MapValuesArgs& args);

}  // namespace sluice::kernels::ref
