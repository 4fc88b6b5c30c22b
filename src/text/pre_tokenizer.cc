#include "text/pre_tokenizer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/utf8.h"
#include "text/unicode/byte_alphabet.h"
#include "text/unicode/scan_class.h"
#include "text/unicode/unicode.h"

namespace sluice::text {
namespace {

using Words = std::vector<std::string_view>;

// What a rune is to a step: runs of one class become words.
enum class Role { kWordPart, kOtherPart, kAlone, kDropped };

Role RoleOf(PreTokenizerKind kind, uint16_t classes) {
  const bool space = (classes & kSpace) != 0;
  const bool punctuation = (classes & kPunctuation) != 0;
  switch (kind) {
    case PreTokenizerKind::kBert:
      return space ? Role::kDropped : punctuation ? Role::kAlone : Role::kWordPart;
    case PreTokenizerKind::kWhitespace:
      if ((classes & kWord) != 0) return Role::kWordPart;
      return space ? Role::kDropped : Role::kOtherPart;
    case PreTokenizerKind::kWhitespaceSplit:
      return space ? Role::kDropped : Role::kWordPart;
    default:
      return Role::kWordPart;
  }
}

void SplitByRole(PreTokenizerKind kind, std::string_view text, Words& words) {
  size_t begin = 0;
  Role run = Role::kDropped;  // of the word that starts at `begin`
  for (size_t i = 0; i < text.size();) {
    const base::Rune rune = base::DecodeRune(text, i);
    const Role role = RoleOf(kind, Classify(rune.rune));
    if (role != run || role == Role::kAlone) {
      if (run != Role::kDropped) words.push_back(text.substr(begin, i - begin));
      begin = i;
      run = role;
    }
    i += static_cast<size_t>(rune.bytes);
  }
  if (run != Role::kDropped && begin < text.size()) words.push_back(text.substr(begin));
}

std::string_view Join(std::string_view first, std::string_view second) {
  return {first.data(), first.size() + second.size()};
}

// The words that a behaviour makes of a text's parts, as the library makes them.
void MergeParts(const std::vector<PatternPart>& parts, bool invert, SplitBehavior behavior,
                Words& words) {
  const size_t before = words.size();
  bool previous = false;  // the part before is a place to cut at
  const auto add = [&](std::string_view text, bool joins) {
    if (joins && words.size() > before) {
      words.back() = Join(words.back(), text);
    } else {
      words.push_back(text);
    }
  };
  if (behavior == SplitBehavior::kMergedWithNext) {
    // From the end: a place is joined with the word behind it, unless that is a place too.
    for (size_t i = parts.size(); i-- > 0;) {
      const bool cut = parts[i].matches != invert;
      if (cut && !previous && words.size() > before) {
        words.back() = Join(parts[i].text, words.back());
      } else {
        words.push_back(parts[i].text);
      }
      previous = cut;
    }
    std::reverse(words.begin() + static_cast<std::ptrdiff_t>(before), words.end());
  } else {
    for (const PatternPart& part : parts) {
      const bool cut = part.matches != invert;
      switch (behavior) {
        case SplitBehavior::kRemoved:
          if (!cut) add(part.text, false);
          break;
        case SplitBehavior::kContiguous:
          add(part.text, cut == previous);
          break;
        case SplitBehavior::kMergedWithPrevious:
          add(part.text, cut && !previous);
          break;
        default:
          add(part.text, false);
      }
      previous = cut;
    }
  }
  words.erase(std::remove(words.begin() + static_cast<std::ptrdiff_t>(before), words.end(),
                          std::string_view()),
              words.end());
}

// Each rune that `matches` takes is a part of its own.
template <class Matches>
void RuneParts(std::string_view text, Matches&& matches, std::vector<PatternPart>& parts) {
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const base::Rune rune = base::DecodeRune(text, i);
    const auto bytes = static_cast<size_t>(rune.bytes);
    if (matches(rune.rune)) {
      if (done < i) parts.push_back({text.substr(done, i - done), false});
      parts.push_back({text.substr(i, bytes), true});
      done = i + bytes;
    }
    i += bytes;
  }
  if (done < text.size()) parts.push_back({text.substr(done), false});
}

// Rust's char::is_numeric, of a Unicode version that has these besides \p{N} of 16.
bool IsNumeric(char32_t rune) {
  return (ScanClassOf(rune) & kScanNumber) != 0 || (rune >= 0x11DE0 && rune <= 0x11DE9) ||
         (rune >= 0x16FF4 && rune <= 0x16FF6);
}

// What stands before the first character that has a script is dropped, as the library does.
void SplitByScript(std::string_view text, Words& words) {
  constexpr int kNoScript = -2;
  int last = kNoScript;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const base::Rune rune = base::DecodeRune(text, i);
    const int script = Script(rune.rune);
    if (script != kAnyScript) {
      if (script != last) {
        if (last != kNoScript) words.push_back(text.substr(begin, i - begin));
        begin = i;
      }
      last = script;
    }
    i += static_cast<size_t>(rune.bytes);
  }
  if (last != kNoScript) words.push_back(text.substr(begin));
}

void SplitByLength(std::string_view text, size_t length, Words& words) {
  size_t begin = 0;
  size_t runes = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (!starts) continue;
    if (runes == length) {
      words.push_back(text.substr(begin, i - begin));
      begin = i;
      runes = 0;
    }
    ++runes;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
}

