// nn.EmbeddingBag as exporters write it: a Loop with one iteration a bag, which cuts the bag's ids
// (TorchScript) or its rows (torch.export) out and reduces them. Bags of one length become a gather
// and a reduction, those cut by offsets an EmbeddingBag.
#include <algorithm>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// Views and casts that are looked through between a value and what it is; a file may chain any
// number.
constexpr int kDepthMax = 16;

// A subgraph with where its captures come from.
class Body {
 public:
  Body(const Node& node, const Graph& graph, const Body* outer)
      : node_(node), graph_(graph), outer_(outer) {}

  const Graph& graph() const { return graph_; }
  // The value outside all bodies that `value` is; null when it is made inside.
  Value* Outside(const Value* value) const {
    Value* const captured = Captured(value);
    if (captured == nullptr) return nullptr;
    return outer_ == nullptr ? captured : outer_->Outside(captured);
  }
  // `value` in the body where it is made or is a formal input: past captures, casts of constants.
  std::pair<const Body*, const Value*> Settle(const Value* value) const {
    const Value* const captured = Captured(value);
    if (captured != nullptr && outer_ != nullptr) return outer_->Settle(captured);
    return {this, value};
  }
  // A constant, here or captured.
  const Value* Constant(const Value* value, int depth = kDepthMax) const {
    if (value == nullptr || depth == 0) return nullptr;
    if (value->is_constant()) return value;
    if (const Value* outside = Outside(value)) return outside->is_constant() ? outside : nullptr;
    const auto [body, settled] = Settle(value);
    if (body != this) return body->Constant(settled, depth - 1);
    const Node* cast = value->producer;
    if (cast != nullptr && (cast->Is("CastLike") || cast->Is("Cast") || cast->Is("Identity")))
      return Constant(cast->input(0), depth - 1);
    return nullptr;
  }
  std::optional<double> Scalar(const Value* value) const { return ScalarOf(Constant(value)); }
  bool IsTrue(const Value* value) const {
    const Value* constant = Constant(value);
    return constant != nullptr && constant->dtype == tensor::DType::kBool &&
           constant->constant->shape.elements() == 1 && *constant->constant->view().as<bool>();
  }

 private:
  Value* Captured(const Value* value) const {
    const std::vector<Value*>& inputs = graph_.inputs();
    const auto captures = static_cast<size_t>(node_.captures);
    for (size_t i = inputs.size() - captures; i < inputs.size(); ++i) {
      if (inputs[i] == value) return node_.inputs[node_.inputs.size() - inputs.size() + i];
    }
    return nullptr;
  }

  const Node& node_;
  const Graph& graph_;
  const Body* outer_;
};

struct BagLoop {
  const Value* table = nullptr;  // a constant, here or in the loop's body
  Value* ids = nullptr;          // [K]
  Value* weights = nullptr;      // [K]
  Value* bounds = nullptr;       // [bags + 1]: the offsets and the end
  bool mean = false;
  const Value* end = nullptr;  // where the last bag is told to end, if it is told apart
};

bool IsOneNumber(const Value* value) {
  return value->elements.has_value() && value->elements->size() == 1;
}

bool OverFirstAxis(const Body& body, const Node& node) {
  const std::span<const int64_t> axes = node.Ints("axes");
  if (axes.size() == 1) return axes[0] == 0;
  return body.Scalar(node.input(1)) == 0.0;
}

bool IsFirstElements(const Body& body, const Value* value, double wanted) {
  const Value* constant = body.Constant(value);
  return constant != nullptr && constant->constant->shape.elements() == 1 &&
         ScalarOf(constant) == wanted;
}

class Matcher {
 public:
  explicit Matcher(Node& loop) : loop_(loop), body_(loop, *loop.FindSubgraph("body"), nullptr) {}

  std::optional<BagLoop> Run() {
    const Graph& graph = body_.graph();
    const auto carried = loop_.inputs.size() - 2 - static_cast<size_t>(loop_.captures);
    if (carried > 1 || graph.outputs().size() != 2 + carried || loop_.outputs.size() != 1 + carried)
      return std::nullopt;
    iteration_ = graph.inputs()[carried == 0 ? 0 : 2];
    if (!(carried == 0 ? CountsByItself() : CountsItsIndex())) return std::nullopt;
    const Value* row = graph.outputs()[1 + carried].value;
    if (!MatchRow(row) || bag_.table == nullptr || bag_.bounds == nullptr) return std::nullopt;
    if (!Fits()) return std::nullopt;
    return bag_;
  }
  // Iterations.
  Dim count() const { return count_; }

