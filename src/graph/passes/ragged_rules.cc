// Rules of ops that keep tokens apart: elementwise, row-wise and moves of whole axes.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/propagate_ragged.h"

namespace sluice::graph {
namespace {

using tensor::Tensor;

std::optional<std::vector<int64_t>> ConstantInts(const Value* value) {
  if (value == nullptr || !value->is_constant() || value->dtype != tensor::DType::kI64) {
    return std::nullopt;
  }
  const auto span = value->constant->view().span<int64_t>();
  return std::vector<int64_t>(span.begin(), span.end());
}

int64_t NormalAxisOf(int64_t axis, const Value* value) {
  return axis < 0 ? axis + RankOf(value) : axis;
}

}  // namespace

// Where the axes of `from` are in `to`, a reshape that only adds, drops and keeps axes of extent 1;
// dropped ones map to -1. nullopt when it does more.
static std::optional<std::vector<int>> MapAxes(const SymShape& from, const SymShape& to) {
  std::vector<int> map(from.size(), -1);
  size_t at = 0;
  for (size_t axis = 0; axis < from.size(); ++axis) {
    if (from[axis].Is(1)) continue;
    while (at < to.size() && to[at].Is(1)) ++at;
    if (at == to.size() || !(to[at] == from[axis])) return std::nullopt;
    map[axis] = static_cast<int>(at++);
  }
  while (at < to.size() && to[at].Is(1)) ++at;
  if (at != to.size()) return std::nullopt;
  return map;
}

// --- Elementwise.

std::optional<Affine> RaggedPropagator::AffineArithmetic(const Node& node) {
  const auto affine = [&](const Value* value) -> std::optional<Affine> {
    const State& state = StateOf(value);
    if (state.kind == Kind::kAffine) return state.affine[0];
    if (state.kind != Kind::kFree || value->dtype == tensor::DType::kF32) return std::nullopt;
    const std::optional<double> scalar = ScalarOf(value);
    if (!scalar.has_value()) return std::nullopt;
    return Affine{Dim(static_cast<int64_t>(*scalar)),
                  std::vector<Dim>(static_cast<size_t>(Rank(value)), Dim(0))};
  };
  const bool integer =
      node.output()->dtype == tensor::DType::kI64 || node.output()->dtype == tensor::DType::kI32;
  if (!integer) return std::nullopt;
  if (node.Is("Cast")) return affine(node.input(0));
  const bool sum = node.Is("Add") || node.Is("Sub");
  if (!sum && !node.Is("Mul")) return std::nullopt;
  std::optional<Affine> a = affine(node.input(0));
  std::optional<Affine> b = affine(node.input(1));
  if (!a.has_value() || !b.has_value()) return std::nullopt;
  const size_t rank = static_cast<size_t>(Rank(node.output()));
  for (Affine* side : {&*a, &*b}) {
    side->coefficients.insert(side->coefficients.begin(), rank - side->coefficients.size(), Dim(0));
  }
  const auto constant = [](const Affine& value) {
    return std::all_of(value.coefficients.begin(), value.coefficients.end(),
                       [](Dim dim) { return dim.Is(0); });
  };
  if (sum) {
    const auto combine = [&](Dim x, Dim y) {
      return node.Is("Add") ? symbols().Add(x, y) : symbols().Sub(x, y);
    };
    a->constant = combine(a->constant, b->constant);
    for (size_t i = 0; i < rank; ++i) {
      a->coefficients[i] = combine(a->coefficients[i], b->coefficients[i]);
    }
    return a;
  }
  if (!constant(*b)) std::swap(a, b);
  if (!constant(*b)) return std::nullopt;
  const Dim factor = b->constant;
  a->constant = symbols().Mul(a->constant, factor);
  for (Dim& coefficient : a->coefficients) coefficient = symbols().Mul(coefficient, factor);
  return a;
}

base::Result<RaggedPropagator::States> RaggedPropagator::Elementwise(const Node& node) {
  if (Has(node, Kind::kScores)) return ScoreElementwise(node);
  if (Has(node, Kind::kTokens)) return TokenElementwise(node);
  if (Has(node, Kind::kSequences)) {
    std::vector<Value*> inputs;
    for (const Value* value : node.inputs) {
      if (value == nullptr) {
        inputs.push_back(nullptr);
      } else if (StateOf(value).kind == Kind::kSequences) {
        if (Rank(value) != Rank(node.output())) return No("it moves the sequences to another axis");
        inputs.push_back(StateOf(value).image);
      } else {
        inputs.push_back(TRY(FreeImage(value)));
        if (Rank(value) == Rank(node.output()) && !At(inputs.back(), 0).Is(1)) {
          return No("an operand that is no batch has extent on the batch axis");
        }
      }
    }
    return CopySequences(node, std::move(inputs));
  }
  if (std::optional<Affine> affine = AffineArithmetic(node)) {
    State state;
    state.kind = Kind::kAffine;
    state.affine.push_back(*std::move(affine));
    return One(std::move(state));
  }
  const auto vector = [&](const Value* value) {
    return value != nullptr && StateOf(value).kind == Kind::kFree &&
           !(value->is_constant() && value->constant->shape.elements() == 1);
  };
  if (std::any_of(node.inputs.begin(), node.inputs.end(), vector)) {
    if (Has(node, Kind::kTable) || Has(node, Kind::kAffine)) return TokenElementwise(node);
    return CopyFree(node);
  }
  std::vector<MaskTable> tables(node.inputs.size());
  std::vector<TableOperand> operands(node.inputs.size());
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == nullptr) continue;
    tables[i] = TRY(TableOfValue(node.inputs[i]));
    operands[i] = {&tables[i], Rank(node.inputs[i])};
  }
  return One(TableState(TRY(CombineTables(node, operands, Rank(node.output())))));
}

