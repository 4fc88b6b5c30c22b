// The tokens of a tokenizer and their ids, looked up either way.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sluice::text {

// A 64-bit hash of short byte strings; the same in every process.
inline uint64_t HashBytes(std::string_view bytes) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15u;
  uint64_t hash = bytes.size() * kMultiplier;
  const char* at = bytes.data();
  size_t left = bytes.size();
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 29;
  };
  for (; left >= 8; left -= 8, at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, at, 8);
    mix(word);
  }
  // A fixed number of bytes is a load; a variable one would be a call.
  uint64_t word = 0;
  if (left >= 4) {
    uint32_t low = 0;
    uint32_t high = 0;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + left - 4, 4);
    word = low | uint64_t{high} << 32;
  } else if (left > 0) {
    word = static_cast<unsigned char>(at[0]) |
           uint64_t{static_cast<unsigned char>(at[left / 2])} << 8 |
           uint64_t{static_cast<unsigned char>(at[left - 1])} << 16;
  }
  mix(word);
  return hash;
}

// Immutable after Create. Owns the bytes of its tokens.
class Vocabulary {
 public:
  static constexpr int32_t kNone = -1;
  static constexpr size_t kTokensMax = 4'000'000;
  static constexpr size_t kBytesMax = size_t{128} << 20;  // of all tokens

  using Entry = std::pair<std::string_view, int32_t>;  // a token and its id

  // A token that occurs twice has its last id; of an id that occurs twice the first token is told.
  // kInvalidArgument: a negative id, or a limit is exceeded.
  static base::Result<Vocabulary> Create(const std::vector<Entry>& entries);

  Vocabulary() = default;
  // The id of a whole token, or kNone.
  int32_t Find(std::string_view token) const;
  // The token of an id; a view into this vocabulary.
  std::optional<std::string_view> Token(int32_t id) const;
  int32_t id_max() const { return id_max_; }  // 0 without tokens
  size_t size() const { return tokens_.size(); }
  // Token number `index` of size(), in the order of Create.
  Entry entry(size_t index) const { return {View(tokens_[index]), tokens_[index].id}; }

 private:
  struct Stored {
    uint32_t begin = 0;  // into bytes_
    uint32_t length = 0;
    int32_t id = kNone;
  };
  struct Slot {
    uint32_t tag = 0;   // high bits of the hash
    int32_t index = 0;  // into tokens_, plus one; 0: free
  };
  std::string_view View(const Stored& stored) const {
    return std::string_view(bytes_).substr(stored.begin, stored.length);
  }
  Slot& SlotOf(std::string_view token, uint64_t hash);

  std::string bytes_;
  std::vector<Stored> tokens_;
  std::vector<Slot> slots_;  // a power of two of them, at most half in use
  // Indices of tokens_ by id: at the id itself where ids are dense, else sorted.
  std::vector<uint32_t> by_id_;
  bool dense_ = false;
  int32_t id_max_ = 0;
};

}  // namespace sluice::text
