// The regular expressions that byte-level checkpoints cut their words with, as scanners: the same
// words in time linear in the text, without a regular expression's machine.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace sluice::text {

enum class WordScanner {
  kGpt2,         // GPT-2 and ByteLevel's own
  kThreeDigits,  // Llama 3: up to three digits a word
  kCl100k,       // the same, as tiktoken spells it: white space at the end of a text is one word
  kOneDigit,     // Qwen 2 and 3: one digit a word
  kMarks,        // Qwen 3.5: as kOneDigit, letters with their marks
  kCased,        // o200k, Llama 4: also cut where the case changes
};

// The scanner of a pattern as tokenizer.json files spell it.
std::optional<WordScanner> FindScanner(std::string_view pattern);
// The pattern of a scanner.
std::string_view PatternOf(WordScanner scanner);

// Appends the words of valid UTF-8 `text`: views that cover it without gaps, none empty.
void ScanWords(WordScanner scanner, std::string_view text, std::vector<std::string_view>& words);

}  // namespace sluice::text
