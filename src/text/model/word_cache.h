// The ids of words that a thread has tokenised lately, for models that take much longer than a
// look-up. What is found here is what the model would have made, so results do not depend on it.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace sluice::text {

// Owned by its thread; half a megabyte, allocated at the first use. Every word has one place, where
// a newer word takes an older one's.
class WordCache {
 public:
  static constexpr size_t kWords = 8192;
  static constexpr size_t kWordBytesMax = 22;
  static constexpr size_t kIdsMax = 9;

  // This thread's.
  static WordCache& OfThread();
  // A number that no other model in this process has had.
  static uint32_t NewOwner();

  // Appends the ids of `word` (1 to kWordBytesMax bytes, hashed by HashBytes) and says whether
  // they are known.
  bool Find(uint32_t owner, std::string_view word, uint64_t hash, std::vector<int32_t>& ids) const {
    const Entry& entry = entries_[hash >> kShift];
    if (entry.owner != owner || entry.bytes != word.size() ||
        std::memcmp(entry.word.data(), word.data(), word.size()) != 0) {
      return false;
    }
    ids.insert(ids.end(), entry.ids.begin(), entry.ids.begin() + entry.count);
    return true;
  }
  // Keeps up to kIdsMax ids; more are not kept.
  void Put(uint32_t owner, std::string_view word, uint64_t hash, const int32_t* ids, size_t count);

 private:
  struct alignas(64) Entry {
    uint32_t owner = 0;  // 0: free
    uint8_t bytes = 0;
    uint8_t count = 0;
    std::array<char, kWordBytesMax> word{};
    std::array<int32_t, kIdsMax> ids{};
  };
  static constexpr int kShift = 64 - 13;
  static_assert(size_t{1} << (64 - kShift) == kWords);

  std::vector<Entry> entries_ = std::vector<Entry>(kWords);
};

}  // namespace sluice::text
