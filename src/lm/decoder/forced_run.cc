#include "lm/decoder/forced_run.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "lm/decoder/step_rows.h"
#include "lm/linear/runner.h"

namespace sluice::lm {

ForcedRun::ForcedRun(const Decoder& decoder, const Options& options)
    : decoder_(decoder), options_(options) {
  const int64_t blocks = options.length_max / kernels::kCacheBlockRows + 1;
  cache_.type = decoder.cache_type();
  cache_.layer_bytes = decoder.cache_layer_bytes();
  cache_.block_bytes = decoder.cache_block_bytes();
  blocks_ = tensor::Buffer::Allocate(blocks * cache_.block_bytes + 64);
  std::memset(blocks_.mutable_data(), 0, static_cast<size_t>(blocks_.bytes()));
  cache_.data = blocks_.mutable_data();
  for (int32_t i = 0; i < blocks; ++i) sequence_.blocks.push_back(i);
  sequence_.length = blocks * kernels::kCacheBlockRows;
  memory_ = tensor::Buffer::Allocate(decoder.MemoryBytes(options.rows_max, options.rows_max));
}

void ForcedRun::Begin(std::vector<int32_t> tokens) {
  CHECK(static_cast<int64_t>(tokens.size()) <= options_.length_max) << tokens.size();
  tokens_ = std::move(tokens);
  computed_ = 0;
}

std::span<const float> ForcedRun::Next() {
  const auto end = static_cast<int64_t>(tokens_.size());
  const int64_t to = std::min(end, computed_ + options_.rows_max);
  if (computed_ == to) return {};
  StepRows rows;
  rows.Add(sequence_, tokens_, computed_, to);
  rows.Want(RowOutput::kLogits, to - computed_);
  computed_ = to;
  Runner runner({.pool = options_.pool});
  const float* const logits = decoder_.Run(rows, cache_, memory_.mutable_data(), runner);
  CHECK(logits != nullptr) << "without a safepoint nothing abandons it";
  return {logits, static_cast<size_t>(rows.rows() * decoder_.head_width())};
}

}  // namespace sluice::lm
