// The activation unit of target attention: linear layers over the concatenation of a history, an
// item spread over it, their difference and their product become one op that keeps a strip of rows
// in L1. Since W is linear, what belongs to the item alone is multiplied once a row of the batch,
// and the difference not at all: [q p q-p qp] W = q (W1 + W3) + p (W2 - W3) + qp W4.
#include <algorithm>
#include <array>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/match_gate.h"
#include "graph/passes/pass.h"
#include "kernels/row_mlp.h"

namespace sluice::graph {
namespace {

// How much of p, of q and of their product a part of the concatenation is.
using Share = std::array<float, 3>;

struct Unit {
  Value* past = nullptr;   // p [B, T, D]
  Value* query = nullptr;  // [B, 1, D], spread over T
  std::vector<Share> parts;
};

// [B, 1, D] where `value` is that spread over the middle axis; null when it is not.
Value* Spread(const Value* value) {
  const Node* expand = ProducerIf(value, "Expand");
  if (expand == nullptr || RankOf(expand->input(0)) != 3) return nullptr;
  const SymShape& from = *expand->input(0)->shape;
  const bool fits =
      from[1].Is(1) && from[0] == (*value->shape)[0] && from[2] == value->shape->back();
  return fits ? expand->input(0) : nullptr;
}

// The parts as shares of `past` and `query`, or nothing.
std::optional<std::vector<Share>> SharesOf(const std::vector<Value*>& parts, const Value* past,
                                           const Value* query) {
  const auto is_query = [&](const Value* value) {
    return value == query || Spread(value) == query;
  };
  std::vector<Share> shares;
  for (const Value* part : parts) {
    if (part == past) {
      shares.push_back({1, 0, 0});
      continue;
    }
    if (is_query(part)) {
      shares.push_back({0, 1, 0});
      continue;
    }
    const Node* node = part->producer;
    if (node == nullptr || !(node->Is("Sub") || node->Is("Mul"))) return std::nullopt;
    const bool forwards = node->input(0) == past && is_query(node->input(1));
    const bool backwards = node->input(1) == past && is_query(node->input(0));
    if (!forwards && !backwards) return std::nullopt;
    const float sign = forwards ? 1.0F : -1.0F;
    shares.push_back(node->Is("Mul") ? Share{0, 0, 1} : Share{sign, -sign, 0});
  }
  return shares;
}

std::optional<Unit> AsUnit(const Node& concat) {
  const Value* joined = concat.output();
  int64_t axis = concat.Int("axis", 0);
  if (RankOf(joined) != 3 || (axis != 2 && axis != -1)) return std::nullopt;
  const std::vector<Value*>& parts = concat.inputs;
  for (const Value* part : parts) {
    if (!(RankOf(part) == 3 && part->shape->back() == parts[0]->shape->back() &&
          part->shape->back().is_constant()))
      return std::nullopt;
  }
  for (const Value* spread : parts) {
    Value* const query = Spread(spread);
    if (query == nullptr) continue;
    for (Value* past : parts) {
      if (Spread(past) != nullptr) continue;
      std::optional<std::vector<Share>> shares = SharesOf(parts, past, query);
      if (shares.has_value()) return Unit{past, query, std::move(*shares)};
    }
  }
  return std::nullopt;
}

bool IsPlainLayer(const Node* node) {
  if (node == nullptr || !node->Is("FusedLinear") || node->input(3) != nullptr) return false;
  const tensor::Shape& shape = node->input(1)->constant->shape;
  return shape[0] <= kernels::kRowMlpWidth && shape[1] <= kernels::kRowMlpWidth &&
         (node->input(2) == nullptr || node->input(2)->is_constant());
}

// Rows [first, first + count) of the layer's weight as [count, n], times `factor`, added to `to`.
void AddRows(const Node& layer, int64_t first, int64_t count, float factor, float* to) {
  if (factor == 0) return;
  const tensor::Shape& shape = layer.input(1)->constant->shape;
  const bool transposed = layer.Int("trans_b", 0) != 0;
  const int64_t k = shape[transposed ? 1 : 0], n = shape[transposed ? 0 : 1];
  const float* const w = layer.input(1)->constant->view().as<float>();
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      to[i * n + j] += factor * (transposed ? w[j * k + first + i] : w[(first + i) * n + j]);
    }
  }
}

tensor::Tensor Zeros(int64_t k, int64_t n) {
  tensor::Tensor tensor{tensor::DType::kF32, tensor::Shape({k, n}),
                        tensor::Buffer::Allocate(k * n * 4)};
  std::fill_n(tensor.mutable_view().as<float>(), k * n, 0.0F);
  return tensor;
}

int64_t WidthOf(const Node& layer) {
  return layer.input(1)->constant->shape[layer.Int("trans_b", 0) != 0 ? 0 : 1];
}

// A layer with the PReLU or Dice behind it.
struct GatedLayer {
  Node* node = nullptr;
  GateMatch gate;
  Value* result() const { return gate.result != nullptr ? gate.result : node->output(); }
};

