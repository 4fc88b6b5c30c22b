#include "text/model/vocabulary.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace sluice::text {
namespace {

constexpr uint32_t kNoIndex = std::numeric_limits<uint32_t>::max();

}  // namespace

base::Result<Vocabulary> Vocabulary::Create(const std::vector<Entry>& entries) {
  if (entries.size() > kTokensMax) {
    return base::InvalidArgument("the vocabulary has " + std::to_string(entries.size()) +
                                 " tokens, the limit is " + std::to_string(kTokensMax));
  }
  Vocabulary made;
  size_t bytes = 0;
  for (const auto& [token, id] : entries) {
    if (id < 0) {
      return base::InvalidArgument("token '" + std::string(token) + "' has a negative id");
    }
    bytes += token.size();
    if (bytes > kBytesMax) {
      return base::InvalidArgument("the vocabulary is longer than " + std::to_string(kBytesMax) +
                                   " bytes");
    }
  }
  made.bytes_.reserve(bytes);
  made.tokens_.reserve(entries.size());
  made.slots_.resize(std::bit_ceil(entries.size() * 2 + 2));
  for (const auto& [token, id] : entries) {
    const uint64_t hash = HashBytes(token);
    Slot& slot = made.SlotOf(token, hash);
    made.id_max_ = std::max(made.id_max_, id);
    if (slot.index != 0) {
      made.tokens_[static_cast<size_t>(slot.index - 1)].id = id;
      continue;
    }
    made.tokens_.push_back(
        {static_cast<uint32_t>(made.bytes_.size()), static_cast<uint32_t>(token.size()), id});
    made.bytes_.append(token);
    slot = {static_cast<uint32_t>(hash >> 32), static_cast<int32_t>(made.tokens_.size())};
  }
  made.dense_ = static_cast<size_t>(made.id_max_) < 2 * entries.size() + 1024;
  if (made.dense_) {
    made.by_id_.assign(static_cast<size_t>(made.id_max_) + 1, kNoIndex);
    for (uint32_t i = 0; i < made.tokens_.size(); ++i) {
      uint32_t& index = made.by_id_[static_cast<size_t>(made.tokens_[i].id)];
      if (index == kNoIndex) index = i;
    }
  } else {
    made.by_id_.resize(made.tokens_.size());
    for (uint32_t i = 0; i < made.by_id_.size(); ++i) made.by_id_[i] = i;
    std::stable_sort(made.by_id_.begin(), made.by_id_.end(), [&](uint32_t a, uint32_t b) {
      return made.tokens_[a].id < made.tokens_[b].id;
    });
  }
  return made;
}

// Where the token stands, or the free slot where it belongs. Linear probing ends: half are free.
Vocabulary::Slot& Vocabulary::SlotOf(std::string_view token, uint64_t hash) {
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    Slot& slot = slots_[at];
    if (slot.index == 0) return slot;
    if (slot.tag == static_cast<uint32_t>(hash >> 32) &&
        View(tokens_[static_cast<size_t>(slot.index - 1)]) == token) {
      return slot;
    }
  }
}

int32_t Vocabulary::Find(std::string_view token) const {
  if (slots_.empty()) return kNone;
  const uint64_t hash = HashBytes(token);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.index == 0) return kNone;
    const Stored& stored = tokens_[static_cast<size_t>(slot.index - 1)];
    if (slot.tag == static_cast<uint32_t>(hash >> 32) && View(stored) == token) return stored.id;
  }
}

std::optional<std::string_view> Vocabulary::Token(int32_t id) const {
  if (id < 0 || id > id_max_ || tokens_.empty()) return std::nullopt;
  uint32_t index = kNoIndex;
  if (dense_) {
    index = by_id_[static_cast<size_t>(id)];
  } else {
    const auto found =
        std::lower_bound(by_id_.begin(), by_id_.end(), id,
                         [&](uint32_t at, int32_t wanted) { return tokens_[at].id < wanted; });
    if (found != by_id_.end() && tokens_[*found].id == id) index = *found;
  }
  if (index == kNoIndex) return std::nullopt;
  return View(tokens_[index]);
}

}  // namespace sluice::text
