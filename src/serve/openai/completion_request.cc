#include "serve/openai/completion_request.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "base/json.h"
#include "serve/json_fields.h"
#include "serve/openai/chat_messages.h"
#include "serve/openai/unbuilt_fields.h"

namespace sluice::serve {
namespace {

using base::JsonValue;
using tensor::DType;
using tensor::NamedTensor;
using tensor::Shape;
using tensor::Tensor;

// What is the same for all prompts of a request, in the making.
struct Fields {
  CompletionRequest request;
  std::vector<NamedTensor> prompts;
  std::vector<NamedTensor> inputs;
  engine::Parameters parameters;
  base::Duration timeout = base::Duration::Max();
  int64_t priority = 0;
  int64_t top_logprobs = -1;
  int64_t best_of = 0;
  double max_tokens = -1;             // -1: not given
  double max_completion_tokens = -1;  // the newer name goes before
  bool logprobs = false;              // of a chat
  bool no_tools = false;
};

base::Result<NamedTensor> Ids(const JsonValue& value, const RequestLimits& limits) {
  Tensor ids = TRY(Tensor::Allocate(DType::kI64, Shape({value.size()}), limits.tensor_bytes_max));
  if (!value.ReadNumbers(ids.mutable_view().span<int64_t>()).ok()) {
    return Expected("prompt", "a string, token ids, or an array of one of these");
  }
  return NamedTensor{"input_ids", std::move(ids)};
}

base::Status TakeText(const JsonValue& value, Fields& fields) {
  std::string text(TRY(value.AsString()));
  fields.prompts.push_back(TextTensor("text", {text}));
  fields.request.echoed.push_back(std::move(text));
  return base::Ok();
}

// A text, token ids, or an array of texts or of arrays of token ids.
base::Status TakePrompt(const JsonValue& prompt, const RequestLimits& limits, Fields& fields) {
  if (prompt.is_string()) return TakeText(prompt, fields);
  if (!prompt.is_array()) return Expected("prompt", "a string or an array");
  bool nested = false;
  int64_t count = 0;
  const auto look = [&](JsonValue element) -> base::Status {
    const bool is_prompt = element.is_string() || element.is_array();
    if (++count > 1 && is_prompt != nested) {
      return Expected("prompt", "either token ids or prompts in one array");
    }
    nested = is_prompt;
    return base::Ok();
  };
  TRY(prompt.ForEachElement(look));
  if (count == 0) return Expected("prompt", "at least one token or prompt");
  if (!nested) {
    fields.prompts.push_back(TRY(Ids(prompt, limits)));
    fields.request.echoed.emplace_back();
    return base::Ok();
  }
  if (count > kPromptsMax) {
    return Expected("prompt", "at most " + std::to_string(kPromptsMax) + " prompts, got " +
                                  std::to_string(count));
  }
  const auto take = [&](JsonValue element) -> base::Status {
    if (element.is_string()) return TakeText(element, fields);
    fields.prompts.push_back(TRY(Ids(element, limits)));
    fields.request.echoed.emplace_back();
    return base::Ok();
  };
  return prompt.ForEachElement(take);
}

base::Status TakeStop(const JsonValue& stop, Fields& fields) {
  std::vector<std::string> texts;
  if (stop.is_string()) {
    texts.emplace_back(TRY(stop.AsString()));
  } else {
    if (!stop.is_array() || stop.size() > 16) {
      return Expected("stop", "a string or an array of at most 16 strings");
    }
    const auto one = [&](JsonValue element) -> base::Status {
      if (!element.is_string()) return Expected("stop", "a string or an array of strings");
      texts.emplace_back(TRY(element.AsString()));
      return base::Ok();
    };
    TRY(stop.ForEachElement(one));
  }
  if (!texts.empty()) fields.inputs.push_back(TextTensor("stop", texts));
  return base::Ok();
}

base::Status TakeStopIds(const JsonValue& value, Fields& fields) {
  constexpr int64_t kMost = 1024;
  if (!value.is_array() || value.size() > kMost) {
    return Expected("stop_token_ids", "an array of at most 1024 token ids");
  }
  if (value.size() == 0) return base::Ok();
  Tensor ids = TRY(Tensor::Allocate(DType::kI64, Shape({value.size()}), kMost * 8));
  if (!value.ReadNumbers(ids.mutable_view().span<int64_t>()).ok()) {
    return Expected("stop_token_ids", "an array of at most 1024 token ids");
  }
  fields.inputs.push_back({"stop_ids", std::move(ids)});
  return base::Ok();
}

// {"token id": bias}
base::Status TakeBias(const JsonValue& value, Fields& fields) {
  if (!value.is_object() || value.size() > kBiasesMax) {
    return Expected("logit_bias", "an object of at most " + std::to_string(kBiasesMax) +
                                      " token ids with their bias");
  }
  if (value.size() == 0) return base::Ok();
  Tensor ids = TRY(Tensor::Allocate(DType::kI64, Shape({value.size()}), kBiasesMax * 8));
  Tensor biases = TRY(Tensor::Allocate(DType::kF32, Shape({value.size()}), kBiasesMax * 4));
  size_t at = 0;
  const auto one = [&](std::string_view key, JsonValue bias) -> base::Status {
    int64_t id = 0;
    for (const char c : key)
      id = c < '0' || c > '9' || id > INT32_MAX ? INT64_MAX / 16 : id * 10 + (c - '0');
    const auto number = bias.AsDouble();
    if (key.empty() || id > INT32_MAX || !number.ok() || !(std::fabs(*number) <= 100)) {
      return Expected("logit_bias", "token ids with a bias from -100 to 100, got '" +
                                        std::string(key.substr(0, 32)) + "'");
    }
    ids.mutable_view().span<int64_t>()[at] = id;
    biases.mutable_view().span<float>()[at++] = static_cast<float>(*number);
    return base::Ok();
  };
  TRY(value.ForEachMember(one));
  fields.inputs.push_back({"bias_ids", std::move(ids)});
  fields.inputs.push_back({"bias", std::move(biases)});
  return base::Ok();
}

base::Status TakeStreamOptions(const JsonValue& value, CompletionRequest& out) {
  if (!value.is_object()) return Expected("stream_options", "an object");
  const auto one = [&](std::string_view key, JsonValue option) -> base::Status {
    if (option.is_null()) return base::Ok();
    if (key == "include_usage") out.include_usage = TRY(ReadFlag("stream_options", option));
    if (key == "continuous_usage_stats") out.usage_always = TRY(ReadFlag("stream_options", option));
    return base::Ok();
  };
  return value.ForEachMember(one);
}

// A time allowed from the request's arrival, in `unit`s.
base::Status TakeTimeout(std::string_view field, const JsonValue& value, base::Duration unit,
                         Fields& fields) {
  const auto number = value.AsDouble();
  if (!number.ok() || !(*number > 0 && *number < 1e9)) {
    return Expected(field,
                    unit == base::Duration::Millis(1) ? "milliseconds above 0" : "seconds above 0");
  }
  const base::Duration timeout{static_cast<int64_t>(*number * static_cast<double>(unit.ns))};
  fields.timeout = std::min(fields.timeout, timeout);
  return base::Ok();
}

// Fields that go to the engine under their own names.
constexpr std::array kNumbers = {
    "temperature", "top_p", "presence_penalty",  "frequency_penalty", "seed",
    "top_k",       "min_p", "repetition_penalty"};
// The same, of chats alone where they say so.
constexpr std::array kFlags = {"ignore_eos", "add_special_tokens"};
template <class List>
bool Holds(const List& list, std::string_view field) {
  return std::find(list.begin(), list.end(), field) != list.end();
}

// Any integer of 64 bits; the engine's seeds have 53.
base::Status TakeSeed(const JsonValue& value, Fields& fields) {
  const auto seed = value.AsInt();
  const auto large = value.AsUint();
  if (!seed.ok() && !large.ok()) return Expected("seed", "an integer of 64 bits");
  const uint64_t bits = seed.ok() ? static_cast<uint64_t>(*seed) : *large;
  fields.parameters.emplace_back("seed", static_cast<int64_t>(bits & ((uint64_t{1} << 53) - 1)));
  return base::Ok();
}

// Fields of one of the two kinds. False: it is none of them.
base::Result<bool> TakeTextField(std::string_view field, const JsonValue& value,
                                 const RequestLimits& limits, Fields& fields) {
  if (field == "prompt") {
    if (!fields.prompts.empty()) return Expected(field, "it once");
    TRY(TakePrompt(value, limits, fields));
  } else if (field == "best_of") {
    fields.best_of = TRY(ReadInteger(field, value, 1, kChoicesMax));
  } else if (field == "echo") {
    fields.request.echo = TRY(ReadFlag(field, value));
  } else if (field == "logprobs") {
    // False is what chats say for none.
    if (value.AsBool().ok() && !*value.AsBool()) return true;
    fields.request.logprobs = TRY(ReadInteger(field, value, 0, kTopLogprobsMax));
  } else {
    return false;
  }
  return true;
}

base::Result<bool> TakeChatField(std::string_view field, const JsonValue& value, Fields& fields) {
  if (field == "messages") {
    if (!fields.prompts.empty()) return Expected(field, "it once");
    fields.prompts.push_back(TextTensor("messages", {TRY(CopyMessages(value))}));
  } else if (field == "tools") {
    fields.inputs.push_back(TRY(ReadTools(value)));
  } else if (field == "chat_template_kwargs") {
    std::string json = TRY(ReadObject(field, value));
    if (json != "{}") fields.parameters.emplace_back(field, std::move(json));
  } else if (field == "logprobs") {
    fields.logprobs = TRY(ReadFlag(field, value));
  } else if (field == "top_logprobs") {
    fields.top_logprobs = TRY(ReadInteger(field, value, 0, kTopLogprobsMax));
  } else if (field == "add_generation_prompt" || field == "continue_final_message") {
    fields.parameters.emplace_back(field, TRY(ReadFlag(field, value)));
  } else {
    return false;
  }
  return true;
}

base::Status TakeOther(std::string_view field, const JsonValue& value, Fields& fields) {
  const bool known = TRY(IsHarmless(field, value));
  if (!known) KeepUnknown(field, fields.request.unknown);
  if (field == "tool_choice") fields.no_tools = TRY(value.AsString()) == "none";
  return base::Ok();
}

base::Status TakeField(std::string_view field, const JsonValue& value, const RequestLimits& limits,
                       Fields& fields) {
  CompletionRequest& request = fields.request;
  if (value.is_null()) return base::Ok();
  if (request.kind == CompletionKind::kText ? TRY(TakeTextField(field, value, limits, fields))
                                            : TRY(TakeChatField(field, value, fields))) {
    return base::Ok();
  }
  if (field == "model") {
    request.model = TRY(ReadString(field, value));
  } else if (field == "n") {
    request.n = TRY(ReadInteger(field, value, 1, kChoicesMax));
  } else if (field == "stop") {
    return TakeStop(value, fields);
  } else if (field == "stop_token_ids") {
    return TakeStopIds(value, fields);
  } else if (field == "logit_bias") {
    return TakeBias(value, fields);
  } else if (field == "stream") {
    request.stream = TRY(ReadFlag(field, value));
  } else if (field == "stream_options") {
    return TakeStreamOptions(value, request);
  } else if (field == "seed") {
    return TakeSeed(value, fields);
  } else if (field == "truncate_prompt_tokens") {
    fields.parameters.emplace_back("truncate_prompt", TRY(ReadInteger(field, value, 1, INT32_MAX)));
  } else if (field == "max_tokens" || field == "max_completion_tokens") {
    const auto number = value.AsDouble();
    if (!number.ok() || *number < 0) return Expected(field, "a number of tokens");
    (field == "max_tokens" ? fields.max_tokens : fields.max_completion_tokens) = *number;
  } else if (Holds(kNumbers, field)) {
    const auto number = value.AsDouble();
    if (!number.ok()) return Expected(field, "a number");
    // What other servers call no limit.
    if (field == "top_k" && *number == -1) return base::Ok();
    fields.parameters.emplace_back(field, *number);
  } else if (Holds(kFlags, field)) {
    fields.parameters.emplace_back(field, TRY(ReadFlag(field, value)));
  } else if (field == "cache_salt") {
    fields.parameters.emplace_back(field, TRY(ReadString(field, value)));
  } else if (field == "priority") {
    // 0 is the model's own, 1 the most urgent.
    fields.priority = TRY(ReadInteger(field, value, 0, 1000));
  } else if (field == "deadline_ms") {
    return TakeTimeout(field, value, base::Duration::Millis(1), fields);
  } else if (field == "timeout") {
    return TakeTimeout(field, value, base::Duration::Seconds(1), fields);
  } else {
    return TakeOther(field, value, fields);
  }
  return base::Ok();
}

// What the fields mean together.
base::Status Settle(Fields& fields) {
  CompletionRequest& request = fields.request;
  const bool chat = request.kind == CompletionKind::kChat;
  if (request.model.empty()) return Expected("model", "a string");
  if (fields.prompts.empty()) return Expected(chat ? "messages" : "prompt", "it to be there");
  if (static_cast<int64_t>(fields.prompts.size()) * request.n > kPromptsTimesChoicesMax) {
    return Expected("n", "at most " + std::to_string(kPromptsTimesChoicesMax) +
                             " answers to all prompts together");
  }
  if (fields.best_of > 0 && fields.best_of != request.n) {
    return base::Unimplemented("'best_of' is not supported here, unless it is n");
  }
  if (chat && fields.top_logprobs >= 0 && !fields.logprobs) {
    return Expected("top_logprobs", "'logprobs' to be true with it");
  }
  if (chat && fields.logprobs) request.logprobs = std::max<int64_t>(fields.top_logprobs, 0);
  if (!request.stream && (request.include_usage || request.usage_always)) {
    return Expected("stream_options", "'stream' to be true with it");
  }
  if (fields.no_tools) {
    std::erase_if(fields.inputs, [](const NamedTensor& input) { return input.name == "tools"; });
  }
  const double tokens =
      fields.max_completion_tokens >= 0 ? fields.max_completion_tokens : fields.max_tokens;
  auto& parameters = fields.parameters;
  if (tokens >= 0) parameters.emplace_back("max_tokens", tokens);
  // Without it an answer in a chat may be as long as the context leaves.
  if (chat) parameters.emplace_back("fill_context", true);
  if (request.n > 1) parameters.emplace_back("n", request.n);
  if (request.logprobs >= 0) {
    parameters.emplace_back("logprobs", request.logprobs);
    parameters.emplace_back("token_texts", true);
  }
  return base::Ok();
}

// With echo the prompt's tokens are wanted where their texts or their probabilities are. The engine
// tells them with its last reply: a stream that begins with them has one event of each choice.
void AskForPrompt(int64_t logprobs, engine::Parameters& parameters) {
  parameters.emplace_back("prompt_logprobs", std::max<int64_t>(logprobs, 0));
  if (logprobs < 0) parameters.emplace_back("token_texts", true);
}

}  // namespace

base::Result<CompletionRequest> ParseCompletion(std::string_view body, CompletionKind kind,
                                                const RequestLimits& limits) {
  base::JsonDocument document(base::JsonLimits{static_cast<size_t>(limits.json_depth_max),
                                               static_cast<size_t>(limits.tensor_bytes_max)});
  const JsonValue root = TRY(document.Parse(body));
  if (!root.is_object()) return base::InvalidArgument("expected a JSON object");
  Fields fields;
  fields.request.kind = kind;
  const auto take = [&](std::string_view field, JsonValue value) -> base::Status {
    return TakeField(field, value, limits, fields);
  };
  TRY(root.ForEachMember(take));
  TRY(Settle(fields));
  CompletionRequest& request = fields.request;
  const bool no_answer = fields.max_tokens == 0 || fields.max_completion_tokens == 0;
  for (size_t i = 0; i < fields.prompts.size(); ++i) {
    InferRequest infer;
    infer.timeout = fields.timeout;
    infer.priority = fields.priority;
    infer.request->inputs = fields.inputs;
    infer.request->parameters = fields.parameters;
    const bool told = fields.prompts[i].name == "text" && request.logprobs < 0 && !no_answer;
    if (request.echo && !told) {
      AskForPrompt(request.logprobs, infer.request->parameters);
    } else if (request.stream) {
      infer.request->parameters.emplace_back("stream", true);
    }
    infer.request->inputs.push_back(std::move(fields.prompts[i]));
    request.prompts.push_back(std::move(infer));
  }
  return std::move(request);
}

}  // namespace sluice::serve
