#include "text/word_scanner.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/utf8.h"
#include "text/unicode/scan_class.h"

namespace sluice::text {
namespace {

constexpr std::pair<WordScanner, std::string_view> kPatterns[] = {
    {WordScanner::kGpt2,
     R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
    {WordScanner::kThreeDigits,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {WordScanner::kCl100k,
     R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+)"
     R"(|\s++$|\s*[\r\n]|\s+(?!\S)|\s)"},
    {WordScanner::kOneDigit,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
     R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {WordScanner::kMarks, R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
                          R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {WordScanner::kCased,
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
     R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
};

// One rune and its classes.
struct Read {
  char32_t rune = 0;
  uint8_t classes = 0;  // of ScanClass; 0 at the end of the text
  size_t bytes = 0;     // 0 at the end
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  Read At(size_t at) const {
    if (at >= text_.size()) return {};
    const auto byte = static_cast<unsigned char>(text_[at]);
    if (byte < 0x80) return {byte, plane_[byte], 1};
    const base::Rune rune = base::DecodeRune(text_, at);
    const uint8_t classes =
        rune.rune < kScanPlaneRunes ? plane_[rune.rune] : ScanClassOf(rune.rune);
    return {rune.rune, classes, static_cast<size_t>(rune.bytes)};
  }
  // Where the run of runes that `accept` takes, from `at` on, ends.
  template <class Accept>
  size_t Run(size_t at, Accept&& accept) const {
    for (Read read = At(at); read.bytes > 0 && accept(read); read = At(at)) at += read.bytes;
    return at;
  }
  size_t RunOf(size_t at, int classes) const {
    return Run(at, [&](const Read& read) { return (read.classes & classes) != 0; });
  }
  size_t RunOfOthers(size_t at, int classes) const {
    return Run(at, [&](const Read& read) { return (read.classes & classes) == 0; });
  }

  // The end of an English contraction that starts at `at`; `at` itself when there is none.
  size_t Contraction(size_t at, bool any_case) const {
    if (at + 1 >= text_.size() || text_[at] != '\'') return at;
    const auto letter = [&](size_t i) -> char {
      if (i >= text_.size()) return '\0';
      const char c = text_[i];
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    const char first = letter(at + 1);
    const char second = letter(at + 2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
    if (first == 'l' && second == 'l') return at + 3;
    // The long s is an s in another case.
    if (any_case && text_.substr(at + 1, 2) == "\xC5\xBF") return at + 3;
    return at;
  }

  // `\s*[\r\n]+` where `with_lines`, then `\s+(?!\S)`, then `\s+`, at white space.
  size_t Space(size_t at, bool with_lines) const {
    size_t end = at;
    size_t line_end = at;  // behind the last line break of the run
    size_t last = at;      // where the run's last rune begins
    for (Read read = At(end); (read.classes & kScanSpace) != 0; read = At(end)) {
      last = end;
      end += read.bytes;
      if (read.rune == '\r' || read.rune == '\n') line_end = end;
    }
    if (with_lines && line_end > at) return line_end;
    if (end == text_.size() || last == at) return end;
    return last;  // the last one goes with the next word
  }

  // The end of the text where all from `at` on is white space; `at` itself elsewhere.
  size_t LastSpace(size_t at) const {
    const size_t end = RunOf(at, kScanSpace);
    return end == text_.size() ? end : at;
  }

  size_t Lines(size_t at) const {
    while (at < text_.size() && (text_[at] == '\r' || text_[at] == '\n')) ++at;
    return at;
  }
  size_t LinesAndSlashes(size_t at) const {
    while (at < text_.size() && (text_[at] == '\r' || text_[at] == '\n' || text_[at] == '/')) ++at;
    return at;
  }

 private:
  std::string_view text_;
  const std::array<uint8_t, kScanPlaneRunes>& plane_ = ScanPlane();
};

size_t EndOfGpt2(const Scanner& scanner, size_t at) {
  const Read first = scanner.At(at);
  if (first.rune == '\'') {
    const size_t end = scanner.Contraction(at, false);
    if (end > at) return end;
  }
  const bool blank = first.rune == ' ';
  const Read next = blank ? scanner.At(at + 1) : first;
  const size_t begin = blank ? at + 1 : at;
  if (next.bytes > 0 && (next.classes & kScanSpace) == 0) {
    if ((next.classes & kScanLetter) != 0) return scanner.RunOf(begin, kScanLetter);
    if ((next.classes & kScanNumber) != 0) return scanner.RunOf(begin, kScanNumber);
    return scanner.RunOfOthers(begin, kScanSpace | kScanLetter | kScanNumber);
  }
  return scanner.Space(at, false);
}

// What the newer patterns share behind their letters: numbers, other characters, white space.
// `word` is the classes that no run of other characters holds, besides numbers and white space.
template <class Tail>
size_t EndOfRest(const Scanner& scanner, size_t at, const Read& first, int word, int digits_max,
                 Tail&& tail) {
  if ((first.classes & kScanNumber) != 0) {
    size_t end = at;
    for (int i = 0; i < digits_max; ++i) {
      const Read read = scanner.At(end);
      if ((read.classes & kScanNumber) == 0) break;
      end += read.bytes;
    }
    return end;
  }
  const int not_other = kScanSpace | kScanNumber | word;
  const size_t begin = first.rune == ' ' ? at + 1 : at;
  const Read next = first.rune == ' ' ? scanner.At(begin) : first;
  if (next.bytes > 0 && (next.classes & not_other) == 0) {
    return tail(scanner.RunOfOthers(begin, not_other));
  }
  return scanner.Space(at, true);
}

bool MayPrecedeWord(const Read& read) {
  return read.rune != '\r' && read.rune != '\n' &&
         (read.classes & (kScanLetter | kScanNumber)) == 0;
}

size_t EndOfModern(const Scanner& scanner, size_t at, int word, int digits_max) {
  const Read first = scanner.At(at);
  if (first.rune == '\'') {
    const size_t end = scanner.Contraction(at, true);
    if (end > at) return end;
  }
  // The optional character before a word is taken first: it matters where it is a mark.
  if (MayPrecedeWord(first) && (scanner.At(at + first.bytes).classes & word) != 0) {
    return scanner.RunOf(at + first.bytes, word);
  }
  if ((first.classes & word) != 0) return scanner.RunOf(at, word);
  return EndOfRest(scanner, at, first, word, digits_max,
                   [&](size_t end) { return scanner.Lines(end); });
}

size_t EndOfCl100k(const Scanner& scanner, size_t at) {
  const size_t end = EndOfModern(scanner, at, kScanLetter, 3);
  if ((scanner.At(at).classes & kScanSpace) == 0) return end;
  // A word that begins with a blank and goes on with something else came before in the pattern.
  return std::max(end, scanner.LastSpace(at));
}

bool IsUncased(const Read& read) {
  return (read.classes & kScanMark) != 0 ||
         ((read.classes & kScanLetter) != 0 && (read.classes & (kScanUpper | kScanLower)) == 0);
}

// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` (and, when it does not match,
// `…+…*`, told by `upper`) from `begin`; `begin` itself when there is no match. The first run takes
// all it can and gives back what the second needs: at most down to its last uncased character.
size_t EndOfCase(const Scanner& scanner, size_t begin, bool upper) {
  size_t end = begin;      // of the first run
  size_t uncased = begin;  // behind its last uncased character
  for (Read read = scanner.At(end); (read.classes & kScanUpper) != 0 || IsUncased(read);
       read = scanner.At(end)) {
    end += read.bytes;
    if (IsUncased(read)) uncased = end;
  }
  const auto lower = [](const Read& read) {
    return (read.classes & kScanLower) != 0 || IsUncased(read);
  };
  const size_t behind = scanner.Run(end, lower);
  if (behind > end) return behind;
  return upper ? end : uncased;
}

size_t EndOfCased(const Scanner& scanner, size_t at) {
  const Read first = scanner.At(at);
  const size_t behind = at + first.bytes;
  for (const bool upper : {false, true}) {
    size_t end = at;
    if (MayPrecedeWord(first)) {
      end = EndOfCase(scanner, behind, upper);
      if (end == behind) end = at;
    }
    if (end == at) end = EndOfCase(scanner, at, upper);
    if (end > at) return scanner.Contraction(end, true);
  }
  return EndOfRest(scanner, at, first, kScanLetter, 3,
                   [&](size_t end) { return scanner.LinesAndSlashes(end); });
}

template <class EndOf>
void Cut(std::string_view text, std::vector<std::string_view>& words, EndOf&& end_of) {
  const Scanner scanner(text);
  for (size_t at = 0; at < text.size();) {
    const size_t end = end_of(scanner, at);
    words.push_back(text.substr(at, end - at));
    at = end;
  }
}

}  // namespace

std::optional<WordScanner> FindScanner(std::string_view pattern) {
  for (const auto& [scanner, known] : kPatterns) {
    if (pattern == known) return scanner;
  }
  return std::nullopt;
}

std::string_view PatternOf(WordScanner scanner) {
  for (const auto& [known, pattern] : kPatterns) {
    if (known == scanner) return pattern;
  }
  return {};
}

void ScanWords(WordScanner scanner, std::string_view text, std::vector<std::string_view>& words) {
  switch (scanner) {
    case WordScanner::kGpt2:
      return Cut(text, words, EndOfGpt2);
    case WordScanner::kThreeDigits:
      return Cut(text, words,
                 [](const Scanner& s, size_t at) { return EndOfModern(s, at, kScanLetter, 3); });
    case WordScanner::kCl100k:
      return Cut(text, words, EndOfCl100k);
    case WordScanner::kOneDigit:
      return Cut(text, words,
                 [](const Scanner& s, size_t at) { return EndOfModern(s, at, kScanLetter, 1); });
    case WordScanner::kMarks:
      return Cut(text, words, [](const Scanner& s, size_t at) {
        return EndOfModern(s, at, kScanLetter | kScanMark, 1);
      });
    case WordScanner::kCased:
      return Cut(text, words, EndOfCased);
  }
}

}  // namespace sluice::text
