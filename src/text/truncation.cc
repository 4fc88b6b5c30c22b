#include "text/truncation.h"

#include <algorithm>
#include <utility>

namespace sluice::text {
namespace {

void Keep(int64_t count, TextSide cut, std::vector<int32_t>& ids) {
  const auto size = static_cast<int64_t>(ids.size());
  if (count >= size) return;
  if (cut == TextSide::kLeft) ids.erase(ids.begin(), ids.begin() + (size - count));
  ids.resize(static_cast<size_t>(count));
}

// The shorter text stays whole while it takes at most half; else both get half, the longer one the
// odd token. Equal texts count the second as the longer.
void KeepLongestFirst(int64_t length_max, int64_t& first, int64_t& second) {
  const bool swap = first > second;
  int64_t shorter = std::min(first, second);
  int64_t longer = shorter > length_max ? shorter : std::max(shorter, length_max - shorter);
  if (shorter + longer > length_max) {
    shorter = length_max / 2;
    longer = shorter + length_max % 2;
  }
  first = swap ? longer : shorter;
  second = swap ? shorter : longer;
}

}  // namespace

base::Result<bool> Truncate(const Truncation& truncation, std::vector<int32_t>& first,
                            std::vector<int32_t>* second) {
  auto keep_first = static_cast<int64_t>(first.size());
  int64_t keep_second = second == nullptr ? 0 : static_cast<int64_t>(second->size());
  const int64_t excess = keep_first + keep_second - truncation.length_max;
  if (excess <= 0) return false;
  if (truncation.length_max == 0) {
    keep_first = keep_second = 0;
  } else if (truncation.strategy == TruncationStrategy::kLongestFirst) {
    if (second == nullptr) {
      keep_first = truncation.length_max;
    } else {
      KeepLongestFirst(truncation.length_max, keep_first, keep_second);
    }
  } else {
    const bool cuts_first = truncation.strategy == TruncationStrategy::kOnlyFirst;
    int64_t& target = cuts_first ? keep_first : keep_second;
    if (!cuts_first && second == nullptr) {
      return base::InvalidArgument("truncation strategy only_second needs a second text");
    }
    if (target <= excess) {
      return base::InvalidArgument("the text to truncate has " + std::to_string(target) +
                                   " tokens, " + std::to_string(excess) + " must go");
    }
    target -= excess;
  }
  Keep(keep_first, truncation.side, first);
  if (second != nullptr) Keep(keep_second, truncation.side, *second);
  return true;
}

}  // namespace sluice::text