std::optional<double> RaggedPropagator::PadOf(const Node& node,
                                              const std::vector<std::optional<double>>& pads) {
  if (node.Is("Cast") || node.Is("Identity")) return pads[0];
  if (node.Is("Mul")) {
    for (const std::optional<double>& pad : pads) {
      if (pad == 0.0) return 0.0;
    }
  }
  if (node.Is("Div") && pads[0] == 0.0) return 0.0;
  if (node.Is("Where") && pads[0].has_value()) return *pads[0] != 0 ? pads[1] : pads[2];
  return std::nullopt;
}

base::Result<RaggedPropagator::States> RaggedPropagator::TokenElementwise(const Node& node) {
  const int rank = Rank(node.output());
  int batch = -1, length = -1;
  for (const Value* value : node.inputs) {
    if (value == nullptr || StateOf(value).kind != Kind::kTokens) continue;
    const State& state = StateOf(value);
    const int shift = rank - Rank(value);
    if (length >= 0 && state.length + shift != length) {
      return No("its operands have their tokens on different axes");
    }
    length = state.length + shift;
    if (state.batch < 0) continue;
    if (batch >= 0 && state.batch + shift != batch) {
      return No("its operands have their sequences on different axes");
    }
    batch = state.batch + shift;
  }
  for (const Value* value : node.inputs) {
    if (length >= 0) break;
    if (value == nullptr) continue;
    const Kind kind = StateOf(value).kind;
    if (kind != Kind::kTable && kind != Kind::kAffine) continue;
    const MaskTable table = TRY(TableOfValue(value));
    if (!table.uniform()) length = table.axes[0] + rank - Rank(value);
  }
  if (length < 0) return No("it has no row a token");
  std::vector<Value*> inputs;
  std::vector<std::optional<double>> pads;
  for (const Value* value : node.inputs) {
    pads.emplace_back();
    if (value == nullptr) {
      inputs.push_back(nullptr);
      continue;
    }
    const State& own = StateOf(value);
    const int shift = rank - Rank(value);
    if (own.kind == Kind::kTokens) {
      inputs.push_back(own.image);
      pads.back() = own.pad;
      continue;
    }
    if (own.kind == Kind::kTable || own.kind == Kind::kAffine) {
      const MaskTable table = TRY(TableOfValue(value));
      const bool aligned = table.uniform() || table.axes[0] + shift == length;
      const bool same = table.batch < 0 || batch < 0 || table.batch + shift == batch;
      if (!aligned || !same) return No("it joins tokens with the mask of others");
      const State tokens = TRY(Tokenize(value, node));
      if (table.batch >= 0) {
        // What the padded graph has at padding.
        pads.back() = tokens.pad;
        if (table.values.shape[0] == 2 && table.values.shape[2] == 1) {
          MaskTable padded = table;
          padded.values.shape = tensor::Shape({1, 1, 1, 1});
          padded.axes[0] = padded.batch = -1;
          pads.back() = AsTokenValues(padded)->padded;
        }
      }
      inputs.push_back(tokens.image);
      continue;
    }
    inputs.push_back(TRY(FreeImage(value)));
    for (const int axis : {batch, length}) {
      if (axis - shift < 0 || At(inputs.back(), axis - shift).Is(1)) continue;
      return No("an operand that is the same for all has extent on the axis of tokens");
    }
    pads.back() = ScalarOf(value);
  }
  return CopyTokens(node, std::move(inputs), batch, length, PadOf(node, pads));
}

