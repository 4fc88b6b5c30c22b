// Decoders that rank documents: the text in which such a model reads a query and a document, and
// the tokens by which it judges them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "lm/checkpoint/model_text.h"

namespace sluice::lm {

// The text is head, the query, middle, a document, tail.
struct RerankForm {
  std::string head, middle, tail;
  std::vector<int32_t> labels;  // the first one's share is the relevance
};

// `pattern` holds {query} and behind it {document}, each once; `labels` are 2 to 16 texts with
// commas between them, each one token. kInvalidArgument says what was expected.
base::Result<RerankForm> MakeRerankForm(std::string_view pattern, std::string_view labels,
                                        const ModelText& text);

// Whether a request for scores is one for a ranking: `text` and `items`, and no labels of its own.
bool AsksForRanking(const engine::Request& request);

// Puts the tokens of the texts in the place of `text` and `items`: what all of them begin with as
// the prefix, the rest of each as its item; the form's labels, and softmax over them. Each text is
// tokenised whole. kInvalidArgument when one has more than length_max tokens.
base::Status WriteInForm(const RerankForm& form, const ModelText& text, int64_t length_max,
                         engine::Request& request);

}  // namespace sluice::lm