 private:
  // Loop(M, true) whose body says true.
  bool CountsByItself() {
    const Value* condition = body_.graph().outputs()[0].value;
    const Value* given = loop_.input(1);
    const bool begins = given == nullptr || (given->is_constant() && body_.IsTrue(given));
    const Value* passed = condition;
    if (const Node* same = ProducerIf(condition, "Identity")) passed = same->input(0);
    const bool goes_on = body_.IsTrue(condition) || passed == body_.graph().inputs()[1];
    const Value* count = loop_.input(0);
    if (!begins || !goes_on || count == nullptr || !IsOneNumber(count)) return false;
    count_ = (*count->elements)[0];
    return true;
  }
  // Loop(, 0 < count, i = 0) whose body adds 1 and goes on while i < count.
  bool CountsItsIndex() {
    if (loop_.input(0) != nullptr || ScalarOf(loop_.input(2)) != 0.0) return false;
    const Node* begins = ProducerIf(loop_.input(1), "Less");
    const Node* goes_on = ProducerIf(body_.graph().outputs()[0].value, "Less");
    if (begins == nullptr || goes_on == nullptr || ScalarOf(begins->input(0)) != 0.0) return false;
    const Value* next = body_.graph().outputs()[1].value;
    const Value* limit = begins->input(1);
    if (goes_on->input(0) != next || Position(body_, next) != 1 ||
        body_.Outside(goes_on->input(1)) != limit || !IsOneNumber(limit))
      return false;
    count_ = (*limit->elements)[0];
    return !loop_.outputs[0] || loop_.outputs[0]->uses.empty();
  }

  // k where `value` is the iteration's number plus k.
  std::optional<int64_t> Position(const Body& at, const Value* value, int depth = kDepthMax) const {
    if (depth == 0 || value == nullptr) return std::nullopt;
    const auto [body, settled] = at.Settle(value);
    if (settled == iteration_) return 0;
    const Node* node = settled->producer;
    if (node == nullptr) return std::nullopt;
    if (node->Is("Unsqueeze") || node->Is("Reshape") || node->Is("Squeeze") || node->Is("Identity"))
      return Position(*body, node->input(0), depth - 1);
    if (!node->Is("Add")) return std::nullopt;
    for (size_t i = 0; i < 2; ++i) {
      const std::optional<double> added = body->Scalar(node->input(1 - i));
      if (!added.has_value()) continue;
      const std::optional<int64_t> base = Position(*body, node->input(i), depth - 1);
      if (base.has_value()) return *base + static_cast<int64_t>(*added);
    }
    return std::nullopt;
  }

  // Whether `value` is element i + k of the bounds: gathered or sliced from them, or from their
  // tail.
  bool IsBound(const Body& at, const Value* value, int64_t k, int depth = kDepthMax) {
    if (depth == 0 || value == nullptr) return false;
    const auto [body, settled] = at.Settle(value);
    const Node* node = settled->producer;
    if (node == nullptr) return false;
    if (node->Is("Unsqueeze") || node->Is("Reshape") || node->Is("Squeeze"))
      return IsBound(*body, node->input(0), k, depth - 1);
    Value* from = nullptr;
    if (node->Is("Gather") && node->Int("axis", 0) == 0) {
      if (Position(*body, node->input(1)) != 0 && Position(*body, node->input(1)) != k)
        return false;
      from = body->Outside(node->input(0));
      if (from == nullptr) return false;
      if (Position(*body, node->input(1)) == 0 && k == 1) {
        // From the tail: bounds[1:].
        const Node* tail = ProducerIf(from, "Slice");
        if (tail == nullptr || ScalarOf(tail->input(1)) != 1.0) return false;
        if (tail->input(3) != nullptr && ScalarOf(tail->input(3)) != 0.0) return false;
        if (tail->input(4) != nullptr && ScalarOf(tail->input(4)) != 1.0) return false;
        const std::optional<double> end = ScalarOf(tail->input(2));
        if (!end.has_value() || *end < 1e9) return false;
        from = tail->input(0);
      }
    } else if (node->Is("Slice")) {
      if (Position(*body, node->input(1)) != k || Position(*body, node->input(2)) != k + 1)
        return false;
      from = body->Outside(node->input(0));
    }
    if (from == nullptr || (bag_.bounds != nullptr && bag_.bounds != from)) return false;
    bag_.bounds = from;
    return true;
  }

