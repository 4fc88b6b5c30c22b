#include "lm/generation.h"

#include <algorithm>
#include <limits>

namespace sluice::lm {
namespace {

constexpr float kBiasMax = 1000;

base::Status ReadSampling(ParameterReader& reader, SamplingParameters& out) {
  TRY(reader.Number("temperature", 0, 100, out.temperature));
  TRY(reader.Number("min_p", 0, 1, out.min_p));
  TRY(reader.Number("top_p", 0, 1, out.top_p));
  TRY(reader.Integer("top_k", 0, std::numeric_limits<int32_t>::max(), out.top_k));
  TRY(reader.Number("repetition_penalty", 0.01, 100, out.repetition_penalty));
  TRY(reader.Number("presence_penalty", -2, 2, out.presence_penalty));
  TRY(reader.Number("frequency_penalty", -2, 2, out.frequency_penalty));
  // What a double holds exactly.
  TRY(reader.Integer("seed", 0, int64_t{1} << 53, out.seed));
  return reader.Integer("logprobs", -1, kLogprobsMax, out.logprobs);
}

// What a request brings.
struct Inputs {
  PromptInputs prompt;
  const tensor::NamedTensor* stop_ids = nullptr;
  const tensor::NamedTensor* stop = nullptr;
  const tensor::NamedTensor* bias_ids = nullptr;
  const tensor::NamedTensor* bias = nullptr;
};

base::Result<Inputs> FindInputs(const engine::Request& request, bool has_text) {
  Inputs inputs;
  for (const tensor::NamedTensor& input : request.inputs) {
    if (inputs.prompt.Take(input, has_text)) continue;
    if (input.name == kStopIds) {
      inputs.stop_ids = &input;
    } else if (input.name == kBiasIds) {
      inputs.bias_ids = &input;
    } else if (input.name == kBias) {
      inputs.bias = &input;
    } else if (has_text && input.name == kStop) {
      inputs.stop = &input;
    } else {
      return base::InvalidArgument("input " + input.name + " is none of this model's");
    }
  }
  if (inputs.prompt.count() != 1) {
    return base::InvalidArgument(has_text ? "expected one of the inputs input_ids, text, messages"
                                          : "input input_ids: expected at least one token");
  }
  return inputs;
}

base::Status ReadStop(const Inputs& inputs, const GenerationLimits& limits, Generation& out) {
  if (inputs.stop_ids != nullptr) out.stop_ids = TRY(ReadIds(*inputs.stop_ids, limits.vocabulary));
  std::sort(out.stop_ids.begin(), out.stop_ids.end());
  if (static_cast<int64_t>(out.stop_ids.size()) > limits.stop_ids_max) {
    return base::InvalidArgument(std::string("input ") + kStopIds + ": expected at most " +
                                 std::to_string(limits.stop_ids_max) + " tokens, got " +
                                 std::to_string(out.stop_ids.size()));
  }
  if (inputs.stop == nullptr) return base::Ok();
  for (const std::string_view text : TRY(ReadTexts(*inputs.stop, limits.stop_texts_max))) {
    if (text.empty() || text.size() > limits.stop_bytes_max) {
      return base::InvalidArgument(std::string("input ") + kStop + ": expected texts of 1 to " +
                                   std::to_string(limits.stop_bytes_max) + " bytes");
    }
    out.stop.emplace_back(text);
    out.stop_bytes = std::max(out.stop_bytes, text.size());
  }
  return base::Ok();
}

base::Status ReadBias(const Inputs& inputs, const GenerationLimits& limits, Generation& out) {
  if (inputs.bias_ids == nullptr && inputs.bias == nullptr) return base::Ok();
  if (inputs.bias_ids == nullptr || inputs.bias == nullptr) {
    return base::InvalidArgument("expected the inputs bias_ids and bias together");
  }
  const std::vector<int32_t> ids = TRY(ReadIds(*inputs.bias_ids, limits.vocabulary));
  const std::span<const float> values = TRY(ReadFloats(*inputs.bias));
  if (ids.size() != values.size() || static_cast<int64_t>(ids.size()) > limits.bias_max) {
    return base::InvalidArgument("inputs bias_ids and bias: expected as many of both, at most " +
                                 std::to_string(limits.bias_max) + ", got " +
                                 std::to_string(ids.size()) + " and " +
                                 std::to_string(values.size()));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!(values[i] >= -kBiasMax && values[i] <= kBiasMax)) {
      return base::InvalidArgument("input bias: expected numbers in [-1000, 1000], got " +
                                   std::to_string(values[i]) + " at " + std::to_string(i));
    }
    out.sampling.bias.emplace_back(ids[i], values[i]);
  }
  return base::Ok();
}

// Whether a prompt that is too long loses its beginning.
base::Result<bool> ReadOverflow(ParameterReader& reader, const GenerationLimits& limits) {
  std::string policy;
  TRY(reader.Text(kOverflow, 64, policy));
  if (policy.empty()) return limits.truncate_left;
  if (policy == kTruncateLeft) return true;
  if (policy == kRefuse) return false;
  return base::InvalidArgument(std::string("parameter ") + kOverflow + ": expected " + kRefuse +
                               " or " + kTruncateLeft + ", got \"" + policy + "\"");
}

// Leaves room for the answer: as much as the request asks for, else that of an answer by default.
base::Status TruncateLeft(ParameterReader& reader, const GenerationLimits& limits,
                          Generation& out) {
  int64_t answer = std::min(limits.answer_default, limits.length_max - 1);
  TRY(reader.Integer("max_tokens", 1, limits.length_max - 1, answer));
  out.truncated = static_cast<int64_t>(out.prompt.size()) - (limits.length_max - answer);
  out.truncated = std::max<int64_t>(0, out.truncated);
  out.prompt.erase(out.prompt.begin(), out.prompt.begin() + out.truncated);
  return base::Ok();
}

base::Status ReadLengths(ParameterReader& reader, const GenerationLimits& limits, Generation& out) {
  const auto length = static_cast<int64_t>(out.prompt.size());
  if (length >= limits.length_max) {
    return base::InvalidArgument(std::string("input ") + kInputIds + ": " + std::to_string(length) +
                                 " tokens leave no room for an answer " + "within " +
                                 std::to_string(limits.length_max));
  }
  bool to_context = false;
  TRY(reader.Bool(kFillContext, to_context));
  out.answer_max = limits.length_max - length;
  if (!to_context) out.answer_max = std::min(limits.answer_default, out.answer_max);
  TRY(reader.Integer(kPromptLogprobs, -1, kLogprobsMax, out.prompt_top));
  const int64_t least = out.prompt_top < 0 ? 1 : 0;
  TRY(reader.Integer("max_tokens", least, limits.length_max - length, out.answer_max));
  return reader.Integer("n", 1, limits.answers_max, out.answers);
}

}  // namespace

