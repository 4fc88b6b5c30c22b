#include "lm/checkpoint/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "kernels/cached_attention.h"

namespace sluice::lm {
namespace {

using tensor::Gguf;
using tensor::GgufTensor;
using tensor::GgufType;
using tensor::GgufValue;

constexpr int64_t kSizeMax = int64_t{1} << 24;  // of a width, a vocabulary, a context
constexpr int64_t kControl = 3;                 // of tokenizer.ggml.token_type

// The metadata of one architecture: keys begin with its name.
class Keys {
 public:
  Keys(const Gguf& gguf, std::string architecture)
      : gguf_(gguf), architecture_(std::move(architecture)) {}

  const GgufValue* Find(const char* key) const { return gguf_.Find(Full(key)); }
  bool Has(const char* key) const { return Find(key) != nullptr; }
  // One number, or one for each layer, which must be alike.
  base::Result<int64_t> Size(const char* key, std::optional<int64_t> otherwise = {}) const {
    const GgufValue* const value = Find(key);
    if (value == nullptr) {
      if (otherwise.has_value()) return *otherwise;
      return base::InvalidArgument("expected '" + Full(key) + "' in the metadata");
    }
    if (value->type() != GgufType::kArray) return Check(key, value->AsInt());
    std::optional<int64_t> common;
    const auto read = [&](const GgufValue& element) -> base::Status {
      const int64_t size = TRY(Check(key, element.AsInt()));
      if (common.has_value() && *common != size) {
        return base::Unimplemented("'" + Full(key) + "': layers of different sizes");
      }
      common = size;
      return base::Ok();
    };
    TRY(value->ForEachElement(read));
    if (common.has_value()) return *common;
    return base::InvalidArgument("'" + Full(key) + "': expected at least one number");
  }
  base::Result<double> Number(const char* key, double otherwise) const {
    const GgufValue* const value = Find(key);
    if (value == nullptr) return otherwise;
    const auto number = value->AsDouble();
    if (!number.ok() || !std::isfinite(*number)) {
      return base::InvalidArgument("'" + Full(key) + "': expected a number");
    }
    return *number;
  }
  base::Result<std::string> Text(const char* key) const {
    const GgufValue* const value = Find(key);
    if (value == nullptr) return std::string();
    const auto text = value->AsString();
    if (!text.ok()) return base::InvalidArgument("'" + Full(key) + "': expected a string");
    return std::string(*text);
  }
  const Gguf& gguf() const { return gguf_; }

 private:
  std::string Full(const char* key) const { return architecture_ + "." + key; }
  base::Result<int64_t> Check(const char* key, const base::Result<int64_t>& size) const {
    if (size.ok() && *size >= 1 && *size <= kSizeMax) return *size;
    return base::InvalidArgument("'" + Full(key) + "': expected an integer in [1, " +
                                 std::to_string(kSizeMax) + "]");
  }

