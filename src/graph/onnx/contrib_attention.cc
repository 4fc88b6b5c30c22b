// Fused attention of com.microsoft, spelled out as product, mask, softmax, product.
#include <array>
#include <cmath>
#include <limits>

#include "graph/onnx/contrib.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

constexpr int64_t kExtentMax = int64_t{1} << 40;  // of what is computed with here

// [batch, tokens, heads * width] as [batch, heads, tokens, width], and back.
std::string ToHeads(ContribBody& body, const std::string& x, int64_t heads) {
  const std::string split = body.Make("Reshape", {x, body.IntList({0, 0, heads, -1})});
  return body.Make("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
}
std::string FromHeads(ContribBody& body, const std::string& x) {
  const std::string tokens =
      body.Make("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  return body.Make("Reshape", {tokens, body.IntList({0, 0, -1})});
}

// The attributes that the operators share.
struct Options {
  int64_t heads = 0;
  bool causal = false;
  bool from_first = false;
  float masked = -10000;
  float scale = 0;  // 0: one over the root of the width
};

Result<Options> ReadOptions(ContribBody& body) {
  Options options;
  options.heads = body.Int("num_heads", 0);
  options.causal = body.Int("unidirectional", 0) != 0;
  options.masked = body.Float("mask_filter_value", -10000);
  options.scale = body.Float("scale", 0);
  if (options.heads < 1) return body.Refuse("num_heads must be at least 1");
  return options;
}

// Numbers 0 to count - 1, i64; `count` is [1].
std::string Iota(ContribBody& body, const std::string& count) {
  const std::string limit = body.Make("Squeeze", {count, body.IntList({0})});
  return body.Make("Range", {body.IntScalar(0), limit, body.IntScalar(1)});
}

// 0 where `kept`, else the number that is added to masked scores.
std::string Additive(ContribBody& body, const std::string& kept, const Options& options) {
  return body.Make("Where", {kept, body.Number(0, 0), body.Number(options.masked, 0)});
}

// What is added to the scores [batch, heads, queries, keys] for a mask input of any of its forms,
// of `rank` axes. "" where there is none.
Result<std::string> PaddingMask(ContribBody& body, size_t input, const std::string& keys,
                                const std::string& batch, const Options& options) {
  if (!body.has(input)) return std::string();
  const std::optional<int> rank = body.Rank(input);
  if (!rank.has_value()) return body.Refuse("the rank of the mask must be known");
  if (*rank == 1) {
    // Tokens per sequence. The longer forms, with beginnings too, do not fit this shape.
    const std::string shape =
        body.Make("Concat", {batch, body.IntList({1, 1, 1})}, {{"axis", int64_t{0}}});
    const std::string lengths =
        body.Make("Reshape", {body.CastTo(body.In(input), DType::kI64), shape});
    return Additive(body, body.Make("Less", {Iota(body, keys), lengths}), options);
  }
  const std::string kept = body.CastTo(body.In(input), DType::kBool);
  if (*rank == 2)
    return Additive(body, body.Make("Unsqueeze", {kept, body.IntList({1, 2})}), options);
  if (*rank == 3) return Additive(body, body.Make("Unsqueeze", {kept, body.IntList({1})}), options);
  return body.Refuse("a mask of rank " + std::to_string(*rank) + " is not supported");
}

// Query i of the last `queries` sees the keys up to its own; with `from_first` key i is its own.
std::string CausalMask(ContribBody& body, const std::string& queries, const std::string& keys,
                       const Options& options) {
  std::string last = Iota(body, queries);
  if (!options.from_first) last = body.Make("Add", {last, body.Make("Sub", {keys, queries})});
  const std::string rows = body.Make("Unsqueeze", {last, body.IntList({1})});
  return Additive(body, body.Make("LessOrEqual", {Iota(body, keys), rows}), options);
}

// Queries, keys and values by heads: [batch, heads, tokens, width].
struct Heads {
  std::string q, k, v;
  std::optional<int64_t> width;  // of a query, where it is known
};

// softmax(scale q k^T + mask) v by heads. `mask` may be "".
std::string Attend(ContribBody& body, const Heads& heads, const std::string& mask,
                   const Options& options) {
  const std::string keys =
      body.Make("Transpose", {heads.k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  std::string scores = body.Make("MatMul", {heads.q, keys});
  if (options.scale != 0 || heads.width.has_value()) {
    const float scale = options.scale != 0
                            ? options.scale
                            : 1 / std::sqrt(static_cast<float>(heads.width.value_or(1)));
    scores = body.Make("Mul", {scores, body.Number(scale, 0)});
  } else {
    const std::string width = body.CastTo(body.Dimension(heads.q, 3), body.Type(0));
    scores = body.Make("Div", {scores, body.Make("Sqrt", {width})});
  }
  const std::string weights =
      body.Make("Softmax", {body.AddMaybe(scores, mask)}, {{"axis", int64_t{-1}}});
  return body.Make("MatMul", {weights, heads.v});
}

std::string AddMasks(ContribBody& body, const std::string& a, const std::string& b) {
  if (a.empty()) return b;
  return body.AddMaybe(a, b);
}

Result<std::string> AllMasks(ContribBody& body, const Heads& heads, size_t padding, size_t bias,
                             const Options& options) {
  const std::string keys = body.Dimension(heads.k, 2);
  std::string mask = TRY(PaddingMask(body, padding, keys, body.Dimension(heads.q, 0), options));
  if (options.causal)
    mask = AddMasks(body, mask, CausalMask(body, body.Dimension(heads.q, 2), keys, options));
  return AddMasks(body, mask, body.In(bias));
}

// ---- Attention: one product makes queries, keys and values ----

// The inputs that follow the product.
struct PackedInputs {
  size_t weights, mask, past, score_bias;
};

// `all` is the product, its bias added: queries, keys and values side by side.
Status AttendPacked(ContribBody& body, const std::string& all, const PackedInputs& in) {
  const Options options = TRY(ReadOptions(body));
  if (body.Int("do_rotary", 0) != 0) return body.Refuse("do_rotary is not supported");
  if (body.Int("past_present_share_buffer", 0) != 0)
    return body.Refuse("a buffer shared by past and present is not supported");
  body.Ignore({"rotary_embedding_dim"});
  std::vector<int64_t> sizes = body.Ints("qkv_hidden_sizes");
  if (sizes.empty()) {
    const std::optional<int64_t> columns = body.Extent(in.weights, 1);
    if (!columns.has_value() || *columns % 3 != 0)
      return body.Refuse("the columns of the weights must be known, a multiple of 3");
    sizes.assign(3, *columns / 3);
  }
  if (sizes.size() != 3 || sizes[0] < options.heads)
    return body.Refuse("qkv_hidden_sizes must list three sizes");
  const std::vector<std::string> parts =
      body.MakeMany("Split", {all, body.IntList(sizes)}, 3, {{"axis", int64_t{2}}});
  Heads heads;
  heads.q = ToHeads(body, parts[0], options.heads);
  heads.k = ToHeads(body, parts[1], options.heads);
  heads.v = ToHeads(body, parts[2], options.heads);
  heads.width = sizes[0] / options.heads;
  if (body.has(in.past)) {
    const auto past = [&](int64_t i) {
      return body.Make("Gather", {body.In(in.past), body.IntScalar(i)}, {{"axis", int64_t{0}}});
    };
    heads.k = body.Make("Concat", {past(0), heads.k}, {{"axis", int64_t{2}}});
    heads.v = body.Make("Concat", {past(1), heads.v}, {{"axis", int64_t{2}}});
  }
  if (body.wants(1)) {
    const auto alone = [&](const std::string& x) {
      return body.Make("Unsqueeze", {x, body.IntList({0})});
    };
    body.Output(1, body.Make("Concat", {alone(heads.k), alone(heads.v)}, {{"axis", int64_t{0}}}));
  }
  const std::string mask = TRY(AllMasks(body, heads, in.mask, in.score_bias, options));
  body.Output(0, FromHeads(body, Attend(body, heads, mask, options)));
  return Ok();
}

Status ExpandAttention(ContribBody& body) {
  enum : size_t { kX, kWeights, kBias, kMask, kPast, kScoreBias, kPastLength };
  if (body.has(kPastLength)) return body.Refuse("a past of its own length is not supported");
  const std::string product = body.Make("MatMul", {body.In(kX), body.In(kWeights)});
  return AttendPacked(body, body.AddMaybe(product, body.In(kBias)),
                      {kWeights, kMask, kPast, kScoreBias});
}

Status ExpandQAttention(ContribBody& body) {
  enum : size_t { kX, kWeights, kBias, kXScale, kWScale, kMask, kXZero, kWZero, kPast, kNone };
  const std::string product =
      ContribIntegerProduct(body, {body.In(kX), body.In(kXScale), body.In(kXZero)},
                            {body.In(kWeights), body.In(kWScale), body.In(kWZero)}, "");
  return AttendPacked(body, body.AddMaybe(product, body.In(kBias)),
                      {kWeights, kMask, kPast, kNone});
}

// ---- MultiHeadAttention: queries, keys and values are made elsewhere ----

// Queries, keys and values before their biases; [batch, tokens, heads * width] or by heads.
Result<Heads> SeparateHeads(ContribBody& body, const Options& options) {
  enum : size_t { kQuery, kKey, kValue, kBias };
  const std::optional<int64_t> hidden = body.Extent(kQuery, -1);
  std::array<std::string, 3> biases;
  if (body.has(kBias)) {
    const std::optional<int64_t> total = body.Extent(kBias, 0);
    if (!hidden.has_value() || !total.has_value() || *hidden > kExtentMax || *total < 2 * *hidden)
      return body.Refuse("the sizes of queries and bias must be known");
    const std::vector<std::string> parts = body.MakeMany(
        "Split", {body.In(kBias), body.IntList({*hidden, *hidden, *total - 2 * *hidden})}, 3,
        {{"axis", int64_t{0}}});
    for (size_t i = 0; i < 3; ++i) biases[i] = parts[i];
  }
  Heads heads;
  heads.q = ToHeads(body, body.AddMaybe(body.In(kQuery), biases[0]), options.heads);
  if (hidden.has_value()) heads.width = *hidden / options.heads;
  const std::optional<int> key_rank = body.Rank(kKey);
  if (key_rank == 4) {  // of another attention, by heads already
    heads.k = body.In(kKey);
    heads.v = body.In(kValue);
    return heads;
  }
  if (key_rank != 3) return body.Refuse("packed keys and values are not supported");
  heads.k = ToHeads(body, body.AddMaybe(body.In(kKey), biases[1]), options.heads);
  heads.v = ToHeads(body, body.AddMaybe(body.In(kValue), biases[2]), options.heads);
  return heads;
}

// Queries, keys and values in one: [batch, tokens, heads, 3, width].
Heads PackedHeads(ContribBody& body) {
  const std::vector<std::string> parts =
      body.MakeMany("Split", {body.In(0), body.IntList({1, 1, 1})}, 3, {{"axis", int64_t{3}}});
  const auto by_heads = [&](const std::string& part) {
    const std::string flat = body.Make("Squeeze", {part, body.IntList({3})});
    return body.Make("Transpose", {flat}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  };
  return {by_heads(parts[0]), by_heads(parts[1]), by_heads(parts[2]), body.Extent(0, 4)};
}

Status ExpandMultiHeadAttention(ContribBody& body) {
  enum : size_t { kQuery, kKey, kValue, kBias, kMask, kScoreBias, kPastKey, kPastValue, kLength };
  const Options options = TRY(ReadOptions(body));
  if (body.has(kLength)) return body.Refuse("a past of its own length is not supported");
  const bool packed = body.Rank(kQuery) == 5;
  if (packed && (body.has(kKey) || body.has(kBias)))
    return body.Refuse("packed queries with keys or a bias are not supported");
  if (!packed && (!body.has(kKey) || !body.has(kValue)))
    return body.Refuse("needs keys and values");
  Heads heads = packed ? PackedHeads(body) : TRY(SeparateHeads(body, options));
  if (body.has(kPastKey)) {
    heads.k = body.Make("Concat", {body.In(kPastKey), heads.k}, {{"axis", int64_t{2}}});
    heads.v = body.Make("Concat", {body.In(kPastValue), heads.v}, {{"axis", int64_t{2}}});
  }
  body.Output(1, heads.k);
  body.Output(2, heads.v);
  const std::string mask = TRY(AllMasks(body, heads, kMask, kScoreBias, options));
  body.Output(0, FromHeads(body, Attend(body, heads, mask, options)));
  return Ok();
}

// ---- RotaryEmbedding ----

Status ExpandRotary(ContribBody& body) {
  enum : size_t { kX, kPositions, kCos, kSin };
  if (body.Int("is_packed_batching", 0) != 0) return body.Refuse("packed batches");
  if (body.Float("scale", 1) != 1) return body.Refuse("a scale other than 1");
  const std::optional<int> rank = body.Rank(kX);
  const std::optional<int> position_rank = body.Rank(kPositions);
  if (!rank.has_value() || !position_rank.has_value())
    return body.Refuse("the ranks of its inputs must be known");
  std::string positions = body.In(kPositions);
  if (*position_rank == 1) {
    // The first token's position; all sequences count on from there.
    const std::string length = body.Dimension(body.In(kX), *rank == 4 ? 2 : 1);
    const std::string row = body.Make("Add", {Iota(body, length), positions});
    const std::string shape =
        body.Make("Concat", {body.Dimension(body.In(kX), 0), length}, {{"axis", int64_t{0}}});
    positions = body.Make("Expand", {row, shape});
  }
  // Rank 3 needs the number of heads; where the node leaves it out, the tables tell the width.
  int64_t heads = body.Int("num_heads", 0);
  const int64_t turned = body.Int("rotary_embedding_dim", 0);
  if (heads == 0 && *rank == 3) {
    const std::optional<int64_t> half = body.Extent(kCos, 1);
    const std::optional<int64_t> hidden = body.Extent(kX, 2);
    if (!half.has_value() || !hidden.has_value() || *half < 1 || *half > kExtentMax ||
        *hidden % (2 * *half) != 0)
      return body.Refuse("num_heads is not given and does not follow from the tables");
    heads = *hidden / (2 * *half);
  }
  body.Output(0,
              body.Make("RotaryEmbedding", {body.In(kX), body.In(kCos), body.In(kSin), positions},
                        {{"interleaved", body.Int("interleaved", 0)},
                         {"num_heads", heads},
                         {"rotary_embedding_dim", turned}}));
  return Ok();
}

// ---- ONNX's own Attention, where it is plain ----

enum : size_t { kQ, kK, kV, kScoreMask, kFirstUncommon };

bool IsPlainAttention(ContribBody& body) {
  for (size_t i = kFirstUncommon; i < 8; ++i) {
    if (body.has(i)) return false;
  }
  for (int i = 1; i < 4; ++i) {
    if (body.wants(i)) return false;
  }
  for (const size_t i : {kQ, kK, kV}) {
    if (body.Type(i) != DType::kF32) return false;
  }
  const std::optional<int> rank = body.Rank(kQ);
  const std::optional<int> mask = body.Rank(kScoreMask);
  const DType mask_type = body.Type(kScoreMask);
  if (body.has(kScoreMask) && (!mask.has_value() || *mask < 2 || *mask > 4 ||
                               (mask_type != DType::kF32 && mask_type != DType::kBool)))
    return false;
  const bool usual = body.Float("softcap", 0) == 0 && body.Int("qk_matmul_output_mode", 0) == 0 &&
                     body.Int("softmax_precision", 1) == 1;
  const int64_t heads = body.Int("q_num_heads", 0);
  const bool by_heads =
      rank == 4 && body.Extent(kQ, 1).has_value() && body.Extent(kQ, 1) == body.Extent(kK, 1);
  const bool side_by_side = rank == 3 && heads > 0 && heads == body.Int("kv_num_heads", 0);
  return usual && (by_heads || side_by_side);
}

Status ExpandStandardAttention(ContribBody& body) {
  Options options;
  options.masked = -std::numeric_limits<float>::infinity();
  options.causal = body.Int("is_causal", 0) != 0;
  options.from_first = true;
  options.scale = body.Float("scale", 0);
  body.Ignore({"softcap", "qk_matmul_output_mode", "softmax_precision", "kv_num_heads"});
  const int64_t count = body.Int("q_num_heads", 0);
  const bool by_heads = body.Rank(kQ) == 4;
  Heads heads{body.In(kQ), body.In(kK), body.In(kV), body.Extent(kQ, -1)};
  if (!by_heads) {
    heads.q = ToHeads(body, heads.q, count);
    heads.k = ToHeads(body, heads.k, count);
    heads.v = ToHeads(body, heads.v, count);
    if (heads.width.has_value()) heads.width = *heads.width / count;
  }
  std::string mask = body.In(kScoreMask);
  if (body.has(kScoreMask) && body.Type(kScoreMask) == DType::kBool)
    mask = Additive(body, mask, options);
  if (body.Rank(kScoreMask) == 3) mask = body.Make("Unsqueeze", {mask, body.IntList({0})});
  if (options.causal) {
    mask =
        AddMasks(body, mask,
                 CausalMask(body, body.Dimension(heads.q, 2), body.Dimension(heads.k, 2), options));
  }
  const std::string y = Attend(body, heads, mask, options);
  body.Output(0, by_heads ? y : FromHeads(body, y));
  return Ok();
}

constexpr auto kStandardOps = std::to_array<ContribOp>({
    {"Attention", ExpandStandardAttention, INT_MAX, IsPlainAttention},
});

constexpr auto kOps = std::to_array<ContribOp>({
    {"Attention", ExpandAttention},
    {"QAttention", ExpandQAttention},
    {"MultiHeadAttention", ExpandMultiHeadAttention},
    {"RotaryEmbedding", ExpandRotary},
});

}  // namespace

std::span<const ContribOp> StandardAttentionOps() {
  return kStandardOps;
}

std::span<const ContribOp> ContribAttentionOps() {
  return kOps;
}

}  // namespace sluice::graph
