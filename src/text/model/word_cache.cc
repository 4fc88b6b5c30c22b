#include "text/model/word_cache.h"

#include <algorithm>
#include <atomic>

namespace sluice::text {

WordCache& WordCache::OfThread() {
  thread_local WordCache cache;
  return cache;
}

uint32_t WordCache::NewOwner() {
  static std::atomic<uint32_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void WordCache::Put(uint32_t owner, std::string_view word, uint64_t hash, const int32_t* ids,
                    size_t count) {
  if (count > kIdsMax || word.size() > kWordBytesMax) return;
  Entry& entry = entries_[hash >> kShift];
  entry.owner = owner;
  entry.bytes = static_cast<uint8_t>(word.size());
  entry.count = static_cast<uint8_t>(count);
  std::copy(word.begin(), word.end(), entry.word.begin());
  std::copy_n(ids, count, entry.ids.begin());
}

}  // namespace sluice::text
