// Rotary position embeddings: x cos + rotate(x) sin, written with halves or neighbouring pairs, cut
// by slices, splits or gathers; the two halves of the result computed apart; and ONNX's own
// RotaryEmbedding. All become FusedRotary.
#include <array>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

using tensor::DType;

// Elements begin, begin + step, … of the last axis of `of`, half of it.
struct Part {
  Value* of = nullptr;
  int64_t begin = 0;
  int64_t step = 1;
};

std::optional<int64_t> OnlyInt(const Value* value) {
  const std::optional<double> scalar = ScalarOf(value);
  if (!scalar.has_value()) return std::nullopt;
  return static_cast<int64_t>(*scalar);
}

int64_t NormalAxisOf(int64_t axis, const Value* value) {
  return axis < 0 ? axis + RankOf(value) : axis;
}

std::optional<int64_t> ExtentAt(const Value* value, int64_t axis) {
  if (value == nullptr || !value->shape.has_value() || axis < 0 || axis >= RankOf(value)) {
    return std::nullopt;
  }
  const Dim dim = (*value->shape)[static_cast<size_t>(axis)];
  return dim.is_constant() ? std::optional<int64_t>(dim.constant()) : std::nullopt;
}

// What a slice or split with one constant axis takes: elements begin, begin + step, … of `of`.
struct Cut {
  Value* of = nullptr;
  int64_t axis = 0;
  int64_t begin = 0;
  int64_t step = 1;
};

std::optional<Cut> CutOf(const Value* value) {
  if (const Node* slice = ProducerIf(value, "Slice")) {
    if (slice->opset < 10) return std::nullopt;
    const std::optional<int64_t> start = OnlyInt(slice->input(1));
    const std::optional<int64_t> axis =
        slice->input(3) == nullptr ? std::nullopt : OnlyInt(slice->input(3));
    const std::optional<int64_t> step =
        slice->input(4) == nullptr ? std::optional<int64_t>(1) : OnlyInt(slice->input(4));
    if (!start.has_value() || !axis.has_value() || !step.has_value()) return std::nullopt;
    const int64_t at = NormalAxisOf(*axis, slice->input(0));
    const std::optional<int64_t> extent = ExtentAt(slice->input(0), at);
    if (!extent.has_value()) return std::nullopt;
    return Cut{slice->inputs[0], at, *start < 0 ? *start + *extent : *start, *step};
  }
  if (const Node* split = ProducerIf(value, "Split")) {
    Cut cut{split->inputs[0], NormalAxisOf(split->Int("axis", 0), split->input(0)), 0, 1};
    for (const Value* output : split->outputs) {
      if (output == value) return cut;
      const std::optional<int64_t> extent = ExtentAt(output, cut.axis);
      if (!extent.has_value()) return std::nullopt;
      cut.begin += *extent;
    }
  }
  return std::nullopt;
}

// Where `value` is `x` with its last axis as two: the value x and the extents.
struct Folded {
  Value* x = nullptr;
  int64_t rows = 0, columns = 0;
};
std::optional<Folded> FoldedOf(const Value* value) {
  const Node* view = ProducerIf(value, "Reshape");
  if (view == nullptr || RankOf(view->input(0)) + 1 != RankOf(value)) return std::nullopt;
  const int rank = RankOf(value);
  for (int axis = 0; axis + 2 < rank; ++axis) {
    const auto at = static_cast<size_t>(axis);
    if (!((*value->shape)[at] == (*view->input(0)->shape)[at])) return std::nullopt;
  }
  const std::optional<int64_t> rows = ExtentAt(value, rank - 2),
                               columns = ExtentAt(value, rank - 1);
  if (!rows.has_value() || !columns.has_value()) return std::nullopt;
  return Folded{view->inputs[0], *rows, *columns};
}

