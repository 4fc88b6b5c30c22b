#include "graph/batchability.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "graph/op.h"
#include "graph/passes/match.h"

namespace sluice::graph {
namespace {

// What one value has to do with the batch.
struct State {
  enum Kind {
    kFree,  // the same whatever is in the batch
    kRows,  // its axis `axis` is the batch, batch-major: row b depends on row b of the inputs alone
    kCount,  // its elements tell the number of rows; harmless as long as only shapes come of it
  };
  Kind kind = kFree;
  int axis = 0;
  Dim before{1};  // kRows: the axis is [before, batch, …] merged; nn.MultiheadAttention merges
                  // [length, batch]
};

// Thrown around as a plain value: why a node mixes rows.
using Mixed = std::string;
struct Outcome {
  std::vector<State> outputs;
  Mixed mixed;  // empty: fine
};

class Prover {
 public:
  explicit Prover(Graph& graph) : graph_(graph), states_(graph.value_id_limit()) {}

  Batchability Run();

 private:
  using Rule = Outcome (Prover::*)(const Node&);
  static const std::map<std::string_view, Rule>& Rules();

  State& StateOf(const Value* value) { return states_[static_cast<size_t>(value->id)]; }
  State StateAt(const Node& node, size_t i) {
    return node.input(i) == nullptr ? State() : StateOf(node.input(i));
  }
  static int Rank(const Value* value) { return static_cast<int>(value->shape->size()); }
  static Dim At(const Value* value, int axis) { return (*value->shape)[static_cast<size_t>(axis)]; }
  SymbolTable& symbols() { return graph_.symbols(); }

  bool DependsOnBatch(Dim dim);
  bool IsMultipleOfBatch(Dim dim) {
    return dim == batch_ || symbols().DivideExact(dim, batch_).has_value();
  }
  Outcome Follow(const Node& node);
  // Integers of an attribute or, in later opsets, of a constant operand.
  static std::optional<std::vector<int64_t>> Operand(const Node& node, const char* attribute,
                                                     size_t operand);
  std::optional<std::vector<int64_t>> Axes(const Node& node, size_t operand);
  static Outcome Same(const Node& node, State state) {
    return {std::vector<State>(node.outputs.size(), state), {}};
  }
  static Outcome Mix(std::string text) { return {{}, std::move(text)}; }
  // All inputs broadcast together from the right; the batch must be at one place in all that have
  // it.
  Outcome Aligned(const Node& node, const std::vector<const Value*>& inputs, int output_rank);

  Outcome Elementwise(const Node& node);
  Outcome Reshape(const Node& node);
  Outcome Transpose(const Node& node);
  Outcome MatMul(const Node& node);
  Outcome Gemm(const Node& node);
  Outcome Reduce(const Node& node);
  Outcome AlongAxis(const Node& node);
  Outcome FromAxis(const Node& node);
  Outcome Gather(const Node& node);
  Outcome GatherNd(const Node& node);
  Outcome GatherElements(const Node& node);
  Outcome Concat(const Node& node);
  Outcome KeepsExtent(const Node& node);
  Outcome Expand(const Node& node);
  Outcome Fill(const Node& node);
  Outcome FirstAxis(const Node& node);
  Outcome Quantize(const Node& node);
  Outcome LookUp(const Node& node);
  Outcome OneHot(const Node& node);
  Outcome Einsum(const Node& node);

