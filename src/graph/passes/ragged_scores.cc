// Rules of attention that no recogniser has made one node: scores of queries against keys are kept
// as what they are made of (a product, biases by content and distance, a mask) until they weigh the
// values, and become one packed attention there. DeBERTa's disentangled attention comes this way.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/propagate_ragged.h"
#include "kernels/attention.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr double kMaskedMax = -1e4;  // what selects this or less excludes

// Where the last two axes are queries and keys and one before them the sequences: the table as one
// of [sequences, queries, keys].
std::optional<MaskTable> OfScores(const MaskTable& table, int rank, int scores_rank, int batch) {
  const int shift = scores_rank - rank;
  std::vector<int> map(static_cast<size_t>(rank), -1);
  for (int axis = 0; axis < rank; ++axis) {
    int& to = map[static_cast<size_t>(axis)];
    if (axis + shift == batch) to = 0;
    if (axis + shift == scores_rank - 2) to = 1;
    if (axis + shift == scores_rank - 1) to = 2;
  }
  return MoveAxes(table, map);
}

// A bool table as numbers: `low` where it is `excluded`, else 0.
MaskTable Lowered(const MaskTable& condition, bool excluded, double low) {
  MaskTable mask = condition;
  const Shape& shape = condition.values.shape;
  mask.values = {DType::kF32, shape, tensor::Buffer::Allocate(shape.elements() * 4)};
  const bool* const from = condition.values.view().as<bool>();
  float* const to = mask.values.mutable_view().as<float>();
  for (int64_t i = 0; i < shape.elements(); ++i) {
    to[i] = from[i] == excluded ? static_cast<float>(low) : 0.0F;
  }
  return mask;
}

// Whether it is `wanted` for every two positions that are no padding.
bool HoldsForTokens(const MaskTable& condition, bool wanted) {
  const Shape& shape = condition.values.shape;
  const int64_t rest = shape[2] * shape[3];
  const bool* const at = condition.values.view().as<bool>() + (shape.elements() - rest);
  return std::all_of(at, at + rest, [&](bool value) { return value == wanted; });
}

}  // namespace

// Q K^T of packed rows.
base::Result<RaggedPropagator::States> RaggedPropagator::ScoreProduct(const Node& node) {
  const State& q = StateOf(node.input(0));
  const State& k = StateOf(node.input(1));
  const int rank = Rank(node.output());
  const bool aligned = Rank(node.input(0)) == rank && Rank(node.input(1)) == rank && rank >= 3 &&
                       q.length == rank - 2 && k.length == rank - 1 && q.batch == k.batch &&
                       q.batch >= 0 && q.batch < rank - 2 && HasAllTokens(q) && HasAllTokens(k);
  if (!aligned) return No("it multiplies tokens by tokens outside of an attention that we know");
  State out;
  out.kind = Kind::kScores;
  out.batch = q.batch;
  out.scores.q = q.image;
  out.scores.k = k.image;
  for (Value** side : {&out.scores.q, &out.scores.k}) {
    const std::optional<Scaled> scaled = AsScaled(*side);
    if (!scaled.has_value() || !SameShape(scaled->x, *side)) continue;
    *side = scaled->x;
    out.scores.scale *= scaled->factor;
  }
  return One(std::move(out));
}

// Rows of tokens read at places that the distance of two positions decides.
base::Result<RaggedPropagator::States> RaggedPropagator::ScoreBias(const Node& node) {
  const State& rows = StateOf(node.input(0));
  const MaskTable& places = StateOf(node.input(1)).table;
  const int rank = Rank(node.output());
  const std::optional<int64_t> columns = LastExtent(node.input(0));
  const int64_t axis = node.Int("axis", 0);
  bool known = Rank(node.input(0)) == rank && rank >= 3 && rows.length == rank - 2 &&
               rows.batch >= 0 && rows.batch < rank - 2 && HasAllTokens(rows) &&
               columns.has_value() && (axis == -1 || axis == rank - 1) && places.batch < 0 &&
               places.axes[0] == rank - 2 && places.axes[1] == rank - 1 &&
               places.values.shape == Shape({1, 1, 1, 2 * length_max_ - 1}) &&
               places.values.dtype == DType::kI64;
  for (int i = 0; known && i < rank - 2; ++i) known = At(node.input(0), i) == At(node.output(), i);
  if (!known) return No("it selects from tokens in a way that is not known");
  RaggedScores::Bias bias;
  bias.rows = rows.image;
  // A table lies by query - key, columns by key - query.
  const int64_t* const table = places.values.view().as<int64_t>();
  for (int64_t i = 2 * length_max_ - 1; i-- > 0;) {
    const int64_t column = table[i] < 0 ? table[i] + *columns : table[i];
    if (column < 0 || column >= *columns) return No("it selects columns that there are not");
    bias.columns.push_back(static_cast<int32_t>(column));
  }
  State out;
  out.kind = Kind::kScores;
  out.batch = rows.batch;
  out.scores.biases.push_back(std::move(bias));
  return One(std::move(out));
}