GatedLayer Gated(const Graph& graph, Node* node) {
  GatedLayer layer{node, {}};
  if (!node->Has("activation")) {
    if (std::optional<GateMatch> gate = MatchGate(graph, node->output()))
      layer.gate = std::move(*gate);
  }
  return layer;
}

// The layers that follow `first`, each the only reader of the one before.
std::vector<GatedLayer> LayersFrom(const Graph& graph, Node* first) {
  std::vector<GatedLayer> layers = {Gated(graph, first)};
  while (layers.size() < kernels::kRowMlpLayers) {
    const Value* result = layers.back().result();
    Node* const next = OnlyReader(graph, result);
    if (!IsPlainLayer(next) || next->input(0) != result) break;
    layers.push_back(Gated(graph, next));
  }
  return layers;
}

Value* AddRow(Graph& graph, const char* name, const std::vector<float>& values) {
  if (values.empty()) return nullptr;
  const auto count = static_cast<int64_t>(values.size());
  tensor::Tensor row{tensor::DType::kF32, tensor::Shape({count}),
                     tensor::Buffer::Allocate(count * 4)};
  std::copy(values.begin(), values.end(), row.mutable_view().as<float>());
  return graph.AddConstant(name, std::move(row));
}

// The gates' numbers behind the layers' operands, where there is any gate.
void AddGates(Graph& graph, const std::vector<GatedLayer>& layers, std::vector<Value*>& inputs,
              std::vector<int64_t>& gates) {
  const bool any = std::any_of(layers.begin(), layers.end(),
                               [](const GatedLayer& of) { return of.gate.result != nullptr; });
  if (!any) return;
  for (const GatedLayer& layer : layers) {
    gates.push_back(static_cast<int64_t>(layer.gate.kind));
    inputs.push_back(AddRow(graph, "slope", layer.gate.slope));
    inputs.push_back(AddRow(graph, "scale", layer.gate.scale));
    inputs.push_back(AddRow(graph, "shift", layer.gate.shift));
  }
}

base::Result<bool> Fuse(Graph& graph, Node& first) {
  const Node* concat = ProducerIf(first.input(0), "Concat");
  if (concat == nullptr || !IsPlainLayer(&first) || OnlyReader(graph, concat->output()) != &first)
    return false;
  const std::optional<Unit> unit = AsUnit(*concat);
  if (!unit.has_value()) return false;
  const std::vector<GatedLayer> layers = LayersFrom(graph, &first);
  const int64_t d = unit->past->shape->back().constant();
  const int64_t n = WidthOf(first);
  const bool crosses = std::any_of(unit->parts.begin(), unit->parts.end(),
                                   [](const Share& share) { return share[2] != 0; });
  if (2 * d > kernels::kRowMlpWidth) return false;
  tensor::Tensor weight = Zeros(crosses ? 2 * d : d, n);
  tensor::Tensor gate = Zeros(d, n);
  float* const w = weight.mutable_view().as<float>();
  for (size_t i = 0; i < unit->parts.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i) * d;
    AddRows(first, row, d, unit->parts[i][0], w);
    AddRows(first, row, d, unit->parts[i][1], gate.mutable_view().as<float>());
    if (crosses) AddRows(first, row, d, unit->parts[i][2], w + d * n);
  }
  std::vector<Value*> inputs = {
      unit->past, unit->query, graph.AddConstant("query_weight", std::move(gate)),
      graph.AddConstant("past_weight", std::move(weight)), first.input(2)};
  std::vector<std::string> activations = {std::string(first.String("activation", "none"))};
  for (size_t i = 1; i < layers.size(); ++i) {
    const Node& layer = *layers[i].node;
    const tensor::Shape& shape = layer.input(1)->constant->shape;
    Value* matrix = layer.input(1);
    if (layer.Int("trans_b", 0) != 0) {
      tensor::Tensor turned = Zeros(shape[1], shape[0]);
      AddRows(layer, 0, shape[1], 1, turned.mutable_view().as<float>());
      matrix = graph.AddConstant(matrix->name, std::move(turned));
    }
    inputs.push_back(matrix);
    inputs.push_back(layer.input(2));
    activations.emplace_back(layer.String("activation", "none"));
  }
  std::vector<int64_t> gates;
  AddGates(graph, layers, inputs, gates);
  Value* const result = layers.back().result();
  Node* fused =
      graph.AddNode(RequireOp("FusedRowMlp"), kOpsetMax, std::move(inputs), 1, result->producer);
  fused->name = first.name;
  fused->Set("activations", std::move(activations));
  fused->Set("crosses", int64_t{crosses ? 1 : 0});
  if (!gates.empty()) fused->Set("gates", std::move(gates));
  TRY(InferNode(graph, *fused));
  graph.ReplaceUses(result, fused->output());
  return true;
}

}  // namespace

base::Result<int64_t> FuseRowMlp(PassContext& context) {
  int64_t count = 0;
  for (Node* node : context.graph.Nodes()) {
    if (node->Is("FusedLinear") && TRY(Fuse(context.graph, *node))) ++count;
  }
  if (count > 0) context.graph.RemoveDead();
  return count;
}

}  // namespace sluice::graph
