// BERT's normaliser, words and WordPiece in one walk over the text, without a copy of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/model/word_piece.h"
#include "text/normalizer.h"

namespace sluice::text {

// Immutable. `model` outlives it.
class BertWords {
 public:
  BertWords(const BertNormalizer& bert, const WordPiece& model);

  // Appends the ids of valid UTF-8, ending soon after there are `count_max`. False, with ids of any
  // kind appended, when the text needs canonical ordering, which is not done here.
  bool Append(std::string_view text, size_t count_max, std::vector<int32_t>& ids) const;

 private:
  // What becomes of an ASCII character.
  enum class AsciiRole : uint8_t { kDropped, kSpace, kAlone, kWordPart };

  BertNormalizer bert_;
  const WordPiece* model_;
  std::array<AsciiRole, 128> ascii_roles_{};
  std::array<char, 128> ascii_lower_{};
};

}  // namespace sluice::text
