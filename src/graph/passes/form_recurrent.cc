// LSTM, GRU and RNN layers with constant weights become FusedRecurrent: the input's weights of all
// gates and directions as one matrix, biases merged, the state's weights laid out for packing.
#include <algorithm>
#include <string>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

bool IsFloatConstant(const Value* value, int rank) {
  return value != nullptr && value->is_constant() && value->dtype == tensor::DType::kF32 &&
         value->constant->shape.rank() == rank && value->constant->shape.elements() > 0;
}

// The function of every gate as the op has them by default, or an RNN's one; "" of others.
std::string CellActivation(const Node& node) {
  const std::span<const std::string> names = node.Strings("activations");
  const bool rnn = node.Is("RNN");
  std::string first = rnn ? "tanh" : "";
  const size_t functions = rnn ? 1 : node.Is("GRU") ? 2 : 3;
  for (size_t i = 0; i < names.size(); ++i) {
    std::string name = names[i];
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (rnn) {
      if ((name != "tanh" && name != "relu") || (i > 0 && name != first)) return "";
      first = name;
    } else if (name != (i % functions == 0 ? "sigmoid" : "tanh")) {
      return "";
    }
  }
  return rnn ? first : "tanh";
}

struct Sizes {
  int64_t directions = 0;
  int64_t gates = 0;  // gates * hidden
  int64_t hidden = 0;
  int64_t input = 0;
};

// Why this layer stays what it is; empty: it need not.
std::string Obstacle(const Node& node, Sizes& sizes) {
  const Value* w = node.input(1);
  const Value* r = node.input(2);
  if (!IsFloatConstant(w, 3) || !IsFloatConstant(r, 3)) return "its weights are no f32 constants";
  const tensor::Shape& from = w->constant->shape;
  const tensor::Shape& state = r->constant->shape;
  const int64_t count = node.Is("RNN") ? 1 : node.Is("GRU") ? 3 : 4;
  const std::string_view direction = node.String("direction", "forward");
  sizes = {from[0], from[1], state[2], from[2]};
  if (sizes.directions != (direction == "bidirectional" ? 2 : 1) || state[0] != from[0] ||
      state[1] != from[1] || from[1] != count * state[2])
    return "its weights do not fit each other";
  if (direction != "bidirectional" && direction != "forward" && direction != "reverse")
    return "its direction is not known";
  if (node.input(3) != nullptr &&
      (!IsFloatConstant(node.input(3), 2) ||
       !(node.input(3)->constant->shape == tensor::Shape({from[0], 2 * from[1]}))))
    return "its bias is no f32 constant";
  if (node.input(7) != nullptr) return "it has peepholes";
  if (node.Float("clip", 0) != 0) return "it clips";
  if (node.Int("input_forget", 0) != 0) return "it couples its gates";
  if (CellActivation(node).empty()) return "its activations are not the usual ones";
  if (RankOf(node.input(0)) != 3) return "the rank of its input is not known";
  return {};
}

tensor::Tensor MakeTensor(const tensor::Shape& shape) {
  return {tensor::DType::kF32, shape, tensor::Buffer::Allocate(shape.elements() * 4)};
}

// Weight [directions, gates, input] as [input, directions * gates].
Value* InputWeight(Graph& graph, const Value& w, const Sizes& sizes) {
  const int64_t columns = sizes.directions * sizes.gates;
  tensor::Tensor made = MakeTensor(tensor::Shape({sizes.input, columns}));
  const float* const from = w.constant->view().as<float>();
  float* const to = made.mutable_view().as<float>();
  for (int64_t n = 0; n < columns; ++n) {
    for (int64_t k = 0; k < sizes.input; ++k) to[k * columns + n] = from[n * sizes.input + k];
  }
  return graph.AddConstant(w.name, std::move(made));
}

// Rows [first, first + count) of one direction's state weight, transposed: [hidden, count].
Value* StateWeight(Graph& graph, const Value& r, const Sizes& sizes, int64_t direction,
                   int64_t first, int64_t count) {
  tensor::Tensor made = MakeTensor(tensor::Shape({sizes.hidden, count}));
  const float* const from =
      r.constant->view().as<float>() + (direction * sizes.gates + first) * sizes.hidden;
  float* const to = made.mutable_view().as<float>();
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t k = 0; k < sizes.hidden; ++k) to[k * count + n] = from[n * sizes.hidden + k];
  }
  return graph.AddConstant(r.name, std::move(made));
}

