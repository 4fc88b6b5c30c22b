#include "text/pre_tokenizer.h"

#include <cstddef>
#include <cstdint>

#include "base/utf8.h"
#include "text/unicode.h"

namespace sluice::text {
namespace {

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
    case PreTokenizerKind::kPunctuationIsolated:
      return punctuation ? Role::kAlone : Role::kWordPart;
    case PreTokenizerKind::kPunctuationRemoved:
      return punctuation ? Role::kDropped : Role::kWordPart;
  }
  return Role::kWordPart;
}

void SplitOne(PreTokenizerKind kind, std::string_view text, std::vector<std::string_view>& words) {
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

}  // namespace

std::vector<std::string_view> PreTokenizer::Split(std::string_view text) const {
  std::vector<std::string_view> words;
  if (!text.empty()) words.push_back(text);
  for (const PreTokenizerKind kind : steps) {
    std::vector<std::string_view> finer;
    finer.reserve(words.size());
    for (const std::string_view word : words) SplitOne(kind, word, finer);
    words = std::move(finer);
  }
  return words;
}

}  // namespace sluice::text
