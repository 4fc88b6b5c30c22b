// BatchNormalization of inference is a scale and an offset for each channel: they go into the
// weights of the layer before, or become two elementwise ops.
#include <cmath>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// y = scale x + offset, for each channel.
struct Affine {
  std::vector<double> scale;
  std::vector<double> offset;
};

bool IsVector(const Value* value, int64_t count) {
  return value != nullptr && value->is_constant() && value->dtype == tensor::DType::kF32 &&
         value->constant->shape.elements() == count;
}

std::optional<Affine> AffineOf(const Node& norm) {
  if (norm.Int("training_mode", 0) != 0 || norm.inputs.size() < 5) return std::nullopt;
  for (size_t i = 1; i < norm.outputs.size(); ++i) {
    if (norm.outputs[i] != nullptr) return std::nullopt;
  }
  const Value* scale = norm.input(1);
  if (scale == nullptr || !scale->is_constant()) return std::nullopt;
  const int64_t channels = scale->constant->shape.elements();
  for (size_t i = 1; i < 5; ++i) {
    if (!IsVector(norm.input(i), channels)) return std::nullopt;
  }
  const auto at = [&](size_t input, size_t i) {
    return static_cast<double>(norm.input(input)->constant->view().as<float>()[i]);
  };
  const double epsilon = static_cast<double>(norm.Float("epsilon", 1e-5F));
  Affine affine;
  for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
    affine.scale.push_back(at(1, c) / std::sqrt(at(4, c) + epsilon));
    affine.offset.push_back(at(2, c) - at(3, c) * affine.scale.back());
  }
  return affine;
}

Value* AddVector(Graph& graph, const std::vector<double>& values, const tensor::Shape& shape) {
  tensor::Tensor made{tensor::DType::kF32, shape,
                      tensor::Buffer::Allocate(static_cast<int64_t>(values.size()) * 4)};
  for (size_t i = 0; i < values.size(); ++i)
    made.mutable_view().as<float>()[i] = static_cast<float>(values[i]);
  return graph.AddConstant("normalized", std::move(made));
}

// The weight with channel c, the extent of `axis`, times scale[c].
Value* AddScaled(Graph& graph, const Value& weight, int axis, const Affine& affine) {
  const tensor::Shape& shape = weight.constant->shape;
  const int64_t inner = shape.elements(axis + 1, shape.rank());
  tensor::Tensor made{tensor::DType::kF32, shape, tensor::Buffer::Allocate(shape.elements() * 4)};
  const float* from = weight.constant->view().as<float>();
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const auto channel = static_cast<size_t>(i / inner % shape[axis]);
    made.mutable_view().as<float>()[i] =
        static_cast<float>(static_cast<double>(from[i]) * affine.scale[channel]);
  }
  return graph.AddConstant(weight.name, std::move(made));
}

// offset + scale * bias.
Value* AddBias(Graph& graph, const Value* bias, const Affine& affine) {
  std::vector<double> values = affine.offset;
  for (size_t c = 0; c < values.size() && bias != nullptr; ++c) {
    values[c] += affine.scale[c] * static_cast<double>(bias->constant->view().as<float>()[c]);
  }
  return AddVector(graph, values, tensor::Shape({static_cast<int64_t>(values.size())}));
}

// The layer before takes the scale and the offset, if it is one with constant weights that nobody
// else reads.
bool FoldIntoLayer(Graph& graph, Node& norm, const Affine& affine) {
  Node* const layer = norm.input(0)->producer;
  if (layer == nullptr || OnlyReader(graph, layer->output()) != &norm) return false;
  const bool gemm = layer->Is("Gemm");
  if (!gemm && !layer->Is("Conv")) return false;
  const auto channels = static_cast<int64_t>(affine.scale.size());
  const Value* weight = layer->input(1);
  if (weight == nullptr || !weight->is_constant() || weight->dtype != tensor::DType::kF32)
    return false;
  const int axis = gemm && layer->Int("transB", 0) == 0 ? 1 : 0;
  if (weight->constant->shape.rank() <= axis || weight->constant->shape[axis] != channels)
    return false;
  const Value* bias = layer->input(2);
  if (bias != nullptr && !IsVector(bias, channels)) return false;
  if (gemm && (layer->Float("alpha", 1) != 1 || layer->Float("beta", 1) != 1)) return false;
  graph.SetInput(layer, 1, AddScaled(graph, *weight, axis, affine));
  graph.SetInput(layer, 2, AddBias(graph, bias, affine));
  graph.ReplaceUses(norm.output(), layer->output());
  graph.Erase(&norm);
  return true;
}

base::Result<Value*> AddOne(Graph& graph, const char* op, Value* a, Value* b, Node& before) {
  Node* node = graph.AddNode(RequireOp(op), kOpsetMax, {a, b}, 1, &before);
  node->name = before.name;
  TRY(InferNode(graph, *node));
  return node->output();
}

}  // namespace

base::Result<int64_t> FoldBatchNorm(PassContext& context) {
  Graph& graph = context.graph;
  int64_t count = 0;
  for (Node* node : graph.Nodes()) {
    if (!node->Is("BatchNormalization") || node->input(0)->dtype != tensor::DType::kF32) continue;
    const std::optional<Affine> affine = AffineOf(*node);
    const int rank = RankOf(node->input(0));
    if (!affine.has_value() || rank < 2) continue;
    ++count;
    if (FoldIntoLayer(graph, *node, *affine)) continue;
    tensor::Shape shape({static_cast<int64_t>(affine->scale.size())});
    for (int axis = 2; axis < rank; ++axis) shape.Append(1);
    Value* y =
        TRY(AddOne(graph, "Mul", node->inputs[0], AddVector(graph, affine->scale, shape), *node));
    y = TRY(AddOne(graph, "Add", y, AddVector(graph, affine->offset, shape), *node));
    graph.ReplaceUses(node->output(), y);
    graph.Erase(node);
  }
  return count;
}

}  // namespace sluice::graph
