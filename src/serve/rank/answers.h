// The JSON of embeddings, scores, rankings and tokens, in the dialect of whoever asked.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "serve/rank/embedding_request.h"
#include "serve/rank/rerank_request.h"

namespace sluice::serve {

// Each writes a whole body from the replies to the requests of one body, in their order. kInternal
// where the engine's outputs are not what its task gives; kInvalidArgument where the model gives
// something else than the route is about.

// `embedding` [n, d] of one reply.
base::Result<std::string> WriteEmbeddings(const std::vector<engine::Reply>& replies,
                                          EmbeddingDialect dialect, const std::string& model,
                                          bool base64);
// `scores` [n, labels] of each reply. `prefixed`: of items behind a prefix, with all their labels'
// scores and in the engine's order.
base::Result<std::string> WriteScores(const std::vector<engine::Reply>& replies,
                                      const std::string& model, bool prefixed);
// `scores` [documents, 1] of one reply, best first.
base::Result<std::string> WriteRanking(const std::vector<engine::Reply>& replies,
                                       const RerankRequest& request);

struct TokenAnswerShape {
  bool tei = false;
  bool token_texts = false;
};
// `output_ids` [n] of each reply, with `token_texts` and `offsets` where they are there.
base::Result<std::string> WriteTokens(const std::vector<engine::Reply>& replies,
                                      TokenAnswerShape shape);
// `text` [1] of each reply.
base::Result<std::string> WriteTexts(const std::vector<engine::Reply>& replies, bool tei);

// Bytes in base64 with padding.
std::string EncodeBase64(std::string_view bytes);

}  // namespace sluice::serve
