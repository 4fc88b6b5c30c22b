#include "serve/rank/body_fields.h"

#include <algorithm>
#include <utility>

namespace sluice::serve {
namespace {

using base::JsonValue;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr int64_t kPriorityMax = 1'000'000;

// False: nobody knows it.
base::Result<bool> TakeShared(std::string_view field, const JsonValue& value, RankFields& fields) {
  if (field == "model") {
    fields.model = TRY(ReadString(field, value));
  } else if (field == "deadline_ms") {
    const auto ms = value.AsDouble();
    if (!ms.ok() || !(*ms > 0 && *ms < 1e12)) return Expected(field, "milliseconds above 0");
    fields.timeout = base::Duration{static_cast<int64_t>(*ms * 1e6)};
  } else if (field == "priority") {
    fields.priority = TRY(ReadInteger(field, value, 0, kPriorityMax));
  } else if (field == "cache_salt") {
    fields.parameters.emplace_back(field, TRY(ReadString(field, value)));
  } else if (field == "truncate_prompt_tokens") {
    // vLLM: -1 cuts to what the model takes.
    if (TRY(ReadInteger(field, value, -1, INT32_MAX)) != -1) {
      return base::Unimplemented("'truncate_prompt_tokens' other than -1 is not supported here");
    }
    fields.parameters.emplace_back("truncate", true);
  } else if (field == "truncation_strategy" || field == "truncation_side") {
    fields.parameters.emplace_back(field, TRY(ReadString(field, value)));
  } else {
    return field == "user" || field == "request_id";
  }
  return true;
}

}  // namespace

base::Result<std::vector<std::string>> ReadStrings(std::string_view field, const JsonValue& value,
                                                   int64_t count_max) {
  std::vector<std::string> texts;
  if (value.is_string()) {
    texts.emplace_back(TRY(value.AsString()));
    return texts;
  }
  if (!value.is_array() || value.size() < 1 || value.size() > count_max) {
    return Expected(field,
                    "a string or an array of 1 to " + std::to_string(count_max) + " strings");
  }
  const auto one = [&](JsonValue element) -> base::Status {
    if (!element.is_string()) return Expected(field, "an array of strings");
    texts.emplace_back(TRY(element.AsString()));
    return base::Ok();
  };
  TRY(value.ForEachElement(one));
  return texts;
}

base::Result<std::vector<std::string>> ReadDocuments(std::string_view field,
                                                     const JsonValue& value) {
  if (!value.is_array() || value.size() < 1 || value.size() > kRankedMax) {
    return Expected(field, "an array of 1 to " + std::to_string(kRankedMax) + " documents");
  }
  std::vector<std::string> texts;
  const auto one = [&](const JsonValue& element) -> base::Status {
    JsonValue text = element;
    if (element.is_object()) {
      const std::optional<JsonValue> member = TRY(element.Find("text"));
      if (member.has_value()) text = *member;
    }
    if (!text.is_string()) return Expected(field, "strings, or objects with a string as 'text'");
    texts.emplace_back(TRY(text.AsString()));
    return base::Ok();
  };
  TRY(value.ForEachElement(one));
  return texts;
}

base::Result<Tensor> ReadIds(std::string_view field, const JsonValue& value,
                             const RequestLimits& limits) {
  const bool fits = value.is_array() && value.size() >= 1;
  if (!fits) return Expected(field, "an array of token ids");
  Tensor ids = TRY(Tensor::Allocate(DType::kI64, Shape({value.size()}), limits.tensor_bytes_max));
  if (!value.ReadNumbers(ids.mutable_view().span<int64_t>()).ok()) {
    return Expected(field, "an array of token ids");
  }
  return ids;
}

base::Status ReadIdLists(std::string_view field, const JsonValue& value, int64_t count_max,
                         const RequestLimits& limits, tensor::NamedTensor& ids,
                         tensor::NamedTensor& lengths) {
  if (!value.is_array() || value.size() < 1 || value.size() > count_max) {
    return Expected(field,
                    "an array of 1 to " + std::to_string(count_max) + " arrays of token ids");
  }
  Tensor counts = TRY(Tensor::Allocate(DType::kI32, Shape({value.size()}), count_max * 4));
  const auto each = counts.mutable_view().span<int32_t>();
  size_t at = 0;
  int64_t total = 0;
  const auto count = [&](const JsonValue& element) -> base::Status {
    if (!element.is_array() || element.size() < 1 || element.size() > INT32_MAX) {
      return Expected(field, "arrays of token ids");
    }
    each[at++] = static_cast<int32_t>(element.size());
    total += element.size();
    return base::Ok();
  };
  TRY(value.ForEachElement(count));
  Tensor all = TRY(Tensor::Allocate(DType::kI64, Shape({total}), limits.tensor_bytes_max));
  if (!value.ReadNumbers(all.mutable_view().span<int64_t>()).ok()) {
    return Expected(field, "arrays of token ids");
  }
  ids.tensor = std::move(all);
  lengths.tensor = std::move(counts);
  return base::Ok();
}

base::Status ReadBody(
    std::string_view body, const RequestLimits& limits, RankFields& fields,
    base::FunctionRef<base::Result<bool>(std::string_view, const JsonValue&)> take) {
  base::JsonDocument document(base::JsonLimits{static_cast<size_t>(limits.json_depth_max),
                                               static_cast<size_t>(limits.tensor_bytes_max)});
  const JsonValue root = TRY(document.Parse(body));
  if (!root.is_object()) return base::InvalidArgument("expected a JSON object");
  const auto member = [&](std::string_view field, const JsonValue& value) -> base::Status {
    if (value.is_null() || TRY(take(field, value)) || TRY(TakeShared(field, value, fields))) {
      return base::Ok();
    }
    KeepUnknown(field, fields.unknown);
    return base::Ok();
  };
  return root.ForEachMember(member);
}

base::Result<bool> TakeTruncation(std::string_view field, const JsonValue& value,
                                  RankFields& fields) {
  if (field == "truncate") {
    fields.parameters.emplace_back(field, TRY(ReadFlag(field, value)));
    return true;
  }
  if (field != "truncation_direction") return false;
  const std::string direction = TRY(ReadString(field, value));
  const bool left = direction == "left" || direction == "Left";
  if (!left && direction != "right" && direction != "Right") {
    return Expected(field, "Left or Right");
  }
  fields.parameters.emplace_back("truncation_side", std::string(left ? "left" : "right"));
  return true;
}

InferRequest EngineRequest(const RankFields& fields, const char* task,
                           std::vector<tensor::NamedTensor> inputs) {
  InferRequest infer;
  infer.request->inputs = std::move(inputs);
  engine::Parameters& parameters = infer.request->parameters;
  for (const auto& parameter : fields.parameters) {
    const auto same = std::find_if(parameters.begin(), parameters.end(),
                                   [&](const auto& one) { return one.first == parameter.first; });
    if (same == parameters.end()) {
      parameters.push_back(parameter);
    } else {
      same->second = parameter.second;
    }
  }
  parameters.emplace_back("task", std::string(task));
  infer.timeout = fields.timeout;
  infer.priority = fields.priority;
  return infer;
}

}  // namespace sluice::serve
