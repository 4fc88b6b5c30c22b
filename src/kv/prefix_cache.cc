#include "kv/prefix_cache.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace sluice::kv {
namespace {

// Two nodes a block: one for what is shared and one for what goes on. A tree that needs more of
// them forgets leaves as if blocks were short.
int32_t NodeCount(const PrefixCache::Options& options) {
  return 2 * options.blocks + options.domains_max;
}

}  // namespace

PrefixCache::PrefixCache(Options options)
    : block_rows_(options.block_rows), domains_max_(options.domains_max), pool_(options.blocks) {
  CHECK(std::has_single_bit(static_cast<uint32_t>(options.block_rows)));
  CHECK(options.domains_max > 0);
  const auto count = static_cast<size_t>(NodeCount(options));
  holders_.resize(static_cast<size_t>(options.blocks));
  tokens_.resize(static_cast<size_t>(options.blocks) * static_cast<size_t>(block_rows_));
  nodes_.resize(count);
  domain_names_.resize(count);
  for (size_t i = count; i-- > 0;) FreeNode(static_cast<int32_t>(i));
  table_.assign(std::bit_ceil(2 * count), -1);
  table_mask_ = table_.size() - 1;
  taken_.reserve(static_cast<size_t>(options.blocks));
}

DomainId PrefixCache::Domain(std::string_view name) {
  const auto found = domains_.find(std::string(name));
  if (found != domains_.end()) return found->second;
  if (static_cast<int32_t>(domains_.size()) >= domains_max_) {
    const int32_t oldest = idle_[kRoots].first;
    if (oldest < 0) return kNoDomain;
    Delist(oldest);
    domains_.erase(*domain_names_[static_cast<size_t>(oldest)]);
    FreeNode(oldest);
  }
  const int32_t node = TakeNode();
  if (node < 0) return kNoDomain;
  const auto made = domains_.emplace(name, node).first;
  domain_names_[static_cast<size_t>(node)] = &made->first;
  Enlist(node, false);
  return node;
}

int64_t PrefixCache::Find(DomainId domain, std::span<const int32_t> tokens) const {
  if (domain == kNoDomain) return 0;
  size_t position = 0;
  for (int32_t node = domain; position < tokens.size();) {
    node = Child(node, tokens[position]);
    if (node < 0) break;
    const int32_t common = Common(at(node), tokens.subspan(position));
    position += static_cast<size_t>(common);
    if (common < at(node).end - at(node).begin) break;
  }
  return static_cast<int64_t>(position);
}

int64_t PrefixCache::Attach(DomainId domain, std::span<const int32_t> tokens,
                            EvictionClass eviction, Sequence& sequence) {
  CHECK(sequence.blocks.empty() && sequence.node < 0);
  statistics_.asked_tokens += static_cast<int64_t>(tokens.size());
  if (domain == kNoDomain) return 0;
  int32_t node = domain;
  size_t position = 0;
  Pin(node);
  while (position < tokens.size()) {
    int32_t child = Child(node, tokens[position]);
    if (child < 0) break;
    const int32_t rows = at(child).end - at(child).begin;
    const int32_t common = Common(at(child), tokens.subspan(position));
    if (common < rows) child = Split(child, common);
    if (child < 0) break;
    Pin(child);
    Unpin(node);
    node = child;
    at(node).eviction = std::min(at(node).eviction, eviction);
    const size_t index = position / static_cast<size_t>(block_rows_);
    if (index == sequence.blocks.size()) {
      sequence.blocks.push_back(at(node).block);
      pool_.Share(at(node).block);
      Hold(at(node).block);
    } else if (sequence.blocks[index] != at(node).block) {
      pool_.Share(at(node).block);
      Hold(at(node).block);
      LetGo(sequence.blocks[index]);
      sequence.blocks[index] = at(node).block;
    }
    position += static_cast<size_t>(common);
    if (common < rows) break;
  }
  sequence.node = node;
  sequence.length = sequence.published = static_cast<int64_t>(position);
  statistics_.found_tokens += sequence.length;
  return sequence.length;
}

