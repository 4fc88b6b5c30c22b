// Reference reductions over sets of axes, arg-reductions, running sums and softmax. Floats
// accumulate in double, integers in 64 bits with wrap-around; order is ascending. Which axes an
// attribute means is the caller's (graph's) business.
#pragma once

#include <cstdint>

#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// y[kept axes] = op over the axes whose bit is set in `axes` (bit i: axis i of x). y holds the
// product of the kept extents; whether reduced axes stay as 1 does not matter. No axis set: op of
// each single element. x and y share a numeric dtype, or bool for kMax and kMin. An empty set gives
// the op's neutral element: 0, 1, -inf or the lowest, +inf or the highest, NaN (integers: 0) for
// kMean, -inf (integers: lowest) for kLogSum and kLogSumExp.
enum class ReduceOp : uint8_t {
  kSum,
  kMean,
  kMax,
  kMin,
  kProd,
  kL1,
  kL2,
  kLogSum,
  kLogSumExp,
  kSumSquare
};
struct ReduceArgs {
  ReduceOp op = ReduceOp::kSum;
  ConstView x;
  View y;
  uint32_t axes = 0;
};
void Reduce(const ReduceArgs& args);

// y (int64) = index of the largest (`largest`) or smallest element along `axis`; the first of
// equals, or the last with `select_last`. NaN wins. The axis is not empty.
struct ArgReduceArgs {
  ConstView x;
  View y;
  int axis = 0;
  bool largest = true;
  bool select_last = false;
};
void ArgReduce(const ArgReduceArgs& args);

// Running sum (or product) along `axis`; y has x's shape and dtype.
struct CumulativeArgs {
  ConstView x;
  View y;
  int axis = 0;
  bool exclusive = false;
  bool reverse = false;
  bool product = false;
};
void Cumulative(const CumulativeArgs& args);

// Along `axis`; y has x's shape and float dtype. kHardmax writes 1 at the first largest element.
// The older form that flattens to 2-D is a reshaped view and axis 1. A row of only -inf gives NaN,
// as in ONNX's formula.
enum class SoftmaxOp : uint8_t { kSoftmax, kLogSoftmax, kHardmax };
struct SoftmaxArgs {
  SoftmaxOp op = SoftmaxOp::kSoftmax;
  ConstView x;
  View y;
  int axis = -1;  // -1: the last
};
void Softmax(const SoftmaxArgs& args);

}  // namespace sluice::kernels::ref