  const Gguf& gguf_;
  const std::string architecture_;
};

base::Status ReadSizes(const Keys& keys, DecoderConfig& out) {
  out.hidden = TRY(keys.Size("embedding_length"));
  out.layers = TRY(keys.Size("block_count"));
  out.heads = TRY(keys.Size("attention.head_count"));
  out.key_heads = TRY(keys.Size("attention.head_count_kv", out.heads));
  out.head_dim =
      TRY(keys.Size("attention.key_length", std::max<int64_t>(1, out.hidden / out.heads)));
  const int64_t values = TRY(keys.Size("attention.value_length", out.head_dim));
  out.context_max = TRY(keys.Size("context_length"));
  out.norm_epsilon = static_cast<float>(TRY(keys.Number("attention.layer_norm_rms_epsilon", 1e-6)));
  const GgufTensor* const embedding = keys.gguf().FindTensor("token_embd.weight");
  if (embedding == nullptr || embedding->shape.rank() != 2 || embedding->shape[0] < 1 ||
      embedding->shape[0] > kSizeMax) {
    return base::InvalidArgument("expected a tensor token_embd.weight [vocabulary, " +
                                 std::to_string(out.hidden) + "]");
  }
  out.vocabulary = embedding->shape[0];
  out.tied_head = keys.gguf().FindTensor("output.weight") == nullptr;
  if (out.heads % out.key_heads != 0 || out.heads / out.key_heads > kernels::kCacheGroupMax) {
    return base::InvalidArgument("attention.head_count_kv: " + std::to_string(out.heads) +
                                 " heads over " + std::to_string(out.key_heads) +
                                 ": expected a whole number of heads, at most " +
                                 std::to_string(kernels::kCacheGroupMax) + ", for each");
  }
  if (out.head_dim % 8 != 0 || out.head_dim > kernels::kCacheDimMax || values != out.head_dim) {
    return base::Unimplemented("heads of " + std::to_string(out.head_dim) + " and values of " +
                               std::to_string(values) + "; equal multiples of 8 up to " +
                               std::to_string(kernels::kCacheDimMax) + " are built");
  }
  out.attention_scale = 1 / std::sqrt(static_cast<float>(out.head_dim));
  return base::Ok();
}

// A tensor of f32 that divides the frequencies of pairs; empty when there is none.
base::Result<std::vector<double>> ReadDivisors(const Gguf& gguf, const char* name, int64_t pairs) {
  std::vector<double> divisors;
  const GgufTensor* const tensor = gguf.FindTensor(name);
  if (tensor == nullptr) return divisors;
  if (tensor->format != tensor::BlockFormat::kF32 || tensor->shape.elements() != pairs) {
    return base::InvalidArgument(
        "tensor " + std::string(name) + ": expected F32 [" + std::to_string(pairs) + "], got " +
        std::string(tensor::BlockFormatName(tensor->format)) + " " + tensor->shape.ToString());
  }
  for (int64_t i = 0; i < pairs; ++i) {
    float value;
    std::memcpy(&value, tensor->data + i * static_cast<int64_t>(sizeof(float)), sizeof(float));
    if (!(value > 0) || !std::isfinite(value)) {
      return base::InvalidArgument("tensor " + std::string(name) + ": expected numbers above 0");
    }
    divisors.push_back(value);
  }
  return divisors;
}

base::Status ReadYarn(const Keys& keys, RotaryScaling& scaling) {
  scaling.kind = RotaryScaling::Kind::kYarn;
  scaling.beta_fast = TRY(keys.Number("rope.scaling.yarn_beta_fast", 32));
  scaling.beta_slow = TRY(keys.Number("rope.scaling.yarn_beta_slow", 1));
  const double grown = scaling.factor <= 1 ? 1.0 : 0.1 * std::log(scaling.factor) + 1;
  scaling.magnitude = TRY(keys.Number("rope.scaling.attn_factor", 1)) * grown;
  if (scaling.beta_fast > 0 && scaling.beta_slow > 0) return base::Ok();
  return base::InvalidArgument("rope.scaling.yarn_beta_fast: expected more than 0");
}

base::Status ReadRotary(const Keys& keys, RotaryConfig& out, int64_t head_dim,
                        int64_t context_max) {
  using Kind = RotaryScaling::Kind;
  out.theta = TRY(keys.Number("rope.freq_base", 10000));
  out.turned = TRY(keys.Size("rope.dimension_count", head_dim));
  if (out.theta <= 1 || out.turned < 2 || out.turned > head_dim || out.turned % 2 != 0) {
    return base::InvalidArgument(
        "rope.freq_base: expected more than 1, rope.dimension_count an even share of a head");
  }
  RotaryScaling& scaling = out.scaling;
  scaling.context =
      TRY(keys.Number("rope.scaling.original_context_length", static_cast<double>(context_max)));
  const std::string type = TRY(keys.Text("rope.scaling.type"));
  scaling.factor = TRY(keys.Number("rope.scaling.factor", 1));
  if (!(scaling.context >= 1) || !(scaling.factor >= 1)) {
    return base::InvalidArgument(
        "rope.scaling.factor, original_context_length: expected at least 1");
  }
  const int64_t pairs = out.turned / 2;
  scaling.short_divisors = TRY(ReadDivisors(keys.gguf(), "rope_factors_short.weight", pairs));
  scaling.long_divisors = TRY(ReadDivisors(keys.gguf(), "rope_factors_long.weight", pairs));
  // Llama 3's own, one list for every length.
  const std::vector<double> divisors = TRY(ReadDivisors(keys.gguf(), "rope_freqs.weight", pairs));
  if (!divisors.empty()) scaling.short_divisors = scaling.long_divisors = divisors;
  if (scaling.short_divisors.empty() != scaling.long_divisors.empty()) {
    return base::InvalidArgument(
        "expected rope_factors_short.weight and rope_factors_long.weight or none of them");
  }
  if (!scaling.short_divisors.empty()) {
    scaling.kind = Kind::kLongRope;
    scaling.magnitude = TRY(keys.Number("rope.scaling.attn_factor", 1));
  } else if (type == "linear") {
    scaling.kind = Kind::kLinear;
  } else if (type == "yarn") {
    TRY(ReadYarn(keys, scaling));
  } else if (!type.empty() && type != "none") {
    return base::Unimplemented("rope.scaling.type '" + type +
                               "' without its factors; none, linear and yarn are built");
  }
  return base::Ok();
}

// Which layers have a window, as each architecture has them.
base::Status ReadWindows(const Keys& keys, const std::string& architecture, DecoderConfig& out) {
  const GgufValue* const size = keys.Find("attention.sliding_window");
  if (size == nullptr) return base::Ok();
  if (const auto zero = size->AsInt(); zero.ok() && *zero == 0) return base::Ok();
  out.window = TRY(keys.Size("attention.sliding_window"));
  const bool third = architecture == "gemma3";
  const bool alternate = third || architecture == "gemma2";
  if (!alternate && architecture != "llama" && architecture != "phi3") {
    return base::Unimplemented("attention.sliding_window of " + architecture);
  }
  // Layers that have one, where the file says which.
  const GgufValue* const pattern = keys.Find("attention.sliding_window_pattern");
  if (pattern != nullptr && pattern->type() == GgufType::kArray) {
    const auto read = [&](const GgufValue& element) -> base::Status {
      out.windowed.push_back(TRY(element.AsBool()));
      return base::Ok();
    };
    TRY(pattern->ForEachElement(read));
    if (static_cast<int64_t>(out.windowed.size()) == out.layers) return base::Ok();
    return base::InvalidArgument("attention.sliding_window_pattern: expected one for each layer");
  }
  const int64_t every = TRY(keys.Size("attention.sliding_window_pattern", third ? 6 : 2));
  for (int64_t i = 0; i < out.layers; ++i) {
    out.windowed.push_back(!alternate || (i + 1) % every != 0);
  }
  return base::Ok();
}

base::Status ReadGemma(const Keys& keys, bool third, DecoderConfig& out) {
  // The converter has added 1 to the norms' weights.
  out.outer_norms = true;
  out.head_norms = third;
  out.embedding_scale = std::sqrt(static_cast<float>(out.hidden));
  out.activation = kernels::Activation::kGeluTanh;
  // The files do not say what scores are scaled by; those of 27 billion weights are known by their
  // layers (46 and 62), as llama.cpp does.
  double scale = out.attention_scale;
  if (out.layers == (third ? 62 : 46)) {
    scale = 1 / std::sqrt(static_cast<double>(out.hidden) / static_cast<double>(out.heads));
  }
  out.attention_scale = static_cast<float>(TRY(keys.Number("attention.scale", scale)));
  out.attention_cap = static_cast<float>(TRY(keys.Number("attn_logit_softcapping", 0)));
  out.logit_cap = static_cast<float>(TRY(keys.Number("final_logit_softcapping", 0)));
  return base::Ok();
}

base::Status ReadExperts(const Keys& keys, DecoderConfig& out) {
  out.experts = TRY(keys.Size("expert_count"));
  out.experts_per_token = TRY(keys.Size("expert_used_count"));
  out.expert_feed_forward = TRY(keys.Size("expert_feed_forward_length"));
  out.normalize_experts = true;
  if (out.experts_per_token > out.experts) {
    return base::InvalidArgument("expert_used_count: expected at most expert_count");
  }
  out.sparse.assign(static_cast<size_t>(out.layers), true);
  return base::Ok();
}

}  // namespace

base::Result<DecoderConfig> ReadGgufConfig(const Gguf& gguf) {
  const std::string architecture(TRY(gguf.String("general.architecture")));
  constexpr std::array kArchitectures = {"llama",  "qwen2",  "qwen3", "qwen3moe",
                                         "gemma2", "gemma3", "phi3"};
  if (std::find(kArchitectures.begin(), kArchitectures.end(), architecture) ==
      kArchitectures.end()) {
    return base::Unimplemented("general.architecture '" + architecture +
                               "'; llama, qwen2, qwen3, qwen3moe, gemma2, gemma3 and phi3 are "
                               "built");
  }
  const Keys keys(gguf, architecture);
  DecoderConfig config;
  TRY(ReadSizes(keys, config));
  const bool sparse = architecture == "qwen3moe";
  if (sparse) TRY(ReadExperts(keys, config));
  if (!sparse && keys.Has("expert_count") && TRY(keys.Number("expert_count", 0)) > 0) {
    return base::Unimplemented("experts of " + architecture);
  }
  config.feed_forward = TRY(keys.Size(
      "feed_forward_length", sparse ? std::optional(config.expert_feed_forward) : std::nullopt));
  config.head_norms = architecture == "qwen3" || sparse;
  config.merged_projections = architecture == "phi3";
  config.query_key_value_bias = gguf.FindTensor("blk.0.attn_q.bias") != nullptr;
  config.attention_output_bias = gguf.FindTensor("blk.0.attn_output.bias") != nullptr;
  config.feed_forward_bias = gguf.FindTensor("blk.0.ffn_gate.bias") != nullptr;
  TRY(ReadRotary(keys, config.rotary, config.head_dim, config.context_max));
  // Converters turn the rows of Q and K so that pairs stand side by side.
  config.rotary.interleaved = architecture == "llama";
  config.window_rotary = config.rotary;
  if (architecture == "gemma2" || architecture == "gemma3") {
    const bool third = architecture == "gemma3";
    TRY(ReadGemma(keys, third, config));
    if (third) {
      config.window_rotary.theta = TRY(keys.Number("rope.freq_base_swa", 1e4));
      config.window_rotary.scaling = {};
      if (!keys.Has("rope.freq_base")) config.rotary.theta = 1e6;
    }
  }
  TRY(ReadWindows(keys, architecture, config));
  return config;
}

base::Result<std::vector<int32_t>> ReadGgufEndIds(const Gguf& gguf, int64_t vocabulary) {
  std::vector<int32_t> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    const GgufValue* const value = gguf.Find(key);
    if (value == nullptr) continue;
    const auto id = value->AsInt();
    if (!id.ok() || *id < 0 || *id >= vocabulary) {
      return base::InvalidArgument("'" + std::string(key) + "': expected a token of " +
                                   std::to_string(vocabulary));
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  const GgufValue* const tokens = gguf.Find("tokenizer.ggml.tokens");
  const GgufValue* const types = gguf.Find("tokenizer.ggml.token_type");
  if (tokens != nullptr && types != nullptr) {
    std::vector<bool> control;
    const auto read_type = [&](const GgufValue& type) -> base::Status {
      control.push_back(TRY(type.AsInt()) == kControl);
      return base::Ok();
    };
    TRY(types->ForEachElement(read_type));
    constexpr std::array<std::string_view, 8> kEnds = {
        "<|eot_id|>", "<|im_end|>",    "<|end|>",         "<end_of_turn>",
        "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<EOT>"};
    size_t at = 0;
    const auto read_token = [&](const GgufValue& token) -> base::Status {
      const size_t id = at++;
      if (id >= control.size() || !control[id] || static_cast<int64_t>(id) >= vocabulary) {
        return base::Ok();
      }
      const std::string_view text = TRY(token.AsString());
      if (std::find(kEnds.begin(), kEnds.end(), text) != kEnds.end()) {
        ids.push_back(static_cast<int32_t>(id));
      }
      return base::Ok();
    };
    TRY(tokens->ForEachElement(read_token));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace sluice::lm
