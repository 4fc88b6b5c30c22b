// Convolutions by constant weights become FusedConv, whose weights are laid out for packing, and
// take over what follows them: a residual and the activation.
#include <cmath>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// Beyond that many groups a group is too narrow for a product each.
constexpr int64_t kGroupsMax = 32;

bool IsFloatConstant(const Value* value) {
  return value != nullptr && value->is_constant() && value->dtype == tensor::DType::kF32;
}

// Weight [M, C, taps] of outputs [first, first + count) as [taps * C, count].
Value* AddWeight(Graph& graph, const Value& weight, int64_t first, int64_t count) {
  const tensor::Shape& shape = weight.constant->shape;
  const int64_t channels = shape[1];
  const int64_t taps = shape.elements(2, shape.rank());
  tensor::Tensor made{tensor::DType::kF32, tensor::Shape({taps * channels, count}),
                      tensor::Buffer::Allocate(taps * channels * count * 4)};
  const float* from = weight.constant->view().as<float>() + first * channels * taps;
  float* const to = made.mutable_view().as<float>();
  for (int64_t m = 0; m < count; ++m) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t t = 0; t < taps; ++t) to[(t * channels + c) * count + m] = *from++;
    }
  }
  return graph.AddConstant(weight.name, std::move(made));
}

// Why this convolution stays what it is; empty: it need not.
std::string Obstacle(const Node& conv) {
  const Value* weight = conv.input(1);
  if (!IsFloatConstant(weight)) return "its weight is no f32 constant";
  const tensor::Shape& shape = weight->constant->shape;
  if (shape.rank() < 3 || shape.rank() > 4) return "it has more than two spatial axes";
  if (shape.elements() == 0) return "its weight is empty";
  if (conv.input(2) != nullptr &&
      (!IsFloatConstant(conv.input(2)) || conv.input(2)->constant->shape.elements() != shape[0]))
    return "its bias is no f32 constant";
  if (RankOf(conv.input(0)) != shape.rank() || RankOf(conv.output()) != shape.rank())
    return "the rank of its input is not known";
  const int64_t groups = conv.Int("group", 1);
  if (groups < 1 || shape[0] % groups != 0) return "its groups do not divide its outputs";
  const bool depthwise = groups == shape[0] && shape[1] == 1;
  if (groups > kGroupsMax && !depthwise)
    return "it has " + std::to_string(groups) + " groups, above " + std::to_string(kGroupsMax);
  const std::span<const int64_t> kernel = conv.Ints("kernel_shape");
  for (size_t i = 0; i < kernel.size(); ++i) {
    if (static_cast<int>(kernel.size()) != shape.rank() - 2 ||
        kernel[i] != shape[static_cast<int>(i) + 2])
      return "its kernel_shape disagrees with its weight";
  }
  return {};
}

base::Result<Node*> Form(Graph& graph, Node& conv) {
  const Value& weight = *conv.inputs[1];
  const tensor::Shape& shape = weight.constant->shape;
  const int64_t groups = conv.Int("group", 1);
  const bool depthwise = groups > 1 && groups == shape[0] && shape[1] == 1;
  std::vector<Value*> inputs = {conv.inputs[0], conv.input(2), nullptr};
  const int64_t pieces = depthwise ? 1 : groups;
  const int64_t each = shape[0] / pieces;
  for (int64_t i = 0; i < pieces; ++i) inputs.push_back(AddWeight(graph, weight, i * each, each));
  Node* made = graph.AddNode(RequireOp("FusedConv"), kOpsetMax, std::move(inputs), 1, &conv);
  made->name = conv.name;
  made->attributes = conv.attributes;
  std::vector<int64_t> kernel;
  for (int axis = 2; axis < shape.rank(); ++axis) kernel.push_back(shape[axis]);
  made->Set("kernel_shape", std::move(kernel));
  made->Set("outputs", shape[0]);
  if (depthwise) made->Set("depthwise", int64_t{1});
  TRY(InferNode(graph, *made));
  graph.ReplaceUses(conv.output(), made->output());
  graph.Erase(&conv);
  return made;
}

bool IsNear(double a, double b) {
  return std::abs(a - b) <= 1e-4 * std::abs(b) + 1e-6;
}

