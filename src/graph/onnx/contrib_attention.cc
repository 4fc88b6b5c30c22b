// Fused attention of com.microsoft, spelled out as product, mask, softmax, product.
#include <array>

#include "graph/onnx/attention_parts.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

using Heads = AttentionHeads;
using Options = AttentionOptions;

Result<Options> ReadOptions(ContribBody& body) {
  Options options;
  options.heads = body.Int("num_heads", 0);
  options.causal = body.Int("unidirectional", 0) != 0;
  options.masked = body.Float("mask_filter_value", -10000);
  options.scale = body.Float("scale", 0);
  if (options.heads < 1) return body.Refuse("num_heads must be at least 1");
  return options;
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
    return AdditiveMask(body, body.Make("Less", {Iota(body, keys), lengths}), options);
  }
  const std::string kept = body.CastTo(body.In(input), DType::kBool);
  if (*rank == 2)
    return AdditiveMask(body, body.Make("Unsqueeze", {kept, body.IntList({1, 2})}), options);
  if (*rank == 3)
    return AdditiveMask(body, body.Make("Unsqueeze", {kept, body.IntList({1})}), options);
  return body.Refuse("a mask of rank " + std::to_string(*rank) + " is not supported");
}

// The queries are the last of the tokens whose keys there are.
std::string LastQueriesMask(ContribBody& body, const std::string& queries, const std::string& keys,
                            const Options& options) {
  return CausalMask(body, body.Make("Sub", {keys, queries}), queries, keys, options);
}

Result<std::string> AllMasks(ContribBody& body, const Heads& heads, size_t padding, size_t bias,
                             const Options& options) {
  const std::string keys = body.Dimension(heads.k, 2);
  std::string mask = TRY(PaddingMask(body, padding, keys, body.Dimension(heads.q, 0), options));
  if (options.causal)
    mask = AddMasks(body, mask, LastQueriesMask(body, body.Dimension(heads.q, 2), keys, options));
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
    if (!hidden.has_value() || !total.has_value() || *hidden > kContribExtentMax ||
        *total < 2 * *hidden)
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
    if (!half.has_value() || !hidden.has_value() || *half < 1 || *half > kContribExtentMax ||
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

constexpr auto kOps = std::to_array<ContribOp>({
    {"Attention", ExpandAttention},
    {"QAttention", ExpandQAttention},
    {"MultiHeadAttention", ExpandMultiHeadAttention},
    {"RotaryEmbedding", ExpandRotary},
});

}  // namespace

std::span<const ContribOp> ContribAttentionOps() {
  return kOps;
}

}  // namespace sluice::graph