std::optional<Part> PartOf(const Value* value) {
  const std::optional<int64_t> count = LastExtent(value);
  if (!count.has_value()) return std::nullopt;
  std::optional<Cut> cut = CutOf(value);
  if (cut.has_value()) {
    if (cut->axis != RankOf(cut->of) - 1 || LastExtent(cut->of) != *count * 2) return std::nullopt;
    if (cut->step != 1 && cut->step != 2) return std::nullopt;
    return Part{cut->of, cut->begin, cut->step};
  }
  // One row or column of the last axis as two.
  if (const Node* gather = ProducerIf(value, "Gather")) {
    const std::optional<int64_t> index = OnlyInt(gather->input(1));
    if (!index.has_value() || RankOf(gather->input(1)) != 0) return std::nullopt;
    const int64_t axis = NormalAxisOf(gather->Int("axis", 0), gather->input(0));
    const std::optional<int64_t> extent = ExtentAt(gather->input(0), axis);
    if (!extent.has_value()) return std::nullopt;
    cut = Cut{gather->inputs[0], axis, *index < 0 ? *index + *extent : *index, 1};
  } else {
    const Node* view = ProducerIf(value, "Squeeze");
    if (view == nullptr) view = ProducerIf(value, "Reshape");
    if (view == nullptr || RankOf(view->input(0)) != RankOf(value) + 1) return std::nullopt;
    cut = CutOf(view->input(0));
    if (!cut.has_value() || cut->step != 1 || ExtentAt(view->input(0), cut->axis) != 1) {
      return std::nullopt;
    }
  }
  const std::optional<Folded> folded = FoldedOf(cut->of);
  if (!folded.has_value()) return std::nullopt;
  const int rank = RankOf(cut->of);
  if (cut->axis == rank - 1 && folded->columns == 2 && folded->rows == *count) {
    return Part{folded->x, cut->begin, 2};
  }
  if (cut->axis == rank - 2 && folded->rows == 2 && folded->columns == *count) {
    return Part{folded->x, cut->begin * *count, 1};
  }
  return std::nullopt;
}

// Two values side by side in the last axis of `value`, or in turns.
struct Joined {
  Value* first = nullptr;
  Value* second = nullptr;
  bool interleaved = false;
};

// x where `value` is it with an axis of one element more at `axis`.
Value* WithoutAxis(const Value* value, int64_t axis) {
  const Node* view = ProducerIf(value, "Unsqueeze");
  if (view == nullptr) view = ProducerIf(value, "Reshape");
  if (view == nullptr || RankOf(view->input(0)) + 1 != RankOf(value)) return nullptr;
  SymShape shape = *view->input(0)->shape;
  shape.insert(shape.begin() + axis, Dim(1));
  return shape == *value->shape ? view->inputs[0] : nullptr;
}

std::optional<Joined> JoinedOf(const Value* value) {
  const int rank = RankOf(value);
  if (rank < 1) return std::nullopt;
  if (const Node* concat = ProducerIf(value, "Concat")) {
    if (concat->inputs.size() != 2 || NormalAxisOf(concat->Int("axis", 0), value) != rank - 1) {
      return std::nullopt;
    }
    return Joined{concat->inputs[0], concat->inputs[1], false};
  }
  const Node* flat = ProducerIf(value, "Reshape");
  const Node* concat = flat == nullptr ? nullptr : ProducerIf(flat->input(0), "Concat");
  if (concat == nullptr || concat->inputs.size() != 2 || RankOf(concat->output()) != rank + 1) {
    return std::nullopt;
  }
  for (int axis = 0; axis + 1 < rank; ++axis) {
    const auto at = static_cast<size_t>(axis);
    if (!((*value->shape)[at] == (*concat->output()->shape)[at])) return std::nullopt;
  }
  const int64_t axis = NormalAxisOf(concat->Int("axis", 0), concat->output());
  if (axis != rank && axis != rank - 1) return std::nullopt;
  Joined joined{WithoutAxis(concat->input(0), axis), WithoutAxis(concat->input(1), axis),
                axis == rank};
  if (joined.first == nullptr || joined.second == nullptr) return std::nullopt;
  return joined;
}

Value* Negated(const Value* value) {
  if (const Node* node = ProducerIf(value, "Neg")) return node->inputs[0];
  const std::optional<Scaled> scaled = AsScaled(value);
  return scaled.has_value() && scaled->factor == -1 ? scaled->x : nullptr;
}

