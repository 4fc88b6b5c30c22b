// Bodies that ask for embeddings: OpenAI's /v1/embeddings and the /embed of Hugging Face's
// text-embeddings-inference (TEI).
#pragma once

#include <string_view>
#include <vector>

#include "serve/rank/body_fields.h"

namespace sluice::serve {

enum class EmbeddingDialect { kOpenAi, kTei };

struct EmbeddingRequest {
  RankFields fields;
  std::vector<tensor::NamedTensor> inputs;  // of one request to the engine
  bool base64 = false;                      // vectors as the bytes of little-endian floats
};

// kInvalidArgument names the field. `body` is readable kBodyPadding bytes past its end.
base::Result<EmbeddingRequest> ParseEmbedding(std::string_view body, EmbeddingDialect dialect,
                                              const RequestLimits& limits);

}  // namespace sluice::serve