// --- Rows of the last axis by parameters.

base::Result<RaggedPropagator::States> RaggedPropagator::RowWise(const Node& node) {
  const Value* x = node.input(0);
  const State& state = StateOf(x);
  const int rank = Rank(x);
  const int first =
      node.Is("FusedLinear") ? rank - 1 : static_cast<int>(NormalAxisOf(node.Int("axis", -1), x));
  const bool tokens = state.kind == Kind::kTokens;
  if (!tokens && state.kind != Kind::kSequences) return No("its rows are no tokens");
  if (tokens ? state.length >= first : first == 0) return No("it mixes tokens");
  // Operands of the same rows: the second of FusedNorm, the fourth of FusedLinear.
  const size_t rows = node.Is("FusedNorm") ? 1 : node.Is("FusedLinear") ? 3 : 0;
  std::vector<Value*> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value* value = node.inputs[i];
    if (value == nullptr) {
      inputs.push_back(nullptr);
    } else if (i == 0 || (i == rows && StateOf(value).kind == state.kind)) {
      const State& own = StateOf(value);
      if (tokens && (own.length != state.length || Rank(value) != rank || !HasAllTokens(own))) {
        return No("its operands have their tokens on different axes");
      }
      inputs.push_back(own.image);
    } else {
      if (i == rows && node.Is("FusedNorm")) return NormOfSum(node);
      if (i == rows) return No("its residual has no row a token");
      inputs.push_back(TRY(FreeImage(value)));
    }
  }
  if (!tokens) return CopySequences(node, std::move(inputs));
  return CopyTokens(node, std::move(inputs), state.batch, state.length);
}

// A norm of the sum of tokens and one row for all: the two apart again.
base::Result<RaggedPropagator::States> RaggedPropagator::NormOfSum(const Node& node) {
  const State& state = StateOf(node.input(0));
  Value* const row = TRY(FreeImage(node.input(1)));
  for (int axis = 0; axis + 1 < Rank(row); ++axis) {
    if (!At(row, axis).Is(1)) return No("its residual has no row a token");
  }
  std::vector<Value*> inputs = {TRY(writer_.Add("Add", {state.image, row}, node))};
  for (size_t i = 2; i < node.inputs.size(); ++i) {
    inputs.push_back(node.inputs[i] == nullptr ? nullptr : TRY(FreeImage(node.inputs[i])));
  }
  Node* norm = writer_.graph().AddNode(RequireOp("LayerNormalization"), kOpsetMax, inputs, 1);
  norm->name = node.name;
  norm->Set("axis", int64_t{-1});
  norm->Set("epsilon", node.Float("epsilon", 1e-5F));
  TRY(InferNode(writer_.graph(), *norm));
  State out = state;
  out.pad.reset();
  out.image = norm->output();
  return One(std::move(out));
}

