// POST /v1/completions and /v1/chat/completions: from a body to submitted requests.
#pragma once

#include "serve/openai/http_routes.h"

namespace sluice::serve {

void CompleteText(const OpenAiCall& call);
void CompleteChat(const OpenAiCall& call);

}  // namespace sluice::serve
