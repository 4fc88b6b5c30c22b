// How encodings that are too long are cut: the strategies of a tokenizer.json.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace sluice::text {

// Cuts `first` and, unless null, `second` so that together they hold at most truncation.length_max
// tokens. Tells whether it cut. kInvalidArgument when the strategy names a text that is absent or
// too short to cut that much from.
base::Result<bool> Truncate(const Truncation& truncation, std::vector<int32_t>& first,
                            std::vector<int32_t>* second);

}  // namespace sluice::text