base::Result<RaggedPropagator::States> RaggedPropagator::MatMul(const Node& node) {
  const State& left = StateOf(node.input(0));
  const State& right = StateOf(node.input(1));
  if (left.kind == Kind::kScores) return WeighValues(node);
  if (right.kind == Kind::kRepeated) return RepeatedProduct(node);
  if (left.kind == Kind::kTokens && right.kind == Kind::kTokens) return ScoreProduct(node);
  if (left.kind == Kind::kSequences && right.kind == Kind::kFree && Rank(node.input(1)) == 2 &&
      Rank(node.input(0)) >= 2) {
    Value* const weight = TRY(FreeImage(node.input(1)));
    return CopySequences(node, {left.image, weight});
  }
  const int rank = Rank(node.output());
  if (left.kind == Kind::kTokens && right.kind == Kind::kFree) {
    if (left.length == Rank(node.input(0)) - 1) return No("it sums over tokens");
    if (Rank(node.input(1)) > 2) return No("its weight has axes of its own");
    Value* const weight = TRY(FreeImage(node.input(1)));
    return CopyTokens(node, {left.image, weight}, left.batch, left.length);
  }
  if (left.kind == Kind::kFree && right.kind != Kind::kFree) {
    const State tokens = TRY(Tokenize(node.input(1), node));
    if (tokens.length != Rank(node.input(1)) - 1) return No("it sums over tokens");
    Value* const a = TRY(FreeImage(node.input(0)));
    for (int axis = 0; axis + 2 < Rank(a); ++axis) {
      if (!At(a, axis).Is(1)) return No("its weight has axes of its own");
    }
    const int shift = rank - Rank(node.input(1));
    return CopyTokens(node, {a, tokens.image}, tokens.batch < 0 ? -1 : tokens.batch + shift,
                      tokens.length + shift);
  }
  return No("it multiplies tokens by tokens outside of an attention that we know");
}

base::Result<RaggedPropagator::States> RaggedPropagator::AlongAxis(const Node& node) {
  const Value* x = node.input(0);
  const State& state = StateOf(x);
  if (state.kind == Kind::kScores && node.Is("Softmax")) return ScoreSoftmax(node);
  const int64_t fallback = node.Is("Split") || node.Is("Concat") ? 0 : -1;
  const int64_t axis = NormalAxisOf(node.Int("axis", fallback), x);
  std::vector<Value*> inputs = {state.image};
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    inputs.push_back(node.inputs[i] == nullptr ? nullptr : TRY(FreeImage(node.inputs[i])));
  }
  if (state.kind == Kind::kSequences) {
    if (axis == 0) return No("it works along the batch axis");
    return CopySequences(node, std::move(inputs));
  }
  if (state.kind != Kind::kTokens) return No("its rows are no tokens");
  if (node.Is("Softmax") && node.opset < 13) return No("its axis flattens");
  if (axis == state.length || axis == state.batch) return No("it works along the tokens");
  return CopyTokens(node, std::move(inputs), state.batch, state.length);
}

base::Result<RaggedPropagator::States> RaggedPropagator::Split(const Node& node) {
  return AlongAxis(node);
}

base::Result<RaggedPropagator::States> RaggedPropagator::Concat(const Node& node) {
  const int64_t axis = NormalAxisOf(node.Int("axis", 0), node.output());
  const int last = Rank(node.output()) - 1;
  if (Has(node, Kind::kAffine) && !Has(node, Kind::kTokens) && axis == last) {
    State pairs;
    pairs.kind = Kind::kPairs;
    for (const Value* value : node.inputs) {
      if (StateOf(value).kind != Kind::kAffine || !At(value, last).Is(1)) {
        return No("it joins indices with something else");
      }
      pairs.affine.push_back(StateOf(value).affine[0]);
    }
    return One(std::move(pairs));
  }
  const State& first = StateOf(node.input(0));
  std::vector<Value*> inputs;
  for (const Value* value : node.inputs) {
    const State& state = StateOf(value);
    if (state.kind != first.kind || state.length != first.length) {
      return No("it joins tokens with something else");
    }
    if (state.kind == Kind::kTokens && !HasAllTokens(state)) return No("an operand has one row");
    inputs.push_back(state.image);
  }
  if (first.kind == Kind::kSequences && axis != 0) return CopySequences(node, std::move(inputs));
  if (first.kind != Kind::kTokens || axis == first.length || axis == first.batch) {
    return No("it joins along the axis of tokens or sequences");
  }
  return CopyTokens(node, std::move(inputs), first.batch, first.length);
}

// --- Shapes.