  Graph& graph_;
  std::vector<State> states_;
  Dim batch_;
  Bindings others_;  // every symbol but the batch
};

bool Prover::DependsOnBatch(Dim dim) {
  return !dim.is_constant() && !symbols().Evaluate(dim, others_).ok();
}

std::optional<std::vector<int64_t>> Prover::Operand(const Node& node, const char* attribute,
                                                    size_t operand) {
  std::vector<int64_t> ints(node.Ints(attribute).begin(), node.Ints(attribute).end());
  if (const Value* value = node.input(operand)) {
    if (!value->is_constant() || value->dtype != tensor::DType::kI64) return std::nullopt;
    const auto span = value->constant->view().span<int64_t>();
    ints.assign(span.begin(), span.end());
  }
  return ints;
}

std::optional<std::vector<int64_t>> Prover::Axes(const Node& node, size_t operand) {
  std::optional<std::vector<int64_t>> axes = Operand(node, "axes", operand);
  if (!axes.has_value()) return std::nullopt;
  for (int64_t& axis : *axes) {
    if (axis < 0) axis += Rank(node.input(0));
  }
  return axes;
}

Outcome Prover::Aligned(const Node& node, const std::vector<const Value*>& inputs,
                        int output_rank) {
  std::optional<int> from_right;
  std::optional<Dim> extent;
  Dim before{1};
  for (const Value* value : inputs) {
    const State state = StateOf(value);
    if (state.kind == State::kCount) return Mix("it computes with the number of rows");
    if (state.kind != State::kRows) continue;
    const int position = Rank(value) - state.axis;
    if (from_right.has_value() && *from_right != position)
      return Mix("its operands have the batch on different axes");
    if (from_right.has_value() && !(state.before == before))
      return Mix("its operands have merged the batch differently");
    if (extent.has_value() && !(At(value, state.axis) == *extent))
      return Mix("its operands have different extents on the batch axis");
    extent = At(value, state.axis);
    from_right = position;
    before = state.before;
  }
  if (!from_right.has_value()) return Same(node, {});
  for (const Value* value : inputs) {
    if (StateOf(value).kind == State::kRows || Rank(value) < *from_right) continue;
    if (!At(value, Rank(value) - *from_right).Is(1))
      return Mix("an operand that is no batch has extent on the batch axis");
  }
  return Same(node, {State::kRows, output_rank - *from_right, before});
}

Outcome Prover::Elementwise(const Node& node) {
  std::vector<const Value*> inputs;
  for (const Value* value : node.inputs) {
    if (value != nullptr) inputs.push_back(value);
  }
  return Aligned(node, inputs, Rank(node.output()));
}

Outcome Prover::Reshape(const Node& node) {
  const Value* input = node.input(0);
  const Value* output = node.output();
  const State state = StateOf(input);
  if (state.kind != State::kRows) return Same(node, state);
  const Dim before = symbols().Mul(
      symbols().Product(std::span(*input->shape).first(static_cast<size_t>(state.axis))),
      state.before);
  for (int axis = 0; axis < Rank(output); ++axis) {
    const Dim outer = symbols().Product(std::span(*output->shape).first(static_cast<size_t>(axis)));
    const std::optional<Dim> inner = symbols().DivideExact(before, outer);
    if (!inner.has_value()) continue;
    if (symbols().DivideExact(At(output, axis), symbols().Mul(*inner, batch_)).has_value()) {
      return Same(node, {State::kRows, axis, *inner});
    }
  }
  return Mix("it merges the batch with another axis");
}

Outcome Prover::Transpose(const Node& node) {
  const State state = StateAt(node, 0);
  if (state.kind != State::kRows) return Same(node, state);
  const std::span<const int64_t> perm = node.Ints("perm");
  const int rank = Rank(node.input(0));
  if (perm.empty()) return Same(node, {State::kRows, rank - 1 - state.axis, state.before});
  for (int axis = 0; axis < rank; ++axis) {
    if (perm[static_cast<size_t>(axis)] == state.axis) {
      return Same(node, {State::kRows, axis, state.before});
    }
  }
  return Mix("its permutation loses the batch");
}

Outcome Prover::MatMul(const Node& node) {
  const Value* a = node.input(0);
  const Value* b = node.input(1);
  const State left = StateOf(a), right = StateOf(b);
  if (left.kind == State::kCount || right.kind == State::kCount)
    return Mix("it computes with the number of rows");
  const int output_rank = Rank(node.output());
  if (left.kind == State::kRows && left.axis == Rank(a) - 1)
    return Mix("it sums over the batch axis");
  if (right.kind == State::kRows && left.kind != State::kRows) {
    if (Rank(b) >= 2 && right.axis == Rank(b) - 1)
      return Same(node, {State::kRows, output_rank - 1, right.before});
    if (Rank(b) < 2 || right.axis == Rank(b) - 2) return Mix("it sums over the batch axis");
  }
  if (right.kind == State::kRows && right.axis >= Rank(b) - 2)
    return Mix("both operands carry the batch: rows meet");
  if (left.kind == State::kRows && left.axis == Rank(a) - 2) {
    if (right.kind == State::kRows) return Mix("both operands carry the batch: rows meet");
    return Same(node, {State::kRows, output_rank - (Rank(b) == 1 ? 1 : 2), left.before});
  }
  // A vector has no axes to broadcast: the other operand's keep their places.
  if (Rank(b) == 1) return Same(node, left);
  if (Rank(a) == 1) return Same(node, right);
  return Aligned(node, {a, b}, output_rank);
}

Outcome Prover::Gemm(const Node& node) {
  const State left = StateAt(node, 0), right = StateAt(node, 1), c = StateAt(node, 2);
  if (left.kind == State::kFree && right.kind == State::kFree && c.kind == State::kFree)
    return Same(node, {});
  const int row = node.Int("transA", 0) != 0 ? 1 : 0;
  if (left.kind != State::kRows || left.axis != row || right.kind != State::kFree)
    return Mix("it sums over the batch axis");
  if (c.kind == State::kRows && c.axis == 0 && Rank(node.input(2)) == 2 &&
      c.before == left.before) {
    return Same(node, {State::kRows, 0, left.before});
  }
  if (c.kind != State::kFree) return Mix("its bias carries the batch elsewhere");
  if (node.input(2) != nullptr && Rank(node.input(2)) == 2 && !At(node.input(2), 0).Is(1)) {
    return Mix("its bias has extent on the batch axis");
  }
  return Same(node, {State::kRows, 0, left.before});
}

Outcome Prover::Reduce(const Node& node) {
  const State state = StateAt(node, 0);
  if (state.kind != State::kRows) return Same(node, state);
  std::optional<std::vector<int64_t>> axes;
  if (node.Is("ArgMax") || node.Is("ArgMin")) {
    int64_t axis = node.Int("axis", 0);
    if (axis < 0) axis += Rank(node.input(0));
    axes = std::vector<int64_t>{axis};
  } else {
    axes = Axes(node, 1);
  }
  if (!axes.has_value()) return Mix("its axes are not constant");
  if (axes->empty()) {
    return node.Int("noop_with_empty_axes", 0) != 0 ? Same(node, state)
                                                    : Mix("it reduces every axis");
  }
  int axis = state.axis;
  const bool kept = node.Int("keepdims", 1) != 0;
  for (const int64_t reduced : *axes) {
    if (reduced == state.axis) return Mix("it reduces the batch axis");
    if (!kept && reduced < state.axis) --axis;
  }
  return Same(node, {State::kRows, axis});
}

// Ops that mix along the axis of their attribute and nowhere else.
Outcome Prover::AlongAxis(const Node& node) {
  const State state = StateAt(node, 0);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (StateAt(node, i).kind != State::kFree)
      return Mix("an operand beside the first depends on the batch");
  }
  if (state.kind != State::kRows) return Same(node, state);
  const bool flattening =
      (node.Is("Softmax") || node.Is("LogSoftmax") || node.Is("Hardmax")) && node.opset < 13;
  int64_t axis = node.Int("axis", flattening ? 1 : -1);
  if (node.Is("CumSum")) {
    const std::optional<double> operand = ScalarOf(node.input(1));
    if (!operand.has_value()) return Mix("its axis is not constant");
    axis = static_cast<int64_t>(*operand);
  }
  if (axis < 0) axis += Rank(node.input(0));
  if (flattening ? state.axis >= axis : state.axis == axis)
    return Mix("it works along the batch axis");
  return Same(node, state);
}

// Ops that mix the axes from their attribute to the last.
Outcome Prover::FromAxis(const Node& node) {
  const State state = StateAt(node, 0);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (StateAt(node, i).kind != State::kFree) return Mix("its scale carries the batch");
  }
  if (state.kind != State::kRows) return Same(node, state);
  int64_t axis = node.Int("axis", -1);
  if (axis < 0) axis += Rank(node.input(0));
  return state.axis < axis ? Same(node, state) : Mix("it normalises over the batch axis");
}

