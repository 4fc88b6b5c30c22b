// The WordPiece model: a word becomes the longest vocabulary entries that it can be cut into, from
// left to right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/model/token_model.h"
#include "text/model/token_trie.h"

namespace sluice::text {

struct WordPieceOptions {
  std::string unknown_token = "[UNK]";
  std::string continuation_prefix = "##";
  int64_t word_runes_max = 100;  // a longer word is unknown
};

// Immutable after Create. A word costs at most word_runes_max walks of at most as many runes.
class WordPiece : public TokenModel {
 public:
  static constexpr int64_t kWordRunesLimit = 1000;

  // kInvalidArgument: an id is negative, the unknown token is no entry, or a limit is exceeded.
  static base::Result<WordPiece> Create(const std::vector<Vocabulary::Entry>& entries,
                                        WordPieceOptions options);

  // Appends the ids of `word`, valid UTF-8 and not empty.
  void Append(std::string_view word, std::vector<int32_t>& ids) const override;
  // The same for a word known to have at most word_runes_max runes.
  void AppendShort(std::string_view word, std::vector<int32_t>& ids) const;

  int32_t unknown_id() const { return unknown_id_; }
  int64_t word_runes_max() const { return options_.word_runes_max; }
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  WordPiece() = default;

  WordPieceOptions options_;
  Vocabulary vocabulary_;
  TokenTrie trie_;
  int32_t continuation_ = TokenTrie::kNone;  // the node behind the prefix
  int32_t unknown_id_ = 0;
};

}  // namespace sluice::text