base::Result<RaggedState> RaggedPropagator::ReshapeTokens(const Node& node) {
  const State& state = StateOf(node.input(0));
  const SymShape& from = *node.input(0)->shape;
  const SymShape& to = *node.output()->shape;
  const Dim both = symbols().Mul(batch_, length_);
  const Dim behind =
      symbols().Product(std::span(from).subspan(static_cast<size_t>(state.length) + 1));
  State out = state;
  out.length = -1;
  for (size_t axis = 0; axis < to.size() && out.length < 0; ++axis) {
    if (!(symbols().Product(std::span(to).subspan(axis + 1)) == behind)) continue;
    const bool merged = to[axis] == both;
    if (!merged && !(to[axis] == length_)) continue;
    out.length = static_cast<int>(axis);
    out.batch = merged ? out.length : -1;
    const bool apart = state.length > 0 && state.batch != state.length;
    const Dim before = symbols().Product(std::span(from).first(static_cast<size_t>(state.length)));
    // Rows of other axes between the sequences and their tokens must not be merged with them.
    if (merged && apart && !(before == batch_)) return No("it merges tokens with another axis");
  }
  if (out.length < 0) return No("it merges tokens with another axis");
  std::vector<int64_t> target;
  for (size_t axis = 0; axis < to.size(); ++axis) {
    if (static_cast<int>(axis) == out.length) {
      target.push_back(HasAllTokens(state) ? -1 : 1);
      continue;
    }
    Dim extent = to[axis];
    if (const std::optional<Dim> others = symbols().DivideExact(extent, batch_);
        others.has_value() && !extent.Is(0)) {
      if (static_cast<int>(axis) > out.length) return No("it moves the sequences behind tokens");
      // Merged with others, sequences keep their place among them.
      const auto product = [&](const SymShape& shape, size_t count) {
        return symbols().Product(std::span(shape).first(count));
      };
      const bool kept =
          state.batch < 0 || product(from, static_cast<size_t>(state.batch)) == product(to, axis);
      if (!kept) return No("it moves the sequences among other axes");
      out.batch = static_cast<int>(axis);
      extent = *others;
    }
    if (!extent.is_constant()) return No("it merges tokens with another axis");
    target.push_back(extent.constant());
  }
  out.image = TRY(writer_.Reshape(state.image, target, node));
  return out;
}

base::Result<RaggedPropagator::States> RaggedPropagator::Reshape(const Node& node) {
  const Value* x = node.input(0);
  const State& state = StateOf(x);
  const SymShape& from = *x->shape;
  const SymShape& to = *node.output()->shape;
  if (state.kind == Kind::kTokens) return One(TRY(ReshapeTokens(node)));
  if (state.kind == Kind::kScores) return ScoreReshape(node);
  if (state.kind == Kind::kSequences) {
    if (to.empty() || !(to[0] == batch_)) return No("it merges the batch with another axis");
    std::vector<int64_t> target = {-1};
    for (size_t axis = 1; axis < to.size(); ++axis) {
      if (!to[axis].is_constant()) return No("it merges the batch with another axis");
      target.push_back(to[axis].constant());
    }
    State out = state;
    out.image = TRY(writer_.Reshape(state.image, target, node));
    return One(std::move(out));
  }
  if (state.kind == Kind::kFree) return CopyFree(node);
  std::optional<std::vector<int>> map = MapAxes(from, to);
  if (state.kind == Kind::kAffine) {
    if (!map.has_value()) return No("it merges indices");
    State out = state;
    out.affine[0].coefficients.assign(to.size(), Dim(0));
    for (size_t axis = 0; axis < from.size(); ++axis) {
      if ((*map)[axis] < 0) continue;
      out.affine[0].coefficients[static_cast<size_t>((*map)[axis])] =
          state.affine[0].coefficients[axis];
    }
    return One(std::move(out));
  }
  if (state.kind != Kind::kTable) return No("it reshapes what is not understood");
  if (!map.has_value()) {
    // Sequences and tokens merged to one axis, or taken apart again.
    const auto places = [&](const SymShape& shape) {
      std::vector<int> axes;
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        if (!shape[axis].Is(1)) axes.push_back(static_cast<int>(axis));
      }
      return axes;
    };
    const std::vector<int> in = places(from), out = places(to);
    const Dim both = symbols().Mul(batch_, length_);
    MaskTable table = state.table;
    if (table.uniform()) return One(TableState(std::move(table)));
    const auto apart = [&](const SymShape& shape, const std::vector<int>& axes) {
      return axes.size() == 2 && shape[static_cast<size_t>(axes[0])] == batch_ &&
             shape[static_cast<size_t>(axes[1])] == length_;
    };
    const auto merged = [&](const SymShape& shape, const std::vector<int>& axes) {
      return axes.size() == 1 && shape[static_cast<size_t>(axes[0])] == both;
    };
    if (table.axes[1] >= 0 || table.batch < 0) return No("it merges axes of a mask");
    if (apart(from, in) && merged(to, out) && table.batch == in[0] && table.axes[0] == in[1]) {
      table.batch = table.axes[0] = out[0];
    } else if (merged(from, in) && apart(to, out) && table.batch == table.axes[0]) {
      table.batch = out[0];
      table.axes[0] = out[1];
    } else {
      return No("it merges axes of a mask");
    }
    return One(TableState(std::move(table)));
  }
  std::optional<MaskTable> moved = MoveAxes(state.table, *map);
  if (!moved.has_value()) return No("it drops an axis of a mask");
  return One(TableState(*std::move(moved)));
}

