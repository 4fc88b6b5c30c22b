// Embedding look-ups of a model become one op: rows of tables, sums and means of bags of rows, with
// weights, and look-ups that are only added up. What the ids come from moves to before the first.
#include <algorithm>
#include <map>
#include <set>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// Plain rows alone are joined from this many tables on: below, there is nothing to gain.
constexpr size_t kRowTablesMin = 4;
// Nodes that may stand between the model's inputs and all ids.
constexpr size_t kAncestorsMax = 4096;

enum Mode : int64_t { kRows = 0, kSum = 1, kMean = 2 };

struct LookUp {
  Node* root = nullptr;  // what made the result: the gather or the reduction
  Value* table = nullptr;
  Value* ids = nullptr;
  Value* weights = nullptr;
  Mode mode = kRows;
  bool keeps_axis = false;
  Value* offsets = nullptr;
  bool closed = false;
};

// A gather of whole rows from a constant table.
Node* RowGather(const Value* value) {
  Node* gather = ProducerIf(value, "Gather");
  if (gather == nullptr || gather->Int("axis", 0) != 0) return nullptr;
  const Value* table = gather->input(0);
  const Value* ids = gather->input(1);
  const bool fits = table->is_constant() && table->dtype == tensor::DType::kF32 &&
                    RankOf(table) == 2 && RankOf(ids) >= 1 && !ids->is_constant() &&
                    (ids->dtype == tensor::DType::kI64 || ids->dtype == tensor::DType::kI32);
  return fits ? gather : nullptr;
}

// The one axis that a reduction goes over, counted from the front; -1 when it is not that simple.
int64_t ReducedAxis(const Node& node) {
  const int rank = RankOf(node.input(0));
  std::optional<int64_t> axis;
  if (const std::span<const int64_t> axes = node.Ints("axes"); axes.size() == 1) axis = axes[0];
  if (node.input(1) != nullptr) {
    const std::optional<double> operand = ScalarOf(node.input(1));
    if (operand.has_value()) axis = static_cast<int64_t>(*operand);
  }
  if (!axis.has_value() || rank < 0) return -1;
  return *axis < 0 ? *axis + rank : *axis;
}

// Whether `weights` has one element an id: [ids..., 1].
bool IsPerId(const Value* weights, const Value* ids) {
  if (RankOf(weights) != RankOf(ids) + 1 || weights->dtype != tensor::DType::kF32) return false;
  if (!weights->shape->back().Is(1)) return false;
  return std::equal(ids->shape->begin(), ids->shape->end(), weights->shape->begin());
}

std::optional<LookUp> AsBag(const Graph& graph, Node& node) {
  if (node.Is("EmbeddingBag")) {
    return LookUp{&node,
                  node.input(0),
                  node.input(1),
                  node.input(3),
                  node.Int("mean", 0) != 0 ? kMean : kSum,
                  false,
                  node.input(2),
                  node.Int("closed", 0) != 0};
  }
  const bool mean = node.Is("ReduceMean");
  if (!mean && !node.Is("ReduceSum")) return std::nullopt;
  Value* rows = node.input(0);
  const int rank = RankOf(rows);
  if (rank < 3 || ReducedAxis(node) != rank - 2 || OnlyReader(graph, rows) != &node)
    return std::nullopt;
  LookUp bag;
  bag.root = &node;
  bag.mode = mean ? kMean : kSum;
  bag.keeps_axis = node.Int("keepdims", 1) != 0;
  const Node* product = ProducerIf(rows, "Mul");
  for (size_t i = 0; product != nullptr && !mean && i < 2; ++i) {
    Value* const factor = product->input(1 - i);
    const Node* gather = RowGather(product->input(i));
    if (gather == nullptr || OnlyReader(graph, product->input(i)) != product ||
        !IsPerId(factor, gather->input(1)))
      continue;
    bag.weights = factor;
    rows = product->input(i);
    break;
  }
  const Node* gather = RowGather(rows);
  if (gather == nullptr) return std::nullopt;
  bag.table = gather->input(0);
  bag.ids = gather->input(1);
  return bag;
}

// Integers and what masks are made of: cheap and, as a rule, near the inputs.
bool MayMove(const Node& node) {
  if (!node.subgraphs.empty() || (node.op->traits & kNotDeterministic) != 0) return false;
  const Value* output = node.output();
  if (output == nullptr || node.outputs.size() > 64) return false;
  if (output->dtype != tensor::DType::kF32) return true;
  return (node.op->traits & (kElementwise | kView)) != 0 || node.Is("Unsqueeze") ||
         node.Is("Reshape") || node.Is("Cast") || node.Is("Squeeze");
}

