// Integer sums, differences and products with broadcasting: offsets added to ids and the like.
// Wraps around on overflow.
#include <cstddef>
#include <type_traits>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;

enum class IntegerOp : uint8_t { kAdd, kSub, kMul };

// y packed [outer, columns]; row o of an operand begins at the sum of its outer indices times
// strides.
struct IntegerArgs {
  IntegerOp op = IntegerOp::kAdd;
  bool wide = true;  // int64, else int32
  int32_t rank = 0;  // of the outer axes
  int64_t columns = 1;
  int64_t rows = 1;
  int64_t extents[tensor::kMaxRank] = {};
  int64_t a_strides[tensor::kMaxRank] = {};
  int64_t b_strides[tensor::kMaxRank] = {};
  int64_t a_column = 0;
  int64_t b_column = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
};

template <class T>
T Apply(IntegerOp op, T a, T b) {
  using U = std::make_unsigned_t<T>;
  const U x = static_cast<U>(a), y = static_cast<U>(b);
  if (op == IntegerOp::kAdd) return static_cast<T>(x + y);
  if (op == IntegerOp::kSub) return static_cast<T>(x - y);
  return static_cast<T>(x * y);
}

template <class T>
void RunRows(const IntegerArgs& args, kernels::Tiles tiles) {
  for (int64_t row = tiles.begin; row < tiles.end; ++row) {
    int64_t rest = row, a_at = 0, b_at = 0;
    for (int axis = args.rank - 1; axis >= 0; --axis) {
      const int64_t index = rest % args.extents[axis];
      rest /= args.extents[axis];
      a_at += index * args.a_strides[axis];
      b_at += index * args.b_strides[axis];
    }
    const T* const a = static_cast<const T*>(args.a) + a_at;
    const T* const b = static_cast<const T*>(args.b) + b_at;
    T* const y = static_cast<T*>(args.y) + row * args.columns;
    for (int64_t i = 0; i < args.columns; ++i)
      y[i] = Apply(args.op, a[i * args.a_column], b[i * args.b_column]);
  }
}

void RunIntegers(const void* block, kernels::Tiles tiles) {
  const auto& args = *static_cast<const IntegerArgs*>(block);
  if (args.wide) return RunRows<int64_t>(args, tiles);
  RunRows<int32_t>(args, tiles);
}

int64_t StrideAlong(const Shape& shape, const Place& place, const Shape& output, int axis) {
  const int own = axis - (output.rank() - shape.rank());
  return own < 0 || shape[own] == 1 ? 0 : place.strides[own];
}

template <IntegerOp op>
base::Result<bool> LowerInteger(Lowering& lowering, const Node& node) {
  const DType dtype = node.output()->dtype;
  if (dtype != DType::kI64 && dtype != DType::kI32) return false;
  const Shape& output = lowering.shape(node.output());
  const Value* operands[] = {node.input(0), node.input(1)};
  IntegerArgs args;
  args.op = op;
  args.wide = dtype == DType::kI64;
  const int outer = output.rank() == 0 ? 0 : output.rank() - 1;
  args.rank = outer;
  for (int axis = 0; axis < output.rank(); ++axis) {
    const int64_t a =
        StrideAlong(lowering.shape(operands[0]), lowering.place(operands[0]), output, axis);
    const int64_t b =
        StrideAlong(lowering.shape(operands[1]), lowering.place(operands[1]), output, axis);
    if (axis == outer) {
      args.columns = output[axis];
      args.a_column = a;
      args.b_column = b;
      continue;
    }
    args.extents[axis] = output[axis];
    args.a_strides[axis] = a;
    args.b_strides[axis] = b;
    args.rows *= output[axis];
  }
  const Ref y = lowering.Define(node.output());
  const int64_t bytes = output.elements() * tensor::DTypeSize(dtype);
  StepSpec spec{.run = RunIntegers,
                .tiles = args.rows,
                .work = {output.elements(), 3 * bytes},
                .info = lowering.Info(node, "integers")};
  lowering.builder().Add(std::move(spec), args,
                         {{offsetof(IntegerArgs, a), lowering.place(operands[0]).ref},
                          {offsetof(IntegerArgs, b), lowering.place(operands[1]).ref},
                          {offsetof(IntegerArgs, y), y}});
  return true;
}

}  // namespace

std::span<const LoweringRule> IntegerRules() {
  static constexpr LoweringRule kRules[] = {
      {"Add", ~0u, LowerInteger<IntegerOp::kAdd>},
      {"Sub", ~0u, LowerInteger<IntegerOp::kSub>},
      {"Mul", ~0u, LowerInteger<IntegerOp::kMul>},
  };
  return kRules;
}

}  // namespace sluice::graph
