// For tests: one sequence of a decoder, without an engine.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lm/decoder/decoder.h"
#include "tensor/tensor.h"

namespace sluice::lm {

// One sequence over blocks of its own, in steps of at most `rows_max`.
class Session {
 public:
  explicit Session(const Decoder& decoder) : decoder_(decoder) {
    cache_.type = decoder.cache_type();
    cache_.layer_bytes = decoder.cache_layer_bytes();
    cache_.block_bytes = decoder.cache_block_bytes();
    memory_ = tensor::Buffer::Allocate(kBlocks * cache_.block_bytes + 64);
    cache_.data = memory_.mutable_data();
    for (int32_t i = kBlocks; i-- > 0;) sequence_.blocks.push_back(i);
    sequence_.length = kBlocks * kernels::kCacheBlockRows;
  }

  // Logits of the positions that were not computed yet.
  std::vector<float> Run(const std::vector<int32_t>& tokens, int64_t rows_max) {
    std::vector<float> all;
    const auto end = static_cast<int64_t>(tokens.size());
    while (computed_ < end) {
      const int64_t to = std::min(end, computed_ + rows_max);
      StepRows rows;
      rows.Add(sequence_, tokens, computed_, to);
      for (int32_t row = 0; row < rows.rows(); ++row) rows.logit_rows.push_back(row);
      tensor::Buffer space =
          tensor::Buffer::Allocate(decoder_.MemoryBytes(rows.rows(), rows.rows()));
      Runner runner({});
      const float* const logits = decoder_.Run(rows, cache_, space.mutable_data(), runner);
      EXPECT_NE(logits, nullptr);
      all.insert(all.end(), logits, logits + rows.rows() * decoder_.config().vocabulary);
      computed_ = to;
    }
    return all;
  }

 private:
  static constexpr int32_t kBlocks = 4;
  const Decoder& decoder_;
  CacheMemory cache_;
  tensor::Buffer memory_;
  kv::Sequence sequence_;
  int64_t computed_ = 0;
};

}  // namespace sluice::lm
