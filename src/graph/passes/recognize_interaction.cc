// How the vectors of features meet: DLRM's dot products of all pairs, whatever picks the triangle,
// and the second-order term of factorisation machines.
#include <algorithm>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"
#include "kernels/interaction.h"

namespace sluice::graph {
namespace {

std::optional<std::vector<int64_t>> ConstantInts(const Value* value) {
  if (value == nullptr || !value->is_constant()) return std::nullopt;
  std::vector<int64_t> ints;
  const tensor::ConstView view = value->constant->view();
  for (int64_t i = 0; i < view.shape.elements(); ++i) {
    if (view.dtype == tensor::DType::kI64) {
      ints.push_back(view.as<int64_t>()[i]);
    } else if (view.dtype == tensor::DType::kI32) {
      ints.push_back(view.as<int32_t>()[i]);
    } else {
      return std::nullopt;
    }
  }
  return ints;
}

std::optional<int64_t> ConstantExtent(const Value* value, int axis) {
  const Dim dim = (*value->shape)[static_cast<size_t>(axis)];
  return dim.is_constant() ? std::optional<int64_t>(dim.constant()) : std::nullopt;
}

// ---- Pair dots ----

// Follows all products of features from the matrix [B, F, F] to the picked ones [B, P]: what each
// axis of the value at hand is.
class PairTrail {
 public:
  PairTrail(Dim batch, int64_t features) : batch_(batch), features_(features) {}

  // Takes `node`, which reads the value at hand; false when it is nothing known.
  bool Take(const Node& node) {
    if (node.Is("Transpose")) return Turn(node);
    if (node.Is("Reshape") || node.Is("Flatten") || node.Is("Squeeze") || node.Is("Unsqueeze"))
      return Reshape(node);
    if (node.Is("Gather")) return Gather(node);
    if (node.Is("GatherND")) return GatherNd(node);
    return false;
  }
  bool done() const { return axes_ == std::vector<Axis>{kBatch, kPair}; }
  const std::vector<int64_t>& first() const { return first_; }
  const std::vector<int64_t>& second() const { return second_; }

 private:
  enum Axis { kBatch, kFirst, kSecond, kBoth, kPair };

  Dim Extent(Axis axis) const {
    if (axis == kBatch) return batch_;
    if (axis == kBoth) return Dim(features_ * features_);
    return Dim(axis == kPair ? static_cast<int64_t>(first_.size()) : features_);
  }
  bool Has(const Value* value, const std::vector<Axis>& axes) const {
    if (RankOf(value) != static_cast<int>(axes.size())) return false;
    for (size_t i = 0; i < axes.size(); ++i) {
      if (!((*value->shape)[i] == Extent(axes[i]))) return false;
    }
    return true;
  }
  bool Turn(const Node& node) {
    const std::span<const int64_t> perm = node.Ints("perm");
    if (perm.size() != axes_.size()) return false;
    std::vector<Axis> axes;
    for (const int64_t axis : perm) axes.push_back(axes_[static_cast<size_t>(axis)]);
    axes_ = std::move(axes);
    return true;
  }
  bool Reshape(const Node& node) {
    if (Has(node.output(), axes_)) return true;
    const auto at = std::find(axes_.begin(), axes_.end(), kFirst);
    if (at == axes_.end() || at + 1 == axes_.end() || *(at + 1) != kSecond) return false;
    std::vector<Axis> axes = axes_;
    const auto merged = axes.begin() + (at - axes_.begin());
    *merged = kBoth;
    axes.erase(merged + 1);
    if (!Has(node.output(), axes)) return false;
    axes_ = std::move(axes);
    return true;
  }
  bool Pick(int64_t first, int64_t second) {
    if (first < 0) first += features_;
    if (second < 0) second += features_;
    if (first < 0 || first >= features_ || second < 0 || second >= features_) return false;
    first_.push_back(first);
    second_.push_back(second);
    return true;
  }
  bool Gather(const Node& node) {
    int64_t axis = node.Int("axis", 0);
    if (axis < 0) axis += static_cast<int64_t>(axes_.size());
    const std::optional<std::vector<int64_t>> picks = ConstantInts(node.input(1));
    if (!picks.has_value() || RankOf(node.input(1)) != 1 || axis < 0 ||
        axis >= static_cast<int64_t>(axes_.size()) || axes_[static_cast<size_t>(axis)] != kBoth)
      return false;
    for (int64_t pick : *picks) {
      if (pick < 0) pick += features_ * features_;
      if (pick < 0 || !Pick(pick / features_, pick % features_)) return false;
    }
    axes_[static_cast<size_t>(axis)] = kPair;
    return true;
  }
  bool GatherNd(const Node& node) {
    const std::optional<std::vector<int64_t>> picks = ConstantInts(node.input(1));
    if (!picks.has_value() || node.Int("batch_dims", 0) != 0 || RankOf(node.input(1)) != 2 ||
        !LastExtent(node.input(1)).has_value() || *LastExtent(node.input(1)) != 2)
      return false;
    if (axes_ != std::vector<Axis>{kFirst, kSecond, kBatch}) return false;
    for (size_t i = 0; i + 1 < picks->size(); i += 2) {
      if (!Pick((*picks)[i], (*picks)[i + 1])) return false;
    }
    axes_ = {kPair, kBatch};
    return true;
  }

