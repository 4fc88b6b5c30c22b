// A trie from byte strings to token ids, for longest matches. Building and matching take time
// linear in the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice::text {

// Filled by its owner, then immutable. All edges stand in one hash table keyed by (node, byte), so
// that a step is one look-up whatever the node's fan-out.
class TokenTrie {
 public:
  static constexpr int32_t kNone = -1;
  // Total bytes of all entries; keeps a node's number and a byte within 32 bits.
  static constexpr size_t kBytesMax = (size_t{1} << 24) - 2;

  TokenTrie();
  // The caller bounds the sum of all texts by kBytesMax and gives ids >= 0. A text added again
  // takes the new id.
  void Add(std::string_view text, int32_t id);

  static constexpr int32_t root() { return 0; }
  // The node behind `node` and `byte`, or kNone.
  int32_t Next(int32_t node, char byte) const {
    const uint32_t key = Key(node, byte);
    for (uint32_t slot = Slot(key);; slot = (slot + 1) & mask_) {
      const Edge& edge = edges_[slot];
      if (edge.key == key) return edge.child;
      if (edge.child == kNone) return kNone;
    }
  }
  // The node of `text` below `node`, or kNone.
  int32_t Walk(int32_t node, std::string_view text) const;
  // The id of the entry that ends in `node`, or kNone.
  int32_t id(int32_t node) const { return ids_[static_cast<size_t>(node)]; }

  struct Match {
    int32_t id = kNone;
    size_t bytes = 0;
  };
  // The longest entry, continued from `node`, that `text` starts with; id kNone when there is none.
  Match Longest(int32_t node, std::string_view text) const;

 private:
  struct Edge {
    uint32_t key = 0;
    int32_t child = kNone;  // kNone: the slot is free
  };
  static uint32_t Key(int32_t node, char byte) {
    return (static_cast<uint32_t>(node) << 8) | static_cast<unsigned char>(byte);
  }
  // Fibonacci hashing: the top bits of a product with 2^32 over the golden ratio.
  uint32_t Slot(uint32_t key) const { return (key * 0x9E3779B1u) >> shift_; }
  void Insert(uint32_t key, int32_t child);
  void Grow();

  std::vector<Edge> edges_;
  std::vector<int32_t> ids_;  // [nodes]
  uint32_t mask_;
  int shift_;
};

}  // namespace sluice::text