base::Status ReadGeneration(const engine::Request& request, const GenerationLimits& limits,
                            const ModelText* text, Generation& out) {
  const Inputs inputs = TRY(FindInputs(request, text != nullptr));
  ParameterReader reader(request.parameters);
  // Room for an answer of one token.
  PromptLimits prompt_limits{limits.vocabulary, limits.length_max - 1};
  const bool truncates = TRY(ReadOverflow(reader, limits));
  if (truncates) prompt_limits.count_max = std::numeric_limits<int32_t>::max();
  out.prompt = TRY(ReadPrompt(inputs.prompt, prompt_limits, text, reader));
  if (truncates) TRY(TruncateLeft(reader, limits, out));
  if (out.prompt.empty()) {
    return base::InvalidArgument("expected a prompt of at least one token");
  }
  TRY(ReadLengths(reader, limits, out));
  TRY(ReadStop(inputs, limits, out));
  out.sampling = limits.sampling;
  TRY(ReadSampling(reader, out.sampling));
  TRY(ReadBias(inputs, limits, out));
  if (HasPenalties(out.sampling)) out.prompt_counts.AddPrompt(out.prompt);
  TRY(reader.Bool(kTokenTexts, out.token_texts));
  if (out.token_texts && text == nullptr) {
    return base::InvalidArgument("parameter token_texts: the model has no tokeniser");
  }
  TRY(reader.Bool("stream", out.stream));
  TRY(reader.Bool("ignore_eos", out.ignore_eos));
  return reader.Text("cache_salt", 256, out.cache_salt);
}

}  // namespace sluice::lm
