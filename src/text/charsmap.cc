#include "text/charsmap.h"

#include <cstring>

#include "base/utf8.h"
#include "text/unicode/grapheme.h"

namespace sluice::text {
namespace {

// A unit of the double array (darts-clone): whether a value follows, its label, and the offset to
// its children.
bool HasLeaf(uint32_t unit) {
  return ((unit >> 8) & 1) == 1;
}
uint32_t Label(uint32_t unit) {
  return unit & ((uint32_t{1} << 31) | 0xFF);
}
uint32_t Offset(uint32_t unit) {
  return (unit >> 10) << ((unit & (uint32_t{1} << 9)) >> 6);
}
uint32_t Value(uint32_t unit) {
  return unit & ((uint32_t{1} << 31) - 1);
}

constexpr size_t kWholeGraphemeBytesMax = 5;

}  // namespace

std::optional<std::string> DecodeBase64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string out;
  out.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<uint32_t>(c - '0') + 52;
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    bits = (bits << 6) | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> count) & 0xFF);
    }
  }
  if (count >= 6) return std::nullopt;
  return out;
}

base::Result<Charsmap> Charsmap::Parse(std::string_view bytes) {
  Charsmap map;
  if (bytes.empty()) return map;  // nothing is replaced
  uint32_t array_bytes = 0;
  if (bytes.size() > kBytesMax || bytes.size() < sizeof(array_bytes)) {
    return base::InvalidArgument("a charsmap of " + std::to_string(bytes.size()) +
                                 " bytes, expected 4 to " + std::to_string(kBytesMax));
  }
  std::memcpy(&array_bytes, bytes.data(), sizeof(array_bytes));
  bytes.remove_prefix(sizeof(array_bytes));
  if (array_bytes % sizeof(uint32_t) != 0 || array_bytes == 0 || array_bytes > bytes.size()) {
    return base::InvalidArgument("the charsmap's array has " + std::to_string(array_bytes) +
                                 " bytes of " + std::to_string(bytes.size()) +
                                 ", expected a multiple of 4");
  }
  map.units_.resize(array_bytes / sizeof(uint32_t));
  std::memcpy(map.units_.data(), bytes.data(), array_bytes);
  map.replacements_ = bytes.substr(array_bytes);
  if (!base::IsValidUtf8(map.replacements_)) {
    return base::InvalidArgument("the charsmap's replacements are not valid UTF-8");
  }
  return map;
}

base::Result<Charsmap> Charsmap::ParseBase64(std::string_view text) {
  const std::optional<std::string> bytes = DecodeBase64(text);
  if (!bytes) return base::InvalidArgument("precompiled_charsmap is not base64");
  return Parse(*bytes);
}

Charsmap::Match Charsmap::Find(std::string_view text, bool longest) const {
  Match match;
  if (units_.empty()) return match;
  uint32_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    node ^= static_cast<unsigned char>(text[i]);
    if (node >= units_.size()) break;
    const uint32_t unit = units_[node];
    if (Label(unit) != static_cast<unsigned char>(text[i])) break;
    node ^= Offset(unit);
    if (node >= units_.size()) break;
    if (!HasLeaf(unit)) continue;
    const size_t begin = Value(units_[node]);
    if (begin > replacements_.size()) break;
    const std::string_view rest = std::string_view(replacements_).substr(begin);
    const std::string_view replacement = rest.substr(0, rest.find('\0'));
    // A value that points into the middle of a character is no replacement.
    if (!base::IsValidUtf8(replacement)) break;
    match = {i + 1, replacement};
    if (!longest) break;
  }
  return match;
}

base::Result<std::string> Charsmap::Apply(std::string_view text, size_t bytes_max) const {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    if (out.size() > bytes_max) {
      return base::ResourceExhausted("a normalised text is longer than " +
                                     std::to_string(bytes_max) + " bytes");
    }
    const size_t end = GraphemeEnd(text, at);
    const std::string_view grapheme = text.substr(at, end - at);
    at = end;
    if (grapheme.size() <= kWholeGraphemeBytesMax) {
      const Match match = Find(grapheme, false);
      if (match.bytes > 0) {
        out.append(match.replacement);
        continue;
      }
    }
    for (size_t i = 0; i < grapheme.size();) {
      const auto bytes = static_cast<size_t>(base::DecodeRune(grapheme, i).bytes);
      const std::string_view rune = grapheme.substr(i, bytes);
      const Match match = Find(rune, false);
      out.append(match.bytes > 0 ? match.replacement : rune);
      i += bytes;
    }
  }
  return out;
}

}  // namespace sluice::text