// Both biases of each gate in one, but for the candidate's of a GRU that resets after its product:
// there the state's half is apart.
Value* InputBias(Graph& graph, const Value& bias, const Sizes& sizes, bool apart) {
  tensor::Tensor made = MakeTensor(tensor::Shape({sizes.directions * sizes.gates}));
  const float* const from = bias.constant->view().as<float>();
  for (int64_t i = 0; i < sizes.directions * sizes.gates; ++i) {
    const int64_t direction = i / sizes.gates;
    const int64_t gate = i % sizes.gates;
    const float* const own = from + direction * 2 * sizes.gates;
    const bool merged = !apart || gate < 2 * sizes.hidden;
    made.mutable_view().as<float>()[i] = own[gate] + (merged ? own[sizes.gates + gate] : 0.0F);
  }
  return graph.AddConstant(bias.name, std::move(made));
}
Value* CandidateBias(Graph& graph, const Value& bias, const Sizes& sizes) {
  tensor::Tensor made = MakeTensor(tensor::Shape({sizes.directions, sizes.hidden}));
  for (int64_t d = 0; d < sizes.directions; ++d) {
    std::copy_n(bias.constant->view().as<float>() + (2 * d + 1) * sizes.gates + 2 * sizes.hidden,
                sizes.hidden, made.mutable_view().as<float>() + d * sizes.hidden);
  }
  return graph.AddConstant(bias.name, std::move(made));
}

base::Status Form(Graph& graph, Node& node, const Sizes& sizes) {
  const bool gru = node.Is("GRU");
  const bool apart = gru && node.Int("linear_before_reset", 0) != 0;
  const Value* bias = node.input(3);
  std::vector<Value*> inputs = {
      node.inputs[0],
      InputWeight(graph, *node.inputs[1], sizes),
      bias == nullptr ? nullptr : InputBias(graph, *bias, sizes, apart),
      node.input(4),
      node.input(5),
      node.input(6),
      apart && bias != nullptr ? CandidateBias(graph, *bias, sizes) : nullptr};
  for (int64_t d = 0; d < sizes.directions; ++d) {
    const int64_t first = gru ? 2 * sizes.hidden : sizes.gates;
    inputs.push_back(StateWeight(graph, *node.inputs[2], sizes, d, 0, first));
    if (gru) inputs.push_back(StateWeight(graph, *node.inputs[2], sizes, d, first, sizes.hidden));
  }
  Node* made = graph.AddNode(RequireOp("FusedRecurrent"), kOpsetMax, std::move(inputs), 0, &node);
  made->name = node.name;
  made->Set("cell", std::string(node.op_name()));
  made->Set("direction", std::string(node.String("direction", "forward")));
  made->Set("layout", node.Int("layout", 0));
  made->Set("hidden", sizes.hidden);
  made->Set("reset_after", int64_t{apart});
  made->Set("activation", CellActivation(node));
  for (const Value* output : node.outputs) {
    if (output == nullptr) {
      graph.SkipNodeOutput(made);
    } else {
      graph.AddNodeOutput(made, output->name);
    }
  }
  TRY(InferNode(graph, *made));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != nullptr) graph.ReplaceUses(node.outputs[i], made->outputs[i]);
  }
  graph.Erase(&node);
  return base::Ok();
}

}  // namespace

base::Result<int64_t> FormRecurrent(PassContext& context) {
  int64_t count = 0;
  for (Node* node : context.graph.Nodes()) {
    if (!node->Is("LSTM") && !node->Is("GRU") && !node->Is("RNN")) continue;
    if (node->input(0)->dtype != tensor::DType::kF32) continue;
    Sizes sizes;
    if (const std::string why = Obstacle(*node, sizes); !why.empty()) {
      context.Miss(*node, "recurrent layer left to the reference kernel: " + why);
      continue;
    }
    TRY(Form(context.graph, *node, sizes));
    ++count;
  }
  return count;
}

}  // namespace sluice::graph
