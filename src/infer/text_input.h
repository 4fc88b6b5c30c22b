// Text in place of token ids: the inputs 'text' and 'text_pair' of a model whose folder has a
// tokenizer.json.
#pragma once

#include "base/result.h"
#include "engine/request.h"
#include "infer/prepared_request.h"

namespace sluice::infer {

// Fills input_ids, attention_mask and token_type_ids (those the model has) from the request's
// texts, [rows, length] with the length of the longest, cut at the model's limit. kInvalidArgument
// when the texts do not fit together.
base::Status EncodeText(const ServedModel& served, const engine::Request& request,
                        PreparedRequest& prepared);
// Bytes of text in a request.
int64_t TextBytes(const engine::Request& request);

}  // namespace sluice::infer
