#include "serve/rank/token_request.h"

#include <utility>

#include "serve/openai/chat_messages.h"

namespace sluice::serve {
namespace {

using base::JsonValue;

base::Status Once(std::string_view field, const TokenRequest& request) {
  return request.asked.empty() ? base::Ok() : base::Status(Expected(field, "one of its kind"));
}

base::Result<bool> TakeText(std::string_view field, const JsonValue& value, TokenRequest& out) {
  if (field == "prompt") {
    TRY(Once(field, out));
    out.asked.push_back({TextTensor("text", {TRY(ReadString(field, value))})});
  } else if (field == "messages") {
    TRY(Once(field, out));
    out.asked.push_back({TextTensor("messages", {TRY(CopyMessages(value))})});
  } else if (field == "inputs") {
    TRY(Once(field, out));
    out.tei = true;
    out.listed = value.is_array();
    for (const std::string& text : TRY(ReadStrings(field, value, kTokenizedTextsMax))) {
      out.asked.push_back({TextTensor("text", {text})});
    }
  } else {
    return false;
  }
  return true;
}

}  // namespace

base::Result<TokenRequest> ParseTokenize(std::string_view body, const RequestLimits& limits) {
  TokenRequest request;
  std::vector<tensor::NamedTensor> tools;
  engine::Parameters& parameters = request.fields.parameters;
  const auto take = [&](std::string_view field, const JsonValue& value) -> base::Result<bool> {
    if (field == "add_special_tokens" || field == "add_generation_prompt" ||
        field == "continue_final_message") {
      parameters.emplace_back(field, TRY(ReadFlag(field, value)));
    } else if (field == "return_token_strs") {
      request.token_texts = TRY(ReadFlag(field, value));
    } else if (field == "chat_template_kwargs") {
      parameters.emplace_back(field, TRY(ReadObject(field, value)));
    } else if (field == "tools") {
      tools.push_back(TRY(ReadTools(value)));
    } else {
      return TakeText(field, value, request);
    }
    return true;
  };
  TRY(ReadBody(body, limits, request.fields, take));
  if (request.asked.empty()) {
    return Expected("prompt', 'messages' or 'inputs", "one of them to be there");
  }
  for (tensor::NamedTensor& tool : tools) request.asked.front().push_back(std::move(tool));
  if (request.tei || request.token_texts) parameters.emplace_back("token_texts", true);
  return request;
}

base::Result<TokenRequest> ParseDetokenize(std::string_view body, const RequestLimits& limits) {
  TokenRequest request;
  bool said_special = false;  // TEI leaves special tokens out where nothing is said
  const auto take_lists = [&](const JsonValue& value) -> base::Status {
    const auto one = [&](const JsonValue& element) -> base::Status {
      request.asked.push_back({{"input_ids", TRY(ReadIds("ids", element, limits))}});
      return base::Ok();
    };
    if (value.size() > kTokenizedTextsMax) {
      return Expected("ids", "at most " + std::to_string(kTokenizedTextsMax) + " texts");
    }
    return value.ForEachElement(one);
  };
  const auto take = [&](std::string_view field, const JsonValue& value) -> base::Result<bool> {
    if (field == "tokens") {
      TRY(Once(field, request));
      request.asked.push_back({{"input_ids", TRY(ReadIds(field, value, limits))}});
    } else if (field == "ids") {
      TRY(Once(field, request));
      request.tei = true;
      if (!said_special) request.fields.parameters.emplace_back("skip_special_tokens", true);
      bool first_is_list = false, first = true;
      const auto look = [&](const JsonValue& element) -> base::Status {
        if (std::exchange(first, false)) first_is_list = element.is_array();
        return base::Ok();
      };
      if (value.is_array()) TRY(value.ForEachElement(look));
      request.listed = first_is_list;
      if (first_is_list) {
        TRY(take_lists(value));
      } else {
        request.asked.push_back({{"input_ids", TRY(ReadIds(field, value, limits))}});
      }
    } else if (field == "skip_special_tokens") {
      said_special = true;
      request.fields.parameters.emplace_back(field, TRY(ReadFlag(field, value)));
    } else {
      return false;
    }
    return true;
  };
  TRY(ReadBody(body, limits, request.fields, take));
  if (request.asked.empty()) return Expected("tokens' or 'ids", "one of them to be there");
  return request;
}

}  // namespace sluice::serve
