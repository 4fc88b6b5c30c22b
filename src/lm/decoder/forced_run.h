// A decoder over a given text, without an engine: the logits of every position, for measuring what
// a text costs a model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lm/decoder/decoder.h"
#include "tensor/tensor.h"

namespace sluice::lm {

// One sequence at a time over blocks of its own. One thread; the decoder outlives it.
class ForcedRun {
 public:
  struct Options {
    int64_t length_max = 0;            // tokens of a text
    int64_t rows_max = 0;              // positions that one step computes
    base::ThreadPool* pool = nullptr;  // null: this thread alone
  };
  ForcedRun(const Decoder& decoder, const Options& options);

  // A new text, at most length_max tokens of the vocabulary.
  void Begin(std::vector<int32_t> tokens);
  // [rows, decoder.head_width()] of the next positions, at most rows_max of them, until the next
  // call; empty behind the last one. Row i tells what follows token i.
  std::span<const float> Next();

 private:
  const Decoder& decoder_;
  const Options options_;
  CacheMemory cache_;
  tensor::Buffer blocks_;
  tensor::Buffer memory_;
  kv::Sequence sequence_;
  std::vector<int32_t> tokens_;
  int64_t computed_ = 0;
};

}  // namespace sluice::lm
