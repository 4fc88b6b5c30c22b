// Attention with fewer heads of keys than of queries: ONNX's own Attention where it is plain, and
// com.microsoft's GroupQueryAttention, spelled out with each head of keys repeated for its group of
// queries, which the recogniser of attention sees through.
#include <algorithm>
#include <array>
#include <limits>

#include "graph/onnx/attention_parts.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

// ---- ONNX's own Attention, where it is plain ----

namespace standard {

enum : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kKeyLengths };

// Heads of queries and of keys; nullopt where they are not known or do not fit each other.
struct HeadCounts {
  int64_t queries = 0;
  int64_t keys = 0;
};
std::optional<HeadCounts> CountHeads(ContribBody& body) {
  HeadCounts counts{body.Int("q_num_heads", 0), body.Int("kv_num_heads", 0)};
  if (body.Rank(kQ) == 4) {
    counts = {body.Extent(kQ, 1).value_or(0), body.Extent(kK, 1).value_or(0)};
    if (body.Rank(kK) != 4 || body.Rank(kV) != 4) return std::nullopt;
  } else if (body.Rank(kQ) != 3 || body.Rank(kK) != 3 || body.Rank(kV) != 3) {
    return std::nullopt;
  }
  if (counts.keys < 1 || counts.queries < 1 || counts.queries % counts.keys != 0 ||
      counts.queries > kContribExtentMax)
    return std::nullopt;
  return counts;
}

bool IsPlain(ContribBody& body) {
  if (body.has(kKeyLengths) || body.wants(3)) return false;
  // A mask may be narrower than a past and the keys behind it.
  if (body.has(kPastKey) != body.has(kPastValue) || (body.has(kPastKey) && body.has(kMask)))
    return false;
  for (const size_t i : {kQ, kK, kV}) {
    if (body.Type(i) != DType::kF32) return false;
  }
  const std::optional<int> mask = body.Rank(kMask);
  const DType mask_type = body.Type(kMask);
  if (body.has(kMask) && (!mask.has_value() || *mask < 2 || *mask > 4 ||
                          (mask_type != DType::kF32 && mask_type != DType::kBool)))
    return false;
  const bool usual = body.Float("softcap", 0) == 0 && body.Int("qk_matmul_output_mode", 0) == 0 &&
                     body.Int("softmax_precision", 1) == 1;
  return usual && CountHeads(body).has_value();
}

Status Expand(ContribBody& body) {
  AttentionOptions options;
  options.masked = -std::numeric_limits<float>::infinity();
  options.causal = body.Int("is_causal", 0) != 0;
  options.scale = body.Float("scale", 0);
  body.Ignore({"softcap", "qk_matmul_output_mode", "softmax_precision"});
  const std::optional<HeadCounts> counts = CountHeads(body);
  if (!counts.has_value()) return body.Refuse("the heads of its queries and keys must be known");
  const bool by_heads = body.Rank(kQ) == 4;
  AttentionHeads heads{body.In(kQ), body.In(kK), body.In(kV), body.Extent(kQ, -1)};
  if (!by_heads) {
    heads.q = ToHeads(body, heads.q, counts->queries);
    heads.k = ToHeads(body, heads.k, counts->keys);
    heads.v = ToHeads(body, heads.v, counts->keys);
    if (heads.width.has_value()) heads.width = *heads.width / counts->queries;
  }
  std::string past;
  if (body.has(kPastKey)) {
    past = body.Dimension(body.In(kPastKey), 2);
    heads.k = body.Make("Concat", {body.In(kPastKey), heads.k}, {{"axis", int64_t{2}}});
    heads.v = body.Make("Concat", {body.In(kPastValue), heads.v}, {{"axis", int64_t{2}}});
  }
  body.Output(1, heads.k);
  body.Output(2, heads.v);
  const int64_t group = counts->queries / counts->keys;
  heads.k = RepeatHeads(body, heads.k, counts->keys, group);
  heads.v = RepeatHeads(body, heads.v, counts->keys, group);
  std::string mask = body.In(kMask);
  if (body.has(kMask) && body.Type(kMask) == DType::kBool) mask = AdditiveMask(body, mask, options);
  if (body.Rank(kMask) == 3) mask = body.Make("Unsqueeze", {mask, body.IntList({0})});
  if (options.causal) {
    mask = AddMasks(
        body, mask,
        CausalMask(body, past, body.Dimension(heads.q, 2), body.Dimension(heads.k, 2), options));
  }
  const std::string y = Attend(body, heads, mask, options);
  body.Output(0, by_heads ? y : FromHeads(body, y));
  return Ok();
}

}  // namespace standard