base::Result<RaggedPropagator::States> RaggedPropagator::AddMask(const Value* value, State scores,
                                                                 const MaskTable& mask,
                                                                 int mask_rank) {
  if (scores.scores.mask.has_value() || scores.scores.normalized) return No("it masks once more");
  scores.scores.mask = OfScores(mask, mask_rank, Rank(value), scores.batch);
  if (!scores.scores.mask.has_value()) return No("its mask is that of other sequences");
  return One(std::move(scores));
}

base::Result<RaggedPropagator::States> RaggedPropagator::ScoreElementwise(const Node& node) {
  if (node.Is("Cast") || node.Is("Identity")) {
    if (node.output()->dtype != DType::kF32) return No("it rounds scores");
    return One(StateOf(node.input(0)));
  }
  const auto scores_at = [&](size_t i) {
    return node.input(i) != nullptr && StateOf(node.input(i)).kind == Kind::kScores;
  };
  if (node.Is("Mul") || node.Is("Div")) {
    const std::optional<Scaled> scaled = AsScaled(node.output());
    const bool plain = scaled.has_value() && StateOf(scaled->x).kind == Kind::kScores &&
                       SameShape(scaled->x, node.output());
    if (!plain) return No("it scales scores by something else than a number");
    State out = StateOf(scaled->x);
    if (out.scores.normalized || out.scores.mask.has_value()) return No("it scales a mask as well");
    out.scores.scale *= scaled->factor;
    for (RaggedScores::Bias& bias : out.scores.biases) bias.factor *= scaled->factor;
    return One(std::move(out));
  }
  if (node.Is("Add")) {
    const size_t first = scores_at(0) ? 0 : 1;
    const Value* const other = node.input(1 - first);
    State out = StateOf(node.input(first));
    if (!SameShape(node.input(first), node.output())) return No("it spreads scores");
    if (!scores_at(1 - first)) {
      return AddMask(node.output(), std::move(out), TRY(TableOfValue(other)), Rank(other));
    }
    const State& more = StateOf(other);
    const bool fits = SameShape(other, node.output()) && out.batch == more.batch &&
                      !(out.scores.mask.has_value() && more.scores.mask.has_value()) &&
                      !out.scores.normalized && !more.scores.normalized &&
                      (out.scores.q == nullptr || more.scores.q == nullptr);
    if (!fits) return No("it adds scores in a way that is not known");
    if (more.scores.q != nullptr) {
      out.scores.q = more.scores.q;
      out.scores.k = more.scores.k;
      out.scores.scale = more.scores.scale;
    }
    if (more.scores.mask.has_value()) out.scores.mask = more.scores.mask;
    for (const RaggedScores::Bias& bias : more.scores.biases) out.scores.biases.push_back(bias);
    return One(std::move(out));
  }
  if (node.Is("Where") && !scores_at(0) && scores_at(1) != scores_at(2)) {
    const size_t kept = scores_at(1) ? 1 : 2;
    const std::optional<double> other = ScalarOf(node.input(3 - kept));
    State out = StateOf(node.input(kept));
    const MaskTable condition = TRY(TableOfValue(node.input(0)));
    const bool excluded = kept == 2;
    if (!other.has_value() || condition.values.dtype != DType::kBool ||
        !SameShape(node.input(kept), node.output())) {
      return No("it selects scores in a way that is not known");
    }
    if (out.scores.normalized) {
      // Weights of padding, which are 0, made 0 once more.
      if (*other != 0 || !HoldsForTokens(condition, !excluded)) {
        return No("it changes the weights of tokens");
      }
      return One(std::move(out));
    }
    if (!(*other <= kMaskedMax)) return No("what it selects instead of scores excludes nothing");
    return AddMask(node.output(), std::move(out), Lowered(condition, excluded, *other),
                   Rank(node.input(0)));
  }
  return No("it computes with scores in a way that is not known");
}

