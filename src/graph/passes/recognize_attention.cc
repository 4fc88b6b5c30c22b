// Attention: softmax(scale * Q K^T + mask) V, found from the softmax: operands in any order, the
// scale before or after the product or on Q and K, an additive or a selecting mask, a guard against
// NaN. Transposes need no matching: they are views.
#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// A selecting mask is turned into an additive one where what it selects is at most this: exp of it
// beside any score is 0.
constexpr double kMaskedMax = -1e4;

struct Match {
  Node* scores = nullptr;   // the product Q K^T
  Node* product = nullptr;  // softmax times V
  Value* mask = nullptr;
  double scale = 1;
  bool guarded = false;
};

bool OverLastAxis(const Node& softmax) {
  const int rank = RankOf(softmax.input(0));
  const int64_t fallback = softmax.opset >= 13 ? -1 : 1;
  const int64_t axis = softmax.Int("axis", fallback);
  return rank >= 2 && (axis == -1 || axis == rank - 1);
}

bool IsScores(const Value* value) {
  const Node* node = ProducerIf(value, "MatMul");
  return node != nullptr && RankOf(node->input(0)) >= 2 &&
         RankOf(node->input(0)) == RankOf(node->input(1)) && !node->input(1)->is_constant();
}

// Where(condition, scores, low) as scores + Where(condition, 0, low), and the mirrored form. Null
// when it is none.
Value* SelectingMask(Graph& graph, const Node& where, Value*& scores) {
  for (size_t kept = 1; kept <= 2; ++kept) {
    const std::optional<double> low = ScalarOf(where.input(3 - kept));
    if (!low.has_value() || !(*low <= kMaskedMax)) continue;
    scores = where.inputs[kept];
    if (!SameShape(scores, where.output())) return nullptr;
    tensor::Tensor zero{tensor::DType::kF32, tensor::Shape(), tensor::Buffer::Allocate(4)};
    *zero.mutable_view().as<float>() = 0;
    Value* const nothing = graph.AddConstant("zero", std::move(zero));
    Value* const masked = where.inputs[3 - kept];
    std::vector<Value*> inputs = {where.inputs[0], kept == 1 ? nothing : masked,
                                  kept == 1 ? masked : nothing};
    Node* mask = graph.AddNode(RequireOp("Where"), kOpsetMax, std::move(inputs), 1,
                               const_cast<Node*>(&where));
    mask->name = where.name;
    if (!InferNode(graph, *mask).ok()) return nullptr;
    return mask->output();
  }
  return nullptr;
}

// Peels scale and mask off the softmax's input down to the product. False: not attention; `why`
// says what is in the way.
bool Peel(Graph& graph, Value* value, Match& match, std::string& why) {
  for (int steps = 0; steps < 6; ++steps) {
    if (IsScores(value) && OnlyReader(graph, value) != nullptr) {
      match.scores = value->producer;
      return true;
    }
    Node* node = value->producer;
    if (node == nullptr) break;
    if (OnlyReader(graph, value) == nullptr) {
      why = "the scores have other readers";
      return false;
    }
    if (const std::optional<Scaled> scaled = AsScaled(value)) {
      // Above a mask it would scale the mask as well; below, the scores alone.
      const Node* below = scaled->x->producer;
      if (match.mask == nullptr && below != nullptr && (below->Is("Add") || below->Is("Where"))) {
        why = "the scale multiplies the mask as well";
        return false;
      }
      match.scale *= scaled->factor;
      value = scaled->x;
      continue;
    }
    if (node->Is("Add") && match.mask == nullptr) {
      // The scores are the operand that leads to a product.
      const auto leads = [](const Value* v) {
        return IsScores(v) || (AsScaled(v) && IsScores(AsScaled(v)->x));
      };
      const bool first = leads(node->input(0));
      if (!first && !leads(node->input(1))) {
        why = "neither operand of the mask's addition is a product";
        return false;
      }
      match.mask = node->inputs[first ? 1 : 0];
      value = node->inputs[first ? 0 : 1];
      continue;
    }
    if (node->Is("Where") && match.mask == nullptr) {
      Value* scores = nullptr;
      match.mask = SelectingMask(graph, *node, scores);
      if (match.mask == nullptr) break;
      value = scores;
      continue;
    }
    break;
  }
  if (why.empty()) why = "its input is not a product with a scale and a mask";
  return false;
}

