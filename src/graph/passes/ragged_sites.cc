// Rules of the places where tokens meet: attention, pooling, running sums, and what reads a mask by
// index.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/propagate_ragged.h"

namespace sluice::graph {
namespace {

constexpr double kMaskedMax = -1e4;  // padding that is this low never is a maximum

int64_t NormalAxisOf(int64_t axis, const Value* value) {
  return axis < 0 ? axis + RankOf(value) : axis;
}

}  // namespace

const std::map<std::string_view, RaggedPropagator::Rule>& RaggedPropagator::Rules() {
  using P = RaggedPropagator;
  static const auto* const rules = new std::map<std::string_view, Rule>{
      {"FusedLinear", &P::RowWise},
      {"FusedNorm", &P::RowWise},
      {"LayerNormalization", &P::RowWise},
      {"RMSNormalization", &P::RowWise},
      {"MatMul", &P::MatMul},
      {"Softmax", &P::AlongAxis},
      {"LogSoftmax", &P::AlongAxis},
      {"LpNormalization", &P::AlongAxis},
      {"Split", &P::Split},
      {"Concat", &P::Concat},
      {"Reshape", &P::Reshape},
      {"Flatten", &P::Reshape},
      {"Squeeze", &P::Reshape},
      {"Unsqueeze", &P::Reshape},
      {"Transpose", &P::Transpose},
      {"Tile", &P::Tile},
      {"Expand", &P::Expand},
      {"ConstantOfShape", &P::Fill},
      {"Range", &P::Range},
      {"Slice", &P::Slice},
      {"Gather", &P::Gather},
      {"GatherND", &P::GatherNd},
      {"GatherElements", &P::GatherElements},
      {"CumSum", &P::CumSum},
      {"FusedAttention", &P::Attention},
      {"FusedRotary", &P::Rotary},
      {"ReduceSum", &P::Reduce},
      {"ReduceMean", &P::Reduce},
      {"ReduceMax", &P::Reduce},
      {"ReduceMin", &P::Reduce},
      {"ReduceSumSquare", &P::Reduce},
      {"ReduceL1", &P::Reduce},
  };
  return *rules;
}

base::Result<RaggedState> RaggedPropagator::Segments(const Node& node, const State& tokens,
                                                     std::string_view mode) {
  const SymShape& shape = *tokens.image->shape;
  if (tokens.length != 1 || tokens.batch != 0 || !HasAllTokens(tokens)) {
    return No("its sequences and tokens are not the first two axes");
  }
  if (tokens.image->dtype != tensor::DType::kF32) return No("it pools integers");
  for (size_t axis = 2; axis < shape.size(); ++axis) {
    if (!shape[axis].is_constant()) return No("an axis is open");
  }
  Node* pool = writer_.graph().AddNode(RequireOp("SegmentReduce"), kOpsetMax,
                                       {tokens.image, writer_.Starts()}, 1);
  pool->name = node.name;
  pool->Set("mode", std::string(mode));
  TRY(InferNode(writer_.graph(), *pool));
  State out;
  out.kind = Kind::kSequences;
  out.image = pool->output();
  return out;
}

base::Result<RaggedPropagator::States> RaggedPropagator::Reduce(const Node& node) {
  const Value* x = node.input(0);
  const State& state = StateOf(x);
  std::vector<int64_t> axes(node.Ints("axes").begin(), node.Ints("axes").end());
  if (const Value* operand = node.input(1)) {
    if (!operand->is_constant() || operand->dtype != tensor::DType::kI64) {
      return No("its axes are not constant");
    }
    const auto span = operand->constant->view().span<int64_t>();
    axes.assign(span.begin(), span.end());
  }
  if (axes.empty()) return No("it reduces every axis");
  for (int64_t& axis : axes) axis = NormalAxisOf(axis, x);
  const bool kept = node.Int("keepdims", 1) != 0;
  const auto reduces = [&](int axis) {
    return std::find(axes.begin(), axes.end(), axis) != axes.end();
  };
  std::vector<Value*> inputs = {state.image};
  if (node.input(1) != nullptr) inputs.push_back(TRY(FreeImage(node.input(1))));
  if (state.kind == Kind::kSequences) {
    if (reduces(0)) return No("it reduces the batch axis");
    return CopySequences(node, std::move(inputs));
  }
  if (state.kind == Kind::kTokens && !reduces(state.length) && !reduces(state.batch)) {
    const auto to = [&](int axis) {
      int64_t gone = 0;
      for (const int64_t reduced : axes) gone += !kept && reduced < axis ? 1 : 0;
      return axis < 0 ? -1 : axis - static_cast<int>(gone);
    };
    return CopyTokens(node, std::move(inputs), to(state.batch), to(state.length));
  }
  if (axes.size() != 1) return No("it reduces tokens with other axes");
  std::vector<int64_t> target = {-1};
  for (int axis = 1; axis < Rank(node.output()); ++axis) {
    if (!At(node.output(), axis).is_constant()) return No("it reduces the batch axis");
    target.push_back(At(node.output(), axis).constant());
  }
  if (state.kind == Kind::kTable) {
    // The number of tokens, where the mask counts them.
    const std::optional<TokenValues> values = AsTokenValues(state.table);
    const bool counts = node.Is("ReduceSum") && state.table.batch == 0 &&
                        state.table.axes[0] == axes[0] && values.has_value() &&
                        values->kept.shape[0] == 1 && state.table.values.shape[0] == 2;
    const tensor::Tensor& cases = state.table.values;
    const auto is = [&](int64_t at, double wanted) {
      if (cases.dtype == tensor::DType::kF32) {
        return static_cast<double>(cases.view().as<float>()[at]) == wanted;
      }
      return cases.dtype == tensor::DType::kI64 &&
             static_cast<double>(cases.view().as<int64_t>()[at]) == wanted;
    };
    if (!counts || !is(0, 0) || !is(1, 1))
      return No("it reduces a mask that does not count tokens");
    Node* lengths =
        writer_.graph().AddNode(RequireOp("SegmentLengths"), kOpsetMax, {writer_.Starts()}, 1);
    lengths->name = node.name;
    lengths->Set("type", std::string(tensor::DTypeName(cases.dtype)));
    TRY(InferNode(writer_.graph(), *lengths));
    State out;
    out.kind = Kind::kSequences;
    std::vector<int64_t> ones(target.size(), 1);
    ones[0] = -1;
    out.image = TRY(writer_.Reshape(lengths->output(), ones, node));
    if (ones != target) {
      target[0] = 1;
      out.image = TRY(writer_.Add("Expand", {out.image, writer_.Ints(target)}, node));
    }
    ++sites_;
    return One(std::move(out));
  }
  if (state.kind != Kind::kTokens || axes[0] != state.length) return No("it reduces sequences");
  std::string_view mode;
  if (node.Is("ReduceSum")) {
    if (state.pad != 0.0) return No("it sums padding, which no mask has set to 0");
    mode = "sum";
  } else if (node.Is("ReduceMax")) {
    if (!state.pad.has_value() || !(*state.pad <= kMaskedMax)) {
      return No("it takes the maximum over padding, which no mask has lowered");
    }
    mode = "max";
  } else {
    return No("it reduces padding with the tokens");
  }
  State out = TRY(Segments(node, state, mode));
  if (kept) out.image = TRY(writer_.Reshape(out.image, target, node));
  ++sites_;
  return One(std::move(out));
}

base::Result<RaggedPropagator::States> RaggedPropagator::CumSum(const Node& node) {
  const Value* x = node.input(0);
  const State state = TRY(Tokenize(x, node));
  const std::optional<double> axis = ScalarOf(node.input(1));
  if (!axis.has_value()) return No("its axis is not constant");
  if (NormalAxisOf(static_cast<int64_t>(*axis), x) != state.length) {
    return No("it adds up something else than tokens");
  }
  // A sum from the front never sees padding, which is at the end.
  if (node.Int("reverse", 0) != 0) return No("it adds up from the end, where padding is");
  if (node.Int("exclusive", 0) != 0 || !HasAllTokens(state)) return No("its form is not known");
  if (Rank(state.image) != 2 ||
      (x->dtype != tensor::DType::kI64 && x->dtype != tensor::DType::kI32)) {
    return No("it adds up rows");
  }
  State out = state;
  out.pad.reset();
  out.image = TRY(writer_.Add("SegmentCumSum", {state.image, writer_.Starts()}, node));
  return One(std::move(out));
}

// --- Selection by index.

base::Result<RaggedPropagator::States> RaggedPropagator::GatherTokens(const Node& node) {
  const Value* data = node.input(0);
  const Value* indices = node.input(1);
  const State& state = StateOf(data);
  const int64_t axis = NormalAxisOf(node.Int("axis", 0), data);
  if (StateOf(indices).kind != Kind::kFree) return No("it selects tokens by the data");
  Value* const image = TRY(FreeImage(indices));
  const int added = Rank(indices) - 1;
  const auto to = [&](int own) { return own < 0 ? -1 : own > axis ? own + added : own; };
  if (state.kind == Kind::kSequences) {
    if (axis == 0) return No("it selects along the batch axis");
    return CopySequences(node, {state.image, image});
  }
  if (axis != state.length && axis != state.batch) {
    return CopyTokens(node, {state.image, image}, to(state.batch), to(state.length));
  }
  const std::optional<double> index = ScalarOf(indices);
  if (axis != state.length || index != 0.0) {
    return No("it selects tokens by their position, which may be padding");
  }
  State out = TRY(Segments(node, state, "first"));
  std::vector<int64_t> target = {-1};
  for (int own = 1; own < Rank(node.output()); ++own) {
    if (!At(node.output(), own).is_constant()) return No("an axis is open");
    target.push_back(At(node.output(), own).constant());
  }
  out.image = TRY(writer_.Reshape(out.image, target, node));
  return One(std::move(out));
}

// A mask [batch * length, ...] read at batch * length + position.
base::Result<RaggedPropagator::States> RaggedPropagator::GatherMask(const Node& node) {
  const State& mask = StateOf(node.input(0));
  const State& indices = StateOf(node.input(1));
  const Value* at = node.input(1);
  const bool flat = mask.table.batch == 0 && mask.table.axes[0] == 0 && node.Int("axis", 0) == 0;
  if (!flat || indices.kind != Kind::kAffine || !indices.affine[0].constant.Is(0)) {
    return No("it selects from a mask in a way that is not known");
  }
  State out = mask;
  out.table.batch = out.table.axes[0] = -1;
  const std::vector<Dim>& coefficients = indices.affine[0].coefficients;
  for (size_t axis = 0; axis < coefficients.size(); ++axis) {
    const int own = static_cast<int>(axis);
    if (coefficients[axis].Is(0) || At(at, own).Is(1)) continue;
    if (coefficients[axis] == length_ && At(at, own) == batch_ && out.table.batch < 0) {
      out.table.batch = own;
    } else if (coefficients[axis].Is(1) && At(at, own) == length_ && out.table.axes[0] < 0) {
      out.table.axes[0] = own;
    } else {
      return No("it selects from a mask in a way that is not known");
    }
  }
  if (out.table.batch < 0 || out.table.axes[0] < 0) return No("it selects one row of a mask");
  return One(std::move(out));
}

base::Result<RaggedPropagator::States> RaggedPropagator::GatherNd(const Node& node) {
  const State& mask = StateOf(node.input(0));
  const State& pairs = StateOf(node.input(1));
  const bool known = mask.kind == Kind::kTable && mask.table.batch == 0 &&
                     mask.table.axes[0] == 1 && mask.table.axes[1] < 0 &&
                     Rank(node.input(0)) == 2 && pairs.kind == Kind::kPairs &&
                     pairs.affine.size() == 2 && node.Int("batch_dims", 0) == 0;
  if (!known) return No("it selects in a way that is not known");
  // The axis whose index the part is; -1 when it is anything else.
  const auto axis_of = [&](const Affine& affine, Dim extent) {
    int found = -1;
    for (size_t axis = 0; axis < affine.coefficients.size(); ++axis) {
      if (affine.coefficients[axis].Is(0) || At(node.input(1), static_cast<int>(axis)).Is(1)) {
        continue;
      }
      const bool fits = found < 0 && affine.coefficients[axis].Is(1) && affine.constant.Is(0) &&
                        At(node.input(1), static_cast<int>(axis)) == extent;
      if (!fits) return -1;
      found = static_cast<int>(axis);
    }
    return found;
  };
  State out = mask;
  out.table.batch = axis_of(pairs.affine[0], batch_);
  out.table.axes[0] = axis_of(pairs.affine[1], length_);
  if (out.table.batch < 0 || out.table.axes[0] < 0) {
    return No("it selects from a mask in a way that is not known");
  }
  return One(std::move(out));
}

// Rows of a buffer that is the same for every sequence, at positions that tokens carry.
base::Result<RaggedPropagator::States> RaggedPropagator::GatherElements(const Node& node) {
  const State& data = StateOf(node.input(0));
  if (data.kind == Kind::kTokens && StateOf(node.input(1)).kind == Kind::kTable) {
    return ScoreBias(node);
  }
  const State at = TRY(Tokenize(node.input(1), node));
  const int64_t axis = NormalAxisOf(node.Int("axis", 0), node.input(0));
  if (data.kind == Kind::kTable && data.table.uniform()) return One(data);
  Value* const buffer = TRY(FreeImage(node.input(0)));
  if (Rank(buffer) != 2 || axis != 1 || !At(buffer, 0).Is(1) || !At(buffer, 1).is_constant() ||
      at.length != 1 || Rank(at.image) != 2) {
    return No("it selects elements in a way that is not known");
  }
  Value* const row = TRY(writer_.Reshape(buffer, {-1}, node));
  State out = at;
  out.pad.reset();
  out.image = TRY(writer_.Add("Gather", {row, at.image}, node));
  return One(std::move(out));
}

base::Result<RaggedPropagator::States> RaggedPropagator::Gather(const Node& node) {
  const State& data = StateOf(node.input(0));
  const State& indices = StateOf(node.input(1));
  if (data.kind == Kind::kTokens || data.kind == Kind::kSequences) return GatherTokens(node);
  if (data.kind == Kind::kTable && !data.table.uniform()) return GatherMask(node);
  Value* const table = TRY(FreeImage(node.input(0)));
  const int axis = static_cast<int>(NormalAxisOf(node.Int("axis", 0), node.input(0)));
  if (indices.kind == Kind::kSequences) {
    if (axis != 0) return No("it moves the sequences off the first axis");
    return CopySequences(node, {table, indices.image});
  }
  if (indices.kind == Kind::kTable && indices.table.uniform()) {
    // One row for all: it spreads when it meets the tokens.
    Value* const row = TRY(FreeImage(node.input(1)));
    const std::vector<Value*> images = TRY(writer_.Copy(node, {table, row}));
    State out;
    out.image = images[0];
    return One(std::move(out));
  }
  const State at = TRY(Tokenize(node.input(1), node));
  return CopyTokens(node, {table, at.image}, at.batch < 0 ? -1 : axis + at.batch, axis + at.length);
}

// --- Attention.

base::Result<RaggedPropagator::States> RaggedPropagator::Attention(const Node& node) {
  const int rank = Rank(node.output());
  const State& q = StateOf(node.input(0));
  const State& k = StateOf(node.input(1));
  const State& v = StateOf(node.input(2));
  for (const State* state : {&q, &k, &v}) {
    if (state->kind != Kind::kTokens) return No("its operands are not rows of tokens");
  }
  if (q.length != rank - 2 || k.length != rank - 1 || v.length != rank - 2) {
    return No("its queries, keys and values have their tokens on unexpected axes");
  }
  if (q.batch != k.batch || q.batch != v.batch || q.batch < 0 || q.batch >= rank - 2) {
    return No("its queries, keys and values are of different sequences");
  }
  if (!HasAllTokens(q) || !HasAllTokens(k) || !HasAllTokens(v)) return No("an operand has one row");
  const Value* mask = node.input(3);
  if (mask == nullptr) return No("no mask keeps it from reading padding");
  const MaskTable table = TRY(TableOfValue(mask));
  if (table.batch >= 0 && table.batch + rank - Rank(mask) != q.batch) {
    return No("its mask is that of other sequences");
  }
  const AttentionMask read = TRY(ReadAttentionMask(table, Rank(mask), rank, length_max_));
  if (!read.excludes_padding) return No("its mask does not keep it from reading padding");
  Node* ragged = writer_.graph().AddNode(RequireOp("FusedAttention"), kOpsetMax,
                                         {q.image, k.image, v.image, nullptr, writer_.Starts()}, 1);
  ragged->name = node.name;
  ragged->attributes = node.attributes;
  ragged->Set("length_max", length_max_);
  if (read.before >= 0) ragged->Set("window_before", read.before);
  if (read.after >= 0) ragged->Set("window_after", read.after);
  TRY(InferNode(writer_.graph(), *ragged));
  ++sites_;
  State out;
  out.kind = Kind::kTokens;
  out.batch = q.batch;
  out.length = rank - 2;
  out.image = ragged->output();
  return One(std::move(out));
}

}  // namespace sluice::graph
