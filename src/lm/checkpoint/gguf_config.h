// What the metadata of a GGUF file says about a decoder.
//
// Keys: the "GGUF" specification of the ggml project (docs/gguf.md) and what llama.cpp's converters
// write.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "lm/decoder/decoder_config.h"
#include "tensor/gguf.h"

namespace sluice::lm {

// Architectures: llama (Mistral too), qwen2, qwen3, qwen3moe, gemma2, gemma3, phi3. kUnimplemented
// names another one or a feature that is not built, kInvalidArgument the key that is wrong.
base::Result<DecoderConfig> ReadGgufConfig(const tensor::Gguf& gguf);

// The tokens that end an answer: those that the metadata names, and control tokens that are known
// to end a turn by their texts, as older files name one of them only.
base::Result<std::vector<int32_t>> ReadGgufEndIds(const tensor::Gguf& gguf, int64_t vocabulary);

}  // namespace sluice::lm
