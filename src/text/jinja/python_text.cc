#include "text/jinja/python_text.h"

#include <unicode/ucasemap.h>
#include <unicode/uchar.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <cstring>

#include "base/utf8.h"

namespace sluice::text::jinja {
namespace {

using base::AppendRune;
using base::DecodeRune;

// Calls visit(rune, at, bytes) for each code point until it returns false.
template <class Visit>
void ForEachRune(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const base::Rune rune = DecodeRune(text, at);
    if (!visit(rune.rune, at, static_cast<size_t>(rune.bytes))) return;
    at += static_cast<size_t>(rune.bytes);
  }
}

// The start of the code point that ends before byte `at`.
size_t PreviousRune(std::string_view text, size_t at) {
  do {
    --at;
  } while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

enum class Case { kUpper, kLower, kFold };

// Full case mapping of the root locale, final sigma included: what Python does.
std::string MapCase(std::string_view text, Case to) {
  std::string out;
  if (IsAscii(text)) {
    out.resize(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      const bool changes = to == Case::kUpper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
      out[i] = changes ? static_cast<char>(c ^ 0x20) : c;
    }
    return out;
  }
  UErrorCode status = U_ZERO_ERROR;
  UCaseMap* map = ucasemap_open("", 0, &status);
  out.resize(text.size() * 3 + 16);
  const auto convert = to == Case::kUpper   ? ucasemap_utf8ToUpper
                       : to == Case::kLower ? ucasemap_utf8ToLower
                                            : ucasemap_utf8FoldCase;
  const int32_t size = convert(map, out.data(), static_cast<int32_t>(out.size()), text.data(),
                               static_cast<int32_t>(text.size()), &status);
  ucasemap_close(map);
  if (U_FAILURE(status)) return std::string(text);
  out.resize(static_cast<size_t>(size));
  return out;
}

bool IsCased(char32_t rune) {
  return u_hasBinaryProperty(static_cast<UChar32>(rune), UCHAR_CASED) != 0;
}

bool IsCaseIgnorable(char32_t rune) {
  return u_hasBinaryProperty(static_cast<UChar32>(rune), UCHAR_CASE_IGNORABLE) != 0;
}

// Whether the sigma at byte `at` ends a word: a cased character comes before it and none behind,
// but for those that case ignores.
bool IsFinalSigma(std::string_view text, size_t at, size_t bytes) {
  char32_t rune = 0;
  size_t before = at;
  do {
    if (before == 0) return false;
    before = PreviousRune(text, before);
    rune = DecodeRune(text, before).rune;
  } while (IsCaseIgnorable(rune));
  if (!IsCased(rune)) return false;
  for (size_t behind = at + bytes; behind < text.size();) {
    const base::Rune next = DecodeRune(text, behind);
    if (!IsCaseIgnorable(next.rune)) return !IsCased(next.rune);
    behind += static_cast<size_t>(next.bytes);
  }
  return true;
}

// The lower case of the code point at byte `at`, where it stands.
std::string LowerAt(std::string_view text, size_t at, size_t bytes) {
  constexpr char32_t kSigma = 0x3A3;
  if (DecodeRune(text, at).rune == kSigma && IsFinalSigma(text, at, bytes)) return "\u03c2";
  return Lower(text.substr(at, bytes));
}

std::string TitleRune(char32_t rune) {
  std::string out;
  UChar source[2];
  int32_t length = 0;
  U16_APPEND_UNSAFE(source, length, rune);
  UChar mapped[8];
  UErrorCode status = U_ZERO_ERROR;
  const int32_t size = u_strToTitle(mapped, 8, source, length, nullptr, "", &status);
  for (int32_t i = 0; i < size && U_SUCCESS(status);) {
    UChar32 one = 0;
    U16_NEXT(mapped, i, size, one);
    AppendRune(static_cast<char32_t>(one), out);
  }
  return out;
}

bool IsLineEnd(char32_t rune) {
  return (rune >= 0x0A && rune <= 0x0D) || (rune >= 0x1C && rune <= 0x1E) || rune == 0x85 ||
         rune == 0x2028 || rune == 0x2029;
}

int NumericType(char32_t rune) {
  return u_getIntPropertyValue(static_cast<UChar32>(rune), UCHAR_NUMERIC_TYPE);
}

bool IsAlpha(char32_t rune) {
  return u_isalpha(static_cast<UChar32>(rune)) != 0;  // L*, as Python
}

bool IsNumeric(char32_t rune) {
  return NumericType(rune) != U_NT_NONE;
}

bool RuneHasClass(char32_t rune, std::string_view name) {
  const int type = NumericType(rune);
  if (name == "digit") return type == U_NT_DECIMAL || type == U_NT_DIGIT;
  if (name == "decimal") return u_charType(static_cast<UChar32>(rune)) == U_DECIMAL_DIGIT_NUMBER;
  if (name == "numeric") return IsNumeric(rune);
  if (name == "alpha") return IsAlpha(rune);
  if (name == "alnum") return IsAlpha(rune) || IsNumeric(rune);
  if (name == "space") return IsSpace(rune);
  return false;
}

bool IsTitled(std::string_view text) {
  bool any = false;
  bool follows = false;
  bool good = true;
  ForEachRune(text, [&](char32_t rune, size_t, size_t) {
    const auto point = static_cast<UChar32>(rune);
    const bool upper = u_isUUppercase(point) || u_istitle(point);
    const bool lower = u_isULowercase(point) != 0;
    if ((upper && follows) || (lower && !follows)) good = false;
    follows = upper || lower;
    any = any || follows;
    return good;
  });
  return good && any;
}

bool IsIdentifier(std::string_view text) {
  bool good = !text.empty();
  ForEachRune(text, [&](char32_t rune, size_t at, size_t) {
    const auto point = static_cast<UChar32>(rune);
    good = rune == '_' || (at == 0 ? u_hasBinaryProperty(point, UCHAR_XID_START)
                                   : u_hasBinaryProperty(point, UCHAR_XID_CONTINUE));
    return good;
  });
  return good;
}

// isupper() and islower(): some cased code point, and none of the other case.
bool IsAllOfCase(std::string_view text, bool upper) {
  bool any = false;
  bool good = true;
  ForEachRune(text, [&](char32_t rune, size_t, size_t) {
    const auto point = static_cast<UChar32>(rune);
    const bool is_upper = u_isUUppercase(point) != 0;
    const bool is_lower = u_isULowercase(point) != 0;
    if ((upper ? is_lower : is_upper) || u_istitle(point)) good = false;
    any = any || (upper ? is_upper : is_lower);
    return good;
  });
  return good && any;
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

std::string Upper(std::string_view text) {
  return MapCase(text, Case::kUpper);
}
std::string Lower(std::string_view text) {
  return MapCase(text, Case::kLower);
}
std::string FoldCase(std::string_view text) {
  return MapCase(text, Case::kFold);
}

std::string Capitalize(std::string_view text) {
  if (text.empty()) return {};
  const base::Rune first = DecodeRune(text, 0);
  const auto bytes = static_cast<size_t>(first.bytes);
  // Lower case of the whole keeps the context that a final sigma needs.
  std::string head;
  AppendRune(first.rune, head);
  const std::string lower_head = Lower(head);
  const std::string lower = Lower(text);
  if (lower.starts_with(lower_head)) return TitleRune(first.rune) + lower.substr(lower_head.size());
  return TitleRune(first.rune) + Lower(text.substr(bytes));
}

std::string TitleWords(std::string_view text) {
  std::string out;
  bool follows = false;
  ForEachRune(text, [&](char32_t rune, size_t at, size_t bytes) {
    out += follows ? LowerAt(text, at, bytes) : TitleRune(rune);
    follows = IsCased(rune);
    return true;
  });
  return out;
}

std::string SwapCase(std::string_view text) {
  std::string out;
  ForEachRune(text, [&](char32_t rune, size_t at, size_t bytes) {
    const auto point = static_cast<UChar32>(rune);
    const std::string_view one = text.substr(at, bytes);
    if (u_isUUppercase(point)) {
      out += LowerAt(text, at, bytes);
    } else if (u_isULowercase(point)) {
      out += Upper(one);
    } else {
      out += one;
    }
    return true;
  });
  return out;
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

int64_t CountWords(std::string_view text) {
  int64_t count = 0;
  bool in_word = false;
  ForEachRune(text, [&](char32_t rune, size_t, size_t) {
    const bool word = IsWordRune(rune);
    if (word && !in_word) ++count;
    in_word = word;
    return true;
  });
  return count;
}

bool HasClass(std::string_view text, std::string_view name) {
  if (name == "ascii") return IsAscii(text);
  if (name == "upper" || name == "lower") return IsAllOfCase(text, name == "upper");
  if (name == "title") return IsTitled(text);
  if (name == "identifier") return IsIdentifier(text);
  bool good = name == "printable" || !text.empty();
  ForEachRune(text, [&](char32_t rune, size_t, size_t) {
    good = good && (name == "printable" ? IsPrintable(rune) : RuneHasClass(rune, name));
    return good;
  });
  return good;
}

bool IsPrintable(char32_t rune) {
  if (rune < 0x7F) return rune >= 0x20;
  switch (u_charType(static_cast<UChar32>(rune))) {
    case U_CONTROL_CHAR:
    case U_FORMAT_CHAR:
    case U_SURROGATE:
    case U_PRIVATE_USE_CHAR:
    case U_UNASSIGNED:
    case U_LINE_SEPARATOR:
    case U_PARAGRAPH_SEPARATOR:
    case U_SPACE_SEPARATOR:
      return false;
    default:
      return true;
  }
}

bool IsWordRune(char32_t rune) {
  return rune == '_' || IsAlpha(rune) || IsNumeric(rune);
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
