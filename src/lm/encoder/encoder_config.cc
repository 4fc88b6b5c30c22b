#include "lm/encoder/encoder_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "base/json.h"
#include "lm/checkpoint/config_keys.h"

namespace sluice::lm {
namespace {

using base::JsonValue;
using kernels::Activation;

constexpr int64_t kTypesMax = 16;
constexpr int64_t kLabelsMax = 4096;
constexpr std::string_view kClassifier = "ForSequenceClassification";
// What else a checkpoint may have been saved as and still gives embeddings.
constexpr std::array<std::string_view, 3> kBackbones = {"Model", "ForMaskedLM", "ForPreTraining"};

// Without the modules in front of a class's name.
std::string_view LastPart(std::string_view name) {
  const size_t dot = name.rfind('.');
  return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

base::Result<Activation> ReadActivation(const ConfigKeys& keys, const char* key) {
  const std::string text = TRY(keys.Text(key, "gelu"));
  const std::string_view name = text;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "tanh") return Activation::kTanh;
  return base::Unimplemented(std::string("config.json: ") + key + " \"" + text +
                             "\"; gelu, gelu_new, relu, silu and tanh are built");
}

base::Status ReadSizes(const ConfigKeys& keys, EncoderConfig& out) {
  out.vocabulary = TRY(keys.Size("vocab_size"));
  out.hidden = TRY(keys.Size("hidden_size"));
  out.layers = TRY(keys.Size("num_hidden_layers"));
  out.heads = TRY(keys.Size("num_attention_heads"));
  out.feed_forward = TRY(keys.Size("intermediate_size"));
  out.context_max = TRY(keys.Size("max_position_embeddings"));
  if (out.hidden % out.heads != 0) {
    return base::InvalidArgument("config.json: hidden_size: expected a multiple of " +
                                 std::to_string(out.heads) + " heads, got " +
                                 std::to_string(out.hidden));
  }
  out.head_dim = out.hidden / out.heads;
  return base::Ok();
}

base::Status ReadBert(const ConfigKeys& keys, EncoderConfig& out) {
  out.norm_epsilon = static_cast<float>(TRY(keys.Number("layer_norm_eps", 1e-12)));
  out.activation = TRY(ReadActivation(keys, "hidden_act"));
  out.types = TRY(keys.Size("type_vocab_size", 2));
  if (out.types > kTypesMax) {
    return base::Unimplemented("config.json: type_vocab_size: at most " +
                               std::to_string(kTypesMax) + " are built");
  }
  const std::string places = TRY(keys.Text("position_embedding_type", "absolute"));
  if (places != "absolute") {
    return base::Unimplemented("config.json: position_embedding_type \"" + places +
                               "\"; absolute is built");
  }
  const bool decodes = TRY(keys.Bool("is_decoder", false));
  if (decodes) return base::Unimplemented("config.json: is_decoder of an encoder");
  if (out.family != EncoderFamily::kRoberta) return base::Ok();
  // The id of padding and those before it have no position.
  const double padding = TRY(keys.Number("pad_token_id", 1));
  if (padding < 0 || padding + 1 >= static_cast<double>(out.context_max)) {
    return base::InvalidArgument(
        "config.json: pad_token_id: expected one below max_position_embeddings");
  }
  out.first_position = static_cast<int64_t>(padding) + 1;
  out.context_max -= out.first_position;
  return base::Ok();
}

base::Result<RotaryConfig> ReadRotary(const ConfigKeys& keys, const char* kind, const char* older,
                                      double theta, int64_t head_dim) {
  RotaryConfig rotary;
  rotary.turned = head_dim;
  rotary.theta = TRY(keys.Number(older, theta));
  if (keys.Has("rope_scaling")) return base::Unimplemented("config.json: rope_scaling");
  const std::optional<JsonValue> parameters = TRY(keys.Find("rope_parameters"));
  if (parameters.has_value()) {
    const std::optional<JsonValue> own = TRY(parameters->Find(kind));
    if (own.has_value() && !own->is_null()) {
      const ConfigKeys of_kind(*own);
      rotary.theta = TRY(of_kind.Number("rope_theta", rotary.theta));
      const std::string type = TRY(of_kind.Text("rope_type", "default"));
      if (type != "default") {
        return base::Unimplemented("config.json: rotary embeddings of type \"" + type +
                                   "\"; default is built for encoders");
      }
    }
  }
  if (rotary.theta <= 1 || head_dim % 2 != 0) {
    return base::InvalidArgument("config.json: " + std::string(older) +
                                 ": expected more than 1, and heads of even size");
  }
  return rotary;
}

base::Status ReadModernBert(const ConfigKeys& keys, EncoderConfig& out) {
  out.norm_epsilon = static_cast<float>(TRY(keys.Number("norm_eps", 1e-5)));
  out.activation = TRY(ReadActivation(keys, "hidden_activation"));
  out.norm_bias = TRY(keys.Bool("norm_bias", false));
  out.attention_bias = TRY(keys.Bool("attention_bias", false));
  out.feed_forward_bias = TRY(keys.Bool("mlp_bias", false));
  out.rotary = TRY(ReadRotary(keys, "full_attention", "global_rope_theta", 160'000, out.head_dim));
  out.window_rotary =
      TRY(ReadRotary(keys, "sliding_attention", "local_rope_theta", 10'000, out.head_dim));
  out.window = TRY(keys.Size("local_attention", 128)) / 2;
  const auto count = static_cast<size_t>(out.layers);
  const auto types = TRY(keys.WindowedLayers(out.layers));
  if (types.has_value()) {
    out.windowed = *types;
  } else {
    const auto every = static_cast<size_t>(TRY(keys.Size("global_attn_every_n_layers", 3)));
    for (size_t i = 0; i < count; ++i) out.windowed.push_back(i % every != 0);
  }
  const std::string pooling = TRY(keys.Text("classifier_pooling", "cls"));
  if (pooling != "cls" && pooling != "mean") {
    return base::InvalidArgument("config.json: classifier_pooling: expected cls or mean, got \"" +
                                 pooling + "\"");
  }
  out.classifier_mean = pooling == "mean";
  out.classifier_bias = TRY(keys.Bool("classifier_bias", false));
  out.classifier_activation = TRY(ReadActivation(keys, "classifier_activation"));
  return base::Ok();
}

// id2label, whose keys are the numbers from 0 on, or num_labels, or the two of transformers.
base::Status ReadLabels(const ConfigKeys& keys, EncoderConfig& out) {
  const std::optional<JsonValue> names = TRY(keys.Find("id2label"));
  const int64_t count = names.has_value() ? names->size() : TRY(keys.Size("num_labels", 2));
  if (count < 1 || count > kLabelsMax) {
    return base::InvalidArgument("config.json: id2label: expected 1 to " +
                                 std::to_string(kLabelsMax) + " labels, got " +
                                 std::to_string(count));
  }
  for (int64_t i = 0; i < count; ++i) {
    const std::string index = std::to_string(i);
    std::string label = "LABEL_" + index;
    if (names.has_value()) {
      const JsonValue name = TRY(names->Get(index));
      label = std::string(TRY(name.AsString()));
    }
    out.labels.push_back(std::move(label));
  }
  return base::Ok();
}

base::Status ReadHead(const ConfigKeys& keys, EncoderConfig& out) {
  const std::optional<JsonValue> classes = TRY(keys.Find("architectures"));
  if (!classes.has_value()) return base::Ok();
  std::vector<std::string> names;
  const auto read = [&](JsonValue name) -> base::Status {
    names.emplace_back(TRY(name.AsString()));
    return base::Ok();
  };
  TRY(classes->ForEachElement(read));
  if (names.empty()) return base::Ok();
  const std::string& name = names[0];
  if (name.ends_with(kClassifier)) {
    TRY(ReadLabels(keys, out));
    // sentence-transformers says it in two ways.
    std::string activation = TRY(keys.Text("sbert_ce_default_activation_function", ""));
    const std::optional<JsonValue> own = TRY(keys.Find("sentence_transformers"));
    if (own.has_value()) {
      activation = TRY(ConfigKeys(*own).Text("activation_fn", activation.c_str()));
    }
    if (!activation.empty()) out.score_activation = TRY(ParseScoreActivation(activation));
    return base::Ok();
  }
  const bool known = std::any_of(kBackbones.begin(), kBackbones.end(),
                                 [&](std::string_view end) { return name.ends_with(end); });
  if (known) return base::Ok();
  return base::Unimplemented("config.json: architectures: \"" + name +
                             "\"; embeddings and sequence classification are built");
}

}  // namespace

bool IsEncoderFamily(std::string_view model_type) {
  constexpr std::array<std::string_view, 4> kFamilies = {"bert", "roberta", "xlm-roberta",
                                                         "modernbert"};
  return std::find(kFamilies.begin(), kFamilies.end(), model_type) != kFamilies.end();
}

base::Result<ScoreActivation> ParseScoreActivation(std::string_view name) {
  const std::string_view last = LastPart(name);
  if (last == "Identity") return ScoreActivation::kNone;
  if (last == "Sigmoid") return ScoreActivation::kSigmoid;
  if (last == "Softmax") return ScoreActivation::kSoftmax;
  return base::Unimplemented("the activation \"" + std::string(name) +
                             "\" of scores; Identity, Sigmoid and Softmax are built");
}

base::Result<Activation> ParseModuleActivation(std::string_view name) {
  const std::string_view last = LastPart(name);
  if (last == "Identity") return Activation::kNone;
  if (last == "Tanh") return Activation::kTanh;
  if (last == "ReLU") return Activation::kRelu;
  if (last == "GELU") return Activation::kGeluErf;
  if (last == "Sigmoid") return Activation::kSigmoid;
  if (last == "SiLU") return Activation::kSilu;
  return base::Unimplemented("the activation \"" + std::string(name) +
                             "\"; Identity, Tanh, ReLU, GELU, Sigmoid and SiLU are built");
}

base::Result<EncoderConfig> ParseEncoderConfig(std::string_view config) {
  base::JsonDocument document;
  const JsonValue root = TRY(document.Parse(config));
  if (!root.is_object()) return base::InvalidArgument("config.json: expected an object");
  const ConfigKeys keys(root);
  const std::string type = TRY(keys.Text("model_type", ""));
  EncoderConfig out;
  if (type == "bert") {
    out.family = EncoderFamily::kBert;
  } else if (type == "roberta" || type == "xlm-roberta") {
    out.family = EncoderFamily::kRoberta;
  } else if (type == "modernbert") {
    out.family = EncoderFamily::kModernBert;
  } else {
    return base::Unimplemented("config.json: model_type \"" + type +
                               "\"; of encoders bert, roberta, xlm-roberta and modernbert are "
                               "built");
  }
  TRY(ReadSizes(keys, out));
  if (out.is_modern()) {
    TRY(ReadModernBert(keys, out));
  } else {
    TRY(ReadBert(keys, out));
  }
  TRY(ReadHead(keys, out));
  return out;
}

}  // namespace sluice::lm