  // The outer value that the node cuts the bag's part out of, along the first axis.
  Value* CutByBag(const Body& body, const Value* value) {
    const Node* slice = ProducerIf(value, "Slice");
    if (slice == nullptr || !IsBound(body, slice->input(1), 0) ||
        !IsBound(body, slice->input(2), 1))
      return nullptr;
    if (slice->input(3) != nullptr && !IsFirstElements(body, slice->input(3), 0)) return nullptr;
    if (slice->input(4) != nullptr && !IsFirstElements(body, slice->input(4), 1)) return nullptr;
    return body.Outside(slice->input(0));
  }

  bool MatchRow(const Value* row) {
    const Node* node = row->producer;
    while (node != nullptr && node->Is("Identity")) node = node->input(0)->producer;
    if (node == nullptr) return false;
    if (!node->Is("If")) return MatchReduction(body_, *node);
    // Nothing is in the bag: zeros.
    const Node* equal = ProducerIf(node->input(0), "Equal");
    const Graph* empty = node->FindSubgraph("then_branch");
    const Graph* full = node->FindSubgraph("else_branch");
    if (equal == nullptr || empty == nullptr || full == nullptr || node->outputs.size() != 1)
      return false;
    if (!IsBound(body_, equal->input(0), 0) || !IsBound(body_, equal->input(1), 1)) return false;
    const Body nothing(*node, *empty, &body_);
    const Value* zeros = nothing.Constant(empty->outputs()[0].value);
    if (zeros == nullptr || zeros->dtype != tensor::DType::kF32) return false;
    for (const float zero : zeros->constant->view().span<float>()) {
      if (zero != 0) return false;
    }
    const Body something(*node, *full, &body_);
    const Node* reduction = full->outputs()[0].value->producer;
    if (reduction == nullptr) return false;
    return reduction->Is("If") ? MatchLastApart(something, *reduction)
                               : MatchReduction(something, *reduction);
  }

  // torch.export's mean: of the last bag the sum over what is left of the ids, of the others the
  // mean.
  bool MatchLastApart(const Body& body, const Node& choice) {
    const Graph* last = choice.FindSubgraph("then_branch");
    const Graph* others = choice.FindSubgraph("else_branch");
    if (last == nullptr || others == nullptr || choice.outputs.size() != 1) return false;
    if (!IsLast(body, ProducerIf(choice.input(0), "Equal"))) return false;
    const Body of_others(choice, *others, &body);
    const Node* mean = others->outputs()[0].value->producer;
    if (mean == nullptr || !mean->Is("ReduceMean") || !MatchReduction(of_others, *mean))
      return false;
    const BagLoop wanted = bag_;
    const Body of_last(choice, *last, &body);
    const Node* filled = last->outputs()[0].value->producer;
    if (filled == nullptr || !filled->Is("If")) return false;
    const Graph* divides = filled->FindSubgraph("then_branch");
    const Node* positive = ProducerIf(filled->input(0), "Greater");
    if (divides == nullptr || positive == nullptr || of_last.Scalar(positive->input(1)) != 0.0)
      return false;
    const Body of_filled(*filled, *divides, &of_last);
    const Node* quotient = ProducerIf(divides->outputs()[0].value, "Div");
    if (quotient == nullptr) return false;
    const auto [sum_body, sum] = of_filled.Settle(quotient->input(0));
    const Node* reduction = ProducerIf(sum, "ReduceSum");
    if (reduction == nullptr || !MatchReduction(*sum_body, *reduction)) return false;
    if (bag_.table != wanted.table || bag_.ids != wanted.ids || bag_.weights != wanted.weights)
      return false;
    const Node* cast = ProducerIf(quotient->input(1), "Cast");
    if (cast == nullptr) return false;
    const auto [left_body, left] = of_filled.Settle(cast->input(0));
    const Node* difference = ProducerIf(left, "Sub");
    if (difference == nullptr || of_last.Settle(positive->input(0)).second != left ||
        !IsBound(*left_body, difference->input(1), 0))
      return false;
    bag_.end = difference->input(0);
    bag_.mean = true;
    return IsOneNumber(bag_.end);
  }
  // Whether `equal` asks for the last iteration.
  bool IsLast(const Body& body, const Node* equal) const {
    if (equal == nullptr || Position(body, equal->input(0)) != 0) return false;
    const auto [at, last] = body.Settle(equal->input(1));
    if (last->elements.has_value() && last->elements->size() == 1 && count_.is_constant() &&
        (*last->elements)[0].is_constant())
      return (*last->elements)[0].constant() == count_.constant() - 1;
    const Node* before = ProducerIf(last, "Sub");
    if (before == nullptr || at->Scalar(before->input(1)) != 1.0) return false;
    const Value* count = at->Outside(before->input(0));
    return count != nullptr && IsOneNumber(count) && (*count->elements)[0] == count_;
  }

