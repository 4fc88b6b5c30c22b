// PrefixCache's proof of itself, which simulators and tests ask for after every step.
#include <algorithm>

#include "base/check.h"
#include "kv/prefix_cache.h"

namespace sluice::kv {

int32_t PrefixCache::idle_blocks() const {
  int32_t idle = 0;
  std::vector<int32_t> in_tree(static_cast<size_t>(pool_.size()));
  for (const Node& node : nodes_) {
    if (node.block != kNoBlock) ++in_tree[static_cast<size_t>(node.block)];
  }
  for (BlockId block = 0; block < pool_.size(); ++block) {
    const int32_t owners = pool_.owners(block);
    if (owners > 0 && owners == in_tree[static_cast<size_t>(block)]) ++idle;
  }
  return idle;
}

void PrefixCache::CheckIntegrity(std::span<const Sequence* const> sequences) const {
  std::vector<int32_t> owners(static_cast<size_t>(pool_.size()));
  std::vector<int32_t> pins(nodes_.size());
  std::vector<int32_t> children(nodes_.size());
  for (const Sequence* sequence : sequences) {
    CHECK(sequence->published <= sequence->length);
    CHECK_EQ(static_cast<int64_t>(sequence->blocks.size()),
             (sequence->length + block_rows_ - 1) / block_rows_);
    for (const BlockId block : sequence->blocks) ++owners[static_cast<size_t>(block)];
    if (sequence->node >= 0) ++pins[static_cast<size_t>(sequence->node)];
  }
  CHECK(owners == holders_) << "a block's holders are miscounted";
  CHECK_EQ(held_blocks_,
           std::count_if(owners.begin(), owners.end(), [](int32_t n) { return n > 0; }));
  std::vector<bool> is_free(nodes_.size());
  for (int32_t node = free_node_; node >= 0; node = at(node).next) {
    CHECK(!is_free[static_cast<size_t>(node)]);
    is_free[static_cast<size_t>(node)] = true;
  }
  std::vector<bool> is_root(nodes_.size());
  for (const auto& [name, node] : domains_) {
    CHECK(!is_free[static_cast<size_t>(node)] && at(node).parent < 0);
    is_root[static_cast<size_t>(node)] = true;
  }
  size_t in_table = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (is_free[i] || is_root[i]) continue;
    ++in_table;
    CHECK(node.block != kNoBlock && node.begin < node.end && node.end <= block_rows_);
    CHECK(node.parent >= 0 && !is_free[static_cast<size_t>(node.parent)]);
    const Node& parent = at(node.parent);
    CHECK_EQ(node.begin, parent.end % block_rows_);
    CHECK(table_[SlotOf(node.parent, FirstToken(node))] == static_cast<int32_t>(i));
    ++owners[static_cast<size_t>(node.block)];
    ++children[static_cast<size_t>(node.parent)];
  }
  CHECK_EQ(in_table, static_cast<size_t>(std::count_if(table_.begin(), table_.end(),
                                                       [](int32_t node) { return node >= 0; })));
  size_t idle = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (is_free[i]) continue;
    CHECK_EQ(nodes_[i].pins, pins[i]);
    CHECK_EQ(nodes_[i].children, children[i]);
    CHECK_EQ(nodes_[i].idle, pins[i] == 0 && children[i] == 0);
    if (nodes_[i].idle) ++idle;
  }
  for (const List& list : idle_) {
    int32_t before = -1;
    for (int32_t node = list.first; node >= 0; before = node, node = at(node).next) {
      CHECK_EQ(at(node).prev, before);
      CHECK(at(node).idle);
      --idle;
    }
    CHECK_EQ(list.last, before);
  }
  CHECK_EQ(idle, size_t{0});
  int32_t taken = 0;
  for (BlockId block = 0; block < pool_.size(); ++block) {
    CHECK_EQ(pool_.owners(block), owners[static_cast<size_t>(block)]) << "of block " << block;
    if (pool_.owners(block) > 0) ++taken;
  }
  CHECK_EQ(taken + pool_.free_count(), pool_.size());
}

}  // namespace sluice::kv
