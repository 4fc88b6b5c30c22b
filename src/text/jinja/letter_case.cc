// Case and classes of characters: the part of python_text.h that asks ICU.

#include <unicode/ucasemap.h>
#include <unicode/uchar.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

#include "base/utf8.h"
#include "text/jinja/python_text.h"
#include "text/jinja/rune_walk.h"

namespace sluice::text::jinja {
namespace {

using base::AppendRune;
using base::DecodeRune;

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

}  // namespace sluice::text::jinja
