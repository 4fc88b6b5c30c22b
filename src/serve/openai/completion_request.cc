#include "serve/openai/completion_request.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "base/json.h"

namespace sluice::serve {
namespace {

using base::JsonKind;
using base::JsonValue;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

// Copies a value as text: the engine reads messages itself.
base::Status AppendJson(const JsonValue& value, std::string& out) {
  switch (value.kind()) {
    case JsonKind::kNull:
      out += "null";
      return base::Ok();
    case JsonKind::kBool:
      out += TRY(value.AsBool()) ? "true" : "false";
      return base::Ok();
    case JsonKind::kInt:
      out += std::to_string(TRY(value.AsInt()));
      return base::Ok();
    case JsonKind::kUint:
      out += std::to_string(TRY(value.AsUint()));
      return base::Ok();
    case JsonKind::kDouble:
      base::AppendJsonDouble(TRY(value.AsDouble()), out);
      return base::Ok();
    case JsonKind::kString:
      base::AppendJsonString(TRY(value.AsString()), out);
      return base::Ok();
    case JsonKind::kArray: {
      out += '[';
      bool first = true;
      const auto one = [&](JsonValue element) -> base::Status {
        if (!std::exchange(first, false)) out += ',';
        return AppendJson(element, out);
      };
      TRY(value.ForEachElement(one));
      out += ']';
      return base::Ok();
    }
    case JsonKind::kObject: {
      out += '{';
      bool first = true;
      const auto one = [&](std::string_view key, JsonValue member) -> base::Status {
        if (!std::exchange(first, false)) out += ',';
        base::AppendJsonString(key, out);
        out += ':';
        return AppendJson(member, out);
      };
      TRY(value.ForEachMember(one));
      out += '}';
      return base::Ok();
    }
  }
  return base::Ok();
}

base::Error Expected(std::string_view field, std::string_view what) {
  return base::InvalidArgument("'" + std::string(field) + "': expected " + std::string(what));
}

void AddText(const char* name, std::vector<std::string> texts, InferRequest& infer) {
  const auto count = static_cast<int64_t>(texts.size());
  infer.request->inputs.push_back({name, Tensor::FromStrings(Shape({count}), texts)});
}

// A text, or an array of token ids; of arrays of prompts a single one.
base::Status TakePrompt(JsonValue prompt, const RequestLimits& limits, InferRequest& infer) {
  if (prompt.is_array() && prompt.size() == 1) {
    JsonValue only = prompt;
    const auto first = [&](JsonValue element) -> base::Status {
      only = element;
      return base::Ok();
    };
    TRY(prompt.ForEachElement(first));
    if (only.is_string() || only.is_array()) prompt = only;
  }
  if (prompt.is_string()) {
    AddText("text", {std::string(TRY(prompt.AsString()))}, infer);
    return base::Ok();
  }
  if (!prompt.is_array()) return Expected("prompt", "a string or an array of token ids");
  Tensor ids = TRY(Tensor::Allocate(DType::kI64, Shape({prompt.size()}), limits.tensor_bytes_max));
  if (!prompt.ReadNumbers(ids.mutable_view().span<int64_t>()).ok()) {
    return base::Unimplemented("'prompt': several prompts in one request");
  }
  infer.request->inputs.push_back({"input_ids", std::move(ids)});
  return base::Ok();
}

base::Status TakeStop(const JsonValue& stop, InferRequest& infer) {
  std::vector<std::string> texts;
  if (stop.is_string()) {
    texts.emplace_back(TRY(stop.AsString()));
  } else {
    if (!stop.is_array() || stop.size() > 16) {
      return Expected("stop", "a string or an array of at most 16 strings");
    }
    const auto one = [&](JsonValue element) -> base::Status {
      texts.emplace_back(TRY(element.AsString()));
      return base::Ok();
    };
    TRY(stop.ForEachElement(one));
  }
  if (!texts.empty()) AddText("stop", std::move(texts), infer);
  return base::Ok();
}

// Fields that go to the engine under their own names.
constexpr std::array kNumbers = {
    "temperature", "top_p", "presence_penalty",  "frequency_penalty", "max_tokens", "seed",
    "top_k",       "min_p", "repetition_penalty"};
constexpr std::array kFlags = {"ignore_eos", "add_generation_prompt"};
// Fields that would change the answer, with the one value at which they do not.
struct Refused {
  const char* field;
  const char* harmless;  // as JSON; besides null
};
constexpr std::array kRefused = {Refused{"n", "1"},
                                 Refused{"best_of", "1"},
                                 Refused{"echo", "false"},
                                 Refused{"suffix", "\"\""},
                                 Refused{"stream", "false"},
                                 Refused{"logprobs", "false"},
                                 Refused{"top_logprobs", "0"},
                                 Refused{"logit_bias", "{}"},
                                 Refused{"response_format", "{\"type\":\"text\"}"},
                                 Refused{"functions", "[]"},
                                 Refused{"function_call", "\"none\""},
                                 Refused{"tool_choice", "\"auto\""},
                                 Refused{"prediction", "null"},
                                 Refused{"audio", "null"},
                                 Refused{"modalities", "[\"text\"]"},
                                 Refused{"web_search_options", "null"},
                                 Refused{"reasoning_effort", "null"},
                                 Refused{"chat_template_kwargs", "{}"}};

template <class List>
bool Holds(const List& list, std::string_view field) {
  return std::find(list.begin(), list.end(), field) != list.end();
}

base::Status TakeField(std::string_view field, const JsonValue& value, CompletionKind kind,
                       const RequestLimits& limits, CompletionRequest& out) {
  engine::Request& request = *out.infer.request;
  if (value.is_null()) return base::Ok();
  if (field == "model") {
    if (!value.is_string()) return Expected(field, "a string");
    out.model = TRY(value.AsString());
  } else if (field == "prompt" && kind == CompletionKind::kText) {
    return TakePrompt(value, limits, out.infer);
  } else if ((field == "messages" || field == "tools") && kind == CompletionKind::kChat) {
    if (!value.is_array()) return Expected(field, "an array");
    std::string json;
    TRY(AppendJson(value, json));
    AddText(field == "tools" ? "tools" : "messages", {std::move(json)}, out.infer);
  } else if (field == "stop") {
    return TakeStop(value, out.infer);
  } else if (field == "max_completion_tokens" || Holds(kNumbers, field)) {
    const auto number = value.AsDouble();
    if (!number.ok()) return Expected(field, "a number");
    request.parameters.emplace_back(field == "max_completion_tokens" ? "max_tokens" : field,
                                    *number);
  } else if (Holds(kFlags, field)) {
    const auto flag = value.AsBool();
    if (!flag.ok()) return Expected(field, "true or false");
    request.parameters.emplace_back(field, *flag);
  } else if (field == "cache_salt") {
    if (!value.is_string()) return Expected(field, "a string");
    request.parameters.emplace_back(field, std::string(TRY(value.AsString())));
  } else if (field == "deadline_ms") {
    const auto ms = value.AsDouble();
    if (!ms.ok() || !(*ms > 0 && *ms < 1e12)) return Expected(field, "milliseconds above 0");
    out.infer.timeout = base::Duration{static_cast<int64_t>(*ms * 1e6)};
  } else {
    for (const Refused& refused : kRefused) {
      if (field != refused.field) continue;
      std::string json;
      TRY(AppendJson(value, json));
      if (json == refused.harmless) return base::Ok();
      return base::Unimplemented("'" + std::string(field) + "' is not supported here");
    }
  }
  return base::Ok();
}

}  // namespace

base::Result<CompletionRequest> ParseCompletion(std::string_view body, CompletionKind kind,
                                                const RequestLimits& limits) {
  base::JsonDocument document(base::JsonLimits{static_cast<size_t>(limits.json_depth_max),
                                               static_cast<size_t>(limits.tensor_bytes_max)});
  const JsonValue root = TRY(document.Parse(body));
  if (!root.is_object()) return base::InvalidArgument("expected a JSON object");
  CompletionRequest request;
  // Without it an answer in a chat may be as long as the context leaves.
  if (kind == CompletionKind::kChat) {
    request.infer.request->parameters.emplace_back("fill_context", true);
  }
  const auto take = [&](std::string_view field, JsonValue value) -> base::Status {
    return TakeField(field, value, kind, limits, request);
  };
  TRY(root.ForEachMember(take));
  if (request.model.empty()) return Expected("model", "a string");
  const char* const prompt = kind == CompletionKind::kChat ? "messages" : "prompt";
  const auto& inputs = request.infer.request->inputs;
  const bool has_prompt = std::any_of(inputs.begin(), inputs.end(), [](const auto& input) {
    return input.name == "text" || input.name == "input_ids" || input.name == "messages";
  });
  if (!has_prompt) return Expected(prompt, "it to be there");
  return request;
}

}  // namespace sluice::serve