// The kernel's name of an activation node, or null.
const char* ActivationOf(const Node& node) {
  if (node.Is("Relu")) return "relu";
  if (node.Is("Sigmoid")) return "sigmoid";
  if (node.Is("Tanh")) return "tanh";
  if (node.Is("HardSwish")) return "hard_swish";
  if (node.Is("Gelu"))
    return node.String("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu_erf";
  if (node.Is("Swish") && node.Float("alpha", 1) == 1) return "silu";
  if (node.Is("HardSigmoid") && IsNear(static_cast<double>(node.Float("alpha", 0.2F)), 1.0 / 6) &&
      IsNear(static_cast<double>(node.Float("beta", 0.5F)), 0.5))
    return "hard_sigmoid";
  if (node.Is("Clip") && node.inputs.size() == 3 && IsScalar(node.input(1), 0) &&
      IsScalar(node.input(2), 6))
    return "relu6";
  return nullptr;
}

// The reader's output becomes the convolution's.
void Absorb(Graph& graph, Node& conv, Node& reader) {
  graph.ReplaceUses(reader.output(), conv.output());
  graph.Erase(&reader);
}

// x * f(x), which reads the convolution twice: SiLU and HardSwish spelt out.
bool FuseGate(Graph& graph, Node& conv) {
  Value* const x = conv.output();
  if (x->uses.size() != 2 || graph.IsOutput(x)) return false;
  for (const Use& use : x->uses) {
    Node* gate = use.node;
    const char* name = ActivationOf(*gate);
    const bool silu = name != nullptr && std::string_view(name) == "sigmoid";
    const bool hard = name != nullptr && std::string_view(name) == "hard_sigmoid";
    if (!silu && !hard) continue;
    Node* product = OnlyReader(graph, gate->output());
    if (product == nullptr || !product->Is("Mul") || OtherOperand(*product, gate->output()) != x)
      return false;
    conv.Set("activation", std::string(silu ? "silu" : "hard_swish"));
    graph.ReplaceUses(product->output(), x);
    graph.Erase(product);
    graph.Erase(gate);
    return true;
  }
  return false;
}

// Whether `value` is made behind `conv`.
bool MadeBehind(const Node& conv, const Node& reader, const Value* value) {
  for (const Node* node = conv.next; node != nullptr && node != &reader; node = node->next) {
    if (value->producer == node) return true;
  }
  return false;
}

bool FuseResidual(Graph& graph, Node& conv, Node& add) {
  Value* const other = OtherOperand(add, conv.output());
  if (other == nullptr || conv.input(2) != nullptr || conv.Int("depthwise", 0) != 0) return false;
  if (!SameShape(add.output(), conv.output()) || !SameShape(other, conv.output())) return false;
  if (MadeBehind(conv, add, other)) {
    if (conv.output()->uses.size() != 1) return false;
    graph.MoveBefore(&conv, &add);
  }
  graph.SetInput(&conv, 2, other);
  Absorb(graph, conv, add);
  return true;
}

int64_t FuseFollowers(Graph& graph, Node& conv) {
  int64_t count = 0;
  while (!conv.Has("activation")) {
    if (FuseGate(graph, conv)) return count + 1;
    Node* reader = OnlyReader(graph, conv.output());
    if (reader == nullptr) return count;
    if (reader->Is("Add")) {
      if (!FuseResidual(graph, conv, *reader)) return count;
    } else {
      const char* activation = ActivationOf(*reader);
      if (activation == nullptr) return count;
      conv.Set("activation", std::string(activation));
      Absorb(graph, conv, *reader);
    }
    ++count;
  }
  return count;
}

}  // namespace

base::Result<int64_t> FormConv(PassContext& context) {
  Graph& graph = context.graph;
  int64_t count = 0;
  std::vector<Node*> formed;
  for (Node* node : graph.Nodes()) {
    if (!node->Is("Conv") || node->input(0)->dtype != tensor::DType::kF32) continue;
    if (const std::string why = Obstacle(*node); !why.empty()) {
      context.Miss(*node, "Conv left to the reference kernel: " + why);
      continue;
    }
    formed.push_back(TRY(Form(graph, *node)));
    ++count;
  }
  for (Node* conv : formed) count += FuseFollowers(graph, *conv);
  return count;
}

}  // namespace sluice::graph
