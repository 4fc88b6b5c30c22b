// PrefixCache: keys and values of token sequences in blocks, shared where their beginnings are the
// same tokens.
//
// A radix tree whose nodes each cover some rows of one block, so that everything has a fixed size.
// A token's rows are identified by the exact tokens before them, never by a hash alone. Blocks
// begin at multiples of block_rows whatever was shared; sharing itself is by the token: whoever
// leaves a common beginning inside a block continues in a copy of it, and the first to continue
// needs none.
//
// Bookkeeping alone: what it says to copy is copied by the step that runs next, and rows are
// written by that step. Lookup is O(tokens); nothing is allocated but in Domain and where a
// sequence's own list of blocks grows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kv/block_pool.h"

namespace sluice::kv {

// Sequences of different domains share nothing: a tenant's salt, an adapter's name.
using DomainId = int32_t;
inline constexpr DomainId kNoDomain = -1;

// Which cached rows go first when room is needed: the highest class, in it the longest unused.
using EvictionClass = int8_t;
inline constexpr int kEvictionClasses = 3;

// The rows of one request. Owner: the engine that made it; Release it before it goes.
struct Sequence {
  std::vector<BlockId> blocks;  // block i holds positions [i * block_rows, (i + 1) * block_rows)
  int64_t length = 0;           // positions whose rows are readable or may be written
  int64_t published = 0;        // positions that others may find
  int32_t node = -1;            // where the published ones end, pinned; -1: in no domain
};

// Rows [0, rows) of block `from`, for block `to`. Copies are carried out in the order in which they
// were asked for and before the step writes any row.
struct BlockCopy {
  BlockId from;
  BlockId to;
  int32_t rows;
};

// Owner: one engine, its loop's lease holder.
class PrefixCache {
 public:
  struct Options {
    int32_t blocks = 0;
    int32_t block_rows = 32;  // a power of two
    int32_t domains_max = 1024;
  };
  // Since construction.
  struct Statistics {
    int64_t asked_tokens = 0;    // of sequences that attached
    int64_t found_tokens = 0;    // of these, found
    int64_t evicted_tokens = 0;  // forgotten to make room
    int64_t copied_rows = 0;     // to leave a shared block
  };
  explicit PrefixCache(Options options);

  // The domain of that name. kNoDomain when domains_max are in use: then nothing is shared.
  DomainId Domain(std::string_view name);

  // How many of the first tokens are cached. Changes nothing.
  int64_t Find(DomainId domain, std::span<const int32_t> tokens) const;
  // Gives an empty sequence the cached beginning of `tokens` and returns its length. Callers that
  // need the last token's output hand over one token less.
  int64_t Attach(DomainId domain, std::span<const int32_t> tokens, EvictionClass eviction,
                 Sequence& sequence);
  // Makes positions [length, to) writable, forgetting unused rows where it must, and appends what
  // has to be copied first. False: there is no room; the sequence is as it was.
  bool Extend(Sequence& sequence, int64_t to, std::vector<BlockCopy>& copies);
  // The rows of `tokens`, all of the sequence's from its beginning, are written: others may find
  // them. Where another sequence published the same full block before, that one is used from now
  // on.
  void Publish(Sequence& sequence, std::span<const int32_t> tokens, EvictionClass eviction);
  // Gives up positions [length, ...), none of them published.
  void Truncate(Sequence& sequence, int64_t length);
  // Gives up all of them; what is published stays until room is needed.
  void Release(Sequence& sequence);

  const Statistics& statistics() const { return statistics_; }
  int32_t block_rows() const { return block_rows_; }
  int32_t block_count() const { return pool_.size(); }
  int32_t free_blocks() const { return pool_.free_count(); }
  // Blocks that only the tree owns, which Extend may take.
  int32_t idle_blocks() const;
  // Blocks in the lists of sequences; others are free or the tree's alone.
  int32_t held_blocks() const { return held_blocks_; }
  // Every count and link, given all sequences that are not released. Our own bugs only: aborts.
  void CheckIntegrity(std::span<const Sequence* const> sequences) const;