  bool MatchReduction(const Body& body, const Node& node) {
    bag_.mean = node.Is("ReduceMean");
    if (!(bag_.mean || node.Is("ReduceSum")) || !OverFirstAxis(body, node)) return false;
    const auto [made_in, made] = body.Settle(node.input(0));
    const Value* rows = made;
    if (Value* whole = CutByBag(*made_in, rows)) return MatchRows(*whole);
    // The ids are cut first.
    const Value* factor = nullptr;
    if (const Node* product = ProducerIf(rows, "Mul")) {
      const bool first = ProducerIf(product->input(0), "Gather") != nullptr;
      rows = product->input(first ? 0 : 1);
      factor = product->input(first ? 1 : 0);
    }
    const Node* gather = ProducerIf(rows, "Gather");
    if (gather == nullptr || gather->Int("axis", 0) != 0) return false;
    bag_.table = made_in->Constant(gather->input(0));
    bag_.ids = CutByBag(*made_in, gather->input(1));
    if (factor == nullptr) return bag_.ids != nullptr;
    const Node* column = ProducerIf(factor, "Unsqueeze");
    if (column == nullptr || bag_.mean) return false;
    bag_.weights = CutByBag(*made_in, column->input(0));
    return bag_.ids != nullptr && bag_.weights != nullptr;
  }

  // All rows at once, outside of the loop: a gather, perhaps times a weight each.
  bool MatchRows(const Value& whole) {
    const Value* rows = &whole;
    while (const Node* same = ProducerIf(rows, "Identity")) rows = same->input(0);
    if (const Node* product = ProducerIf(rows, "Mul")) {
      const bool first = ProducerIf(product->input(0), "Gather") != nullptr;
      rows = product->input(first ? 0 : 1);
      const Node* column = ProducerIf(product->input(first ? 1 : 0), "Unsqueeze");
      if (column == nullptr) return false;
      bag_.weights = column->input(0);
      const Node* spread = ProducerIf(bag_.weights, "Expand");
      if (spread != nullptr && ScalarOf(spread->input(0)) == 1.0) bag_.weights = nullptr;
      if (bag_.weights != nullptr && bag_.mean) return false;
    }
    const Node* gather = ProducerIf(rows, "Gather");
    if (gather == nullptr || gather->Int("axis", 0) != 0) return false;
    bag_.table = gather->input(0);
    bag_.ids = gather->input(1);
    return true;
  }

  bool Fits() const {
    const bool types =
        bag_.table->is_constant() && bag_.table->dtype == tensor::DType::kF32 &&
        bag_.bounds->dtype == tensor::DType::kI64 &&
        (bag_.ids->dtype == tensor::DType::kI64 || bag_.ids->dtype == tensor::DType::kI32) &&
        (bag_.weights == nullptr || bag_.weights->dtype == tensor::DType::kF32);
    return types && RankOf(bag_.table) == 2 && RankOf(bag_.ids) == 1 && RankOf(bag_.bounds) == 1 &&
           (bag_.weights == nullptr || SameShape(bag_.weights, bag_.ids));
  }

  Node& loop_;
  const Body body_;
  const Value* iteration_ = nullptr;
  Dim count_;
  BagLoop bag_;
};

// What the bounds are: the offsets of the bags with the number of ids behind them, or closed
// offsets as they come.
struct Bounds {
  Value* offsets = nullptr;
  bool closed = true;
  std::optional<Dim> stride;  // the bags' length, where each begins so far behind the one before
};

Bounds BoundsOf(const BagLoop& bag) {
  const Node* join = ProducerIf(bag.bounds, "Concat");
  const Dim ids = (*bag.ids->shape)[0];
  if (join == nullptr || join->inputs.size() != 2) return {bag.bounds, true, {}};
  const Value* end = join->input(1);
  if (!end->elements.has_value() || end->elements->size() != 1 || !((*end->elements)[0] == ids))
    return {bag.bounds, true, {}};
  Bounds bounds{join->input(0), false, {}};
  const Node* range = ProducerIf(bounds.offsets, "Range");
  if (range == nullptr || ScalarOf(range->input(0)) != 0.0) return bounds;
  const Value* limit = range->input(1);
  const Value* step = range->input(2);
  if (!IsOneNumber(limit) || !((*limit->elements)[0] == ids)) return bounds;
  if (IsOneNumber(step)) bounds.stride = (*step->elements)[0];
  if (const std::optional<double> constant = ScalarOf(step))
    bounds.stride = Dim(static_cast<int64_t>(*constant));
  return bounds;
}

