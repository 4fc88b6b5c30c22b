// Attention and RotaryEmbedding (opset 23 on).
#include <algorithm>
#include <array>
#include <cmath>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/attention.h"
#include "kernels/ref/movement.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using kernels::ref::HeadStrides;

enum Input : size_t { kQuery, kKey, kValue, kMask, kPastKey, kPastValue, kKeyLengths };
enum Output : size_t { kY, kPresentKey, kPresentValue, kScores };

// An operand [batch, heads, length, dim], or [batch, length, heads * dim] with the heads named by
// an attribute.
struct Operand {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t length = 0;
  int64_t dim = 0;
  HeadStrides strides;
};

std::optional<Operand> OperandOf(const Shape& shape, int64_t heads) {
  if (shape.rank() == 4) {
    if (heads != 0 && heads != shape[1]) return std::nullopt;
    return Operand{shape[0],
                   shape[1],
                   shape[2],
                   shape[3],
                   {shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3]}};
  }
  if (shape.rank() != 3 || heads < 1 || shape[2] % heads != 0) return std::nullopt;
  const int64_t dim = shape[2] / heads;
  return Operand{shape[0], heads, shape[1], dim, {shape[1] * shape[2], dim, shape[2]}};
}

// ---- Attention ----

// The same with symbols: [batch, heads, length, dim].
std::optional<SymShape> SymbolicOperand(InferContext& context, size_t input, int64_t heads) {
  const SymShape* shape = context.shape(input);
  if (shape == nullptr) return std::nullopt;
  if (shape->size() == 4) return *shape;
  if (shape->size() != 3 || heads < 1) return std::nullopt;
  return SymShape{(*shape)[0], Dim(heads), (*shape)[1],
                  context.symbols().FloorDiv((*shape)[2], Dim(heads))};
}

