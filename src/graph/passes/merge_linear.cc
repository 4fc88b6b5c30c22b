// Linear layers over the same input whose results attention reads, and the first layers of parallel
// towers, become one over their weights side by side: one pass over the input, and a split that
// costs nothing because attention and linear layers take strided operands.
#include <compare>
#include <cstring>
#include <map>
#include <optional>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

bool IsView(const Node& node) {
  return node.Is("Reshape") || node.Is("Transpose") || node.Is("Squeeze") || node.Is("Unsqueeze") ||
         node.Is("Flatten");
}

// Whether every reader of `value` is attention, through views.
bool OnlyAttentionReads(const Graph& graph, const Value* value, int depth) {
  if (value->uses.empty() || graph.IsOutput(value) || depth == 0) return false;
  for (const Use& use : value->uses) {
    if (LooksAtShape(use)) continue;
    if (use.node->Is("FusedAttention") && use.index < 3) continue;
    if (!IsView(*use.node) || use.index != 0) return false;
    if (!OnlyAttentionReads(graph, use.node->output(), depth - 1)) return false;
  }
  return true;
}

// Whether every reader of `value` [B, N] is a linear layer, which takes rows that lie apart.
bool OnlyLinearReads(const Graph& graph, const Value* value) {
  if (value->uses.empty() || graph.IsOutput(value) || RankOf(value) != 2) return false;
  for (const Use& use : value->uses) {
    if (!use.node->Is("FusedLinear") || use.index != 0) return false;
  }
  return true;
}

int64_t WidthOf(const Node& linear) {
  const tensor::Shape& shape = linear.input(1)->constant->shape;
  return linear.Int("trans_b", 0) != 0 ? shape[0] : shape[1];
}

// Layers that become one: over one input, with one activation, read by attention alone or by
// linear layers alone.
struct Kinship {
  int32_t input = 0;
  bool tower = false;
  std::string_view activation;
  auto operator<=>(const Kinship&) const = default;
};

std::optional<Kinship> KinshipOf(const Graph& graph, const Node& node) {
  if (!node.Is("FusedLinear") || node.Has("weights") || node.input(3) != nullptr)
    return std::nullopt;
  if (node.input(2) != nullptr && !node.input(2)->is_constant()) return std::nullopt;
  const Kinship kinship{node.input(0)->id, OnlyLinearReads(graph, node.output()),
                        node.String("activation", "")};
  if (kinship.tower) return kinship;
  if (node.Has("activation") || !OnlyAttentionReads(graph, node.output(), 6)) return std::nullopt;
  return kinship;
}

// The weights side by side as [K, sum of N], made of the parts once somebody looks at them.
class JoinedColumns final : public tensor::DeferredBytes {
 public:
  JoinedColumns(const std::vector<Node*>& linears, int64_t k, int64_t width)
      : DeferredBytes(k * width * 4), k_(k), width_(width) {
    for (const Node* linear : linears) {
      parts_.push_back(
          {linear->input(1)->constant->buffer, WidthOf(*linear), linear->Int("trans_b", 0) != 0});
    }
  }

  void Describe(Origin& origin) const override {
    origin.recipe += "f32 columns of depth " + std::to_string(k_);
    for (const Part& part : parts_) {
      origin.recipe += (part.transposed ? " t" : " n") + std::to_string(part.n) + "(";
      part.buffer.Describe(origin);
      origin.recipe += ")";
    }
  }

 private:
  struct Part {
    tensor::Buffer buffer;  // [k, n] f32, or [n, k]
    int64_t n = 0;
    bool transposed = false;
  };

  void Write(std::byte* to) const override {
    float* out = reinterpret_cast<float*>(to);
    for (const Part& part : parts_) {
      const float* const b = reinterpret_cast<const float*>(part.buffer.data());
      for (int64_t i = 0; i < k_; ++i) {
        for (int64_t j = 0; j < part.n; ++j)
          out[i * width_ + j] = part.transposed ? b[j * k_ + i] : b[i * part.n + j];
      }
      out += part.n;
    }
  }

  const int64_t k_;
  const int64_t width_;
  std::vector<Part> parts_;
};

tensor::Tensor JoinWeights(const std::vector<Node*>& linears, int64_t k, int64_t width) {
  return {tensor::DType::kF32, tensor::Shape({k, width}),
          tensor::Buffer::Defer(std::make_shared<const JoinedColumns>(linears, k, width))};
}

tensor::Tensor JoinBiases(const std::vector<Node*>& linears, int64_t width) {
  tensor::Tensor joined{tensor::DType::kF32, tensor::Shape({width}),
                        tensor::Buffer::Allocate(width * 4)};
  float* out = joined.mutable_view().as<float>();
  for (const Node* linear : linears) {
    const int64_t n = WidthOf(*linear);
    for (int64_t j = 0; j < n; ++j) {
      *out++ =
          linear->input(2) == nullptr ? 0.0F : linear->input(2)->constant->view().as<float>()[j];
    }
  }
  return joined;
}

base::Status MergeGroup(Graph& graph, const std::vector<Node*>& linears) {
  Node& first = *linears[0];
  const tensor::Shape& shape = first.input(1)->constant->shape;
  const int64_t k = first.Int("trans_b", 0) != 0 ? shape[1] : shape[0];
  int64_t width = 0;
  tensor::Tensor sizes{tensor::DType::kI64, tensor::Shape({static_cast<int64_t>(linears.size())}),
                       tensor::Buffer::Allocate(static_cast<int64_t>(linears.size()) * 8)};
  for (size_t i = 0; i < linears.size(); ++i) {
    sizes.mutable_view().as<int64_t>()[i] = WidthOf(*linears[i]);
    width += WidthOf(*linears[i]);
  }
  Node* joined = graph.AddNode(
      RequireOp("FusedLinear"), kOpsetMax,
      {first.inputs[0], graph.AddConstant(first.inputs[1]->name, JoinWeights(linears, k, width)),
       graph.AddConstant("joined_biases", JoinBiases(linears, width))},
      1, &first);
  joined->name = first.name;
  joined->Set("trans_b", int64_t{0});
  if (first.Has("activation"))
    joined->Set("activation", std::string(first.String("activation", "")));
  TRY(InferNode(graph, *joined));
  Node* split = graph.AddNode(RequireOp("Split"), 18,
                              {joined->output(), graph.AddConstant("widths", std::move(sizes))},
                              linears.size(), &first);
  split->Set("axis", int64_t{RankOf(joined->output()) - 1});
  TRY(InferNode(graph, *split));
  for (size_t i = 0; i < linears.size(); ++i) {
    graph.ReplaceUses(linears[i]->output(), split->output(i));
    graph.Erase(linears[i]);
  }
  return base::Ok();
}

}  // namespace

base::Result<int64_t> MergeLinear(PassContext& context) {
  Graph& graph = context.graph;
  std::map<Kinship, std::vector<Node*>> kin;  // in topological order within a group
  for (Node* node : graph.Nodes()) {
    if (const std::optional<Kinship> kinship = KinshipOf(graph, *node))
      kin[*kinship].push_back(node);
  }
  int64_t count = 0;
  for (const auto& [kinship, linears] : kin) {
    if (linears.size() < 2) continue;
    TRY(MergeGroup(graph, linears));
    count += static_cast<int64_t>(linears.size());
  }
  return count;
}

}  // namespace sluice::graph