bool PrefixCache::Extend(Sequence& sequence, int64_t to, std::vector<BlockCopy>& copies) {
  CHECK(to >= sequence.length);
  if (to == sequence.length) return true;
  const int64_t rows = block_rows_;
  const auto begin_row = static_cast<int32_t>(sequence.length % rows);
  const bool copy = begin_row > 0 && !pool_.MayAppend(sequence.blocks.back(), begin_row);
  const auto have = static_cast<int64_t>(sequence.blocks.size());
  const int64_t need = (to + rows - 1) / rows - have + (copy ? 1 : 0);
  taken_.clear();
  while (static_cast<int64_t>(taken_.size()) < need) {
    BlockId block = TakeBlock();
    if (block == kNoBlock && MoveToOwnBlocks(sequence)) block = TakeBlock();
    if (block == kNoBlock) {
      for (const BlockId back : taken_) pool_.Drop(back);
      return false;
    }
    taken_.push_back(block);
  }
  size_t used = 0;
  if (copy) {
    const BlockId from = sequence.blocks.back();
    sequence.blocks.back() = taken_[used++];
    copies.push_back({from, sequence.blocks.back(), begin_row});
    statistics_.copied_rows += begin_row;
    LetGo(from);
  }
  for (const BlockId block : taken_) Hold(block);
  sequence.blocks.insert(sequence.blocks.end(), taken_.begin() + static_cast<std::ptrdiff_t>(used),
                         taken_.end());
  for (int64_t i = sequence.length / rows; i * rows < to; ++i) {
    pool_.Claim(sequence.blocks[static_cast<size_t>(i)],
                static_cast<int32_t>(std::min(rows, to - i * rows)));
  }
  sequence.length = to;
  return true;
}

bool PrefixCache::MoveToOwnBlocks(const Sequence& sequence) {
  bool moved = false;
  int64_t end = sequence.published;
  for (int32_t i = sequence.node; i >= 0 && end > 0; i = at(i).parent) {
    Node& node = at(i);
    const BlockId own = sequence.blocks[static_cast<size_t>((end - 1) / block_rows_)];
    end -= node.end - node.begin;
    if (node.block == own) continue;
    std::copy(tokens_of(node.block) + node.begin, tokens_of(node.block) + node.end,
              tokens_of(own) + node.begin);
    pool_.Share(own);
    pool_.Drop(node.block);
    node.block = own;
    moved = true;
  }
  return moved;
}

void PrefixCache::Publish(Sequence& sequence, std::span<const int32_t> tokens,
                          EvictionClass eviction) {
  const auto count = static_cast<int64_t>(tokens.size());
  CHECK(count >= sequence.published && count <= sequence.length);
  if (sequence.node < 0) return;
  Place place{sequence.node, sequence.published};
  while (place.position < count && Advance(sequence, tokens, eviction, place)) {
  }
  sequence.node = place.node;
  sequence.published = place.position;
}

bool PrefixCache::Advance(Sequence& sequence, std::span<const int32_t> tokens,
                          EvictionClass eviction, Place& place) {
  const auto index = static_cast<size_t>(place.position / block_rows_);
  const auto row = static_cast<int32_t>(place.position % block_rows_);
  const std::span<const int32_t> rest = tokens.subspan(static_cast<size_t>(place.position));
  const auto end =
      static_cast<int32_t>(std::min<int64_t>(block_rows_, row + static_cast<int64_t>(rest.size())));
  const BlockId own = sequence.blocks[index];
  int32_t child = Child(place.node, rest[0]);
  if (child >= 0) {
    const int32_t common = Common(at(child), rest);
    if (common < at(child).end - at(child).begin) child = Split(child, common);
    if (child < 0) return false;
    if (at(child).end == block_rows_ && at(child).block != own) {
      pool_.Share(at(child).block);
      Hold(at(child).block);
      LetGo(own);
      sequence.blocks[index] = at(child).block;
    }
  } else {
    std::copy_n(rest.data(), end - row, tokens_of(own) + row);
    Node& here = at(place.node);
    // Nobody else ends here, so that the node may cover what comes next as well.
    if (here.block == own && here.end == row && here.children == 0 && here.pins == 1) {
      here.end = end;
      place.position += end - row;
      return true;
    }
    child = TakeNode();
    if (child < 0) return false;
    at(child) = Node{place.node, 0, 0, own, row, end, -1, -1, eviction, false};
    pool_.Share(own);
    Insert(child);
    ++at(place.node).children;
  }
  Pin(child);
  at(child).eviction = std::min(at(child).eviction, eviction);
  Unpin(place.node);
  place.node = child;
  place.position += at(child).end - at(child).begin;
  return true;
}

