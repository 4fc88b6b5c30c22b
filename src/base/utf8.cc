#include "base/utf8.h"

#include <cstring>

#include "base/check.h"

namespace sluice::base {
namespace {

constexpr bool IsContinuation(unsigned char c) {
  return (c & 0xC0) == 0x80;
}

// How many leading bytes of text[at..] are ASCII, eight at a time.
size_t AsciiRun(std::string_view text, size_t at) {
  size_t i = at;
  while (i + 8 <= text.size()) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof(word));
    if ((word & 0x8080808080808080u) != 0) break;
    i += 8;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i - at;
}

}  // namespace

Rune DecodeRune(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return {first, 1, true};
  int length = 0;
  char32_t rune = 0;
  // The second byte's range rules out overlong forms, surrogates and values above U+10FFFF (Unicode
  // 15, table 3-7).
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    rune = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    rune = first & 0x0F;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    rune = first & 0x07;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {kReplacementRune, 1, false};
  }
  for (int i = 1; i < length; ++i) {
    const size_t here = at + static_cast<size_t>(i);
    const bool fits = here < text.size() && (i == 1 ? byte(here) >= low && byte(here) <= high
                                                    : IsContinuation(byte(here)));
    if (!fits) return {kReplacementRune, i, false};
    rune = (rune << 6) | (byte(here) & 0x3Fu);
  }
  return {rune, length, true};
}

void AppendRune(char32_t rune, std::string& out) {
  CHECK(rune <= 0x10FFFF && (rune < 0xD800 || rune > 0xDFFF)) << static_cast<uint32_t>(rune);
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (rune < 0x80) {
    put(rune);
  } else if (rune < 0x800) {
    put(0xC0 | (rune >> 6));
    put(0x80 | (rune & 0x3F));
  } else if (rune < 0x10000) {
    put(0xE0 | (rune >> 12));
    put(0x80 | ((rune >> 6) & 0x3F));
    put(0x80 | (rune & 0x3F));
  } else {
    put(0xF0 | (rune >> 18));
    put(0x80 | ((rune >> 12) & 0x3F));
    put(0x80 | ((rune >> 6) & 0x3F));
    put(0x80 | (rune & 0x3F));
  }
}

bool IsValidUtf8(std::string_view text) {
  for (size_t i = AsciiRun(text, 0); i < text.size(); i += AsciiRun(text, i)) {
    const Rune rune = DecodeRune(text, i);
    if (!rune.valid) return false;
    i += static_cast<size_t>(rune.bytes);
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Rune rune = DecodeRune(text, i);
    if (rune.valid) {
      out.append(text.substr(i, static_cast<size_t>(rune.bytes)));
    } else {
      out.append("\xEF\xBF\xBD");
    }
    i += static_cast<size_t>(rune.bytes);
  }
  return out;
}

}  // namespace sluice::base