Outcome Prover::Gather(const Node& node) {
  const State data = StateAt(node, 0), indices = StateAt(node, 1);
  if (data.kind == State::kCount && indices.kind == State::kFree)
    return Same(node, {State::kCount, 0});
  if (data.kind == State::kCount || indices.kind == State::kCount)
    return Mix("it selects by the number of rows");
  int64_t axis = node.Int("axis", 0);
  if (axis < 0) axis += Rank(node.input(0));
  if (data.kind == State::kRows && indices.kind == State::kRows)
    return Mix("its table and its indices both carry the batch");
  if (indices.kind == State::kRows)
    return Same(node, {State::kRows, static_cast<int>(axis) + indices.axis});
  if (data.kind != State::kRows) return Same(node, {});
  if (data.axis == axis) return Mix("it selects along the batch axis");
  if (data.axis < axis) return Same(node, data);
  return Same(node, {State::kRows, data.axis - 1 + Rank(node.input(1))});
}

// Picks by the leading axes, the same ones whatever is in the batch behind them.
Outcome Prover::GatherNd(const Node& node) {
  const State data = StateAt(node, 0), indices = StateAt(node, 1);
  if (data.kind != State::kRows || indices.kind != State::kFree)
    return Mix("what it picks depends on the batch");
  const Dim depth = At(node.input(1), Rank(node.input(1)) - 1);
  if (node.Int("batch_dims", 0) != 0 || !depth.is_constant() || data.axis < depth.constant())
    return Mix("it selects along the batch axis");
  const int behind = data.axis - static_cast<int>(depth.constant());
  return Same(node, {State::kRows, Rank(node.input(1)) - 1 + behind});
}