class LookupFuser {
 public:
  explicit LookupFuser(Graph& graph) : graph_(graph) {
    int64_t order = 0;
    for (const Node* node : graph.Nodes()) order_[node] = order++;
  }

  base::Result<int64_t> Run();

 private:
  // The nodes that `values` are made by, or false when some cannot be moved to the front.
  bool Ancestors(const std::vector<Value*>& values, std::set<Node*>& into) const;
  // Look-ups that are added up and read by nobody else become one output.
  base::Status JoinSums(std::vector<std::vector<LookUp>>& outputs);
  void Leaves(Node& sum, std::vector<Value*>& leaves, std::vector<Node*>& inner) const;
  base::Status Emit(const std::vector<std::vector<LookUp>>& outputs, Node* before);

  Graph& graph_;
  std::map<const Node*, int64_t> order_;
};

bool LookupFuser::Ancestors(const std::vector<Value*>& values, std::set<Node*>& into) const {
  std::vector<Node*> work;
  std::set<Node*> found;
  const auto add = [&](const Value* value) {
    if (value == nullptr || value->producer == nullptr) return;
    if (into.count(value->producer) == 0 && found.insert(value->producer).second)
      work.push_back(value->producer);
  };
  for (const Value* value : values) add(value);
  while (!work.empty()) {
    Node* node = work.back();
    work.pop_back();
    if (!MayMove(*node) || RowGather(node->output()) != nullptr || found.size() > kAncestorsMax)
      return false;
    for (const Value* value : node->inputs) add(value);
  }
  into.insert(found.begin(), found.end());
  return true;
}

// The operands of a tree of additions of one shape, from left to right.
void LookupFuser::Leaves(Node& sum, std::vector<Value*>& leaves, std::vector<Node*>& inner) const {
  inner.push_back(&sum);
  for (Value* operand : sum.inputs) {
    Node* below = ProducerIf(operand, "Add");
    const bool part = below != nullptr && OnlyReader(graph_, operand) == &sum &&
                      SameShape(operand, sum.output()) && inner.size() < 256;
    if (part) {
      Leaves(*below, leaves, inner);
    } else {
      leaves.push_back(operand);
    }
  }
}

base::Status LookupFuser::JoinSums(std::vector<std::vector<LookUp>>& outputs) {
  std::map<const Value*, size_t> by_result;
  for (size_t i = 0; i < outputs.size(); ++i) by_result[outputs[i][0].root->output()] = i;
  std::set<const Node*> seen;
  const std::vector<Node*> nodes = graph_.Nodes();
  for (auto at = nodes.rbegin(); at != nodes.rend(); ++at) {
    Node& sum = **at;
    if (!sum.Is("Add") || seen.count(&sum) > 0 || sum.output()->dtype != tensor::DType::kF32)
      continue;
    std::vector<Value*> leaves;
    std::vector<Node*> inner;
    Leaves(sum, leaves, inner);
    seen.insert(inner.begin(), inner.end());
    std::vector<Value*> others;
    std::vector<size_t> joined;
    for (Value* leaf : leaves) {
      const auto found = by_result.find(leaf);
      const bool joins = found != by_result.end() && leaf->uses.size() == 1 &&
                         !graph_.IsOutput(leaf) && SameShape(leaf, sum.output()) &&
                         !outputs[found->second][0].keeps_axis;
      if (joins) {
        joined.push_back(found->second);
      } else {
        others.push_back(leaf);
      }
    }
    if (joined.size() < 2) continue;
    // The first look-up's result stands for all of theirs; the rest is added to it.
    std::vector<LookUp>& first = outputs[joined[0]];
    for (size_t i = 1; i < joined.size(); ++i) {
      std::vector<LookUp>& other = outputs[joined[i]];
      first.insert(first.end(), other.begin(), other.end());
      other.clear();
    }
    Value* total = first[0].root->output();
    for (Value* other : others) {
      Node* add = graph_.AddNode(sum.op, sum.opset, {total, other}, 1, &sum);
      add->name = sum.name;
      TRY(InferNode(graph_, *add));
      total = add->output();
    }
    graph_.ReplaceUses(sum.output(), total);
    for (Node* node : inner) graph_.Erase(node);
  }
  outputs.erase(std::remove_if(outputs.begin(), outputs.end(),
                               [](const std::vector<LookUp>& output) { return output.empty(); }),
                outputs.end());
  return base::Ok();
}

