#include "text/jinja/parse/escape.h"

#include <charconv>
#include <cstdint>
#include <cstdio>

#include "base/utf8.h"

namespace sluice::text::jinja {

using base::InvalidArgument;
using base::Status;

namespace {

Status AppendCharacter(uint32_t rune, std::string& out) {
  if (rune > 0x10FFFF || (rune >= 0xD800 && rune <= 0xDFFF)) {
    return InvalidArgument("expected a Unicode character in a string, got a number that is none");
  }
  base::AppendRune(rune, out);
  return base::Ok();
}

}  // namespace

Status AppendEscape(std::string_view body, size_t& i, std::string& out) {
  const char c = body[i + 1];
  constexpr std::string_view kLetters = "\\'\"abfnrtv";
  constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  i += 2;
  if (c == '\n') return base::Ok();
  if (const size_t known = kLetters.find(c); known != std::string_view::npos) {
    out += kMeanings[known];
    return base::Ok();
  }
  if (c >= '0' && c <= '7') {
    uint32_t value = 0;
    size_t end = i - 1;
    for (; end < body.size() && end < i + 2 && body[end] >= '0' && body[end] <= '7'; ++end) {
      value = value * 8 + static_cast<uint32_t>(body[end] - '0');
    }
    i = end;
    return AppendCharacter(value, out);
  }
  if (c == 'x' || c == 'u' || c == 'U') {
    const size_t count = c == 'x' ? 2 : (c == 'u' ? 4 : 8);
    const std::string_view digits = body.substr(i, count);
    uint32_t value = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() < count || read.ptr != digits.data() + count) {
      return InvalidArgument(std::string("expected ") + std::to_string(count) +
                             " hexadecimal digits after '\\" + c + "'");
    }
    i += count;
    return AppendCharacter(value, out);
  }
  if (c == 'N') return InvalidArgument("'\\N' is not supported in strings");
  out += '\\';
  if (static_cast<unsigned char>(c) < 0x80) {
    out += c;
    return base::Ok();
  }
  // Python escapes the character first, so that its own backslash is spent.
  const base::Rune rune = base::DecodeRune(body, i - 1);
  char escaped[12];
  std::snprintf(escaped, sizeof(escaped),
                rune.rune < 0x100 ? "x%02x" : (rune.rune < 0x10000 ? "u%04x" : "U%08x"),
                static_cast<unsigned>(rune.rune));
  out += escaped;
  i += static_cast<size_t>(rune.bytes) - 1;
  return base::Ok();
}

}  // namespace sluice::text::jinja