// The matrix [bags, length] that `ids` are the elements of; null when there is none.
Value* MatrixOf(const Value* ids, Dim length) {
  for (int steps = 0; steps < 4; ++steps) {
    const Node* view = ids->producer;
    if (view == nullptr || !(view->Is("Reshape") || view->Is("Flatten"))) return nullptr;
    Value* const source = view->input(0);
    if (RankOf(source) == 2 && source->shape->back() == length) return source;
    ids = source;
  }
  return nullptr;
}

Value* Int(Graph& graph, int64_t value) {
  tensor::Tensor tensor{tensor::DType::kI64, tensor::Shape({1}), tensor::Buffer::Allocate(8)};
  *tensor.mutable_view().as<int64_t>() = value;
  return graph.AddConstant("axis", std::move(tensor));
}

base::Result<Node*> Replace(Graph& graph, Node& loop, const BagLoop& bag, Dim count) {
  const Bounds bounds = BoundsOf(bag);
  if (bag.end != nullptr && (bounds.closed || !((*bag.end->elements)[0] == (*bag.ids->shape)[0])))
    return static_cast<Node*>(nullptr);
  Value* const table = graph.AddConstant(bag.table->name, bag.table->constant);
  Value* const matrix = bounds.stride.has_value() && bag.weights == nullptr
                            ? MatrixOf(bag.ids, *bounds.stride)
                            : nullptr;
  if (matrix != nullptr && (*matrix->shape)[0] == count) {
    Node* rows = graph.AddNode(RequireOp("Gather"), kOpsetMax, {table, matrix}, 1, &loop);
    rows->name = loop.name;
    rows->Set("axis", int64_t{0});
    TRY(InferNode(graph, *rows));
    Node* bags = graph.AddNode(RequireOp(bag.mean ? "ReduceMean" : "ReduceSum"), kOpsetMax,
                               {rows->output(), Int(graph, 1)}, 1, &loop);
    bags->Set("keepdims", int64_t{0});
    return bags;
  }
  const Dim offsets = (*bounds.offsets->shape)[0];
  const Dim bags_told = bounds.closed ? graph.symbols().Sub(offsets, Dim(1)) : offsets;
  if (!(bags_told == count)) return static_cast<Node*>(nullptr);
  std::vector<Value*> inputs = {table, bag.ids, bounds.offsets};
  if (bag.weights != nullptr) inputs.push_back(bag.weights);
  Node* node = graph.AddNode(RequireOp("EmbeddingBag"), kOpsetMax, std::move(inputs), 1, &loop);
  node->Set("closed", int64_t{bounds.closed ? 1 : 0});
  node->Set("mean", int64_t{bag.mean ? 1 : 0});
  return node;
}

}  // namespace

base::Result<int64_t> RecognizeBagLoop(PassContext& context) {
  Graph& graph = context.graph;
  int64_t count = 0;
  for (Node* node : graph.Nodes()) {
    if (!node->Is("Loop") || node->FindSubgraph("body") == nullptr) continue;
    Matcher matcher(*node);
    const std::optional<BagLoop> bag = matcher.Run();
    if (!bag.has_value()) continue;
    Value* const was = node->outputs.back();
    Node* made = TRY(Replace(graph, *node, *bag, matcher.count()));
    if (made == nullptr || was == nullptr) continue;
    made->name = node->name;
    TRY(InferNode(graph, *made));
    Value* result = made->output();
    // torch.export's rows keep an axis of one element.
    if (RankOf(was) == 3) {
      Node* view =
          graph.AddNode(RequireOp("Unsqueeze"), kOpsetMax, {result, Int(graph, 1)}, 1, node);
      TRY(InferNode(graph, *view));
      result = view->output();
    }
    if (RankOf(result) != RankOf(was)) continue;
    graph.ReplaceUses(was, result);
    graph.Erase(node);
    ++count;
  }
  if (count == 0) return count;
  // What followed from shapes that only the loop could tell is known now.
  for (Node* node = graph.first(); node != nullptr; node = node->next) {
    for (Value* output : node->outputs) {
      if (output == nullptr) continue;
      output->shape.reset();
      output->elements.reset();
    }
  }
  TRY(InferGraph(graph));
  return count;
}

}  // namespace sluice::graph
