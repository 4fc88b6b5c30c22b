// Texts as Python's str has them: indexed by code point, with its white space, lines and cases.
// UTF-8 stays as it is; what is ASCII takes the short way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text::jinja {

bool IsAscii(std::string_view text);
size_t CountRunes(std::string_view text);
// The bytes before code point `rune`; text.size() beyond the end.
size_t RuneOffset(std::string_view text, size_t rune);
std::string_view RuneSubstring(std::string_view text, size_t first, size_t last);

bool IsSpace(char32_t rune);  // str.isspace()
std::string_view StripLeft(std::string_view text);
std::string_view StripRight(std::string_view text);
std::string_view Strip(std::string_view text);
// Strips code points that are in `runes`.
std::string_view StripRunes(std::string_view text, std::string_view runes, bool left, bool right);

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Capitalize(std::string_view text);
std::string TitleWords(std::string_view text);  // str.title()
std::string SwapCase(std::string_view text);
std::string FoldCase(std::string_view text);

std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);
// At runs of white space, at most `limit` times; negative: no limit.
std::vector<std::string_view> SplitSpaces(std::string_view text, int64_t limit, bool from_right);
std::vector<std::string_view> SplitAt(std::string_view text, std::string_view separator,
                                      int64_t limit, bool from_right);
// Linear in both texts.
size_t FindText(std::string_view text, std::string_view what, size_t from);
size_t FindLastText(std::string_view text, std::string_view what);
int64_t CountWords(std::string_view text);  // runs of \w
size_t CountText(std::string_view text, std::string_view what);

// The is…() methods; `name` without "is", for instance "upper". False for one that is unknown.
bool HasClass(std::string_view text, std::string_view name);
bool IsPrintable(char32_t rune);  // what repr() leaves as it is
bool IsWordRune(char32_t rune);   // \w of a regular expression

// As markupsafe.escape.
std::string EscapeHtml(std::string_view text);

}  // namespace sluice::text::jinja
