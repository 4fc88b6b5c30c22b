#include "text/jinja/python_text.h"

#include <algorithm>
#include <cstring>

#include "base/utf8.h"
#include "text/jinja/rune_walk.h"

namespace sluice::text::jinja {
namespace {

using base::DecodeRune;

bool IsLineEnd(char32_t rune) {
  return (rune >= 0x0A && rune <= 0x0D) || (rune >= 0x1C && rune <= 0x1E) || rune == 0x85 ||
         rune == 0x2028 || rune == 0x2029;
}

}  // namespace

bool IsAscii(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof(word));
    if ((word & 0x8080808080808080u) != 0) return false;
  }
  for (; i < text.size(); ++i) {
    if (static_cast<unsigned char>(text[i]) >= 0x80) return false;
  }
  return true;
}

size_t CountRunes(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

size_t RuneOffset(std::string_view text, size_t rune) {
  if (rune >= text.size()) return text.size();
  if (IsAscii(text)) return rune;
  size_t at = 0;
  for (; rune > 0 && at < text.size(); --rune) {
    at += static_cast<size_t>(DecodeRune(text, at).bytes);
  }
  return at;
}

std::string_view RuneSubstring(std::string_view text, size_t first, size_t last) {
  if (first >= last) return {};
  const size_t begin = RuneOffset(text, first);
  const std::string_view rest = text.substr(begin);
  return rest.substr(0, RuneOffset(rest, last - first));
}

bool IsSpace(char32_t rune) {
  if (rune < 0x80) return (rune >= 0x09 && rune <= 0x0D) || (rune >= 0x1C && rune <= 0x20);
  return rune == 0x85 || rune == 0xA0 || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200A) ||
         rune == 0x2028 || rune == 0x2029 || rune == 0x202F || rune == 0x205F || rune == 0x3000;
}

std::string_view StripLeft(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const base::Rune rune = DecodeRune(text, at);
    if (!IsSpace(rune.rune)) break;
    at += static_cast<size_t>(rune.bytes);
  }
  return text.substr(at);
}

std::string_view StripRight(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t start = PreviousRune(text, end);
    if (!IsSpace(DecodeRune(text, start).rune)) break;
    end = start;
  }
  return text.substr(0, end);
}

std::string_view Strip(std::string_view text) {
  return StripRight(StripLeft(text));
}

std::string_view StripRunes(std::string_view text, std::string_view runes, bool left, bool right) {
  std::u32string set;
  ForEachRune(runes, [&](char32_t rune, size_t, size_t) {
    set.push_back(rune);
    return true;
  });
  std::sort(set.begin(), set.end());
  const auto in_set = [&](size_t at) {
    return std::binary_search(set.begin(), set.end(), DecodeRune(text, at).rune);
  };
  size_t begin = 0;
  while (left && begin < text.size() && in_set(begin)) {
    begin += static_cast<size_t>(DecodeRune(text, begin).bytes);
  }
  size_t end = text.size();
  while (right && end > begin) {
    const size_t start = PreviousRune(text, end);
    if (!in_set(start)) break;
    end = start;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const base::Rune rune = DecodeRune(text, at);
    size_t next = at + static_cast<size_t>(rune.bytes);
    if (IsLineEnd(rune.rune)) {
      if (rune.rune == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(start, (keep_ends ? next : at) - start));
      start = next;
    }
    at = next;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::vector<std::string_view> SplitSpaces(std::string_view text, int64_t limit, bool from_right) {
  std::vector<std::string_view> parts;
  if (from_right) {
    text = StripRight(text);
    while (!text.empty()) {
      if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
        parts.push_back(text);
        break;
      }
      size_t begin = text.size();
      while (begin > 0) {
        const size_t start = PreviousRune(text, begin);
        if (IsSpace(DecodeRune(text, start).rune)) break;
        begin = start;
      }
      parts.push_back(text.substr(begin));
      text = StripRight(text.substr(0, begin));
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  text = StripLeft(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const base::Rune rune = DecodeRune(text, end);
      if (IsSpace(rune.rune)) break;
      end += static_cast<size_t>(rune.bytes);
    }
    parts.push_back(text.substr(0, end));
    text = StripLeft(text.substr(end));
  }
  return parts;
}

std::vector<std::string_view> SplitAt(std::string_view text, std::string_view separator,
                                      int64_t limit, bool from_right) {
  std::vector<std::string_view> parts;
  if (from_right) {
    // From the left in the texts turned round, which keeps it linear.
    const std::string turned(text.rbegin(), text.rend());
    const std::string what(separator.rbegin(), separator.rend());
    size_t passed = 0;
    while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
      const size_t found = FindText(turned, what, passed);
      if (found == std::string_view::npos) break;
      parts.push_back(text.substr(text.size() - found, found - passed));
      passed = found + what.size();
    }
    parts.push_back(text.substr(0, text.size() - passed));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t found = FindText(text, separator, 0);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(0, found));
    text = text.substr(found + separator.size());
  }
  parts.push_back(text);
  return parts;
}

size_t FindText(std::string_view text, std::string_view what, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (what.empty()) return from;
  if (what.size() > text.size() - from) return std::string_view::npos;
  // glibc's memmem is linear, unlike std::string_view::find.
  const void* found = memmem(text.data() + from, text.size() - from, what.data(), what.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t FindLastText(std::string_view text, std::string_view what) {
  if (what.size() <= 8) return text.rfind(what);
  // The same search, backwards: of the reversed texts.
  const std::string reversed(text.rbegin(), text.rend());
  const std::string needle(what.rbegin(), what.rend());
  const size_t found = FindText(reversed, needle, 0);
  return found == std::string_view::npos ? found : text.size() - found - what.size();
}

size_t CountText(std::string_view text, std::string_view what) {
  if (what.empty()) return CountRunes(text) + 1;
  size_t count = 0;
  for (size_t at = FindText(text, what, 0); at != std::string_view::npos;
       at = FindText(text, what, at + what.size())) {
    ++count;
  }
  return count;
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace sluice::text::jinja
