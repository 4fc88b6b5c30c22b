// The ops that passes make. They have no reference kernel: what they mean is what they were made
// from, and tests compare with that.
#include "graph/op.h"
#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/attention.h"

namespace sluice::graph {
namespace {

// FusedLinear(a [..., K], b [K, N] or [N, K] with trans_b, bias [N]?, residual [..., N]?, factor
// [..., N]?) -> [..., N]: activation(a b + bias + residual) or, with a factor,
// activation(a b + bias) * factor + residual.
base::Status InferFusedLinear(InferContext& context) {
  const SymShape* a = context.shape(0);
  const SymShape* b = context.shape(1);
  if (a == nullptr || b == nullptr || a->size() < 2 || b->size() != 2)
    return context.Fail("needs known ranks");
  const bool transposed = context.node().Int("trans_b", 0) != 0;
  const Dim k = (*b)[transposed ? 1 : 0];
  if (a->back().is_constant() && k.is_constant() && !(a->back() == k)) {
    return context.Fail("the operands disagree on K: " + context.symbols().ToString(*a) + " and " +
                        context.symbols().ToString(*b));
  }
  SymShape shape = *a;
  shape.back() = (*b)[transposed ? 0 : 1];
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return base::Ok();
}

// FusedAttention(q [..., Sq, D], k [..., D, Sk], v [..., Sk, Dv], mask?, starts?, (rows, columns)…)
// -> [..., Sq, Dv]:
// softmax(scale * q k + mask) v; of rank 4, k and v may have fewer heads on axis 1, each for as
// many neighbouring heads of q. The mask is f32 and broadcast to [..., Sq, Sk]. With starts, int32
// [sequences + 1], Sq = Sk are the packed rows of all sequences (leading axes: at most [1, heads]),
// each of which sees its own alone, those within window_before and window_after if these are set;
// each pair of rows [..., Sq, R] and columns int32 [2 * length_max - 1] is a
// kernels::RelativeBias, with "bias_factors" and "biases_by_key".
base::Status InferFusedAttention(InferContext& context) {
  const SymShape* q = context.shape(0);
  const SymShape* k = context.shape(1);
  const SymShape* v = context.shape(2);
  if (q == nullptr || k == nullptr || v == nullptr || q->size() < 2 || k->size() != q->size() ||
      v->size() != q->size()) {
    return context.Fail("needs operands of one rank");
  }
  const size_t rank = q->size();
  const auto agree = [](Dim a, Dim b) { return !a.is_constant() || !b.is_constant() || a == b; };
  bool fits = agree((*q)[rank - 1], (*k)[rank - 2]) && agree((*k)[rank - 1], (*v)[rank - 2]);
  for (size_t i = 0; i + 2 < rank; ++i) {
    // Keys and values may have a head for a group of queries.
    const Dim few = (*k)[i];
    const bool grouped = i == 1 && rank == 4 && few.is_constant() && (*q)[i].is_constant() &&
                         few.constant() > 0 && (*q)[i].constant() % few.constant() == 0;
    fits = fits && agree((*k)[i], (*v)[i]) && (grouped || agree((*q)[i], few));
  }
  if (const SymShape* mask = context.shape(3)) {
    fits = fits && mask->size() <= rank;
    for (size_t i = 0; fits && i < mask->size(); ++i) {
      const size_t axis = rank - mask->size() + i;
      const Dim extent = axis == rank - 1 ? (*k)[rank - 1] : (*q)[axis];
      fits = (*mask)[i].Is(1) || agree((*mask)[i], extent);
    }
  }
  if (!fits) {
    return context.Fail("operands " + context.symbols().ToString(*q) + ", " +
                        context.symbols().ToString(*k) + " and " + context.symbols().ToString(*v) +
                        " (or the mask) do not fit together");
  }
  SymShape shape = *q;
  shape.back() = v->back();
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return base::Ok();
}

// FusedRotary(x [..., D], cos, sin) -> x's shape: kernels/rotary.h over the first "turned" elements
// of each row (all of them where it is absent), in halves or "interleaved". cos and sin are of one
// shape that broadcasts to x but for the last axis, which has an element for each turned one or for
// two.
base::Status InferFusedRotary(InferContext& context) {
  const SymShape* x = context.shape(0);
  const SymShape* table = context.shape(1);
  if (x == nullptr || table == nullptr || table->empty() || table->size() > x->size()) {
    return context.Fail("needs known ranks");
  }
  context.SetOutput(0, context.dtype(0), std::optional<SymShape>(*x));
  return base::Ok();
}

// SegmentReduce(x [1, tokens, ...], starts int32 [sequences + 1]) -> [sequences, ...]: the sum,
// maximum or first row of each sequence (`mode`).
base::Status InferSegmentReduce(InferContext& context) {
  const SymShape* x = context.shape(0);
  const SymShape* starts = context.shape(1);
  if (x == nullptr || starts == nullptr || x->size() < 2 || starts->size() != 1) {
    return context.Fail("needs [1, tokens, ...] and [sequences + 1]");
  }
  SymShape shape(x->begin() + 1, x->end());
  shape[0] = context.symbols().Sub((*starts)[0], Dim(1));
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return base::Ok();
}

// SegmentLengths(starts int32 [sequences + 1]) -> [sequences] of `type`.
base::Status InferSegmentLengths(InferContext& context) {
  const SymShape* starts = context.shape(0);
  if (starts == nullptr || starts->size() != 1) return context.Fail("needs [sequences + 1]");
  const std::optional<tensor::DType> type =
      tensor::DTypeFromName(context.node().String("type", "FP32"));
  context.SetOutput(0, type.value_or(tensor::DType::kF32),
                    SymShape{context.symbols().Sub((*starts)[0], Dim(1))});
  return base::Ok();
}

// SegmentCumSum(x [1, tokens], starts) -> [1, tokens]: running sums within each sequence.
base::Status InferSegmentCumSum(InferContext& context) {
  const SymShape* x = context.shape(0);
  context.SetOutput(0, context.dtype(0), x == nullptr ? std::nullopt : std::optional<SymShape>(*x));
  return base::Ok();
}

// FusedChain(inputs…) -> one f32 or bool tensor of their broadcast shape: graph/chain_code.h has
// the program.
base::Status InferFusedChain(InferContext& context) {
  const std::optional<SymShape> shape = TRY(BroadcastInputs(context, 0, context.input_count()));
  const std::optional<tensor::DType> type =
      tensor::DTypeFromName(context.node().String("type", "FP32"));
  context.SetOutput(0, type.value_or(tensor::DType::kF32), shape);
  return base::Ok();
}

// FusedNorm(x, residual, scale, bias?): LayerNormalization over the last axis of x + residual, of
// one shape.
base::Status InferFusedNorm(InferContext& context) {
  const SymShape* x = context.shape(0);
  context.SetOutput(0, context.dtype(0), x == nullptr ? std::nullopt : std::optional<SymShape>(*x));
  return base::Ok();
}

// FusedLookups((table [N, D], ids, offsets?, weights?)…) -> one f32 tensor an output. Attributes,
// one element a look-up: "modes" (0 the rows of ids [...] as [..., D]; 1 the sum, 2 the mean over
// the last axis of ids or over the bags that offsets cut), "closed" (whether offsets tell the end
// of the last bag as well), "outputs" (which output it goes to; several are added up in order).
base::Status InferFusedLookups(InferContext& context) {
  const std::span<const int64_t> modes = context.node().Ints("modes");
  const std::span<const int64_t> closed = context.node().Ints("closed");
  const std::span<const int64_t> outputs = context.node().Ints("outputs");
  for (size_t i = 0; i < modes.size(); ++i) {
    const SymShape* table = context.shape(4 * i);
    const SymShape* ids = context.shape(4 * i + 1);
    const SymShape* offsets = context.shape(4 * i + 2);
    if (table == nullptr || ids == nullptr) return context.Fail("needs known ranks");
    SymShape shape = *ids;
    if (offsets != nullptr) {
      shape = *offsets;
      if (closed[i] != 0) shape[0] = context.symbols().Sub(shape[0], Dim(1));
    } else if (modes[i] != 0) {
      shape.pop_back();
    }
    shape.push_back(table->back());
    context.SetOutput(static_cast<size_t>(outputs[i]), DType::kF32, std::move(shape));
  }
  return base::Ok();
}

// FusedPairDots(x [B, F, D]) -> [B, P]: the dot products of x's features "first" and "second", P
// each. kernels/interaction.h.
base::Status InferFusedPairDots(InferContext& context) {
  const SymShape* x = context.shape(0);
  if (x == nullptr || x->size() != 3) return context.Fail("needs an operand of rank 3");
  context.SetOutput(
      0, context.dtype(0),
      SymShape{(*x)[0], Dim(static_cast<int64_t>(context.node().Ints("first").size()))});
  return base::Ok();
}

// FusedRowMlp(x [B, T, D], gate [B, 1, D], gate_weight [D, N], (weight [K, N], bias [N]?)…, (slope
// [N]?, scale [N]?, shift [N]?)…) -> [B, T, N of the last]: layers of "activations" over [x, x *
// gate] (with "crosses", else x), the gate's product added to the first. "gates", a
// kernels::RowGate each, and the triples may be absent. kernels/row_mlp.h.
base::Status InferFusedRowMlp(InferContext& context) {
  const SymShape* x = context.shape(0);
  const size_t layers = context.node().Strings("activations").size();
  const SymShape* last = layers == 0 ? nullptr : context.shape(1 + 2 * layers);
  if (x == nullptr || x->size() != 3 || last == nullptr) return context.Fail("needs known ranks");
  SymShape shape = *x;
  shape.back() = last->back();
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return base::Ok();
}

// FusedSecondOrder(x [B, F, D]) -> [B, D], or [B, 1] with "reduces": scale * ((sum over F)^2 - sum
// over F of squares). kernels/interaction.h.
base::Status InferFusedSecondOrder(InferContext& context) {
  const SymShape* x = context.shape(0);
  if (x == nullptr || x->size() != 3) return context.Fail("needs an operand of rank 3");
  const bool reduces = context.node().Int("reduces", 1) != 0;
  context.SetOutput(0, context.dtype(0), SymShape{(*x)[0], reduces ? Dim(1) : x->back()});
  return base::Ok();
}

// FusedVectorCross(x0 [..., D], x [..., D], weight of D elements, bias of D elements?) -> [..., D]:
// x0 * (x . weight) + bias + x. kernels/interaction.h.
base::Status InferFusedVectorCross(InferContext& context) {
  const SymShape* x = context.shape(1);
  if (x == nullptr || x->size() < 2) return context.Fail("needs a known rank");
  context.SetOutput(0, context.dtype(1), *x);
  return base::Ok();
}

constexpr OpDef kFusedOps[] = {
    {"FusedLinear", 1, 2, 5, 1, 1, kNoTraits, InferFusedLinear, nullptr, kOurDomain},
    {"FusedAttention", 1, 3, 5 + 2 * kernels::kRelativeBiasesMax, 1, 1, kNoTraits,
     InferFusedAttention, nullptr, kOurDomain},
    {"FusedChain", 1, 1, -1, 1, 1, kNoTraits, InferFusedChain, nullptr, kOurDomain},
    {"FusedLookups", 1, 2, -1, 1, -1, kNoTraits, InferFusedLookups, nullptr, kOurDomain},
    {"FusedPairDots", 1, 1, 1, 1, 1, kNoTraits, InferFusedPairDots, nullptr, kOurDomain},
    {"FusedSecondOrder", 1, 1, 1, 1, 1, kNoTraits, InferFusedSecondOrder, nullptr, kOurDomain},
    {"FusedRotary", 1, 3, 3, 1, 1, kNoTraits, InferFusedRotary, nullptr, kOurDomain},
    {"FusedVectorCross", 1, 3, 4, 1, 1, kNoTraits, InferFusedVectorCross, nullptr, kOurDomain},
    {"SegmentReduce", 1, 2, 2, 1, 1, kNoTraits, InferSegmentReduce, nullptr, kOurDomain},
    {"SegmentLengths", 1, 1, 1, 1, 1, kNoTraits, InferSegmentLengths, nullptr, kOurDomain},
    {"SegmentCumSum", 1, 2, 2, 1, 1, kNoTraits, InferSegmentCumSum, nullptr, kOurDomain},
    {"FusedRowMlp", 1, 4, -1, 1, 1, kNoTraits, InferFusedRowMlp, nullptr, kOurDomain},
    {"FusedNorm", 1, 3, 4, 1, 1, kNoTraits, InferFusedNorm, nullptr, kOurDomain},
};

}  // namespace

std::span<const OpDef> FusedOps() {
  return kFusedOps;
}

}  // namespace sluice::graph
