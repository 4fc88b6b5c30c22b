#include "text/model/token_trie.h"

#include <utility>

#include "base/check.h"

namespace sluice::text {
namespace {

constexpr int kFirstBits = 8;

}  // namespace

TokenTrie::TokenTrie()
    : edges_(size_t{1} << kFirstBits),
      ids_(1, kNone),
      mask_((1u << kFirstBits) - 1),
      shift_(32 - kFirstBits) {}

void TokenTrie::Add(std::string_view text, int32_t id) {
  CHECK_GE(id, 0);
  int32_t node = root();
  for (const char byte : text) {
    int32_t next = Next(node, byte);
    if (next == kNone) {
      CHECK_LE(ids_.size(), kBytesMax);
      if (2 * ids_.size() >= edges_.size()) Grow();
      next = static_cast<int32_t>(ids_.size());
      ids_.push_back(kNone);
      Insert(Key(node, byte), next);
    }
    node = next;
  }
  ids_[static_cast<size_t>(node)] = id;
}

void TokenTrie::Insert(uint32_t key, int32_t child) {
  uint32_t slot = Slot(key);
  while (edges_[slot].child != kNone) slot = (slot + 1) & mask_;
  edges_[slot] = {key, child};
}

void TokenTrie::Grow() {
  std::vector<Edge> old(edges_.size() * 2);
  std::swap(old, edges_);
  mask_ = static_cast<uint32_t>(edges_.size() - 1);
  --shift_;
  for (const Edge& edge : old) {
    if (edge.child != kNone) Insert(edge.key, edge.child);
  }
}

int32_t TokenTrie::Walk(int32_t node, std::string_view text) const {
  for (const char byte : text) {
    if (node == kNone) break;
    node = Next(node, byte);
  }
  return node;
}

TokenTrie::Match TokenTrie::Longest(int32_t node, std::string_view text) const {
  Match match;
  if (node == kNone) return match;
  for (size_t i = 0; i < text.size(); ++i) {
    node = Next(node, text[i]);
    if (node == kNone) break;
    if (id(node) != kNone) match = {id(node), i + 1};
  }
  return match;
}

}  // namespace sluice::text