 private:
  struct Node {
    int32_t parent = -1;  // -1: the root of a domain, or free
    int32_t children = 0;
    int32_t pins = 0;  // sequences that end here
    BlockId block = kNoBlock;
    int32_t begin = 0;  // rows [begin, end) of the block
    int32_t end = 0;
    int32_t prev = -1;  // in the list of its class, while idle: no child, no pin
    int32_t next = -1;  // also links free nodes
    EvictionClass eviction = 0;
    bool idle = false;
  };
  struct List {
    int32_t first = -1;
    int32_t last = -1;
  };
  // A place in a sequence of tokens and in the tree.
  struct Place {
    int32_t node;
    int64_t position;
  };

  Node& at(int32_t node) { return nodes_[static_cast<size_t>(node)]; }
  const Node& at(int32_t node) const { return nodes_[static_cast<size_t>(node)]; }
  int32_t* tokens_of(BlockId block) { return &tokens_[static_cast<size_t>(block * block_rows_)]; }
  const int32_t* tokens_of(BlockId block) const {
    return &tokens_[static_cast<size_t>(block * block_rows_)];
  }
  List& ListOf(const Node& node) {
    return idle_[node.parent < 0 ? kEvictionClasses : static_cast<size_t>(node.eviction)];
  }
  static constexpr int kRoots = kEvictionClasses;  // list of domains with nothing in them

  // The child of `parent` that begins with `token`, -1: none; and its place in the table.
  size_t SlotOf(int32_t parent, int32_t token) const;
  int32_t Child(int32_t parent, int32_t token) const { return table_[SlotOf(parent, token)]; }
  void Insert(int32_t node);
  void Erase(int32_t node);
  size_t Hash(int32_t parent, int32_t token) const;
  int32_t FirstToken(const Node& node) const { return tokens_of(node.block)[node.begin]; }
  // How many rows of a node agree with the tokens.
  int32_t Common(const Node& node, std::span<const int32_t> tokens) const;

  // A sequence's list of blocks has one more or one less.
  void Hold(BlockId block) { held_blocks_ += holders_[static_cast<size_t>(block)]++ == 0 ? 1 : 0; }
  void LetGo(BlockId block) {
    held_blocks_ -= --holders_[static_cast<size_t>(block)] == 0 ? 1 : 0;
    pool_.Drop(block);
  }
  int32_t TakeNode();
  void FreeNode(int32_t node);
  bool EvictOne();
  BlockId TakeBlock();
  void Pin(int32_t node);
  void Unpin(int32_t node);
  void Enlist(int32_t node, bool oldest);
  void Delist(int32_t node);
  // Parts a node so that a new one ends after `rows` of its rows: that one, -1 when there is no
  // node.
  int32_t Split(int32_t node, int32_t rows);
  // The nodes that a sequence is pinned behind take its own blocks: each of them may be in a block
  // of its own, as another continuation has left it, and could not be forgotten. False: they had.
  bool MoveToOwnBlocks(const Sequence& sequence);
  // One step of Publish from a pinned place: follows or makes a node and pins it instead. False:
  // there is no node to make.
  bool Advance(Sequence& sequence, std::span<const int32_t> tokens, EvictionClass eviction,
               Place& place);

  const int32_t block_rows_;
  const int32_t domains_max_;
  BlockPool pool_;
  std::vector<int32_t> holders_;  // [blocks] sequences whose lists have it
  int32_t held_blocks_ = 0;       // of these, not 0
  std::vector<int32_t> tokens_;   // [blocks, block_rows]; read where a node covers the row
  std::vector<Node> nodes_;
  std::vector<int32_t> table_;  // open addressing by (parent, first token); -1: empty
  size_t table_mask_ = 0;
  int32_t free_node_ = -1;
  std::array<List, kEvictionClasses + 1> idle_{};  // oldest first
  std::unordered_map<std::string, int32_t> domains_;
  std::vector<const std::string*> domain_names_;  // [nodes] of roots, for taking one out
  std::vector<BlockId> taken_;                    // Extend's
  Statistics statistics_;
};

}  // namespace sluice::kv