struct Match {
  Value* x = nullptr;
  Value* cos = nullptr;
  Value* sin = nullptr;
  bool interleaved = false;
};

// Whether both are halves of one value, the first and the second of each pair.
bool AreHalves(const Value* first, const Value* second, bool interleaved, Value*& x) {
  const std::optional<Part> a = PartOf(first), b = PartOf(second);
  if (!a.has_value() || !b.has_value() || a->of != b->of || a->step != b->step) return false;
  x = a->of;
  const int64_t step = interleaved ? 2 : 1;
  const int64_t apart = interleaved ? 1 : *LastExtent(x) / 2;
  return a->step == step && a->begin == 0 && b->begin == apart && *LastExtent(x) % 2 == 0;
}

// Whether a table of `width` broadcasts to the rows of x.
bool IsTable(const Value* table, const Value* x, int64_t width) {
  const int rank = RankOf(x), own = RankOf(table);
  if (own < 1 || own > rank || table->dtype != DType::kF32 || LastExtent(table) != width) {
    return false;
  }
  for (int axis = 0; axis + 1 < own; ++axis) {
    const Dim dim = (*table->shape)[static_cast<size_t>(axis)];
    if (!dim.Is(1) && !(dim == (*x->shape)[static_cast<size_t>(rank - own + axis)])) return false;
  }
  return true;
}

bool Fits(const Match& match, const Value* y, int64_t table_width) {
  return match.x->dtype == DType::kF32 && RankOf(match.x) >= 2 && RankOf(match.x) <= 4 &&
         SameShape(match.x, y) && IsTable(match.cos, match.x, table_width) &&
         SameShape(match.cos, match.sin);
}

// x * cos + rotate(x) * sin.
std::optional<Match> MatchSum(const Node& add) {
  for (size_t i = 0; i < 2; ++i) {
    const Node* plain = ProducerIf(add.input(i), "Mul");
    const Node* turned = ProducerIf(add.input(1 - i), "Mul");
    if (plain == nullptr || turned == nullptr) continue;
    for (size_t j = 0; j < 2; ++j) {
      const std::optional<Joined> joined = JoinedOf(turned->input(j));
      if (!joined.has_value()) continue;
      const Value* second = Negated(joined->first);
      Match match;
      match.interleaved = joined->interleaved;
      if (second == nullptr || !AreHalves(joined->second, second, match.interleaved, match.x)) {
        continue;
      }
      match.sin = turned->inputs[1 - j];
      match.cos = OtherOperand(*plain, match.x);
      if (match.cos != nullptr && Fits(match, add.output(), *LastExtent(match.x))) return match;
    }
  }
  return std::nullopt;
}

// The operand of a product that it has in common with none of the halves: the table.
Value* TableOf(const Value* product, const Value* half) {
  const Node* node = ProducerIf(product, "Mul");
  return node == nullptr ? nullptr : OtherOperand(*node, half);
}

// [first cos - second sin, second cos + first sin].
std::optional<Match> MatchHalves(const Value* y) {
  const std::optional<Joined> joined = JoinedOf(y);
  if (!joined.has_value()) return std::nullopt;
  const Node* difference = ProducerIf(joined->first, "Sub");
  const Node* sum = ProducerIf(joined->second, "Add");
  if (difference == nullptr || sum == nullptr) return std::nullopt;
  const Node* left = ProducerIf(difference->input(0), "Mul");
  const Node* right = ProducerIf(difference->input(1), "Mul");
  if (left == nullptr || right == nullptr) return std::nullopt;
  for (size_t i = 0; i < 4; ++i) {
    Match match;
    match.interleaved = joined->interleaved;
    const Value* first = left->input(i / 2);
    const Value* second = right->input(i % 2);
    if (!AreHalves(first, second, match.interleaved, match.x)) continue;
    match.cos = left->inputs[1 - i / 2];
    match.sin = right->inputs[1 - i % 2];
    for (size_t j = 0; j < 2; ++j) {
      const bool same = TableOf(sum->input(j), second) == match.cos &&
                        TableOf(sum->input(1 - j), first) == match.sin;
      if (same && Fits(match, y, *LastExtent(match.x) / 2)) return match;
    }
  }
  return std::nullopt;
}

