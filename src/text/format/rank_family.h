// Families of tiktoken's vocabularies: what a file of ranks does not say, how texts are cut into
// words and which special tokens there are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/word_scanner.h"

namespace sluice::text {

struct RankFamily {
  std::string_view name;  // as tiktoken calls it; "llama3" and "qwen" besides
  WordScanner scanner;
  bool nfc = false;                  // Qwen composes texts first
  std::string_view begin_text = {};  // special tokens around a text, where they are wanted
  std::string_view end_text = {};
};

// Null: no family of that name.
const RankFamily* FindRankFamily(std::string_view name);
std::span<const RankFamily> RankFamilies();
// With their ids, where the file has `ranks` tokens.
std::vector<std::pair<std::string, int32_t>> SpecialTokensOf(const RankFamily& family,
                                                             int32_t ranks);

// How many tokens a file has, without a look at them.
int32_t CountRanks(std::string_view file);
// Whether a file's first line is a rank's: a SentencePiece model goes by the same name.
bool LooksLikeRanks(std::string_view file);

}  // namespace sluice::text
