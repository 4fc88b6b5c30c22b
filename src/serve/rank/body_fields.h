// Fields of JSON bodies as the ranking routes read them: what was expected is said by name, counts
// and sizes are bounded, and what nobody knows is kept for the log.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/json.h"
#include "base/result.h"
#include "serve/config.h"
#include "serve/json_fields.h"
#include "serve/oip/infer_request.h"

namespace sluice::serve {

// Texts, items or documents of one request, whatever the dialect.
inline constexpr int64_t kRankedMax = 4096;

// What bodies of all dialects may say beside what they ask.
struct RankFields {
  std::string model;  // empty: not said
  engine::Parameters parameters;
  base::Duration timeout = base::Duration::Max();
  int64_t priority = 0;
  std::vector<std::string> unknown;  // KeepUnknown
};

// One string, or an array of 1 to count_max.
base::Result<std::vector<std::string>> ReadStrings(std::string_view field,
                                                   const base::JsonValue& value, int64_t count_max);
// An array of strings, or of objects that have one as their "text".
base::Result<std::vector<std::string>> ReadDocuments(std::string_view field,
                                                     const base::JsonValue& value);
// An array of integers: [n] I64.
base::Result<tensor::Tensor> ReadIds(std::string_view field, const base::JsonValue& value,
                                     const RequestLimits& limits);
// An array of 1 to count_max arrays of integers: I64 [all of them] as `ids`, I32 [arrays] as
// `lengths`.
base::Status ReadIdLists(std::string_view field, const base::JsonValue& value, int64_t count_max,
                         const RequestLimits& limits, tensor::NamedTensor& ids,
                         tensor::NamedTensor& lengths);

// Parses the body as an object and shows each member that is no null to `take`, which tells whether
// it knew it. What it does not know is tried as a field of all dialects: model, user, deadline_ms,
// priority, cache_salt, truncate_prompt_tokens, truncation_strategy, truncation_side.
base::Status ReadBody(
    std::string_view body, const RequestLimits& limits, RankFields& fields,
    base::FunctionRef<base::Result<bool>(std::string_view, const base::JsonValue&)> take);

// TEI's `truncate` and `truncation_direction`. False: it is none of them.
base::Result<bool> TakeTruncation(std::string_view field, const base::JsonValue& value,
                                  RankFields& fields);

// A request to the engine for `task` with what the body said besides.
// Parameters that are said twice stand there once, as they were said last.
InferRequest EngineRequest(const RankFields& fields, const char* task,
                           std::vector<tensor::NamedTensor> inputs);

}  // namespace sluice::serve