  const Dim batch_;
  const int64_t features_;
  std::vector<Axis> axes_ = {kBatch, kFirst, kSecond};
  std::vector<int64_t> first_;
  std::vector<int64_t> second_;
};

// x of the product of x [B, F, D] and its own transpose; null when it is another product.
Value* OwnProduct(const Node& product) {
  Value* const x = product.input(0);
  const Node* turned = ProducerIf(product.input(1), "Transpose");
  if (RankOf(x) != 3 || x->dtype != tensor::DType::kF32 || turned == nullptr ||
      turned->input(0) != x)
    return nullptr;
  const std::span<const int64_t> perm = turned->Ints("perm");
  const bool turns = perm.size() == 3 && perm[0] == 0 && perm[1] == 2 && perm[2] == 1;
  return turns ? x : nullptr;
}

base::Result<bool> RecognizePairDots(PassContext& context, Node& product) {
  Graph& graph = context.graph;
  Value* const x = OwnProduct(product);
  if (x == nullptr) return false;
  const std::optional<int64_t> features = ConstantExtent(x, 1);
  if (!features.has_value() || *features > kernels::kInteractionFeatures ||
      !ConstantExtent(x, 2).has_value())
    return false;
  PairTrail trail((*x->shape)[0], *features);
  Node* last = nullptr;
  const Node* at = &product;
  for (int steps = 0; steps < 16; ++steps) {
    Node* const reader = OnlyReader(graph, at->output());
    if (reader == nullptr || reader->input(0) != at->output() || !trail.Take(*reader)) break;
    at = reader;
    if (trail.done()) last = reader;
  }
  if (last == nullptr) {
    context.Miss(product, "products of all pairs of features, but no constant choice of them");
    return false;
  }
  Node* fused = graph.AddNode(RequireOp("FusedPairDots"), kOpsetMax, {x}, 1, last);
  fused->name = product.name;
  fused->Set("first", trail.first());
  fused->Set("second", trail.second());
  TRY(InferNode(graph, *fused));
  graph.ReplaceUses(last->output(), fused->output());
  return true;
}

// ---- Second order ----

// x of the sum over axis 1 of x [B, F, D]; null when it is something else.
Value* SummedFeatures(const Value* value, std::string_view op, bool& keeps) {
  const Node* sum = ProducerIf(value, op);
  if (sum == nullptr || RankOf(sum->input(0)) != 3) return nullptr;
  std::optional<std::vector<int64_t>> axes =
      sum->input(1) != nullptr
          ? ConstantInts(sum->input(1))
          : std::vector<int64_t>(sum->Ints("axes").begin(), sum->Ints("axes").end());
  if (!axes.has_value() || axes->size() != 1 || ((*axes)[0] != 1 && (*axes)[0] != -2))
    return nullptr;
  keeps = sum->Int("keepdims", 1) != 0;
  return sum->input(0);
}

// x and whether axis 1 is kept, where node is (sum of x)^2 - sum of x^2.
Value* SecondOrderOf(const Node& node, bool& keeps) {
  const Value* const sum = SquareRoot(node.input(0));
  if (sum == nullptr) return nullptr;
  bool other_keeps = false;
  Value* const x = SummedFeatures(sum, "ReduceSum", keeps);
  if (x == nullptr || x->dtype != tensor::DType::kF32) return nullptr;
  if (SummedFeatures(node.input(1), "ReduceSumSquare", other_keeps) == x && keeps == other_keeps)
    return x;
  const Value* const squares = SummedFeatures(node.input(1), "ReduceSum", other_keeps);
  return squares != nullptr && SquareRoot(squares) == x && keeps == other_keeps ? x : nullptr;
}

base::Result<bool> RecognizeSecondOrder(PassContext& context, Node& node) {
  Graph& graph = context.graph;
  bool keeps = false;
  Value* const x = SecondOrderOf(node, keeps);
  if (x == nullptr || !ConstantExtent(x, 2).has_value()) return false;
  const Node* last = &node;
  double scale = 1;
  bool reduces = false;
  for (int steps = 0; steps < 3; ++steps) {
    Node* const reader = OnlyReader(graph, last->output());
    if (reader == nullptr) break;
    const std::optional<Scaled> scaled = AsScaled(reader->output());
    if (scaled.has_value() && scaled->x == last->output()) {
      scale *= scaled->factor;
    } else if (!reduces && reader->Is("ReduceSum") && ReducesLastAxisOnly(*reader)) {
      reduces = true;
    } else {
      break;
    }
    last = reader;
  }
  Value* const was = last->output();
  Node* fused = graph.AddNode(RequireOp("FusedSecondOrder"), kOpsetMax, {x}, 1, node.next);
  fused->name = node.name;
  fused->Set("scale", static_cast<float>(scale));
  fused->Set("reduces", int64_t{reduces ? 1 : 0});
  TRY(InferNode(graph, *fused));
  Value* result = fused->output();
  if (!SameShape(result, was)) {
    const auto rank = static_cast<int64_t>(was->shape->size());
    tensor::Tensor shape{tensor::DType::kI64, tensor::Shape({rank}),
                         tensor::Buffer::Allocate(rank * 8)};
    int64_t* const dims = shape.mutable_view().as<int64_t>();
    dims[0] = -1;
    for (int64_t i = 1; i < rank; ++i) dims[i] = (*was->shape)[static_cast<size_t>(i)].constant();
    Node* view =
        graph.AddNode(RequireOp("Reshape"), kOpsetMax,
                      {result, graph.AddConstant("shape", std::move(shape))}, 1, fused->next);
    TRY(InferNode(graph, *view));
    result = view->output();
  }
  graph.ReplaceUses(was, result);
  return true;
}

// ---- Weighted sums ----

// Whether `value` [.., T, 1] comes from a softmax through views.
bool FromSoftmax(const Value* value) {
  for (int steps = 0; steps < 4; ++steps) {
    const Node* node = value->producer;
    if (node == nullptr) return false;
    if (node->Is("Softmax")) return true;
    if (!(node->Is("Unsqueeze") || node->Is("Reshape") || node->Is("Squeeze"))) return false;
    value = node->input(0);
  }
  return false;
}

// The sum over T of softmax weights [B, T, 1] times rows [B, T, D] is a product of matrices.
base::Result<bool> RecognizeWeightedSum(PassContext& context, Node& sum) {
  Graph& graph = context.graph;
  const Node* product = ProducerIf(sum.input(0), "Mul");
  if (product == nullptr || RankOf(sum.input(0)) != 3 || OnlyReader(graph, sum.input(0)) != &sum ||
      sum.output()->dtype != tensor::DType::kF32)
    return false;
  bool keeps = false;
  if (SummedFeatures(sum.output(), "ReduceSum", keeps) == nullptr) return false;
  for (size_t i = 0; i < 2; ++i) {
    Value* const weights = product->input(i);
    Value* const rows = product->input(1 - i);
    if (RankOf(weights) != 3 || !SameShape(rows, sum.input(0)) || !weights->shape->back().Is(1) ||
        !std::equal(rows->shape->begin(), rows->shape->end() - 1, weights->shape->begin()) ||
        !FromSoftmax(weights))
      continue;
    Node* turned = graph.AddNode(RequireOp("Transpose"), kOpsetMax, {weights}, 1, &sum);
    turned->Set("perm", std::vector<int64_t>{0, 2, 1});
    TRY(InferNode(graph, *turned));
    Node* pooled = graph.AddNode(RequireOp("MatMul"), kOpsetMax, {turned->output(), rows}, 1, &sum);
    pooled->name = sum.name;
    TRY(InferNode(graph, *pooled));
    Value* result = pooled->output();
    if (!keeps) {
      tensor::Tensor axis{tensor::DType::kI64, tensor::Shape({1}), tensor::Buffer::Allocate(8)};
      *axis.mutable_view().as<int64_t>() = 1;
      Node* view = graph.AddNode(RequireOp("Squeeze"), kOpsetMax,
                                 {result, graph.AddConstant("axis", std::move(axis))}, 1, &sum);
      TRY(InferNode(graph, *view));
      result = view->output();
    }
    graph.ReplaceUses(sum.output(), result);
    return true;
  }
  return false;
}

}  // namespace

base::Result<int64_t> RecognizeInteraction(PassContext& context) {
  int64_t count = 0;
  for (Node* node : context.graph.Nodes()) {
    if (node->Is("MatMul") && TRY(RecognizePairDots(context, *node))) ++count;
    if (node->Is("ReduceSum") && TRY(RecognizeWeightedSum(context, *node))) ++count;
    if (node->Is("Sub") && TRY(RecognizeSecondOrder(context, *node))) ++count;
  }
  context.graph.RemoveDead();
  return count;
}

}  // namespace sluice::graph
