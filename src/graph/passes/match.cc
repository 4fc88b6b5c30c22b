#include "graph/passes/match.h"

#include <cmath>
#include <vector>

#include "tensor/float16.h"

namespace sluice::graph {

std::optional<double> ScalarOf(const Value* value) {
  if (value == nullptr || !value->is_constant()) return std::nullopt;
  const tensor::Tensor& tensor = *value->constant;
  if (tensor.shape.elements() != 1) return std::nullopt;
  const tensor::ConstView view = tensor.view();
  switch (tensor.dtype) {
    case tensor::DType::kF32:
      return static_cast<double>(*view.as<float>());
    case tensor::DType::kF64:
      return *view.as<double>();
    case tensor::DType::kF16:
      return static_cast<double>(tensor::ToFloat(*view.as<tensor::F16>()));
    case tensor::DType::kBF16:
      return static_cast<double>(tensor::ToFloat(*view.as<tensor::BF16>()));
    case tensor::DType::kI64:
      return static_cast<double>(*view.as<int64_t>());
    case tensor::DType::kI32:
      return static_cast<double>(*view.as<int32_t>());
    default:
      return std::nullopt;
  }
}

bool IsScalar(const Value* value, double expected) {
  const std::optional<double> scalar = ScalarOf(value);
  return scalar.has_value() && std::abs(*scalar - expected) <= 1e-3 * std::abs(expected);
}

Node* ProducerIf(const Value* value, std::string_view op) {
  return value != nullptr && value->producer != nullptr && value->producer->Is(op) ? value->producer
                                                                                   : nullptr;
}

bool LooksAtShape(const Use& use) {
  const Value* output = use.node->output();
  return use.node->Is("Shape") && output != nullptr && output->elements.has_value();
}

Node* OnlyReader(const Graph& graph, const Value* value) {
  if (value == nullptr || graph.IsOutput(value)) return nullptr;
  Node* reader = nullptr;
  for (const Use& use : value->uses) {
    if (LooksAtShape(use)) continue;
    if (reader != nullptr) return nullptr;
    reader = use.node;
  }
  return reader;
}

std::optional<ScalarOperand> WithScalar(const Node& node) {
  if (node.inputs.size() != 2) return std::nullopt;
  const std::optional<double> first = ScalarOf(node.inputs[0]);
  const std::optional<double> second = ScalarOf(node.inputs[1]);
  if (first.has_value() == second.has_value()) return std::nullopt;
  // A scalar of higher rank than the other operand changes the shape and is no mere factor.
  Value* const other = first.has_value() ? node.inputs[1] : node.inputs[0];
  const Value* const scalar = first.has_value() ? node.inputs[0] : node.inputs[1];
  if (RankOf(scalar) > RankOf(other)) return std::nullopt;
  return ScalarOperand{other, first.has_value() ? *first : *second, first.has_value()};
}

Value* OtherOperand(const Node& node, const Value* value) {
  if (node.inputs.size() != 2 || node.inputs[0] == node.inputs[1]) return nullptr;
  if (node.inputs[0] == value) return node.inputs[1];
  return node.inputs[1] == value ? node.inputs[0] : nullptr;
}

std::optional<Scaled> AsScaled(const Value* value) {
  const Node* node = value == nullptr ? nullptr : value->producer;
  if (node == nullptr || !(node->Is("Mul") || node->Is("Div"))) return std::nullopt;
  const std::optional<ScalarOperand> operand = WithScalar(*node);
  if (!operand.has_value()) return std::nullopt;
  if (node->Is("Mul")) return Scaled{operand->other, operand->scalar};
  if (operand->scalar_first || operand->scalar == 0) return std::nullopt;
  return Scaled{operand->other, 1.0 / operand->scalar};
}

Value* SquareRoot(const Value* value) {
  if (const Node* power = ProducerIf(value, "Pow"))
    return IsScalar(power->input(1), 2) ? power->input(0) : nullptr;
  const Node* product = ProducerIf(value, "Mul");
  return product != nullptr && product->input(0) == product->input(1) ? product->input(0) : nullptr;
}

std::optional<int64_t> LastExtent(const Value* value) {
  if (value == nullptr || !value->shape.has_value() || value->shape->empty()) return std::nullopt;
  const Dim dim = value->shape->back();
  return dim.is_constant() ? std::optional<int64_t>(dim.constant()) : std::nullopt;
}

int RankOf(const Value* value) {
  return value == nullptr || !value->shape.has_value() ? -1
                                                       : static_cast<int>(value->shape->size());
}

bool SameShape(const Value* a, const Value* b) {
  return a != nullptr && b != nullptr && a->shape.has_value() && a->shape == b->shape;
}

bool ReducesLastAxisOnly(const Node& node) {
  const int rank = RankOf(node.input(0));
  if (rank <= 0) return false;
  int64_t axis = 0;
  if (const std::span<const int64_t> axes = node.Ints("axes"); !axes.empty()) {
    if (axes.size() != 1) return false;
    axis = axes[0];
  } else {
    const Value* operand = node.input(1);
    if (operand == nullptr || !operand->is_constant() || operand->constant->shape.elements() != 1)
      return false;
    axis = static_cast<int64_t>(*ScalarOf(operand));
  }
  return axis == -1 || axis == rank - 1;
}

bool IsRowConstant(const Value* value, int64_t extent) {
  if (value == nullptr || !value->is_constant() || value->dtype != tensor::DType::kF32)
    return false;
  const tensor::Shape& shape = value->constant->shape;
  return shape.rank() >= 1 && shape[shape.rank() - 1] == extent && shape.elements() == extent;
}

}  // namespace sluice::graph