base::Status Rewrite(Graph& graph, const Node& node, const Match& match, Node* before) {
  Node* fused = graph.AddNode(RequireOp("FusedRotary"), kOpsetMax, {match.x, match.cos, match.sin},
                              1, before);
  fused->name = node.name;
  fused->Set("interleaved", int64_t{match.interleaved});
  TRY(InferNode(graph, *fused));
  graph.ReplaceUses(node.output(), fused->output());
  return base::Ok();
}

Value* Ints(Graph& graph, const std::vector<int64_t>& values) {
  const auto count = static_cast<int64_t>(values.size());
  tensor::Tensor tensor{DType::kI64, tensor::Shape({count}), tensor::Buffer::Allocate(count * 8)};
  std::copy(values.begin(), values.end(), tensor.mutable_view().as<int64_t>());
  return graph.AddConstant("ints", std::move(tensor));
}

// RotaryEmbedding(x, cos, sin, position_ids?). False: its forms are not known.
base::Result<bool> RewriteOp(Graph& graph, Node* node) {
  const Value* x = node->input(0);
  const int rank = RankOf(x);
  const int table_rank = node->input(3) != nullptr ? 2 : 3;
  const int64_t heads = node->Int("num_heads", 0);
  const std::optional<int64_t> half = LastExtent(node->input(1));
  if (x->dtype != DType::kF32 || (rank != 4 && !(rank == 3 && heads > 0)) || !half.has_value() ||
      RankOf(node->input(1)) != table_rank || RankOf(node->input(2)) != table_rank ||
      (node->input(3) != nullptr && RankOf(node->input(3)) != 2)) {
    return false;
  }
  const std::optional<int64_t> last = LastExtent(x);
  if (!last.has_value() || (rank == 3 && *last % heads != 0)) return false;
  const int64_t width = rank == 3 ? *last / heads : *last;
  int64_t turned = node->Int("rotary_embedding_dim", 0);
  if (turned == 0) turned = width;
  if (turned != 2 * *half || turned > width || turned < 2) return false;
  const auto add = [&](std::string_view op, std::vector<Value*> inputs) -> base::Result<Value*> {
    Node* made = graph.AddNode(RequireOp(op), kOpsetMax, std::move(inputs), 1, node);
    made->name = node->name;
    TRY(InferNode(graph, *made));
    return made->output();
  };
  std::array<Value*, 2> tables{};
  for (size_t i = 0; i < 2; ++i) {
    tables[i] = node->inputs[1 + i];
    if (node->input(3) != nullptr) tables[i] = TRY(add("Gather", {tables[i], node->inputs[3]}));
    tables[i] = TRY(add("Unsqueeze", {tables[i], Ints(graph, {rank == 4 ? 1 : 2})}));
  }
  Value* rows = node->inputs[0];
  if (rank == 3) rows = TRY(add("Reshape", {rows, Ints(graph, {0, 0, heads, width})}));
  Value* turns = TRY(add("FusedRotary", {rows, tables[0], tables[1]}));
  turns->producer->Set("interleaved", node->Int("interleaved", 0));
  turns->producer->Set("turned", turned);
  if (rank == 3) turns = TRY(add("Reshape", {turns, Ints(graph, {0, 0, heads * width})}));
  graph.ReplaceUses(node->output(), turns);
  return true;
}

}  // namespace

base::Result<int64_t> RecognizeRotary(PassContext& context) {
  Graph& graph = context.graph;
  int64_t found = 0;
  for (Node* node : graph.Nodes()) {
    if (node->erased) continue;
    if (node->Is("RotaryEmbedding")) {
      found += TRY(RewriteOp(graph, node)) ? 1 : 0;
      continue;
    }
    std::optional<Match> match;
    if (node->Is("Add")) match = MatchSum(*node);
    if (node->Is("Concat") || node->Is("Reshape")) match = MatchHalves(node->output());
    if (!match.has_value()) continue;
    TRY(Rewrite(graph, *node, *match, node));
    ++found;
  }
  graph.RemoveDead();
  return found;
}

}  // namespace sluice::graph
