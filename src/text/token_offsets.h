// Where the tokens of a text stand in it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::text {

// Bytes [begin, end) of the text.
struct TokenSpan {
  int32_t begin = 0;
  int32_t end = 0;
};

// The spans of `ids`, which the tokeniser made of `text`, of at most Tokenizer::kTextBytesMax
// bytes. A token stands where the text spells it, ASCII letters in any case, with the blanks in
// front that belong to it; one that the tokeniser added is empty, where the next one begins.
// Nothing where a token is spelled otherwise than its text, as accents that a normaliser drops or
// unknown words are.
std::optional<std::vector<TokenSpan>> FindTokenSpans(const Tokenizer& tokenizer,
                                                     std::string_view text,
                                                     std::span<const int32_t> ids);

}  // namespace sluice::text
