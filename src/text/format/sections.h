// The sections of a tokenizer.json, each read by the file of its name beside this one.
#pragma once

#include <cstddef>
#include <memory>

#include "base/json.h"
#include "base/result.h"
#include "text/model/token_model.h"
#include "text/pattern.h"
#include "text/tokenizer.h"

namespace sluice::text {

// Of a Sequence, nested ones included.
inline constexpr size_t kStepsMax = 32;
// What one value of a section may nest.
inline constexpr int kNestingMax = 8;

// {"String": …} or {"Regex": …}.
base::Result<Pattern> ReadPattern(base::JsonValue value);

base::Status ReadNormalizer(base::JsonValue value, Normalizer& normalizer);
base::Status ReadPreTokenizer(base::JsonValue value, PreTokenizer& pre_tokenizer);
// Fills spec.single and spec.pair.
base::Status ReadPostProcessor(base::JsonValue value, TokenizerSpec& spec);
base::Status ReadDecoder(base::JsonValue value, Decoder& decoder);
// `byte_level`: the words that the model gets are bytes.
base::Result<std::unique_ptr<const TokenModel>> ReadModel(base::JsonValue value, bool byte_level);
// The model's type; files before 1.0 name none where it can be seen.
base::Result<std::string> ModelTypeOf(base::JsonValue value);

}  // namespace sluice::text