Outcome Prover::GatherElements(const Node& node) {
  State at;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const State state = StateAt(node, i);
    if (state.kind == State::kCount) return Mix("it selects by the number of rows");
    if (state.kind == State::kRows) at = state;
  }
  if (at.kind != State::kRows) return Same(node, {});
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (StateAt(node, i).kind != State::kRows || StateAt(node, i).axis != at.axis)
      return Mix("an operand is no batch");
    if (!(At(node.input(i), at.axis) == At(node.input(0), at.axis)))
      return Mix("its operands have different extents on the batch axis");
  }
  int64_t axis = node.Int("axis", 0);
  if (axis < 0) axis += Rank(node.input(0));
  return axis == at.axis ? Mix("it selects along the batch axis") : Same(node, at);
}

Outcome Prover::Concat(const Node& node) {
  State at;
  for (const Value* value : node.inputs) {
    if (StateOf(value).kind == State::kCount) return Same(node, {State::kCount, 0});
    if (StateOf(value).kind == State::kRows) at = StateOf(value);
  }
  if (at.kind != State::kRows) return Same(node, {});
  int64_t axis = node.Int("axis", 0);
  if (axis < 0) axis += Rank(node.output());
  if (axis == at.axis) return Mix("it concatenates along the batch axis");
  for (const Value* value : node.inputs) {
    if (StateOf(value).kind != State::kRows || StateOf(value).axis != at.axis)
      return Mix("an operand is no batch");
  }
  return Same(node, at);
}

