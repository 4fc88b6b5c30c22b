// The routes of embeddings, scores, rankings and tokens, in the dialects of OpenAI, vLLM, Cohere,
// Jina and Hugging Face's text-embeddings-inference (TEI): docs/ranking_api.md.
#pragma once

#include "serve/openai/http_routes.h"

namespace sluice::serve {

void EmbedOpenAi(const OpenAiCall& call);
void EmbedTei(const OpenAiCall& call);
void ScorePairs(const OpenAiCall& call);
void RerankJina(const OpenAiCall& call);  // Cohere's first version, vLLM and TEI as well
void RerankCohere(const OpenAiCall& call);
void TokenizeText(const OpenAiCall& call);
void DetokenizeIds(const OpenAiCall& call);

}  // namespace sluice::serve
