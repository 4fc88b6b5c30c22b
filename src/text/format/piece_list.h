// A vocabulary of typed and scored pieces, as SentencePiece and GGUF files hold them.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/model/token_model.h"
#include "text/tokenizer.h"

namespace sluice::text {

// SentencePiece's types; GGUF has the same numbers.
enum class PieceType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct Piece {
  std::string_view text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

// By id.
struct PieceList {
  std::vector<Piece> pieces;
  bool byte_fallback = false;
};

// SentencePiece's BPE: whatever two neighbours make a piece may merge, the highest score first.
base::Result<std::unique_ptr<const TokenModel>> MakeScoredBytePair(const PieceList& list);
// SentencePiece's unigram model, in single precision.
base::Result<std::unique_ptr<const TokenModel>> MakeScoredUnigram(const PieceList& list);
// Control pieces as special added tokens, user-defined ones as plain ones.
void AddTypedTokens(const PieceList& list, TokenizerSpec& spec);
// SentencePiece's way back to text.
Decoder PieceDecoder(bool add_dummy_prefix);

// The fixed tokens of a text and of a pair, both ids where they are to be added.
void AddFixedTokens(const int32_t* begin_id, const int32_t* end_id, TokenizerSpec& spec);

}  // namespace sluice::text
