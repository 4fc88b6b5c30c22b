#include "lm/generation.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>

#include "lm/request_fields.h"

namespace sluice::lm {
namespace {

using tensor::DType;

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

base::Result<std::string_view> ReadText(const tensor::NamedTensor& input) {
  const tensor::ConstView view = input.tensor.view();
  if (view.dtype != DType::kBytes || view.shape.elements() != 1) {
    return base::InvalidArgument("input " + input.name + ": expected BYTES of shape [1], got " +
                                 std::string(DTypeName(view.dtype)) + " " + view.shape.ToString());
  }
  return view.as<std::string_view>()[0];
}

double SecondsSince1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// What a request brings.
struct Inputs {
  const tensor::NamedTensor* ids = nullptr;
  const tensor::NamedTensor* text = nullptr;
  const tensor::NamedTensor* messages = nullptr;
  const tensor::NamedTensor* tools = nullptr;
  const tensor::NamedTensor* stop_ids = nullptr;
  const tensor::NamedTensor* stop = nullptr;
};

base::Result<Inputs> FindInputs(const engine::Request& request, bool has_text) {
  Inputs inputs;
  for (const tensor::NamedTensor& input : request.inputs) {
    if (input.name == kInputIds) {
      inputs.ids = &input;
    } else if (input.name == kStopIds) {
      inputs.stop_ids = &input;
    } else if (has_text && input.name == kText) {
      inputs.text = &input;
    } else if (has_text && input.name == kMessages) {
      inputs.messages = &input;
    } else if (has_text && input.name == kTools) {
      inputs.tools = &input;
    } else if (has_text && input.name == kStop) {
      inputs.stop = &input;
    } else {
      return base::InvalidArgument("input " + input.name + " is none of this model's");
    }
  }
  const int prompts = (inputs.ids != nullptr ? 1 : 0) + (inputs.text != nullptr ? 1 : 0) +
                      (inputs.messages != nullptr ? 1 : 0);
  if (prompts != 1) {
    return base::InvalidArgument(has_text ? "expected one of the inputs input_ids, text, messages"
                                          : "input input_ids: expected at least one token");
  }
  return inputs;
}

base::Result<std::vector<std::string>> ReadStop(const tensor::NamedTensor& input,
                                                const GenerationLimits& limits) {
  const tensor::ConstView view = input.tensor.view();
  if (view.dtype != DType::kBytes || view.shape.rank() != 1 ||
      view.shape[0] > limits.stop_texts_max) {
    return base::InvalidArgument("input " + input.name + ": expected at most " +
                                 std::to_string(limits.stop_texts_max) + " texts");
  }
  std::vector<std::string> stop;
  for (const std::string_view text : view.span<std::string_view>()) {
    if (text.empty() || text.size() > limits.stop_bytes_max) {
      return base::InvalidArgument("input " + input.name + ": expected texts of 1 to " +
                                   std::to_string(limits.stop_bytes_max) + " bytes");
    }
    stop.emplace_back(text);
  }
  return stop;
}

base::Result<std::vector<int32_t>> ReadPrompt(const Inputs& inputs, const GenerationLimits& limits,
                                              const ModelText* model_text,
                                              ParameterReader& reader) {
  if (inputs.ids != nullptr) return ReadIds(*inputs.ids, limits.vocabulary);
  // Room for an answer of one token.
  const int64_t count_max = limits.length_max - 1;
  if (inputs.text != nullptr) {
    const std::string_view content = TRY(ReadText(*inputs.text));
    return model_text->Encode(content, count_max);
  }
  ModelText::Chat chat;
  chat.messages = TRY(ReadText(*inputs.messages));
  if (inputs.tools != nullptr) chat.tools = TRY(ReadText(*inputs.tools));
  TRY(reader.Bool("add_generation_prompt", chat.add_generation_prompt));
  chat.now = SecondsSince1970();
  return model_text->EncodeChat(chat, count_max);
}

}  // namespace

base::Status ReadGeneration(const engine::Request& request, const GenerationLimits& limits,
                            const ModelText* text, Generation& out) {
  const Inputs inputs = TRY(FindInputs(request, text != nullptr));
  ParameterReader reader(request.parameters);
  out.prompt = TRY(ReadPrompt(inputs, limits, text, reader));
  if (out.prompt.empty()) {
    return base::InvalidArgument("expected a prompt of at least one token");
  }
  if (inputs.stop_ids != nullptr) out.stop_ids = TRY(ReadIds(*inputs.stop_ids, limits.vocabulary));
  std::sort(out.stop_ids.begin(), out.stop_ids.end());
  if (inputs.stop != nullptr) out.stop = TRY(ReadStop(*inputs.stop, limits));
  if (static_cast<int64_t>(out.stop_ids.size()) > limits.stop_ids_max) {
    return base::InvalidArgument(std::string("input ") + kStopIds + ": expected at most " +
                                 std::to_string(limits.stop_ids_max) + " tokens, got " +
                                 std::to_string(out.stop_ids.size()));
  }
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
  TRY(reader.Integer("max_tokens", 1, limits.length_max - length, out.answer_max));
  TRY(ReadSampling(reader, out.sampling));
  TRY(reader.Bool("stream", out.stream));
  TRY(reader.Bool("ignore_eos", out.ignore_eos));
  return reader.Text("cache_salt", 256, out.cache_salt);
}

}  // namespace sluice::lm
