// Looking at algebra: scalars, operands in any order, values behind views. Passes build on these;
// nothing here edits.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "graph/ir.h"

namespace sluice::graph {

// The value of a constant that holds one float or integer element, whatever its rank.
std::optional<double> ScalarOf(const Value* value);
// Whether it is within a relative 1e-3 of `expected`: exporters write constants in f32 and round
// them their own way.
bool IsScalar(const Value* value, double expected);

// The node that makes `value`, if it is `op`.
Node* ProducerIf(const Value* value, std::string_view op);
// Whether a use asks for the extents alone, which are known without running what makes the value.
bool LooksAtShape(const Use& use);
// The only reader of the elements of `value`, if it has one and is no graph output.
Node* OnlyReader(const Graph& graph, const Value* value);

// Of a binary node with exactly one operand that is a scalar constant: the other operand and the
// scalar.
struct ScalarOperand {
  Value* other = nullptr;
  double scalar = 0;
  bool scalar_first = false;
};
std::optional<ScalarOperand> WithScalar(const Node& node);
// The operand of a binary node that is not `value`; null when `value` is none of them or both.
Value* OtherOperand(const Node& node, const Value* value);

// x where `value` is x * factor, factor a scalar, written as a product or a quotient.
struct Scaled {
  Value* x = nullptr;
  double factor = 1;
};
std::optional<Scaled> AsScaled(const Value* value);

// v where `value` is v squared, as a power or a product; null when it is not.
Value* SquareRoot(const Value* value);

// Extents of the last axis and rank where known.
std::optional<int64_t> LastExtent(const Value* value);
int RankOf(const Value* value);  // -1 when unknown
bool SameShape(const Value* a, const Value* b);
// Whether `axes` of a reduction is exactly the last axis of its input (attribute or constant input
// form).
bool ReducesLastAxisOnly(const Node& node);
// Whether the value is a constant whose every axis but the last has extent 1 and whose last has
// `extent` elements.
bool IsRowConstant(const Value* value, int64_t extent);

}  // namespace sluice::graph