// Ops that move whole slices of other axes: the batch axis must keep its extent and not be named.
Outcome Prover::KeepsExtent(const Node& node) {
  const State state = StateAt(node, 0);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (StateAt(node, i).kind != State::kFree)
      return Mix("an operand beside the first depends on the batch");
  }
  if (state.kind != State::kRows) return Same(node, state);
  for (const Value* output : node.outputs) {
    if (output == nullptr) continue;
    if (Rank(output) != Rank(node.input(0)) ||
        !(At(output, state.axis) == At(node.input(0), state.axis))) {
      return Mix("it changes the batch axis");
    }
  }
  if (node.Is("Slice")) {
    // Equal extents with a negative step would still reverse it.
    const std::optional<std::vector<int64_t>> axes = Axes(node, 3);
    const Value* steps = node.input(4);
    const bool named = !axes.has_value() || axes->empty() ||
                       std::find(axes->begin(), axes->end(), state.axis) != axes->end();
    if (named && steps != nullptr) return Mix("it may reorder the batch axis");
  }
  if (node.Is("Pad")) {
    // Equal extents with padding taken from one end and put to the other would still shift it.
    std::optional<std::vector<int64_t>> pads = Operand(node, "pads", 1);
    std::optional<std::vector<int64_t>> axes = Axes(node, 3);
    if (!pads.has_value() || !axes.has_value()) return Mix("its padding is not constant");
    const auto rank = static_cast<size_t>(Rank(node.input(0)));
    for (size_t i = 0; axes->size() < rank && node.input(3) == nullptr; ++i)
      axes->push_back(static_cast<int64_t>(i));
    for (size_t i = 0; i < pads->size(); ++i) {
      if ((*axes)[i % axes->size()] == state.axis && (*pads)[i] != 0)
        return Mix("it pads the batch axis");
    }
  }
  if (node.Is("Trilu") && state.axis >= Rank(node.input(0)) - 2)
    return Mix("it cuts by the position in the batch");
  return Same(node, state);
}

Outcome Prover::Expand(const Node& node) {
  const State state = StateAt(node, 0);
  if (state.kind == State::kCount) return Mix("it spreads the number of rows");
  const Value* output = node.output();
  const Outcome outcome =
      state.kind == State::kRows
          ? Same(node, {State::kRows, state.axis + Rank(output) - Rank(node.input(0))})
          : Fill(node);
  if (!outcome.mixed.empty()) return outcome;
  // An extent that fits where there is one row need not fit where there are more.
  const Value* target = node.input(1);
  if (!target->elements.has_value()) return Mix("its shape is not known");
  const int skipped = Rank(output) - static_cast<int>(target->elements->size());
  for (int axis = std::max(skipped, 0); axis < Rank(output); ++axis) {
    const Dim wanted = (*target->elements)[static_cast<size_t>(axis - skipped)];
    if (DependsOnBatch(wanted) &&
        !(axis == outcome.outputs[0].axis && wanted == At(output, axis))) {
      return Mix("it spreads another axis to the number of rows");
    }
  }
  return outcome;
}

// Equal elements along every axis that the input lacks: the one that is the batch is a batch axis.
Outcome Prover::Fill(const Node& node) {
  const Value* output = node.output();
  std::optional<int> batch_axis;
  for (int axis = 0; axis < Rank(output); ++axis) {
    if (!DependsOnBatch(At(output, axis))) continue;
    if (batch_axis.has_value() || !IsMultipleOfBatch(At(output, axis)))
      return Mix("several axes depend on the batch");
    batch_axis = axis;
  }
  return Same(node, batch_axis.has_value() ? State{State::kRows, *batch_axis} : State());
}

Outcome Prover::FirstAxis(const Node& node) {
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (StateAt(node, i).kind != State::kFree) return Mix("a weight carries the batch");
  }
  if (node.Int("training_mode", 0) != 0) return Mix("it takes statistics of the batch");
  if (node.Is("MaxPool") && node.outputs.size() > 1)
    return Mix("its indices count from the first row of the batch");
  const State state = StateAt(node, 0);
  if (state.kind == State::kRows && state.axis != 0)
    return Mix("the batch is not on the first axis");
  return Same(node, state);
}