base::Result<RaggedPropagator::States> RaggedPropagator::ScoreReshape(const Node& node) {
  State out = StateOf(node.input(0));
  const SymShape& from = *node.input(0)->shape;
  const SymShape& to = *node.output()->shape;
  const auto last_are_lengths = [&](const SymShape& shape) {
    return shape.size() >= 3 && shape[shape.size() - 1] == length_ &&
           shape[shape.size() - 2] == length_;
  };
  if (!last_are_lengths(from) || !last_are_lengths(to)) return No("it merges axes of scores");
  const Dim before = symbols().Product(std::span(from).first(static_cast<size_t>(out.batch)));
  out.batch = -1;
  for (size_t axis = 0; axis + 2 < to.size() && out.batch < 0; ++axis) {
    const bool sequences = symbols().DivideExact(to[axis], batch_).has_value();
    if (sequences && symbols().Product(std::span(to).first(axis)) == before) {
      out.batch = static_cast<int>(axis);
    }
  }
  if (out.batch < 0) return No("it moves the sequences of scores");
  return One(std::move(out));
}

base::Result<RaggedPropagator::States> RaggedPropagator::ScoreTranspose(const Node& node) {
  State out = StateOf(node.input(0));
  const std::span<const int64_t> perm = node.Ints("perm");
  const size_t rank = static_cast<size_t>(Rank(node.output()));
  bool swaps = perm.size() == rank && perm[rank - 1] == static_cast<int64_t>(rank) - 2 &&
               perm[rank - 2] == static_cast<int64_t>(rank) - 1;
  for (size_t i = 0; swaps && i + 2 < rank; ++i) swaps = perm[i] == static_cast<int64_t>(i);
  if (!swaps || out.scores.q != nullptr || out.scores.mask.has_value() || out.scores.normalized) {
    return No("it turns scores in a way that is not known");
  }
  for (RaggedScores::Bias& bias : out.scores.biases) {
    bias.by_key = !bias.by_key;
    std::reverse(bias.columns.begin(), bias.columns.end());
  }
  return One(std::move(out));
}

base::Result<RaggedPropagator::States> RaggedPropagator::ScoreSoftmax(const Node& node) {
  State out = StateOf(node.input(0));
  const int rank = Rank(node.output());
  const int64_t axis = node.Int("axis", node.opset >= 13 ? -1 : 1);
  if (out.scores.normalized || (axis != -1 && axis != rank - 1)) {
    return No("it weighs scores along another axis than the keys");
  }
  out.scores.normalized = true;
  return One(std::move(out));
}

