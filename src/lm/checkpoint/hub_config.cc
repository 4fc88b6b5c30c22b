#include "lm/checkpoint/hub_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/json.h"
#include "kernels/cached_attention.h"
#include "lm/checkpoint/config_keys.h"

namespace sluice::lm {
namespace {

using base::JsonValue;

base::Status ReadDivisors(const ConfigKeys& keys, const char* key, int64_t count,
                          std::vector<double>& out) {
  const std::optional<JsonValue> value = TRY(keys.Find(key));
  const auto wrong = [&] {
    return base::InvalidArgument(std::string("config.json: ") + key + ": expected " +
                                 std::to_string(count) + " numbers above 0");
  };
  if (!value.has_value() || !value->is_array() || value->size() != count) return wrong();
  out.resize(static_cast<size_t>(count));
  TRY(value->ReadNumbers(std::span(out)));
  for (const double divisor : out) {
    if (!(divisor > 0) || !std::isfinite(divisor)) return wrong();
  }
  return base::Ok();
}

// YaRN's factor of cos and sin, of DeepSeek's two numbers where they are given.
base::Result<double> ReadYarnMagnitude(const ConfigKeys& keys, double factor) {
  const auto grown = [&](double by) { return factor <= 1 ? 1.0 : 0.1 * by * std::log(factor) + 1; };
  const double of = TRY(keys.Number("mscale", 0)), all = TRY(keys.Number("mscale_all_dim", 0));
  return TRY(
      keys.Number("attention_factor", of != 0 && all != 0 ? grown(of) / grown(all) : grown(1)));
}

// `keys` are those of the scaling, `model` those of the file.
base::Result<RotaryScaling> ReadScaling(const ConfigKeys& keys, const ConfigKeys& model,
                                        int64_t pairs) {
  using Kind = RotaryScaling::Kind;
  RotaryScaling scaling;
  const std::string older = TRY(keys.Text("type", "default"));
  const std::string type = TRY(keys.Text("rope_type", older.c_str()));
  if (type == "default") return scaling;
  const auto context_max = static_cast<double>(TRY(model.Size("max_position_embeddings")));
  const double trained = TRY(model.Number("original_max_position_embeddings", context_max));
  scaling.context = TRY(keys.Number("original_max_position_embeddings", trained));
  if (!(scaling.context >= 1)) {
    return base::InvalidArgument(
        "config.json: original_max_position_embeddings: expected at least 1");
  }
  const double extended = context_max / scaling.context;
  scaling.factor = TRY(
      keys.Number("factor", type == "longrope" || type == "su" || type == "yarn" ? extended : 1));
  if (type == "linear") {
    scaling.kind = Kind::kLinear;
  } else if (type == "llama3") {
    scaling.kind = Kind::kLlama3;
    scaling.low_factor = TRY(keys.Number("low_freq_factor", 1));
    scaling.high_factor = TRY(keys.Number("high_freq_factor", 4));
    scaling.context = TRY(keys.Number("original_max_position_embeddings", 8192));
    if (scaling.high_factor <= scaling.low_factor) {
      return base::InvalidArgument(
          "config.json: high_freq_factor: expected more than low_freq_factor");
    }
  } else if (type == "yarn") {
    scaling.kind = Kind::kYarn;
    scaling.beta_fast = TRY(keys.Number("beta_fast", 32));
    scaling.beta_slow = TRY(keys.Number("beta_slow", 1));
    scaling.whole_pairs = TRY(keys.Bool("truncate", true));
    scaling.magnitude = TRY(ReadYarnMagnitude(keys, scaling.factor));
    if (scaling.beta_fast <= 0 || scaling.beta_slow <= 0) {
      return base::InvalidArgument("config.json: beta_fast and beta_slow: expected more than 0");
    }
  } else if (type == "longrope" || type == "su") {
    scaling.kind = Kind::kLongRope;
    TRY(ReadDivisors(keys, "short_factor", pairs, scaling.short_divisors));
    TRY(ReadDivisors(keys, "long_factor", pairs, scaling.long_divisors));
    const double grown = scaling.factor <= 1 || scaling.context <= 1
                             ? 1.0
                             : std::sqrt(1 + std::log(scaling.factor) / std::log(scaling.context));
    scaling.magnitude = TRY(keys.Number("attention_factor", grown));
    return scaling;
  } else if (type == "dynamic") {
    scaling.kind = Kind::kDynamic;
    scaling.context = context_max;
  } else {
    return base::Unimplemented("config.json: rotary embeddings of type \"" + type +
                               "\"; default, linear, dynamic, llama3, yarn and longrope are built");
  }
  if (scaling.factor < 1) {
    return base::InvalidArgument("config.json: factor: expected at least 1");
  }
  return scaling;
}

// From rope_theta and rope_scaling, or from rope_parameters, which holds both since transformers 5.
base::Result<RotaryConfig> ReadRotary(const ConfigKeys& keys, const char* kind, double theta,
                                      int64_t head_dim) {
  RotaryConfig rotary;
  rotary.theta = TRY(keys.Number("rope_theta", theta));
  double share = TRY(keys.Number("partial_rotary_factor", 1));
  std::optional<JsonValue> parameters = TRY(keys.Find("rope_scaling"));
  const std::optional<JsonValue> newer = TRY(keys.Find("rope_parameters"));
  if (newer.has_value()) {
    parameters = newer;
    // Of each kind of layer apart, where a model has two.
    const std::optional<JsonValue> own = TRY(newer->Find(kind));
    if (own.has_value()) parameters = own;
  }
  if (parameters.has_value()) {
    rotary.theta = TRY(ConfigKeys(*parameters).Number("rope_theta", rotary.theta));
    share = TRY(ConfigKeys(*parameters).Number("partial_rotary_factor", share));
  }
  const double turned = static_cast<double>(head_dim) * share;
  if (rotary.theta <= 1 || !(turned >= 2) || turned > static_cast<double>(head_dim)) {
    return base::InvalidArgument(
        "config.json: rope_theta: expected more than 1, partial_rotary_factor a share of a head");
  }
  rotary.turned = static_cast<int64_t>(turned) / 2 * 2;
  if (parameters.has_value()) {
    rotary.scaling = TRY(ReadScaling(ConfigKeys(*parameters), keys, rotary.turned / 2));
  }
  return rotary;
}

base::Result<kernels::Activation> ReadActivation(const ConfigKeys& keys) {
  const std::string older = TRY(keys.Text("hidden_act", "silu"));
  const std::string name = TRY(keys.Text("hidden_activation", older.c_str()));
  if (name == "silu" || name == "swish") return kernels::Activation::kSilu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return kernels::Activation::kGeluTanh;
  if (name == "gelu") return kernels::Activation::kGeluErf;
  return base::Unimplemented("config.json: hidden_act \"" + name + "\"; silu and gelu are built");
}

base::Status ReadSizes(const ConfigKeys& keys, DecoderConfig& out) {
  out.vocabulary = TRY(keys.Size("vocab_size"));
  out.hidden = TRY(keys.Size("hidden_size"));
  out.layers = TRY(keys.Size("num_hidden_layers"));
  out.heads = TRY(keys.Size("num_attention_heads"));
  out.key_heads = TRY(keys.Size("num_key_value_heads", out.heads));
  out.head_dim = TRY(keys.Size("head_dim", std::max<int64_t>(1, out.hidden / out.heads)));
  out.feed_forward = TRY(keys.Size("intermediate_size"));
  out.context_max = TRY(keys.Size("max_position_embeddings"));
  if (out.heads % out.key_heads != 0 || out.heads / out.key_heads > kernels::kCacheGroupMax) {
    return base::InvalidArgument("config.json: " + std::to_string(out.heads) +
                                 " heads and num_key_value_heads " + std::to_string(out.key_heads) +
                                 ": expected a whole number of heads, at most " +
                                 std::to_string(kernels::kCacheGroupMax) + ", for each");
  }
  if (out.head_dim % 8 != 0 || out.head_dim > kernels::kCacheDimMax) {
    return base::Unimplemented("config.json: heads of " + std::to_string(out.head_dim) +
                               "; multiples of 8 up to " + std::to_string(kernels::kCacheDimMax) +
                               " are built");
  }
  return base::Ok();
}

// Which layers have a window: layer_types, or what the family does without it.
base::Status ReadWindows(const ConfigKeys& keys, const std::string& family, DecoderConfig& out) {
  const bool used = TRY(keys.Bool("use_sliding_window", family.rfind("qwen", 0) != 0));
  if (!used || !keys.Has("sliding_window")) return base::Ok();
  out.window = TRY(keys.Size("sliding_window"));
  const auto types = TRY(keys.WindowedLayers(out.layers));
  const auto count = static_cast<size_t>(out.layers);
  if (types.has_value()) {
    out.windowed = *types;
    return base::Ok();
  }
  out.windowed.assign(count, family == "mistral" || family == "phi3");
  const int64_t first = TRY(keys.Size("max_window_layers", out.layers));
  const int64_t every = TRY(keys.Size("sliding_window_pattern", family == "gemma3_text" ? 6 : 2));
  for (size_t i = 0; i < count; ++i) {
    if (family.rfind("qwen", 0) == 0) {
      out.windowed[i] = static_cast<int64_t>(i) >= first;
    } else if (family == "gemma2" || family == "gemma3_text") {
      out.windowed[i] = static_cast<int64_t>(i + 1) % every != 0;
    }
  }
  return base::Ok();
}

base::Status ReadGemma(const ConfigKeys& keys, bool third, DecoderConfig& out) {
  out.norms_less_one = true;
  out.outer_norms = true;
  out.head_norms = third;
  out.embedding_scale = std::sqrt(static_cast<float>(out.hidden));
  const double scalar =
      TRY(keys.Number("query_pre_attn_scalar", static_cast<double>(out.head_dim)));
  if (scalar <= 0) {
    return base::InvalidArgument("config.json: query_pre_attn_scalar: expected more than 0");
  }
  out.attention_scale = static_cast<float>(1 / std::sqrt(scalar));
  out.attention_cap = static_cast<float>(TRY(keys.Number("attn_logit_softcapping", 0)));
  out.logit_cap = static_cast<float>(TRY(keys.Number("final_logit_softcapping", 0)));
  return base::Ok();
}

// Which layers have experts, and how many.
base::Status ReadExperts(const ConfigKeys& keys, DecoderConfig& out) {
  // The second name is that of transformers 5.
  const bool older = keys.Has("num_experts");
  out.experts = TRY(keys.Size(older ? "num_experts" : "num_local_experts"));
  out.experts_per_token = TRY(keys.Size("num_experts_per_tok"));
  out.expert_feed_forward = TRY(keys.Size("moe_intermediate_size"));
  out.normalize_experts = TRY(keys.Bool("norm_topk_prob", false));
  if (out.experts_per_token > out.experts) {
    return base::InvalidArgument("config.json: num_experts_per_tok: expected at most num_experts");
  }
  const int64_t every = TRY(keys.Size("decoder_sparse_step", 1));
  const auto layers = static_cast<size_t>(out.layers);
  for (size_t i = 0; i < layers; ++i) {
    out.sparse.push_back(static_cast<int64_t>(i + 1) % every == 0);
  }
  const std::optional<JsonValue> dense = TRY(keys.Find("mlp_only_layers"));
  if (!dense.has_value()) return base::Ok();
  std::vector<int64_t> plain(static_cast<size_t>(dense->CountScalars()));
  TRY(dense->ReadNumbers(std::span(plain)));
  for (const int64_t layer : plain) {
    if (layer < 0 || layer >= out.layers) {
      return base::InvalidArgument("config.json: mlp_only_layers: there is no layer " +
                                   std::to_string(layer));
    }
    out.sparse[static_cast<size_t>(layer)] = false;
  }
  return base::Ok();
}

base::Status ReadDecoder(const ConfigKeys& keys, const std::string& family, DecoderConfig& out) {
  constexpr std::array kFamilies = {"llama",     "mistral", "qwen2",       "qwen3",
                                    "qwen3_moe", "gemma2",  "gemma3_text", "phi3"};
  if (std::find(kFamilies.begin(), kFamilies.end(), family) == kFamilies.end()) {
    return base::Unimplemented(
        "config.json: model_type \"" + family +
        "\"; llama, mistral, qwen2, qwen3, qwen3_moe, gemma2, gemma3_text and phi3 "
        "are built");
  }
  TRY(ReadSizes(keys, out));
  const bool gemma = family == "gemma2" || family == "gemma3_text";
  out.norm_epsilon = static_cast<float>(TRY(keys.Number("rms_norm_eps", 1e-6)));
  out.tied_head = TRY(keys.Bool("tie_word_embeddings", gemma));
  out.activation = TRY(ReadActivation(keys));
  out.attention_scale = 1 / std::sqrt(static_cast<float>(out.head_dim));
  out.head_norms = family == "qwen3" || family == "qwen3_moe";
  const bool attention_bias = TRY(keys.Bool("attention_bias", false));
  out.query_key_value_bias = attention_bias || family == "qwen2";
  out.attention_output_bias = attention_bias && family != "qwen2";
  out.merged_projections = family == "phi3";
  if (out.merged_projections && attention_bias) {
    return base::Unimplemented("config.json: attention_bias of a phi3");
  }
  out.feed_forward_bias = family == "llama" && TRY(keys.Bool("mlp_bias", false));
  if (family == "qwen3_moe") TRY(ReadExperts(keys, out));
  if (gemma) TRY(ReadGemma(keys, family == "gemma3_text", out));
  TRY(ReadWindows(keys, family, out));
  const double theta = family == "gemma3_text" ? 1e6 : 1e4;
  out.rotary = TRY(ReadRotary(keys, "full_attention", theta, out.head_dim));
  out.window_rotary = out.rotary;
  if (family == "gemma3_text") {
    const double local = TRY(keys.Number("rope_local_base_freq", 1e4));
    out.window_rotary = TRY(ReadRotary(keys, "sliding_attention", local, out.head_dim));
    // Older files say theta twice, and scale neither.
    if (!keys.Has("rope_parameters")) {
      out.window_rotary.theta = local;
      out.window_rotary.scaling = {};
    }
  }
  const RotaryScaling& scaling = out.rotary.scaling;
  const double reach = scaling.context * scaling.factor;
  if (reach <= static_cast<double>(ConfigKeys::kSizeMax)) {
    if (scaling.kind == RotaryScaling::Kind::kYarn) {
      out.context_max = std::max(out.context_max, static_cast<int64_t>(reach));
    } else if (scaling.kind == RotaryScaling::Kind::kDynamic) {
      out.context_most = static_cast<int64_t>(reach);
    }
  }
  return base::Ok();
}

// A number or an array of numbers.
base::Status ReadEndIds(const ConfigKeys& keys, int64_t vocabulary, std::vector<int32_t>& out) {
  const std::optional<JsonValue> value = TRY(keys.Find("eos_token_id"));
  if (!value.has_value()) return base::Ok();
  const auto count = static_cast<size_t>(value->is_array() ? value->size() : 1);
  if (count > 64) return base::InvalidArgument("config.json: eos_token_id: expected at most 64");
  out.resize(count);
  TRY(value->ReadNumbers(std::span(out)));
  for (const int32_t id : out) {
    if (id < 0 || id >= vocabulary) {
      return base::InvalidArgument("config.json: eos_token_id: " + std::to_string(id) +
                                   " is no token of " + std::to_string(vocabulary));
    }
  }
  return base::Ok();
}

// How many a sequence classifier has; 0: the model is none.
base::Status ReadClasses(const ConfigKeys& keys, int64_t& out) {
  const std::optional<JsonValue> architectures = TRY(keys.Find("architectures"));
  if (!architectures.has_value() || !architectures->is_array()) return base::Ok();
  bool classifies = false;
  const auto look = [&](JsonValue name) -> base::Status {
    const std::string_view text = TRY(name.AsString());
    classifies = classifies || text.ends_with("ForSequenceClassification");
    return base::Ok();
  };
  TRY(architectures->ForEachElement(look));
  if (!classifies) return base::Ok();
  // Two is what transformers takes where the file names none.
  out = TRY(keys.Size("num_labels", 2));
  const std::optional<JsonValue> names = TRY(keys.Find("id2label"));
  if (names.has_value() && names->size() > 0) out = names->size();
  return base::Ok();
}

// As what they are without do_sample too: files say it or leave it out, and mean the same.
base::Status ReadSampling(const ConfigKeys& keys, SamplingParameters& out) {
  const auto read = [&](const char* key, double low, double high, float& value) -> base::Status {
    const double number = TRY(keys.Number(key, static_cast<double>(value)));
    if (!(number >= low && number <= high)) {
      return base::InvalidArgument(std::string("generation_config.json: ") + key +
                                   ": expected a number in [" + std::to_string(low) + ", " +
                                   std::to_string(high) + "]");
    }
    value = static_cast<float>(number);
    return base::Ok();
  };
  TRY(read("temperature", 0, 100, out.temperature));
  TRY(read("top_p", 0, 1, out.top_p));
  TRY(read("min_p", 0, 1, out.min_p));
  TRY(read("repetition_penalty", 0.01, 100, out.repetition_penalty));
  float top_k = static_cast<float>(out.top_k);
  TRY(read("top_k", -1, 1e9, top_k));
  out.top_k = static_cast<int32_t>(std::max(top_k, 0.0f));
  return base::Ok();
}

}  // namespace

base::Result<HubConfig> ParseHubConfig(std::string_view config, std::string_view generation) {
  base::JsonDocument document;
  const JsonValue root = TRY(document.Parse(config));
  if (!root.is_object()) return base::InvalidArgument("config.json: expected an object");
  const ConfigKeys keys(root);
  HubConfig hub;
  hub.family = TRY(keys.Text("model_type", ""));
  TRY(ReadDecoder(keys, hub.family, hub.decoder));
  TRY(ReadClasses(keys, hub.decoder.classes));
  TRY(ReadEndIds(keys, hub.decoder.vocabulary, hub.end_ids));
  if (!generation.empty()) {
    base::JsonDocument second;
    const JsonValue own = TRY(second.Parse(generation));
    if (!own.is_object()) {
      return base::InvalidArgument("generation_config.json: expected an object");
    }
    const ConfigKeys defaults(own, "generation_config.json");
    if (defaults.Has("eos_token_id")) {
      TRY(ReadEndIds(defaults, hub.decoder.vocabulary, hub.end_ids));
    }
    TRY(ReadSampling(defaults, hub.sampling));
  }
  return hub;
}

}  // namespace sluice::lm
