// Bodies that ask for documents in the order of their relevance to a query: Cohere's (/v2/rerank),
// Jina's, which Cohere's first version and vLLM share (/v1/rerank, /rerank), and that of Hugging
// Face's text-embeddings-inference (TEI, /rerank with `texts`).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/rank/body_fields.h"

namespace sluice::serve {

enum class RerankDialect { kCohere, kJina, kTei };

struct RerankRequest {
  RankFields fields;
  RerankDialect dialect = RerankDialect::kJina;
  std::string query;
  std::vector<std::string> documents;
  int64_t top_n = 0;  // 0: all
  bool return_documents = false;
};

// `path_dialect` is what the path says: kCohere, or kJina, which becomes kTei where the body has
// `texts`. kInvalidArgument names the field. `body` is readable kBodyPadding bytes past its end.
base::Result<RerankRequest> ParseRerank(std::string_view body, RerankDialect path_dialect,
                                        const RequestLimits& limits);

// The request to the engine; the query and the documents stay in `request`.
InferRequest RerankEngineRequest(const RerankRequest& request);

}  // namespace sluice::serve
