// What one step of a language model computes: rows of tokens of some sequences, one behind the
// other, and the rows whose logits are wanted. A plain value.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cached_attention.h"
#include "kv/prefix_cache.h"

namespace sluice::lm {

// What a row gives besides its keys and values.
enum class RowOutput : uint8_t {
  kLogits,
  kState,  // of the last layer, normed: what the head would read
};

struct StepRows {
  std::vector<int32_t> tokens;            // [rows], each within the vocabulary
  std::vector<int32_t> positions;         // [rows] in their sequences
  std::vector<kernels::CacheSlot> slots;  // [rows] where their keys and values go
  std::vector<kernels::CachedRows> sequences;
  std::vector<int32_t> logit_rows;    // ascending
  std::vector<int32_t> state_rows;    // those whose final states are wanted instead; ascending
  std::vector<kv::BlockCopy> copies;  // of cache blocks, carried out first

  void Clear();
  // Positions [from, to) of a sequence whose blocks are writable that far; `tokens` are all of its
  // tokens. The sequence's blocks must stay where they are until the step has run.
  void Add(const kv::Sequence& sequence, const std::vector<int32_t>& sequence_tokens, int64_t from,
           int64_t to);
  // The outputs of the newest `count` rows are wanted. The first one's index among those of its
  // kind.
  int64_t Want(RowOutput output, int64_t count);
  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

}  // namespace sluice::lm
