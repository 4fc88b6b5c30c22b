// The tokeniser and the chat templates of a GGUF file.
#pragma once

#include <memory>

#include "base/result.h"
#include "lm/checkpoint/model_text.h"
#include "tensor/gguf.h"

namespace sluice::lm {

// Null for a file without a vocabulary. kUnimplemented names a tokeniser that is not built,
// kInvalidArgument the key that is wrong.
base::Result<std::shared_ptr<const ModelText>> ReadGgufText(const tensor::Gguf& gguf,
                                                            int64_t vocabulary);

}  // namespace sluice::lm