// Weights times values: the attention.
base::Result<RaggedPropagator::States> RaggedPropagator::WeighValues(const Node& node) {
  const State& weights = StateOf(node.input(0));
  const State& v = StateOf(node.input(1));
  const RaggedScores& scores = weights.scores;
  const int rank = Rank(node.output());
  const bool aligned = v.kind == Kind::kTokens && Rank(node.input(0)) == rank &&
                       Rank(node.input(1)) == rank && v.length == rank - 2 &&
                       v.batch == weights.batch && HasAllTokens(v);
  if (!aligned) return No("its values are of different sequences");
  if (!scores.normalized || scores.q == nullptr) return No("its scores are no attention's");
  if (!scores.mask.has_value()) return No("no mask keeps it from reading padding");
  if (scores.biases.size() > static_cast<size_t>(kernels::kRelativeBiasesMax)) {
    return No("its scores have more biases than two");
  }
  const AttentionMask read = TRY(ReadAttentionMask(*scores.mask, 3, 3, length_max_));
  if (!read.excludes_padding) return No("its mask does not keep it from reading padding");
  const Dim heads =
      symbols().Product(std::span(*v.image->shape).first(static_cast<size_t>(rank) - 2));
  // The tokens of an image and the rest, [heads, tokens, ..] or [heads, .., tokens].
  const auto fit = [&](Value* value, int tokens_from_end) -> base::Result<Value*> {
    const SymShape& shape = *value->shape;
    const size_t last = shape.size() - 1;
    const Dim own = symbols().Product(std::span(shape).first(last - 1));
    if (!(own == heads) || !heads.is_constant()) return No("its operands have different heads");
    if (Rank(value) == rank && (rank < 4 || shape[0].Is(1))) return value;
    std::vector<int64_t> target(static_cast<size_t>(rank), 1);
    target[static_cast<size_t>(rank) - 3] = heads.constant();
    const size_t kept = tokens_from_end == 1 ? 1 : 0;
    const Dim width = shape[last - kept];
    if (!width.is_constant()) return No("its heads are of open width");
    target[static_cast<size_t>(rank) - 1 - kept] = width.constant();
    target[static_cast<size_t>(rank - tokens_from_end)] = -1;
    return writer_.Reshape(value, target, node);
  };
  std::vector<Value*> inputs = {TRY(fit(scores.q, 2)), TRY(fit(scores.k, 1)), TRY(fit(v.image, 2)),
                                nullptr, writer_.Starts()};
  std::vector<float> factors;
  std::vector<int64_t> by_key;
  for (const RaggedScores::Bias& bias : scores.biases) {
    const auto count = static_cast<int64_t>(bias.columns.size());
    Tensor columns{DType::kI32, Shape({count}), tensor::Buffer::Allocate(count * 4)};
    std::copy(bias.columns.begin(), bias.columns.end(), columns.mutable_view().as<int32_t>());
    inputs.push_back(TRY(fit(bias.rows, 2)));
    inputs.push_back(writer_.Constant(std::move(columns)));
    factors.push_back(static_cast<float>(bias.factor));
    by_key.push_back(bias.by_key ? 1 : 0);
  }
  Node* ragged =
      writer_.graph().AddNode(RequireOp("FusedAttention"), kOpsetMax, std::move(inputs), 1);
  ragged->name = node.name;
  ragged->Set("scale", static_cast<float>(scores.scale));
  ragged->Set("length_max", length_max_);
  if (read.before >= 0) ragged->Set("window_before", read.before);
  if (read.after >= 0) ragged->Set("window_after", read.after);
  if (!factors.empty()) {
    ragged->Set("bias_factors", std::move(factors));
    ragged->Set("biases_by_key", std::move(by_key));
  }
  TRY(InferNode(writer_.graph(), *ragged));
  ++sites_;
  State out = v;
  out.pad.reset();
  out.image = ragged->output();
  return One(std::move(out));
}

// Each token's row turned by the angles of its own place.
base::Result<RaggedPropagator::States> RaggedPropagator::Rotary(const Node& node) {
  const State& x = StateOf(node.input(0));
  if (x.kind != Kind::kTokens || x.length == Rank(node.input(0)) - 1 || !HasAllTokens(x)) {
    return No("its rows are no tokens");
  }
  return TokenElementwise(node);
}

// The same rows for every sequence, one behind the other on one axis.
base::Result<RaggedPropagator::States> RaggedPropagator::Tile(const Node& node) {
  const Value* x = node.input(0);
  State out;
  out.kind = Kind::kRepeated;
  out.image = TRY(FreeImage(x));
  for (int axis = 0; axis < Rank(x); ++axis) {
    if (At(x, axis) == At(node.output(), axis)) continue;
    if (out.batch >= 0 || !(At(node.output(), axis) == symbols().Mul(batch_, At(x, axis)))) {
      return No("it repeats rows otherwise than once a sequence");
    }
    out.batch = axis;
  }
  if (out.batch < 0) return No("it repeats rows otherwise than once a sequence");
  return One(std::move(out));
}

// Tokens times what every sequence has the same of.
base::Result<RaggedPropagator::States> RaggedPropagator::RepeatedProduct(const Node& node) {
  const State& left = StateOf(node.input(0));
  const State& right = StateOf(node.input(1));
  const int rank = Rank(node.output());
  const bool aligned = Rank(node.input(0)) == rank && Rank(node.input(1)) == rank &&
                       left.kind == Kind::kTokens && left.length == rank - 2 &&
                       left.batch == right.batch && left.batch < rank - 2;
  if (!aligned) return No("it multiplies tokens by rows of other sequences");
  return CopyTokens(node, {left.image, right.image}, left.batch, left.length);
}

}  // namespace sluice::graph
