// Errors of the ranking routes as each dialect's clients read them.
#pragma once

#include "serve/openai/errors.h"

namespace sluice::serve {

enum class RankErrors {
  kOpenAi,  // {"error": {…}}: OpenAI and vLLM
  kCohere,  // {"message"}
  kJina,    // {"detail", "message"}: Jina, and Cohere's first version
  kTei,     // {"error", "error_type"}; 422 for what is wrong with a request, 424 for the model
};

HttpResponse RankError(RankErrors dialect, const OpenAiFault& fault);

}  // namespace sluice::serve