base::Status LookupFuser::Emit(const std::vector<std::vector<LookUp>>& outputs, Node* before) {
  std::vector<Value*> inputs;
  std::vector<int64_t> modes, closed, targets;
  for (size_t i = 0; i < outputs.size(); ++i) {
    for (const LookUp& lookup : outputs[i]) {
      inputs.insert(inputs.end(), {lookup.table, lookup.ids, lookup.offsets, lookup.weights});
      modes.push_back(lookup.mode);
      closed.push_back(lookup.closed ? 1 : 0);
      targets.push_back(static_cast<int64_t>(i));
    }
  }
  Node* fused = graph_.AddNode(RequireOp("FusedLookups"), kOpsetMax, std::move(inputs),
                               outputs.size(), before);
  fused->name = outputs[0][0].root->name;
  fused->Set("modes", std::move(modes));
  fused->Set("closed", std::move(closed));
  fused->Set("outputs", std::move(targets));
  TRY(InferNode(graph_, *fused));
  for (size_t i = 0; i < outputs.size(); ++i) {
    Value* result = fused->output(i);
    Value* const was = outputs[i][0].root->output();
    if (outputs[i][0].keeps_axis) {
      tensor::Tensor axis{tensor::DType::kI64, tensor::Shape({1}), tensor::Buffer::Allocate(8)};
      *axis.mutable_view().as<int64_t>() = RankOf(was) - 2;
      Node* view = graph_.AddNode(RequireOp("Unsqueeze"), kOpsetMax,
                                  {result, graph_.AddConstant("axis", std::move(axis))}, 1, before);
      TRY(InferNode(graph_, *view));
      result = view->output();
    }
    graph_.ReplaceUses(was, result);
  }
  for (const std::vector<LookUp>& output : outputs) {
    for (const LookUp& lookup : output) graph_.Erase(lookup.root);
  }
  return base::Ok();
}

base::Result<int64_t> LookupFuser::Run() {
  std::vector<LookUp> found;
  std::set<const Value*> in_bags;
  for (Node* node : graph_.Nodes()) {
    if (const std::optional<LookUp> bag = AsBag(graph_, *node)) {
      found.push_back(*bag);
      in_bags.insert(node->input(0));
      if (const Node* product = ProducerIf(node->input(0), "Mul")) {
        in_bags.insert(product->input(0));
        in_bags.insert(product->input(1));
      }
    }
  }
  const size_t bags = found.size();
  for (Node* node : graph_.Nodes()) {
    if (RowGather(node->output()) != node || in_bags.count(node->output()) > 0) continue;
    LookUp rows;
    rows.root = node;
    rows.table = node->input(0);
    rows.ids = node->input(1);
    found.push_back(rows);
  }
  if (bags == 0 && found.size() < kRowTablesMin) return int64_t{0};
  std::sort(found.begin(), found.end(), [this](const LookUp& a, const LookUp& b) {
    return order_.at(a.root) < order_.at(b.root);
  });
  std::vector<std::vector<LookUp>> early;
  std::vector<LookUp> late;
  std::set<Node*> ancestors;
  for (const LookUp& lookup : found) {
    if (Ancestors({lookup.ids, lookup.weights, lookup.offsets}, ancestors)) {
      early.push_back({lookup});
    } else if (lookup.mode != kRows) {
      late.push_back(lookup);
    }
  }
  int64_t count = 0;
  for (const LookUp& lookup : late) {
    TRY(Emit({{lookup}}, lookup.root));
    ++count;
  }
  const bool joins = std::any_of(early.begin(), early.end(), [](const std::vector<LookUp>& output) {
    return output[0].mode != kRows;
  });
  if (early.empty() || (!joins && early.size() < kRowTablesMin)) return count;
  Node* const first = early[0][0].root;
  std::vector<Node*> moved(ancestors.begin(), ancestors.end());
  std::sort(moved.begin(), moved.end(),
            [this](const Node* a, const Node* b) { return order_.at(a) < order_.at(b); });
  for (Node* node : moved) {
    if (order_.at(node) > order_.at(first)) graph_.MoveBefore(node, first);
  }
  count += static_cast<int64_t>(early.size());
  TRY(JoinSums(early));
  // A look-up that is first in the graph may have become part of a later one's sum.
  TRY(Emit(early, first));
  return count;
}

}  // namespace

base::Result<int64_t> FuseLookups(PassContext& context) {
  return LookupFuser(context.graph).Run();
}

}  // namespace sluice::graph