// The product that reads the softmax, past a guard Where(IsNaN(p), 0, p).
Node* FindProduct(const Graph& graph, const Node& softmax, bool& guarded) {
  const Value* value = softmax.output();
  if (value->uses.size() == 2 && !graph.IsOutput(value)) {
    for (const Use& use : value->uses) {
      const Node* where = use.node;
      if (!where->Is("Where") || where->input(2) != value || ScalarOf(where->input(1)) != 0.0)
        continue;
      const Node* test = ProducerIf(where->input(0), "IsNaN");
      if (test == nullptr || test->input(0) != value) continue;
      guarded = true;
      value = where->output();
      break;
    }
  }
  Node* product = OnlyReader(graph, value);
  return product != nullptr && product->Is("MatMul") && product->input(0) == value ? product
                                                                                   : nullptr;
}

// x where `value` is factor * x, looking through views that only it reads; rewires the views.
Value* PeelOperand(Graph& graph, Value* value, double& scale) {
  for (int steps = 0; steps < 4; ++steps) {
    const std::optional<Scaled> scaled = AsScaled(value);
    if (scaled.has_value() && SameShape(scaled->x, value)) {
      scale *= scaled->factor;
      value = scaled->x;
      continue;
    }
    Node* view = ProducerIf(value, "Transpose");
    if (view == nullptr || OnlyReader(graph, value) == nullptr) break;
    const std::optional<Scaled> below = AsScaled(view->input(0));
    if (!below.has_value() || !SameShape(below->x, view->input(0))) break;
    scale *= below->factor;
    graph.SetInput(view, 0, below->x);
  }
  return value;
}

bool Fits(const Match& match) {
  const Value* q = match.scores->input(0);
  const Value* v = match.product->input(1);
  const int rank = RankOf(q);
  if (rank < 2 || rank > 4 || RankOf(v) != rank || RankOf(match.product->output()) != rank)
    return false;
  if (q->dtype != tensor::DType::kF32 || v->dtype != tensor::DType::kF32) return false;
  if (match.mask != nullptr && (RankOf(match.mask) > rank || RankOf(match.mask) < 0)) return false;
  if (match.mask != nullptr && match.mask->dtype != tensor::DType::kF32) return false;
  // No broadcasting between the batch axes.
  for (int axis = 0; axis < rank - 2; ++axis) {
    const Dim dim = (*q->shape)[static_cast<size_t>(axis)];
    if (!(dim == (*match.scores->input(1)->shape)[static_cast<size_t>(axis)])) return false;
    if (!(dim == (*v->shape)[static_cast<size_t>(axis)])) return false;
  }
  return LastExtent(q).has_value() && LastExtent(v).has_value();
}

// Grouped-query attention: [B, heads, ..] where `value` is it with each head repeated for a group
// of queries by an expansion, [B, heads, group, ..] merged; null when it is not.
Value* Ungrouped(const Value* value) {
  const Node* merge = ProducerIf(value, "Reshape");
  const Node* spread = merge == nullptr ? nullptr : ProducerIf(merge->input(0), "Expand");
  if (spread == nullptr || RankOf(value) != 4 || RankOf(spread->output()) != 5) return nullptr;
  const Node* apart = ProducerIf(spread->input(0), "Unsqueeze");
  if (apart == nullptr) apart = ProducerIf(spread->input(0), "Reshape");
  if (apart == nullptr || RankOf(apart->input(0)) != 4) return nullptr;
  const SymShape& few = *apart->input(0)->shape;
  const SymShape& alone = *spread->input(0)->shape;
  const SymShape& many = *spread->output()->shape;
  const SymShape& all = *value->shape;
  if (alone.size() != 5 || !alone[2].Is(1) || !few[1].is_constant() || !many[2].is_constant()) {
    return nullptr;
  }
  const bool same = alone[0] == few[0] && alone[1] == few[1] && alone[3] == few[2] &&
                    alone[4] == few[3] && many[0] == few[0] && many[1] == few[1] &&
                    many[3] == few[2] && many[4] == few[3] && all[0] == few[0] &&
                    all[2] == few[2] && all[3] == few[3] &&
                    all[1].Is(few[1].constant() * many[2].constant());
  return same ? apart->inputs[0] : nullptr;
}

