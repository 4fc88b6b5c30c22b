// Extended grapheme clusters (Unicode Standard Annex 29), what a reader takes for one character.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice::text {

// Where the cluster that starts at text[at] ends; `text` is valid UTF-8, at < text.size(). Linear
// in the cluster.
size_t GraphemeEnd(std::string_view text, size_t at);

}  // namespace sluice::text