Status InferAttention(InferContext& context) {
  TRY(ExpectType(context, kQuery, kFloatTypes));
  for (const Input input : {kKey, kValue, kPastKey, kPastValue})
    TRY(ExpectSameType(context, kQuery, input));
  TRY(ExpectType(context, kMask, kFloatTypes | kBoolType));
  TRY(ExpectType(context, kKeyLengths, kInt64Type));
  if (context.has_input(kPastKey) != context.has_input(kPastValue)) {
    return context.Fail("past_key and past_value must be given together");
  }
  const int64_t mode = context.node().Int("qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3) return context.Fail("qk_matmul_output_mode is out of range");
  const DType dtype = context.dtype(kQuery);
  const std::optional<SymShape> q =
      SymbolicOperand(context, kQuery, context.node().Int("q_num_heads", 0));
  const int64_t key_heads = context.node().Int("kv_num_heads", 0);
  std::optional<SymShape> k = SymbolicOperand(context, kKey, key_heads);
  std::optional<SymShape> v = SymbolicOperand(context, kValue, key_heads);
  if (!q.has_value() || !k.has_value() || !v.has_value()) {
    for (size_t i = 0; i < context.output_count(); ++i) context.SetOutput(i, dtype, std::nullopt);
    return Ok();
  }
  SymbolTable& symbols = context.symbols();
  for (const auto& [present, past] : {std::pair(&*k, kPastKey), std::pair(&*v, kPastValue)}) {
    if (!context.has_input(past)) continue;
    const SymShape* shape = context.shape(past);
    const bool known = shape != nullptr && shape->size() == 4;
    (*present)[2] = known ? symbols.Add((*present)[2], (*shape)[2]) : context.Fresh("present");
  }
  if (context.shape(kQuery)->size() == 4) {
    context.SetOutput(kY, dtype, SymShape{(*q)[0], (*q)[1], (*q)[2], (*v)[3]});
  } else {
    context.SetOutput(kY, dtype, SymShape{(*q)[0], (*q)[2], symbols.Mul((*q)[1], (*v)[3])});
  }
  context.SetOutput(kPresentKey, dtype, *k);
  context.SetOutput(kPresentValue, dtype, *v);
  context.SetOutput(kScores, dtype, SymShape{(*q)[0], (*q)[1], (*q)[2], (*k)[2]});
  return Ok();
}

// Past and new rows one behind the other as [batch, heads, past + length, dim], in the output when
// it is asked for.
struct Present {
  tensor::ConstView view;
  Operand operand;
};

Result<Present> JoinPast(RunContext& context, size_t input, const Operand& operand,
                         size_t past_input, size_t output) {
  const tensor::ConstView& now = context.input(input);
  const bool has_past = context.has_input(past_input);
  if (!has_past && !context.has_output(output)) return Present{now, operand};
  const tensor::ConstView& past = context.input(past_input);
  int64_t past_length = 0;
  if (has_past) {
    const Shape& shape = past.shape;
    if (shape.rank() != 4 || shape[0] != operand.batch || shape[1] != operand.heads ||
        shape[3] != operand.dim) {
      return context.Fail("the past " + shape.ToString() + " does not fit " + now.shape.ToString());
    }
    past_length = shape[2];
  }
  const int64_t length = past_length + operand.length;
  const Shape shape =
      TRY(Shape::FromDims(std::array{operand.batch, operand.heads, length, operand.dim}));
  tensor::View made{now.dtype, shape, nullptr};
  if (context.has_output(output)) {
    made = TRY(context.Output(output, now.dtype, shape));
  } else {
    const int64_t bytes = TRY(tensor::CheckedBytes(shape, tensor::DTypeSize(now.dtype)));
    made.data = TRY(context.Scratch(bytes));
  }
  const int64_t size = tensor::DTypeSize(now.dtype);
  auto* to = static_cast<std::byte*>(made.data);
  const auto* old_rows = static_cast<const std::byte*>(past.data);
  const auto* new_rows = static_cast<const std::byte*>(now.data);
  const auto row_bytes = static_cast<size_t>(operand.dim * size);
  for (int64_t b = 0; b < operand.batch; ++b) {
    for (int64_t h = 0; h < operand.heads; ++h) {
      for (int64_t s = 0; s < length; ++s, to += row_bytes) {
        const int64_t from = s < past_length
                                 ? ((b * operand.heads + h) * past_length + s) * operand.dim
                                 : b * operand.strides.batch + h * operand.strides.head +
                                       (s - past_length) * operand.strides.row;
        std::copy_n((s < past_length ? old_rows : new_rows) + from * size, row_bytes, to);
      }
    }
  }
  return Present{made, *OperandOf(shape, 0)};
}

// The mask must broadcast to [batch, heads, queries, keys], but may have fewer keys.
bool MaskFits(const Shape& mask, const Shape& scores) {
  if (mask.rank() < 2 || mask.rank() > 4 || mask[mask.rank() - 1] > scores[3]) return false;
  for (int i = 2; i <= mask.rank(); ++i) {
    const int64_t extent = mask[mask.rank() - i];
    if (extent != 1 && extent != scores[4 - i]) return false;
  }
  return true;
}

Status RunAttention(RunContext& context) {
  const Node& node = context.node();
  const std::optional<Operand> q =
      OperandOf(context.input(kQuery).shape, node.Int("q_num_heads", 0));
  const std::optional<Operand> k =
      OperandOf(context.input(kKey).shape, node.Int("kv_num_heads", 0));
  const std::optional<Operand> v =
      OperandOf(context.input(kValue).shape, node.Int("kv_num_heads", 0));
  if (!q.has_value() || !k.has_value() || !v.has_value() || q->batch != k->batch ||
      q->batch != v->batch || k->heads != v->heads || k->heads < 1 || q->heads % k->heads != 0 ||
      k->length != v->length || q->dim != k->dim) {
    return context.Fail("Q " + context.input(kQuery).shape.ToString() + ", K " +
                        context.input(kKey).shape.ToString() + " and V " +
                        context.input(kValue).shape.ToString() + " do not fit each other");
  }
  const Present key = TRY(JoinPast(context, kKey, *k, kPastKey, kPresentKey));
  const Present value = TRY(JoinPast(context, kValue, *v, kPastValue, kPresentValue));
  if (key.operand.length != value.operand.length)
    return context.Fail("the pasts have different lengths");
  kernels::ref::AttentionArgs args;
  args.batch = q->batch;
  args.heads = q->heads;
  args.key_heads = k->heads;
  args.queries = q->length;
  args.keys = key.operand.length;
  args.dim = q->dim;
  args.value_dim = v->dim;
  args.q = context.input(kQuery);
  args.k = key.view;
  args.v = value.view;
  args.q_strides = q->strides;
  args.k_strides = key.operand.strides;
  args.v_strides = value.operand.strides;
  args.scale = node.Has("scale") ? static_cast<double>(node.Float("scale", 1))
                                 : 1 / std::sqrt(static_cast<double>(q->dim));
  args.softcap = static_cast<double>(node.Float("softcap", 0));
  args.causal = node.Int("is_causal", 0) != 0;
  args.causal_offset = context.has_input(kPastKey) ? context.input(kPastKey).shape[2] : 0;
  const Shape scores =
      TRY(Shape::FromDims(std::array{args.batch, args.heads, args.queries, args.keys}));
  if (context.has_input(kMask)) {
    args.mask = context.input(kMask);
    if (!MaskFits(args.mask.shape, scores)) {
      return context.Fail("the mask " + args.mask.shape.ToString() + " does not broadcast to " +
                          scores.ToString());
    }
  }
  if (context.has_input(kKeyLengths)) {
    if (context.input(kKeyLengths).shape != Shape({args.batch}))
      return context.Fail("nonpad_kv_seqlen is one per row");
    args.key_lengths = context.input(kKeyLengths).as<int64_t>();
  }
  const bool split = context.input(kQuery).shape.rank() == 4;
  Shape shape = TRY(Shape::FromDims(std::array{q->batch, q->heads, q->length, v->dim}));
  args.y_strides = OperandOf(shape, 0)->strides;
  if (!split) {
    shape = Shape({q->batch, q->length, q->heads * v->dim});
    args.y_strides = OperandOf(shape, q->heads)->strides;
  }
  args.y = TRY(context.Output(kY, args.q.dtype, shape));
  if (context.has_output(kScores)) args.scores = TRY(context.Output(kScores, args.q.dtype, scores));
  args.stage = static_cast<kernels::ref::ScoreStage>(node.Int("qk_matmul_output_mode", 0));
  const int64_t scratch_bytes =
      std::max<int64_t>(args.keys, 1) * static_cast<int64_t>(sizeof(double));
  args.scratch = reinterpret_cast<double*>(TRY(context.Scratch(scratch_bytes)));
  TRY(context.TakeWork(Operations({scores.elements(), args.dim + args.value_dim})));
  kernels::ref::Attention(args);
  return Ok();
}

// Joined keys and values that nobody asked for, and the scores of one query.
int64_t AttentionScratch(const RunShapes& at) {
  int64_t joined[2] = {0, 0};
  int64_t keys = 0;
  for (size_t i = 0; i < 2; ++i) {
    const Shape& now = at.input_shape(kKey + i);
    const Shape& past = at.input_shape(kPastKey + i);
    const int64_t rows = now.rank() < 3 ? 0 : now[now.rank() - 2];
    keys = std::max(keys, rows + (past.rank() == 4 ? past[2] : 0));
    if (at.has_input(kPastKey + i) && !at.has_output(kPresentKey + i)) {
      joined[i] = (now.elements() + past.elements()) * tensor::DTypeSize(at.inputs[kKey + i].dtype);
    }
  }
  const int64_t scores = std::max<int64_t>(keys, 1) * static_cast<int64_t>(sizeof(double));
  return ScratchBytes({joined[0], joined[1], scores});
}

// ---- RotaryEmbedding ----

Status InferRotary(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  TRY(ExpectSameType(context, 0, 1));
  TRY(ExpectSameType(context, 0, 2));
  TRY(ExpectType(context, 3, kInt64Type));
  return InferSame(context);
}

Status RunRotary(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const std::optional<Operand> operand =
      OperandOf(x.shape, x.shape.rank() == 3 ? context.node().Int("num_heads", 0) : 0);
  if (!operand.has_value())
    return context.Fail("X " + x.shape.ToString() + " does not split into heads");
  kernels::ref::RotaryArgs args;
  args.batch = operand->batch;
  args.heads = operand->heads;
  args.length = operand->length;
  args.dim = operand->dim;
  args.strides = operand->strides;
  args.rotary = context.node().Int("rotary_embedding_dim", 0);
  if (args.rotary == 0) args.rotary = args.dim;
  if (args.rotary < 0 || args.rotary > args.dim || args.rotary % 2 != 0) {
    return context.Fail("rotary_embedding_dim must be even and within the head");
  }
  args.interleaved = context.node().Int("interleaved", 0) != 0;
  args.x = x;
  args.cos = context.input(1);
  args.sin = context.input(2);
  args.position_ids = context.input(3);
  const int64_t half = args.rotary / 2;
  const Shape& cache = args.cos.shape;
  const bool by_id = context.has_input(3);
  const bool fits = by_id ? cache.rank() == 2 && cache[1] == half &&
                                args.position_ids.shape == Shape({args.batch, args.length})
                          : cache == Shape({args.batch, args.length, half});
  if (!fits || args.sin.shape != cache) {
    return context.Fail("the caches " + cache.ToString() + " and " + args.sin.shape.ToString() +
                        " do not fit X " + x.shape.ToString());
  }
  args.y = TRY(context.Output(0, x.dtype, x.shape));
  const Status status = kernels::ref::Rotary(args);
  return status.ok() ? Ok() : Status(context.Fail(status.error().message));
}

constexpr auto kOps = std::to_array<OpDef>({
    {"Attention", 23, 3, 7, 1, 4, kNoTraits, InferAttention, RunAttention, "", AttentionScratch},
    {"RotaryEmbedding", 23, 3, 4, 1, 1, kNoTraits, InferRotary, RunRotary},
});

}  // namespace

std::span<const OpDef> AttentionOps() {
  return kOps;
}

}  // namespace sluice::graph
