#include "lm/decoder/step_rows.h"

#include "base/check.h"

namespace sluice::lm {

void StepRows::Clear() {
  tokens.clear();
  positions.clear();
  slots.clear();
  sequences.clear();
  logit_rows.clear();
  state_rows.clear();
  copies.clear();
}

void StepRows::Add(const kv::Sequence& sequence, const std::vector<int32_t>& sequence_tokens,
                   int64_t from, int64_t to) {
  CHECK(from < to && to <= sequence.length);
  CHECK_LE(to, static_cast<int64_t>(sequence_tokens.size()));
  kernels::CachedRows own;
  own.first_row = rows();
  own.rows = to - from;
  own.position = from;
  own.blocks = sequence.blocks.data();
  sequences.push_back(own);
  for (int64_t p = from; p < to; ++p) {
    tokens.push_back(sequence_tokens[static_cast<size_t>(p)]);
    positions.push_back(static_cast<int32_t>(p));
    slots.push_back({sequence.blocks[static_cast<size_t>(p / kernels::kCacheBlockRows)],
                     static_cast<int32_t>(p % kernels::kCacheBlockRows)});
  }
}

int64_t StepRows::Want(RowOutput output, int64_t count) {
  std::vector<int32_t>& wanted = output == RowOutput::kLogits ? logit_rows : state_rows;
  const auto first = static_cast<int64_t>(wanted.size());
  for (int64_t row = rows() - count; row < rows(); ++row) {
    wanted.push_back(static_cast<int32_t>(row));
  }
  return first;
}

}  // namespace sluice::lm