// A scale for all, or one along an axis that is not the batch's.
Outcome Prover::Quantize(const Node& node) {
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (StateAt(node, i).kind != State::kFree) return Mix("its scale carries the batch");
  }
  const State state = StateAt(node, 0);
  const Value* scale = node.input(1);
  const bool one = std::all_of(scale->shape->begin(), scale->shape->end(),
                               [](const Dim& dim) { return dim.Is(1); });
  int64_t axis = node.Int("axis", 1);
  if (axis < 0) axis += Rank(node.input(0));
  if (state.kind == State::kRows && !one && (Rank(scale) != 1 || axis == state.axis))
    return Mix("its scale differs from row to row");
  return Same(node, state);
}

// Each element is looked up by itself.
Outcome Prover::LookUp(const Node& node) {
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (StateAt(node, i).kind != State::kFree) return Mix("its table carries the batch");
  }
  return Same(node, StateAt(node, 0));
}

Outcome Prover::OneHot(const Node& node) {
  const State state = StateAt(node, 0);
  if (StateAt(node, 1).kind != State::kFree || StateAt(node, 2).kind != State::kFree) {
    return Mix("its depth or its values carry the batch");
  }
  if (state.kind != State::kRows) return Same(node, state);
  int64_t axis = node.Int("axis", -1);
  if (axis < 0) axis += Rank(node.output());
  return Same(node, {State::kRows, state.axis + (axis <= state.axis ? 1 : 0)});
}

// The batch must have one label, in every operand that carries it and in the result, and in no
// other operand.
Outcome Prover::Einsum(const Node& node) {
  std::string equation(node.String("equation", ""));
  equation.erase(std::remove(equation.begin(), equation.end(), ' '), equation.end());
  const size_t arrow = equation.find("->");
  if (arrow == std::string::npos || equation.find('.') != std::string::npos) {
    return Mix("its equation has no explicit result or an ellipsis");
  }
  const std::string result = equation.substr(arrow + 2);
  std::vector<std::string> operands(1);
  for (const char c : equation.substr(0, arrow)) {
    if (c == ',') {
      operands.emplace_back();
    } else {
      operands.back() += c;
    }
  }
  if (operands.size() != node.inputs.size()) return Mix("its equation does not fit its operands");
  char label = 0;
  for (size_t i = 0; i < operands.size(); ++i) {
    const State state = StateAt(node, i);
    if (state.kind == State::kCount) return Mix("it computes with the number of rows");
    if (state.kind != State::kRows) continue;
    if (static_cast<int>(operands[i].size()) != Rank(node.input(i))) {
      return Mix("its equation does not fit its operands");
    }
    const char own = operands[i][static_cast<size_t>(state.axis)];
    if (label != 0 && own != label) return Mix("the batch has several labels");
    if (std::count(operands[i].begin(), operands[i].end(), own) > 1)
      return Mix("it takes a diagonal");
    label = own;
  }
  if (label == 0) return Same(node, {});
  for (size_t i = 0; i < operands.size(); ++i) {
    const bool has = operands[i].find(label) != std::string::npos;
    if (has && StateAt(node, i).kind != State::kRows)
      return Mix("an operand that is no batch has its label");
  }
  const size_t at = result.find(label);
  if (at == std::string::npos) return Mix("it sums over the batch axis");
  return Same(node, {State::kRows, static_cast<int>(at)});
}

