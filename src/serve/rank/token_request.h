// Bodies of /tokenize, /detokenize and /decode: vLLM's (prompt or messages; tokens) and those of
// Hugging Face's text-embeddings-inference (TEI: inputs; ids).
#pragma once

#include <string_view>
#include <vector>

#include "serve/rank/body_fields.h"

namespace sluice::serve {

inline constexpr int64_t kTokenizedTextsMax = 512;

struct TokenRequest {
  RankFields fields;
  // A request to the engine for each text.
  std::vector<std::vector<tensor::NamedTensor>> asked;
  bool tei = false;
  bool listed = false;       // TEI: `inputs` or `ids` was a list of them
  bool token_texts = false;  // vLLM: the tokens' own texts beside the ids
};

// kInvalidArgument names the field. `body` is readable kBodyPadding bytes past its end.
base::Result<TokenRequest> ParseTokenize(std::string_view body, const RequestLimits& limits);
base::Result<TokenRequest> ParseDetokenize(std::string_view body, const RequestLimits& limits);

}  // namespace sluice::serve
