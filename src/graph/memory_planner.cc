#include "graph/memory_planner.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "tensor/align.h"
#include "tensor/tensor.h"

namespace sluice::graph {
namespace {

// The smallest gap of at least `bytes` between `placed` neighbours, sorted by offset; behind the
// last one when none fits.
int64_t BestGap(const BufferLife& buffer, std::span<const BufferLife* const> placed) {
  const int64_t bytes = tensor::AlignUp(buffer.bytes);
  int64_t best = -1;
  int64_t best_gap = std::numeric_limits<int64_t>::max();
  int64_t end = 0;  // of everything seen so far that lives beside this buffer
  for (const BufferLife* other : placed) {
    if (other->last < buffer.first || other->first > buffer.last) continue;
    const int64_t gap = other->offset - end;
    if (gap >= bytes && gap < best_gap) {
      best = end;
      best_gap = gap;
    }
    end = std::max(end, other->offset + tensor::AlignUp(other->bytes));
  }
  return best >= 0 ? best : end;
}

}  // namespace

int64_t PlanMemory(std::span<BufferLife> buffers) {
  std::vector<BufferLife*> order;
  order.reserve(buffers.size());
  for (BufferLife& buffer : buffers) order.push_back(&buffer);
  std::stable_sort(order.begin(), order.end(),
                   [](const BufferLife* a, const BufferLife* b) { return a->bytes > b->bytes; });
  std::vector<const BufferLife*> placed;  // sorted by offset
  placed.reserve(buffers.size());
  int64_t total = 0;
  for (BufferLife* buffer : order) {
    buffer->offset = BestGap(*buffer, placed);
    total = std::max(total, buffer->offset + tensor::AlignUp(buffer->bytes));
    const auto at = std::upper_bound(
        placed.begin(), placed.end(), buffer,
        [](const BufferLife* a, const BufferLife* b) { return a->offset < b->offset; });
    placed.insert(at, buffer);
  }
  return total;
}

}  // namespace sluice::graph