// Blanks as the step's character, and one before the text where the scheme says so.
std::string WithMetaspace(const PreTokenizerStep& step, std::string_view text, bool at_start) {
  std::string out;
  out.reserve(text.size() + text.size() / 4 + step.delimiter.size());
  const bool starts_with = text.front() == ' ' || text.substr(0, step.delimiter.size()) ==
                                                      std::string_view(step.delimiter);
  const bool prepends =
      step.prepend == PrependScheme::kAlways || (step.prepend == PrependScheme::kFirst && at_start);
  if (prepends && !starts_with) out += step.delimiter;
  for (size_t done = 0; done < text.size();) {
    const size_t blank = std::min(text.find(' ', done), text.size());
    out.append(text.substr(done, blank - done));
    if (blank < text.size()) out += step.delimiter;
    done = blank + 1;
  }
  return out;
}

// Words that begin with the delimiter, each of them.
void SplitBeforeDelimiter(std::string_view text, std::string_view delimiter, Words& words) {
  size_t begin = 0;
  for (size_t at = text.find(delimiter, 1); at != std::string_view::npos;
       at = text.find(delimiter, at + delimiter.size())) {
    words.push_back(text.substr(begin, at - begin));
    begin = at;
  }
  words.push_back(text.substr(begin));
}

class StepRunner {
 public:
  StepRunner(const PreTokenizerStep& step, WordList& list) : step_(step), list_(list) {}

  base::Status Cut(std::string_view word, bool at_start, Words& words) {
    switch (step_.kind) {
      case PreTokenizerKind::kBert:
      case PreTokenizerKind::kWhitespace:
      case PreTokenizerKind::kWhitespaceSplit:
        SplitByRole(step_.kind, word, words);
        break;
      case PreTokenizerKind::kScan:
        ScanWords(step_.scanner, word, words);
        break;
      case PreTokenizerKind::kFixedLength:
        SplitByLength(word, step_.length, words);
        break;
      case PreTokenizerKind::kScripts:
        SplitByScript(word, words);
        break;
      case PreTokenizerKind::kMetaspace: {
        const std::string& text = list_.storage.emplace_back(WithMetaspace(step_, word, at_start));
        if (step_.splits) {
          SplitBeforeDelimiter(text, step_.delimiter, words);
        } else {
          words.push_back(text);
        }
        break;
      }
      case PreTokenizerKind::kByteLevel: {
        std::string& text = list_.storage.emplace_back();
        AppendAsAlphabet(word, text);
        words.push_back(text);
        break;
      }
      case PreTokenizerKind::kPrefixSpace:
        if (word.front() == ' ') {
          words.push_back(word);
        } else {
          words.push_back(list_.storage.emplace_back(" " + std::string(word)));
        }
        break;
      default:
        return CutAtParts(word, words);
    }
    return base::Ok();
  }

 private:
  base::Status CutAtParts(std::string_view word, Words& words) {
    parts_.clear();
    SplitBehavior behavior = step_.behavior;
    switch (step_.kind) {
      case PreTokenizerKind::kSplit:
        TRY(step_.pattern->Parts(word, parts_));
        break;
      case PreTokenizerKind::kPunctuation:
        RuneParts(
            word, [](char32_t rune) { return (Classify(rune) & kPunctuation) != 0; }, parts_);
        break;
      case PreTokenizerKind::kDigits:
        RuneParts(word, IsNumeric, parts_);
        behavior = step_.each_digit ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
        break;
      default: {
        const char32_t delimiter = base::DecodeRune(step_.delimiter, 0).rune;
        RuneParts(
            word, [&](char32_t rune) { return rune == delimiter; }, parts_);
        behavior = SplitBehavior::kRemoved;
      }
    }
    MergeParts(parts_, step_.kind == PreTokenizerKind::kSplit && step_.invert, behavior, words);
    return base::Ok();
  }

  const PreTokenizerStep& step_;
  WordList& list_;
  std::vector<PatternPart> parts_;
};

}  // namespace

base::Status PreTokenizer::Split(const Stretch& stretch, WordList& list) const {
  list.words.clear();
  list.storage.clear();
  list.first_at_start = stretch.at_start;
  if (stretch.text.empty()) return base::Ok();
  if (steps.size() == 1 && steps[0].kind == PreTokenizerKind::kScan) {
    ScanWords(steps[0].scanner, stretch.text, list.words);
    return base::Ok();
  }
  list.words.push_back(stretch.text);
  Words finer;
  for (const PreTokenizerStep& step : steps) {
    StepRunner runner(step, list);
    finer.clear();
    const std::string_view first = list.words.empty() ? std::string_view() : list.words.front();
    for (size_t i = 0; i < list.words.size(); ++i) {
      TRY(runner.Cut(list.words[i], i == 0 && list.first_at_start, finer));
    }
    list.words.swap(finer);
    // A step that rewrites keeps the start; one that drops what stands there does not.
    const bool rewrites = step.kind == PreTokenizerKind::kMetaspace ||
                          step.kind == PreTokenizerKind::kPrefixSpace ||
                          step.kind == PreTokenizerKind::kByteLevel;
    list.first_at_start = list.first_at_start && !list.words.empty() &&
                          (rewrites || list.words.front().data() == first.data());
  }
  return base::Ok();
}

}  // namespace sluice::text
