// Bodies of /v1/score and /score: pairs of texts, as vLLM has them (text_1 and text_2, or queries
// and documents), and one prefix with many items, which a decoder scores behind it.
#pragma once

#include <string_view>
#include <vector>

#include "serve/rank/body_fields.h"

namespace sluice::serve {

// Requests to the engine that one body may become: pairs of two lists are one each.
inline constexpr int64_t kScoredPairsMax = 512;

struct ScoreRequest {
  RankFields fields;
  // Requests to the engine, whose items follow one another in the answer.
  std::vector<std::vector<tensor::NamedTensor>> asked;
  bool prefixed = false;  // one prefix and its items
};

// kInvalidArgument names the field. `body` is readable kBodyPadding bytes past its end.
base::Result<ScoreRequest> ParseScore(std::string_view body, const RequestLimits& limits);

}  // namespace sluice::serve