// ---- GroupQueryAttention ----

namespace grouped {

enum : size_t {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kLengths,  // [batch] i32: the last token's position
  kTotal,    // tokens of the longest sequence; follows from the others
  kCos,
  kSin,
  kPositions,
  kScoreBias,
  kSink,
  kKeyScale,
  kValueScale,
  kQueryNorm,
  kKeyNorm
};

struct Options {
  AttentionOptions attention;
  int64_t key_heads = 0;
  int64_t window = -1;  // keys that a query sees, its own last; -1: all
  bool rotary = false;
  bool interleaved = false;
};

Result<Options> Read(ContribBody& body) {
  Options options;
  options.attention.heads = body.Int("num_heads", 0);
  options.attention.masked = -std::numeric_limits<float>::infinity();
  options.attention.scale = body.Float("scale", 0);
  options.attention.softcap = body.Float("softcap", 0);
  options.key_heads = body.Int("kv_num_heads", 0);
  options.window = body.Int("local_window_size", -1);
  options.rotary = body.Int("do_rotary", 0) != 0;
  options.interleaved = body.Int("rotary_interleaved", 0) != 0;
  options.attention.causal = body.Int("causal", 1) != 0;
  if (options.key_heads < 1 || options.attention.heads < 1 ||
      options.attention.heads > kContribExtentMax ||
      options.attention.heads % options.key_heads != 0)
    return body.Refuse("num_heads must be a multiple of kv_num_heads");
  if (body.Int("smooth_softmax", -1) > 0 || body.has(kSink))
    return body.Refuse("smooth_softmax and head_sink are not supported");
  if (body.has(kKeyScale) || body.has(kValueScale) ||
      body.String("k_quant_type", "NONE") != "NONE" ||
      body.String("v_quant_type", "NONE") != "NONE")
    return body.Refuse("quantised keys and values are not supported");
  if (body.has(kQueryNorm) || body.has(kKeyNorm))
    return body.Refuse("q_norm_weight and k_norm_weight are not supported");
  body.Ignore({"kv_cache_bit_width", "qk_norm_epsilon"});
  if (body.Int("sliding_window_cache", 0) != 0)
    return body.Refuse("sliding_window_cache is not supported");
  if (body.Int("qk_output", 0) != 0 || body.wants(3))
    return body.Refuse("the scores as an output are not supported");
  if (body.has(kPastKey) != body.has(kPastValue))
    return body.Refuse("past_key and past_value must be given together");
  return options;
}

// Before any past is joined and anything is turned.
Result<AttentionHeads> Split(ContribBody& body, const Options& options) {
  const int64_t heads = options.attention.heads, key_heads = options.key_heads;
  const std::optional<int64_t> columns = body.Extent(kQuery, -1);
  const bool packed = !body.has(kKey);
  const int64_t all_heads = packed ? heads + 2 * key_heads : heads;
  if (body.Rank(kQuery) != 3 || !columns.has_value() || *columns < 1 || *columns % all_heads != 0)
    return body.Refuse("the queries must be of rank 3, their width known and shared by the heads");
  const int64_t width = *columns / all_heads;
  std::vector<std::string> parts = {body.In(kQuery), body.In(kKey), body.In(kValue)};
  if (packed) {
    parts = body.MakeMany(
        "Split",
        {body.In(kQuery), body.IntList({heads * width, key_heads * width, key_heads * width})}, 3,
        {{"axis", int64_t{2}}});
  } else if (body.Rank(kKey) != 3 || body.Rank(kValue) != 3) {
    return body.Refuse("keys and values must be of rank 3");
  }
  return AttentionHeads{ToHeads(body, parts[0], heads), ToHeads(body, parts[1], key_heads),
                        ToHeads(body, parts[2], key_heads), width};
}

// The position of each row's first query, [batch, 1]; "" where all are 0.
std::string FirstPositions(ContribBody& body, const std::string& queries) {
  if (!body.has(kPastKey)) return {};
  const std::string last =
      body.Make("Reshape", {body.CastTo(body.In(kLengths), DType::kI64), body.IntList({-1, 1})});
  const std::string end = body.Make("Add", {last, body.IntScalar(1)});
  // Rows of a first prompt that end early have padding behind them and begin at 0, too.
  return body.Make("Max", {body.Make("Sub", {end, queries}), body.IntScalar(0)});
}

Result<std::string> Turn(ContribBody& body, const Options& options, const std::string& x,
                         const std::string& first) {
  if (!options.rotary) return x;
  if (!body.has(kCos) || !body.has(kSin)) return body.Refuse("do_rotary needs its tables");
  const std::optional<int64_t> half = body.Extent(kCos, 1);
  if (!half.has_value() || *half < 1 || *half > kContribExtentMax)
    return body.Refuse("the width of the tables of do_rotary must be known");
  std::string positions;
  if (body.has(kPositions)) {
    positions = body.CastTo(body.In(kPositions), DType::kI64);
  } else {
    const std::string length = body.Dimension(x, 2);
    positions = Iota(body, length);
    if (!first.empty()) positions = body.Make("Add", {positions, first});
    const std::string shape =
        body.Make("Concat", {body.Dimension(x, 0), length}, {{"axis", int64_t{0}}});
    positions = body.Make("Expand", {positions, shape});
  }
  return body.Make(
      "RotaryEmbedding", {x, body.In(kCos), body.In(kSin), positions},
      {{"interleaved", int64_t{options.interleaved}}, {"rotary_embedding_dim", 2 * *half}});
}

// The past with the new rows behind what each sequence has of it. Behind the new rows stands
// anything.
std::string Join(ContribBody& body, const std::string& past, const std::string& rows,
                 const std::string& first) {
  const std::string joined = body.Make("Concat", {past, rows}, {{"axis", int64_t{2}}});
  const std::string at = Iota(body, body.Dimension(joined, 2));
  const std::string shift = body.Make("Sub", {body.Dimension(past, 2), first});
  const std::string last = body.Make("Sub", {body.Dimension(joined, 2), body.IntScalar(1)});
  const std::string moved = body.Make("Min", {body.Make("Add", {at, shift}), last});
  const std::string from = body.Make("Where", {body.Make("Less", {at, first}), at, moved});
  const std::string spread = body.Make(
      "Expand",
      {body.Make("Unsqueeze", {from, body.IntList({1, 3})}), body.Make("Shape", {joined})});
  return body.Make("GatherElements", {joined, spread}, {{"axis", int64_t{2}}});
}

// [1 or batch, 1, queries, keys].
std::string Mask(ContribBody& body, const Options& options, const std::string& first,
                 const std::string& queries, const std::string& keys) {
  const std::string key = Iota(body, keys);
  if (!options.attention.causal) {
    const std::string last = body.Make(
        "Reshape", {body.CastTo(body.In(kLengths), DType::kI64), body.IntList({-1, 1, 1, 1})});
    return AdditiveMask(body, body.Make("LessOrEqual", {key, last}), options.attention);
  }
  std::string own = Iota(body, queries);
  if (!first.empty()) own = body.Make("Add", {own, first});
  own = body.Make("Unsqueeze", {own, body.IntList({-1})});
  if (!first.empty()) own = body.Make("Unsqueeze", {own, body.IntList({1})});
  std::string kept = body.Make("LessOrEqual", {key, own});
  if (options.window > 0) {
    const std::string begin = body.Make("Sub", {own, body.IntScalar(options.window)});
    kept = body.Make("And", {kept, body.Make("Greater", {key, begin})});
  }
  return AdditiveMask(body, kept, options.attention);
}

Status Expand(ContribBody& body) {
  const Options options = TRY(Read(body));
  AttentionHeads heads = TRY(Split(body, options));
  const std::string queries = body.Dimension(heads.q, 2);
  const std::string first = FirstPositions(body, queries);
  heads.q = TRY(Turn(body, options, heads.q, first));
  heads.k = TRY(Turn(body, options, heads.k, first));
  if (!first.empty()) {
    heads.k = Join(body, body.In(kPastKey), heads.k, first);
    heads.v = Join(body, body.In(kPastValue), heads.v, first);
  }
  body.Output(1, heads.k);
  body.Output(2, heads.v);
  const std::string keys = body.Dimension(heads.k, 2);
  const int64_t group = options.attention.heads / options.key_heads;
  heads.k = RepeatHeads(body, heads.k, options.key_heads, group);
  heads.v = RepeatHeads(body, heads.v, options.key_heads, group);
  const std::string mask =
      AddMasks(body, Mask(body, options, first, queries, keys), body.In(kScoreBias));
  body.Output(0, FromHeads(body, Attend(body, heads, mask, options.attention)));
  return Ok();
}

}  // namespace grouped

constexpr auto kStandardOps = std::to_array<ContribOp>({
    {"Attention", standard::Expand, INT_MAX, standard::IsPlain},
});

constexpr auto kGroupedOps = std::to_array<ContribOp>({
    {"GroupQueryAttention", grouped::Expand},
});

}  // namespace

std::span<const ContribOp> StandardAttentionOps() {
  return kStandardOps;
}

std::span<const ContribOp> GroupedAttentionOps() {
  return kGroupedOps;
}

}  // namespace sluice::graph