// The same of keys, whose last axes may be turned after they are repeated.
Value* UngroupedKeys(Graph& graph, Value* keys, Node* before, base::Status& status) {
  if (Value* few = Ungrouped(keys)) return few;
  const Node* turn = ProducerIf(keys, "Transpose");
  Value* const few = turn == nullptr ? nullptr : Ungrouped(turn->input(0));
  if (few == nullptr) return nullptr;
  const std::span<const int64_t> perm = turn->Ints("perm");
  const std::vector<int64_t> swap = {0, 1, 3, 2};
  if (!std::equal(perm.begin(), perm.end(), swap.begin(), swap.end())) return nullptr;
  Node* turned = graph.AddNode(RequireOp("Transpose"), kOpsetMax, {few}, 1, before);
  turned->name = turn->name;
  turned->Set("perm", swap);
  status = InferNode(graph, *turned);
  return turned->output();
}

base::Status Rewrite(Graph& graph, const Node& softmax, const Match& match) {
  double scale = match.scale;
  Value* const q = PeelOperand(graph, match.scores->inputs[0], scale);
  Value* k = PeelOperand(graph, match.scores->inputs[1], scale);
  Value* v = match.product->inputs[1];
  if (Value* const few = Ungrouped(v)) {
    base::Status turned = base::Ok();
    Value* const keys = UngroupedKeys(graph, k, match.product, turned);
    TRY(std::move(turned));
    if (keys != nullptr && (*keys->shape)[1] == (*few->shape)[1]) {
      k = keys;
      v = few;
    }
  }
  std::vector<Value*> inputs = {q, k, v};
  if (match.mask != nullptr) inputs.push_back(match.mask);
  Node* fused =
      graph.AddNode(RequireOp("FusedAttention"), kOpsetMax, std::move(inputs), 1, match.product);
  fused->name = softmax.name;
  fused->Set("scale", static_cast<float>(scale));
  TRY(InferNode(graph, *fused));
  Value* result = fused->output();
  if (match.guarded) {
    // A row whose keys are all masked with -inf is NaN here where the guard made it 0.
    Node* test = graph.AddNode(RequireOp("IsNaN"), kOpsetMax, {result}, 1, match.product);
    TRY(InferNode(graph, *test));
    tensor::Tensor zero{tensor::DType::kF32, tensor::Shape(), tensor::Buffer::Allocate(4)};
    *zero.mutable_view().as<float>() = 0;
    Node* guard = graph.AddNode(
        RequireOp("Where"), kOpsetMax,
        {test->output(), graph.AddConstant("zero", std::move(zero)), result}, 1, match.product);
    TRY(InferNode(graph, *guard));
    result = guard->output();
  }
  graph.ReplaceUses(match.product->output(), result);
  return base::Ok();
}

}  // namespace

base::Result<int64_t> RecognizeAttention(PassContext& context) {
  int64_t count = 0;
  for (Node* node : context.graph.Nodes()) {
    if (node->erased || !node->Is("Softmax") || !OverLastAxis(*node)) continue;
    Match match;
    std::string why;
    match.product = FindProduct(context.graph, *node, match.guarded);
    if (match.product == nullptr) continue;  // an ordinary softmax
    if (!Peel(context.graph, node->inputs[0], match, why)) {
      context.Miss(*node, "softmax before a product, not fused to attention: " + why);
      continue;
    }
    if (!Fits(match)) {
      context.Miss(*node, "attention with broadcast batch axes or unknown extents is not fused");
      continue;
    }
    TRY(Rewrite(context.graph, *node, match));
    ++count;
  }
  context.graph.RemoveDead();
  return count;
}

}  // namespace sluice::graph