const std::map<std::string_view, Prover::Rule>& Prover::Rules() {
  static const auto* const rules = new std::map<std::string_view, Rule>{
      {"Reshape", &Prover::Reshape},
      {"Flatten", &Prover::Reshape},
      {"Squeeze", &Prover::Reshape},
      {"Unsqueeze", &Prover::Reshape},
      {"Transpose", &Prover::Transpose},
      {"MatMul", &Prover::MatMul},
      {"Gemm", &Prover::Gemm},
      {"ReduceSum", &Prover::Reduce},
      {"ReduceMean", &Prover::Reduce},
      {"ReduceMax", &Prover::Reduce},
      {"ReduceMin", &Prover::Reduce},
      {"ReduceProd", &Prover::Reduce},
      {"ReduceL1", &Prover::Reduce},
      {"ReduceL2", &Prover::Reduce},
      {"ReduceLogSum", &Prover::Reduce},
      {"ReduceLogSumExp", &Prover::Reduce},
      {"ReduceSumSquare", &Prover::Reduce},
      {"ArgMax", &Prover::Reduce},
      {"ArgMin", &Prover::Reduce},
      {"Softmax", &Prover::AlongAxis},
      {"LogSoftmax", &Prover::AlongAxis},
      {"Hardmax", &Prover::AlongAxis},
      {"LpNormalization", &Prover::AlongAxis},
      {"TopK", &Prover::AlongAxis},
      {"CumSum", &Prover::AlongAxis},
      {"OneHot", &Prover::OneHot},
      {"Einsum", &Prover::Einsum},
      {"LayerNormalization", &Prover::FromAxis},
      {"RMSNormalization", &Prover::FromAxis},
      {"Gather", &Prover::Gather},
      {"GatherND", &Prover::GatherNd},
      {"GatherElements", &Prover::GatherElements},
      {"ScatterElements", &Prover::GatherElements},
      {"Concat", &Prover::Concat},
      {"Slice", &Prover::KeepsExtent},
      {"Split", &Prover::KeepsExtent},
      {"Pad", &Prover::KeepsExtent},
      {"Tile", &Prover::KeepsExtent},
      {"Trilu", &Prover::KeepsExtent},
      {"Expand", &Prover::Expand},
      {"ConstantOfShape", &Prover::Fill},
      {"BatchNormalization", &Prover::FirstAxis},
      {"InstanceNormalization", &Prover::FirstAxis},
      {"GroupNormalization", &Prover::FirstAxis},
      {"Conv", &Prover::FirstAxis},
      {"MaxPool", &Prover::FirstAxis},
      {"AveragePool", &Prover::FirstAxis},
      {"GlobalAveragePool", &Prover::FirstAxis},
      {"GlobalMaxPool", &Prover::FirstAxis},
      {"QuantizeLinear", &Prover::Quantize},
      {"DequantizeLinear", &Prover::Quantize},
      {"TreeSums", &Prover::FirstAxis},
      {"MapValues", &Prover::LookUp},
  };
  return *rules;
}

Outcome Prover::Follow(const Node& node) {
  bool rows = false, count = false;
  for (const Value* value : node.inputs) {
    if (value == nullptr) continue;
    if (!value->shape.has_value()) return Mix("the rank of an input is not known");
    rows = rows || StateOf(value).kind == State::kRows;
    count = count || StateOf(value).kind == State::kCount;
  }
  for (const Value* value : node.outputs) {
    if (value != nullptr && !value->shape.has_value())
      return Mix("the rank of its output is not known");
  }
  // Shape arithmetic: what is known symbolically depends on the rows only through their number.
  const Value* output = node.output();
  if (output != nullptr && output->elements.has_value() && node.outputs.size() == 1) {
    for (const Dim& dim : *output->elements) {
      if (DependsOnBatch(dim)) return Same(node, {State::kCount, 0});
    }
    return Same(node, {});
  }
  if (!rows && !count && !node.Is("Expand") && !node.Is("ConstantOfShape")) return Same(node, {});
  if ((node.op->traits & kNotDeterministic) != 0) return Mix("it is random");
  // Most rules look at whole axes: only those that treat every row of an axis alike take a merged
  // one.
  const bool row_wise = node.Is("Reshape") || node.Is("Flatten") || node.Is("Squeeze") ||
                        node.Is("Unsqueeze") || node.Is("Transpose") || node.Is("MatMul") ||
                        node.Is("Gemm") || node.Is("LayerNormalization") ||
                        node.Is("RMSNormalization") || node.Is("Softmax") || node.Is("MapValues") ||
                        (node.op->traits & kElementwise) != 0;
  for (const Value* value : node.inputs) {
    if (value == nullptr || row_wise || StateOf(value).kind != State::kRows) continue;
    if (!StateOf(value).before.Is(1)) return Mix("the batch is merged behind another axis");
  }
  const bool named = node.op->domain.empty() || node.op->domain == kOurDomain;
  const auto rule = Rules().find(named ? node.op->name : std::string_view());
  if (rule != Rules().end()) return (this->*rule->second)(node);
  if ((node.op->traits & kElementwise) != 0) return Elementwise(node);
  return Mix("this op is not known to keep rows apart");
}