base::Result<RaggedPropagator::States> RaggedPropagator::Transpose(const Node& node) {
  const State& state = StateOf(node.input(0));
  const size_t rank = static_cast<size_t>(Rank(node.input(0)));
  std::vector<int> map(rank);
  const std::span<const int64_t> perm = node.Ints("perm");
  for (size_t axis = 0; axis < rank; ++axis) {
    map[perm.empty() ? rank - 1 - axis : static_cast<size_t>(perm[axis])] = static_cast<int>(axis);
  }
  const auto to = [&](int axis) { return axis < 0 ? -1 : map[static_cast<size_t>(axis)]; };
  if (state.kind == Kind::kTokens) {
    return CopyTokens(node, {state.image}, to(state.batch), to(state.length), state.pad);
  }
  if (state.kind == Kind::kSequences) return CopySequences(node, {state.image});
  if (state.kind == Kind::kFree) return CopyFree(node);
  if (state.kind == Kind::kScores) return ScoreTranspose(node);
  if (state.kind == Kind::kRepeated) {
    State out = state;
    out.image = TRY(writer_.Copy(node, {state.image}))[0];
    out.batch = to(state.batch);
    return One(std::move(out));
  }
  if (state.kind == Kind::kTable) {
    std::optional<MaskTable> moved = MoveAxes(state.table, map);
    if (moved.has_value()) return One(TableState(*std::move(moved)));
  }
  if (state.kind == Kind::kAffine) {
    State out = state;
    for (size_t axis = 0; axis < rank; ++axis) {
      out.affine[0].coefficients[static_cast<size_t>(map[axis])] =
          state.affine[0].coefficients[axis];
    }
    return One(std::move(out));
  }
  return No("it turns what is not understood");
}

base::Result<RaggedPropagator::States> RaggedPropagator::Expand(const Node& node) {
  const Value* x = node.input(0);
  State state = StateOf(x);
  const SymShape& to = *node.output()->shape;
  const int shift = static_cast<int>(to.size()) - Rank(x);
  if (state.kind == Kind::kTable) {
    for (int* axis : {&state.table.batch, &state.table.axes[0], &state.table.axes[1]}) {
      if (*axis >= 0) *axis += shift;
    }
    return One(std::move(state));
  }
  if (state.kind == Kind::kAffine) {
    std::vector<Dim>& coefficients = state.affine[0].coefficients;
    coefficients.insert(coefficients.begin(), static_cast<size_t>(shift), Dim(0));
    return One(std::move(state));
  }
  if (state.kind == Kind::kFree && x->is_constant() && x->constant->shape.elements() == 1) {
    return One(TableState(UniformTable(*x->constant)));
  }
  Value* const image = state.kind == Kind::kFree ? TRY(FreeImage(x)) : state.image;
  if (image == nullptr) return No("it spreads what is not understood");
  if (state.kind == Kind::kSequences && (shift != 0 || !(to[0] == batch_))) {
    return No("it spreads sequences over another axis");
  }
  std::vector<int64_t> target;
  for (size_t axis = 0; axis < to.size(); ++axis) {
    target.push_back(to[axis].is_constant() ? to[axis].constant() : 1);
  }
  if (state.kind == Kind::kTokens) {
    state.length += shift;
    if (state.batch >= 0) state.batch += shift;
    // Equal rows for every sequence: the batch is wherever it now shows.
    if (state.batch < 0 && state.length > 0 && to[0] == batch_) state.batch = 0;
  }
  state.image = TRY(writer_.Add("Expand", {image, writer_.Ints(target)}, node));
  return One(std::move(state));
}

