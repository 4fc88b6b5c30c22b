// The plans of one model by input shapes: bounded, the least recently used goes.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "graph/program.h"

namespace sluice::graph {

// Thread-safe; held for a look-up only, never while a plan is made.
class PlanCache {
 public:
  explicit PlanCache(int64_t plans_max) : plans_max_(plans_max < 1 ? 1 : plans_max) {}

  // Null when it is not there.
  std::shared_ptr<const Plan> Find(std::span<const tensor::Shape> shapes);
  // Keeps `plan`, or returns the one that somebody else has added meanwhile.
  std::shared_ptr<const Plan> Add(std::shared_ptr<const Plan> plan);
  int64_t size() const;

 private:
  struct Entry {
    uint64_t hash = 0;
    std::shared_ptr<const Plan> plan;
  };
  using Entries = std::list<Entry>;  // most recently used first

  static uint64_t Hash(std::span<const tensor::Shape> shapes);
  Entries::iterator Locate(uint64_t hash, std::span<const tensor::Shape> shapes);

  const int64_t plans_max_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::multimap<uint64_t, Entries::iterator> by_hash_;
};

}  // namespace sluice::graph
