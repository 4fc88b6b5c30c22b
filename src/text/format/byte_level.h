// What the readers of byte-level vocabularies share.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/model/byte_pair.h"
#include "text/tokenizer.h"

namespace sluice::text {

// A scanner's words, ByteLevel's decoder, and nothing around a text.
TokenizerSpec ByteLevelSpec(WordScanner scanner);
// Merges in their order, each "a b". kInvalidArgument names the first that is none.
base::Result<std::vector<BytePairMerge>> MergesOfLines(std::span<const std::string_view> lines,
                                                       const Vocabulary& vocabulary);

}  // namespace sluice::text