base::Result<RaggedPropagator::States> RaggedPropagator::Fill(const Node& node) {
  const Tensor* value = node.TensorAttribute("value");
  if (value != nullptr) return One(TableState(UniformTable(*value)));
  Tensor zero{tensor::DType::kF32, tensor::Shape({1}), tensor::Buffer::Allocate(4)};
  *zero.mutable_view().as<float>() = 0;
  return One(TableState(UniformTable(zero)));
}

base::Result<RaggedPropagator::States> RaggedPropagator::Range(const Node& node) {
  Dim parts[3];
  for (size_t i = 0; i < 3; ++i) {
    const Value* value = node.input(i);
    if (value->elements.has_value() && value->elements->size() == 1) {
      parts[i] = (*value->elements)[0];
    } else if (const std::optional<std::vector<int64_t>> ints = ConstantInts(value)) {
      parts[i] = Dim((*ints)[0]);
    } else {
      return No("its bounds are not known");
    }
  }
  State state;
  state.kind = Kind::kAffine;
  state.affine.push_back({parts[0], {parts[2]}});
  return One(std::move(state));
}

base::Result<RaggedPropagator::States> RaggedPropagator::Slice(const Node& node) {
  const Value* x = node.input(0);
  const State& state = StateOf(x);
  std::vector<int> changed;
  for (int axis = 0; axis < Rank(x); ++axis) {
    if (!(At(x, axis) == At(node.output(), axis))) changed.push_back(axis);
  }
  const std::optional<std::vector<int64_t>> starts = ConstantInts(node.input(1));
  const std::optional<std::vector<int64_t>> axes = ConstantInts(node.input(3));
  const std::optional<std::vector<int64_t>> steps =
      node.input(4) == nullptr ? std::vector<int64_t>(starts.has_value() ? starts->size() : 0, 1)
                               : ConstantInts(node.input(4));
  if (!starts.has_value() || !axes.has_value() || !steps.has_value()) {
    return No("its starts, axes or steps are not constant");
  }
  const auto start_on = [&](int axis) {
    for (size_t i = 0; i < axes->size(); ++i) {
      if (NormalAxisOf((*axes)[i], x) == axis && (*steps)[i] == 1) return (*starts)[i];
    }
    return int64_t{-1};
  };
  if (state.kind == Kind::kFree) {
    // A table of which the first rows are taken, one a position.
    if (changed.size() != 1 || start_on(changed[0]) != 0 ||
        !(At(node.output(), changed[0]) == length_)) {
      return No("it cuts a table by sizes");
    }
    Node* rows = writer_.graph().AddNode(RequireOp("Gather"), kOpsetMax,
                                         {TRY(FreeImage(x)), writer_.Positions()}, 1);
    rows->name = node.name;
    rows->Set("axis", int64_t{changed[0]});
    TRY(InferNode(writer_.graph(), *rows));
    State out;
    out.kind = Kind::kTokens;
    out.length = changed[0];
    out.image = rows->output();
    return One(std::move(out));
  }
  if (state.kind == Kind::kTokens && changed.size() == 1 && changed[0] == state.length &&
      start_on(state.length) == 0 && At(node.output(), state.length).Is(1)) {
    State first = TRY(Segments(node, state, "first"));
    std::vector<int64_t> target = {-1};
    for (int axis = 1; axis < Rank(node.output()); ++axis) {
      target.push_back(At(node.output(), axis).constant());
    }
    first.image = TRY(writer_.Reshape(first.image, target, node));
    return One(std::move(first));
  }
  std::vector<Value*> inputs = {state.image};
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    inputs.push_back(node.inputs[i] == nullptr ? nullptr : TRY(FreeImage(node.inputs[i])));
  }
  const auto touches = [&](int axis) {
    return std::any_of(axes->begin(), axes->end(),
                       [&](int64_t own) { return NormalAxisOf(own, x) == axis; });
  };
  if (state.kind == Kind::kSequences && !touches(0)) return CopySequences(node, std::move(inputs));
  if (state.kind != Kind::kTokens || touches(state.length) || touches(state.batch)) {
    return No("it selects tokens by their position, which may be padding");
  }
  return CopyTokens(node, std::move(inputs), state.batch, state.length);
}

}  // namespace sluice::graph
