// GPT-2's alphabet: each byte as one printable character, so that byte-level vocabularies can be
// written as text (Radford et al. 2019, `bytes_to_unicode`).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::text {

// Appends the character of each byte, as UTF-8.
void AppendAsAlphabet(std::string_view bytes, std::string& out);
// The bytes that `text` writes; nothing when it holds a character outside the alphabet.
std::optional<std::string> BytesOfAlphabet(std::string_view text);

}  // namespace sluice::text
