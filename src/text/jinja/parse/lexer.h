// A template's source as tokens, by the rules of Jinja 3.1 with trim_blocks and lstrip_blocks.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja/parse/token.h"

namespace sluice::text::jinja {

// Ends with a kEnd. `source` has line feeds only and outlives the tokens; strings with escapes are
// kept in `strings`.
base::Result<std::vector<Token>> Tokenize(std::string_view source,
                                          std::deque<std::string>& strings);
// What Tokenize takes: line ends become "\n", and the last one goes.
std::string NormalizeNewlines(std::string_view source);

}  // namespace sluice::text::jinja