Batchability Prover::Run() {
  if (graph_.inputs().empty()) return {false, "the model has no inputs"};
  const Value* first = graph_.inputs()[0];
  for (const Value* input : graph_.inputs()) {
    if (!input->shape.has_value() || input->shape->empty())
      return {false, "input '" + input->name + "' has no first axis"};
    if (!symbols().SymbolIndex(At(input, 0)).has_value()) {
      return {false, "axis 0 of input '" + input->name + "' is fixed at " +
                         symbols().ToString(At(input, 0))};
    }
    if (!(At(input, 0) == At(first, 0))) {
      return {false,
              "inputs '" + first->name + "' and '" + input->name + "' have different first axes"};
    }
    StateOf(input) = {State::kRows, 0};
  }
  batch_ = At(first, 0);
  // What the inputs do not tell may depend on the batch, as a quotient that is only known when it
  // is computed.
  others_.assign(symbols().symbol_count(), kUnbound);
  for (const Value* input : graph_.inputs()) {
    for (const Dim dim : *input->shape) {
      const std::optional<int32_t> symbol = symbols().SymbolIndex(dim);
      if (symbol.has_value() && !(dim == batch_)) others_[static_cast<size_t>(*symbol)] = 7;
    }
  }
  for (const Value* input : graph_.inputs()) {
    for (int axis = 1; axis < Rank(input); ++axis) {
      if (DependsOnBatch(At(input, axis)))
        return {false, "the batch is on several axes of input '" + input->name + "'"};
    }
  }
  for (const Node* node = graph_.first(); node != nullptr; node = node->next) {
    Outcome outcome = Follow(*node);
    if (!outcome.mixed.empty()) {
      const std::string& name =
          node->name.empty() && node->output() != nullptr ? node->output()->name : node->name;
      return {false, "node '" + name + "' (" + std::string(node->op_name()) +
                         ") may mix rows: " + outcome.mixed};
    }
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      const Value* output = node->outputs[i];
      if (output == nullptr) continue;
      const State state = outcome.outputs[i];
      // Whatever a rule says, the axis must be there and hold the batch.
      const bool there =
          state.kind != State::kRows || (state.axis >= 0 && state.axis < Rank(output) &&
                                         IsMultipleOfBatch(At(output, state.axis)));
      if (!there)
        return {false, "the batch is lost in output '" + output->name + "' of a " +
                           std::string(node->op_name())};
      for (int axis = 0; state.kind != State::kCount && axis < Rank(output); ++axis) {
        if ((state.kind == State::kRows && axis == state.axis) || !DependsOnBatch(At(output, axis)))
          continue;
        return {false, "axis " + std::to_string(axis) + " of output '" + output->name + "' of a " +
                           std::string(node->op_name()) + " grows with the batch"};
      }
      StateOf(output) = state;
    }
  }
  for (const GraphOutput& output : graph_.outputs()) {
    const State state = StateOf(output.value);
    if (state.kind != State::kRows || state.axis != 0 || !state.before.Is(1) ||
        !(At(output.value, 0) == batch_)) {
      return {false, "output '" + output.name + "' does not have the batch as its first axis"};
    }
  }
  return {true, "every node keeps the rows of axis 0 apart"};
}

}  // namespace

Batchability ProveBatchability(Graph& graph) {
  return Prover(graph).Run();
}

}  // namespace sluice::graph
