// The unigram language model (Kudo 2018): a text becomes the tokens of the highest sum of
// log-probabilities, found by Viterbi's algorithm.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/model/token_model.h"
#include "text/model/token_trie.h"

namespace sluice::text {

struct UnigramOptions {
  int32_t unknown_id = 0;
  bool byte_fallback = false;     // unknown characters become tokens such as <0x0A>
  bool single_precision = false;  // sums are rounded as SentencePiece rounds them
  std::vector<bool> matched;      // by id: whether texts may hold the token; empty: all
};

// Immutable after Create. Time is linear in the text: tokens are bounded.
class Unigram : public TokenModel {
 public:
  static constexpr size_t kTokenBytesMax = 512;

  // scores[i] is the log-probability of tokens[i], whose id is i (of a token that occurs twice the
  // last one counts). kInvalidArgument: the unknown id is none of them, a score is no number, or a
  // limit is exceeded.
  static base::Result<std::unique_ptr<const Unigram>> Create(
      const std::vector<std::string_view>& tokens, std::vector<double> scores,
      UnigramOptions options);

  void Append(std::string_view word, std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  Unigram() = default;
  void AppendUncached(std::string_view word, std::vector<int32_t>& ids) const;
  // The id of one stretch of the best path, which may be a fused run of unknown characters.
  void AppendStretch(std::string_view stretch, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  TokenTrie trie_;
  std::vector<double> scores_;  // by id
  UnigramOptions options_;
  double unknown_score_ = 0;
  std::array<int32_t, 256> byte_ids_{};
  uint32_t owner_ = 0;  // in the word cache
};

}  // namespace sluice::text
