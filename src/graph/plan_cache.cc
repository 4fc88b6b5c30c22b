#include "graph/plan_cache.h"

#include <algorithm>

namespace sluice::graph {

uint64_t PlanCache::Hash(std::span<const tensor::Shape> shapes) {
  uint64_t hash = 0x9e3779b97f4a7c15;
  for (const tensor::Shape& shape : shapes) {
    for (const int64_t dim : shape.dims()) {
      hash = (hash ^ static_cast<uint64_t>(dim)) * 0xff51afd7ed558ccd;
      hash ^= hash >> 32;
    }
    hash = (hash ^ 0x55) * 0xc4ceb9fe1a85ec53;
  }
  return hash;
}

PlanCache::Entries::iterator PlanCache::Locate(uint64_t hash,
                                               std::span<const tensor::Shape> shapes) {
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    const std::vector<tensor::Shape>& own = at->second->plan->input_shapes;
    if (std::equal(own.begin(), own.end(), shapes.begin(), shapes.end())) return at->second;
  }
  return entries_.end();
}

std::shared_ptr<const Plan> PlanCache::Find(std::span<const tensor::Shape> shapes) {
  const uint64_t hash = Hash(shapes);
  const std::lock_guard lock(mutex_);
  const Entries::iterator found = Locate(hash, shapes);
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->plan;
}

std::shared_ptr<const Plan> PlanCache::Add(std::shared_ptr<const Plan> plan) {
  const uint64_t hash = Hash(plan->input_shapes);
  std::shared_ptr<const Plan> dropped;  // destroyed after the lock is given back
  const std::lock_guard lock(mutex_);
  const Entries::iterator found = Locate(hash, plan->input_shapes);
  if (found != entries_.end()) return found->plan;
  entries_.push_front({hash, std::move(plan)});
  by_hash_.emplace(hash, entries_.begin());
  if (static_cast<int64_t>(entries_.size()) > plans_max_) {
    const Entries::iterator last = std::prev(entries_.end());
    const auto [begin, end] = by_hash_.equal_range(last->hash);
    for (auto at = begin; at != end; ++at) {
      if (at->second == last) {
        by_hash_.erase(at);
        break;
      }
    }
    dropped = std::move(last->plan);
    entries_.erase(last);
  }
  return entries_.front().plan;
}

int64_t PlanCache::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(entries_.size());
}

}  // namespace sluice::graph
