#include "serve/rank/score_request.h"

#include <array>
#include <optional>
#include <utility>

#include "serve/openai/chat_messages.h"

namespace sluice::serve {
namespace {

using base::JsonValue;
using tensor::NamedTensor;

// The two sides of pairs, under whichever names.
struct Sides {
  std::vector<std::string> first, second;
  bool any() const { return !first.empty() || !second.empty(); }
};

// What is scored behind a prefix.
struct Prefixed {
  std::vector<NamedTensor> prefix, items, labels;
  bool any() const { return !prefix.empty() || !items.empty() || !labels.empty(); }
};

base::Status Once(std::string_view field, const std::vector<NamedTensor>& taken) {
  return taken.empty() ? base::Ok() : base::Status(Expected(field, "one of its kind"));
}

base::Result<bool> TakeSide(std::string_view field, const JsonValue& value, Sides& sides) {
  constexpr std::array<std::string_view, 3> kFirst = {"text_1", "queries", "data_1"};
  constexpr std::array<std::string_view, 3> kSecond = {"text_2", "documents", "data_2"};
  for (size_t i = 0; i < kFirst.size(); ++i) {
    const bool first = field == kFirst[i];
    if (!first && field != kSecond[i]) continue;
    std::vector<std::string>& side = first ? sides.first : sides.second;
    if (!side.empty()) return Expected(field, "one of its kind");
    side = TRY(ReadStrings(field, value, kRankedMax));
    return true;
  }
  return false;
}

base::Status TakePrefix(std::string_view field, const JsonValue& value, const RequestLimits& limits,
                        Prefixed& out) {
  TRY(Once(field, out.prefix));
  if (field == "messages") {
    out.prefix.push_back(TextTensor("messages", {TRY(CopyMessages(value))}));
  } else if (value.is_string()) {
    out.prefix.push_back(TextTensor("text", {TRY(ReadString(field, value))}));
  } else {
    out.prefix.push_back({"input_ids", TRY(ReadIds(field, value, limits))});
  }
  return base::Ok();
}

bool BeginsWithAString(const JsonValue& value) {
  bool string = false, first = true;
  const auto look = [&](const JsonValue& element) -> base::Status {
    if (std::exchange(first, false)) string = element.is_string();
    return base::Ok();
  };
  return value.is_array() && value.ForEachElement(look).ok() && string;
}

base::Status TakeItems(const JsonValue& value, const RequestLimits& limits, Prefixed& out) {
  TRY(Once("items", out.items));
  if (BeginsWithAString(value)) {
    out.items.push_back(TextTensor("items", TRY(ReadStrings("items", value, kRankedMax))));
    return base::Ok();
  }
  NamedTensor ids{"item_ids", {}}, lengths{"item_lengths", {}};
  TRY(ReadIdLists("items", value, kRankedMax, limits, ids, lengths));
  out.items.push_back(std::move(ids));
  out.items.push_back(std::move(lengths));
  return base::Ok();
}

base::Status TakeLabels(const JsonValue& value, const RequestLimits& limits, Prefixed& out) {
  TRY(Once("labels", out.labels));
  if (BeginsWithAString(value)) {
    out.labels.push_back(TextTensor("labels", TRY(ReadStrings("labels", value, kRankedMax))));
  } else {
    out.labels.push_back({"label_ids", TRY(ReadIds("labels", value, limits))});
  }
  return base::Ok();
}

// Parameters of the engine that go there under their own names.
base::Result<bool> TakeParameter(std::string_view field, const JsonValue& value,
                                 engine::Parameters& parameters) {
  if (field == "top_k" || field == "by_label") {
    parameters.emplace_back(field, TRY(ReadInteger(field, value, 0, kRankedMax)));
  } else if (field == "use_activation" || (field == "activation" && !value.is_string())) {
    // vLLM's word for it, a flag.
    if (!TRY(ReadFlag(field, value))) parameters.emplace_back("activation", std::string("none"));
  } else if (field == "over" || field == "activation" || field == "prompt_name" ||
             field == "item_prompt_name") {
    parameters.emplace_back(field, TRY(ReadString(field, value)));
  } else if (field == "add_special_tokens" || field == "add_generation_prompt" ||
             field == "continue_final_message" || field == "token_logprobs") {
    parameters.emplace_back(field, TRY(ReadFlag(field, value)));
  } else if (field == "chat_template_kwargs") {
    if (!value.is_object()) return Expected(field, "an object");
    std::string json;
    TRY(CopyJson(value, json));
    parameters.emplace_back(field, std::move(json));
  } else {
    return false;
  }
  return true;
}

// One text and many: a single request. As many on both sides: a request a pair.
base::Status AskForPairs(Sides sides, ScoreRequest& out) {
  const size_t firsts = sides.first.size(), seconds = sides.second.size();
  if (firsts == 0 || seconds == 0) return Expected("text_1' and 'text_2", "both to be there");
  if (firsts == 1) {
    out.asked.push_back({TextTensor("text", sides.first), TextTensor("items", sides.second)});
    return base::Ok();
  }
  if (firsts != seconds) {
    return Expected("text_2", "one text for each of the " + std::to_string(firsts) +
                                  " of 'text_1', got " + std::to_string(seconds));
  }
  if (static_cast<int64_t>(firsts) > kScoredPairsMax) {
    return Expected("text_1", "at most " + std::to_string(kScoredPairsMax) + " pairs, got " +
                                  std::to_string(firsts));
  }
  for (size_t i = 0; i < firsts; ++i) {
    out.asked.push_back(
        {TextTensor("text", {sides.first[i]}), TextTensor("items", {sides.second[i]})});
  }
  return base::Ok();
}

}  // namespace

base::Result<ScoreRequest> ParseScore(std::string_view body, const RequestLimits& limits) {
  ScoreRequest request;
  Sides sides;
  Prefixed prefixed;
  std::vector<NamedTensor> tools;
  const auto take = [&](std::string_view field, const JsonValue& value) -> base::Result<bool> {
    if (field == "prefix" || field == "messages") {
      TRY(TakePrefix(field, value, limits, prefixed));
    } else if (field == "items") {
      TRY(TakeItems(value, limits, prefixed));
    } else if (field == "labels") {
      TRY(TakeLabels(value, limits, prefixed));
    } else if (field == "tools") {
      tools.push_back(TRY(ReadTools(value)));
    } else {
      return TRY(TakeSide(field, value, sides)) ||
             TRY(TakeParameter(field, value, request.fields.parameters));
    }
    return true;
  };
  TRY(ReadBody(body, limits, request.fields, take));
  if (sides.any() && prefixed.any()) {
    return base::InvalidArgument("expected either pairs of texts, or a prefix with items");
  }
  if (sides.any()) {
    TRY(AskForPairs(std::move(sides), request));
    return request;
  }
  if (prefixed.items.empty()) return Expected("items", "it to be there");
  request.prefixed = true;
  std::vector<NamedTensor> inputs;
  for (std::vector<NamedTensor>* part :
       {&prefixed.prefix, &tools, &prefixed.items, &prefixed.labels}) {
    for (NamedTensor& tensor : *part) inputs.push_back(std::move(tensor));
  }
  request.asked.push_back(std::move(inputs));
  return request;
}

}  // namespace sluice::serve
