// Byte pair encoding (Sennrich et al. 2016): a word's characters, or its bytes, are merged in
// pairs, the pair of the lowest rank first and of equal ones the leftmost.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/model/token_model.h"

namespace sluice::text {

struct BytePairOptions {
  bool byte_level = false;  // words are bytes, and the vocabulary writes them in GPT-2's alphabet
  std::optional<std::string> unknown_token;  // none: characters without a token are dropped
  std::string continuation_prefix;           // of every character but a word's first
  std::string word_suffix;                   // of a word's last character
  bool fuse_unknown = false;                 // neighbouring unknown characters are one token
  bool byte_fallback = false;                // unknown characters become tokens such as <0x0A>
  bool ignore_merges = false;                // a word that is a token stays whole
};

// Two tokens that may become one.
struct BytePairMerge {
  int32_t left = 0;
  int32_t right = 0;
  int32_t rank = 0;
  int32_t id = 0;  // of what they become
};

// Immutable after Create. A word of n characters takes O(n log n).
class BytePair : public TokenModel {
 public:
  static constexpr size_t kMergesMax = 8'000'000;
  // Of a token that MergesByRank cuts: it tries every place.
  static constexpr size_t kCutBytesMax = 512;

  // A pair that occurs twice has its last rank. kInvalidArgument: the unknown token is no entry, or
  // there are more than kMergesMax merges.
  static base::Result<std::unique_ptr<const BytePair>> Create(Vocabulary vocabulary,
                                                              std::span<const BytePairMerge> merges,
                                                              BytePairOptions options);
  // The merges of a vocabulary that has none: every way to cut a token into two tokens, ranked by
  // ranks[index of the token]; lower first. kInvalidArgument: a limit is exceeded.
  static base::Result<std::vector<BytePairMerge>> MergesByRank(const Vocabulary& vocabulary,
                                                               std::span<const int32_t> ranks);

  void Append(std::string_view word, std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  const BytePairOptions& options() const { return options_; }

 private:
  struct Merge {
    uint64_t pair = kNoPair;
    int32_t rank = 0;
    int32_t id = 0;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};

  BytePair(Vocabulary vocabulary, BytePairOptions options);
  base::Status Prepare(std::span<const BytePairMerge> merges);
  void AddMerges(std::span<const BytePairMerge> merges);
  bool TokensStartWithBlanksOnly(std::span<const BytePairMerge> merges) const;

  static uint64_t PairOf(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t SlotOf(uint64_t pair) const {
    const uint64_t mixed = (pair ^ (pair >> 29)) * 0x9E3779B97F4A7C15u;
    return static_cast<size_t>(mixed >> shift_);
  }
  // The merge of two tokens, or one of rank kNoRank.
  Merge MergeOf(int32_t left, int32_t right) const;

  void AppendPart(std::string_view part, std::vector<int32_t>& ids) const;
  void AppendUncached(std::string_view part, std::vector<int32_t>& ids) const;
  // The tokens of a word's characters, before anything is merged.
  void AppendSymbols(std::string_view part, std::vector<int32_t>& ids) const;
  void AppendRunes(std::string_view part, std::vector<int32_t>& ids) const;
  bool AppendFallback(std::string_view bytes, std::vector<int32_t>& ids) const;
  // Merge ids[begin..) in place.
  void MergeFew(size_t begin, std::vector<int32_t>& ids) const;
  void MergeMany(size_t begin, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  BytePairOptions options_;
  Vocabulary words_;  // with ignore_merges and bytes: tokens as the bytes that they stand for
  std::vector<Merge> merges_;  // an open hash table, a power of two large, at most half in use
  int shift_ = 0;
  std::array<int32_t, 256> byte_ids_{};  // of single bytes, or of <0x00> to <0xFF>; may be kNone
  std::array<int32_t, 128> ascii_ids_{};
  int32_t unknown_id_ = Vocabulary::kNone;
  bool cut_at_blanks_ = false;  // no token holds U+2581 behind another character
  uint32_t owner_ = 0;          // in the word cache
};

}  // namespace sluice::text
