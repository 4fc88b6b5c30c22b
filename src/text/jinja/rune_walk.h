// Steps through UTF-8 by code points.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/utf8.h"

namespace sluice::text::jinja {

// Calls visit(rune, at, bytes) for each code point until it returns false.
template <class Visit>
void ForEachRune(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const base::Rune rune = base::DecodeRune(text, at);
    if (!visit(rune.rune, at, static_cast<size_t>(rune.bytes))) return;
    at += static_cast<size_t>(rune.bytes);
  }
}

// The start of the code point that ends before byte `at`.
inline size_t PreviousRune(std::string_view text, size_t at) {
  do {
    --at;
  } while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

}  // namespace sluice::text::jinja