void PrefixCache::Truncate(Sequence& sequence, int64_t length) {
  CHECK(length >= sequence.published && length <= sequence.length);
  const auto keep = static_cast<size_t>((length + block_rows_ - 1) / block_rows_);
  while (sequence.blocks.size() > keep) {
    LetGo(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
  sequence.length = length;
}

void PrefixCache::Release(Sequence& sequence) {
  for (const BlockId block : sequence.blocks) LetGo(block);
  if (sequence.node >= 0) Unpin(sequence.node);
  sequence.blocks.clear();
  sequence.length = sequence.published = 0;
  sequence.node = -1;
}

int32_t PrefixCache::Common(const Node& node, std::span<const int32_t> tokens) const {
  const auto rows = static_cast<size_t>(node.end - node.begin);
  const int32_t* own = tokens_of(node.block) + node.begin;
  const size_t most = std::min(rows, tokens.size());
  return static_cast<int32_t>(std::mismatch(own, own + most, tokens.data()).first - own);
}

int32_t PrefixCache::Split(int32_t node, int32_t rows) {
  Pin(node);  // TakeNode forgets idle nodes
  const int32_t upper = TakeNode();
  if (upper >= 0) {
    Node& lower = at(node);
    Erase(node);
    at(upper) = Node{lower.parent,       1,  0,  lower.block,    lower.begin,
                     lower.begin + rows, -1, -1, lower.eviction, false};
    pool_.Share(lower.block);
    lower.begin += rows;
    lower.parent = upper;
    Insert(upper);
    Insert(node);
  }
  Unpin(node);
  return upper;
}

BlockId PrefixCache::TakeBlock() {
  for (;;) {
    const BlockId block = pool_.Take();
    if (block != kNoBlock || !EvictOne()) return block;
  }
}

int32_t PrefixCache::TakeNode() {
  if (free_node_ < 0 && !EvictOne()) return -1;
  const int32_t node = free_node_;
  free_node_ = at(node).next;
  at(node) = Node{};
  return node;
}

void PrefixCache::FreeNode(int32_t node) {
  at(node) = Node{};
  at(node).next = free_node_;
  free_node_ = node;
}

bool PrefixCache::EvictOne() {
  for (int c = kEvictionClasses - 1; c >= 0; --c) {
    const int32_t node = idle_[static_cast<size_t>(c)].first;
    if (node < 0) continue;
    const int32_t parent = at(node).parent;
    statistics_.evicted_tokens += at(node).end - at(node).begin;
    Delist(node);
    Erase(node);
    pool_.Drop(at(node).block);
    FreeNode(node);
    // Its last use was at least as late as this one's, and nothing idle is older.
    if (--at(parent).children == 0 && at(parent).pins == 0) Enlist(parent, true);
    return true;
  }
  return false;
}

void PrefixCache::Pin(int32_t node) {
  if (at(node).idle) Delist(node);
  ++at(node).pins;
}

void PrefixCache::Unpin(int32_t node) {
  CHECK(at(node).pins > 0);
  if (--at(node).pins == 0 && at(node).children == 0) Enlist(node, false);
}

void PrefixCache::Enlist(int32_t node, bool oldest) {
  List& list = ListOf(at(node));
  Node& here = at(node);
  here.idle = true;
  here.prev = oldest ? -1 : list.last;
  here.next = oldest ? list.first : -1;
  (here.prev < 0 ? list.first : at(here.prev).next) = node;
  (here.next < 0 ? list.last : at(here.next).prev) = node;
}

void PrefixCache::Delist(int32_t node) {
  List& list = ListOf(at(node));
  Node& here = at(node);
  (here.prev < 0 ? list.first : at(here.prev).next) = here.next;
  (here.next < 0 ? list.last : at(here.next).prev) = here.prev;
  here.prev = here.next = -1;
  here.idle = false;
}

size_t PrefixCache::Hash(int32_t parent, int32_t token) const {
  // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4) of both numbers.
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(parent)) << 32 | static_cast<uint32_t>(token);
  const uint64_t mixed = key * 0x9e3779b97f4a7c15u;
  return static_cast<size_t>(mixed ^ mixed >> 32) & table_mask_;
}

size_t PrefixCache::SlotOf(int32_t parent, int32_t token) const {
  size_t slot = Hash(parent, token);
  for (; table_[slot] >= 0; slot = (slot + 1) & table_mask_) {
    const Node& node = at(table_[slot]);
    if (node.parent == parent && FirstToken(node) == token) break;
  }
  return slot;
}

void PrefixCache::Insert(int32_t node) {
  const size_t slot = SlotOf(at(node).parent, FirstToken(at(node)));
  CHECK(table_[slot] < 0);
  table_[slot] = node;
}

void PrefixCache::Erase(int32_t node) {
  size_t hole = SlotOf(at(node).parent, FirstToken(at(node)));
  CHECK(table_[hole] == node);
  // Knuth's algorithm R: what was displaced past the hole moves into it.
  for (size_t slot = hole;;) {
    slot = (slot + 1) & table_mask_;
    if (table_[slot] < 0) break;
    const Node& moved = at(table_[slot]);
    const size_t home = Hash(moved.parent, FirstToken(moved));
    if (((slot - home) & table_mask_) < ((slot - hole) & table_mask_)) continue;
    table_[hole] = table_[slot];
    hole = slot;
  }
  table_[hole] = -1;
}

}  // namespace sluice::kv
