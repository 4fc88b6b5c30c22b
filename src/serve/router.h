// From a model's name and version to the pinned version that answers. Readers see one immutable
// table, swapped whole.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "serve/repository/served_model.h"

namespace sluice::serve {

// Thread-safe. Publishing is the load thread's; looking up copies one pointer under a lock held for
// that long only.
class Router {
 public:
  using Pin = std::shared_ptr<const ServedModel>;
  // Ready versions by number.
  using Versions = std::map<int64_t, Pin>;

  // `version` empty: the highest that is ready. kNotFound in Triton's words.
  base::Result<Pin> Find(std::string_view name, std::string_view version) const;
  // All ready versions of all models, by name, then version.
  std::vector<Pin> All() const;
  // The ready versions of one model; empty when it has none.
  std::vector<Pin> VersionsOf(std::string_view name) const;

  // Replaces what a model serves, at once for all versions. Empty: it serves nothing, its name
  // stays known.
  void Publish(const std::string& name, Versions versions);
  // Forgets the name.
  void Remove(const std::string& name);

 private:
  struct NameHash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  using Table = std::unordered_map<std::string, Versions, NameHash, std::equal_to<>>;

  std::shared_ptr<const Table> table() const {
    std::lock_guard lock(mutex_);
    return table_;
  }
  // The old table, and with it perhaps the last pin of a version, goes outside of the lock.
  void Swap(std::shared_ptr<const Table> table) {
    std::lock_guard lock(mutex_);
    table_.swap(table);
  }

  mutable std::mutex mutex_;
  std::shared_ptr<const Table> table_ = std::make_shared<const Table>();
  std::mutex publish_mutex_;
};

// A version as it stands in a URL or message: decimal, > 0 and below 2^63; 0 when it is not.
int64_t ParseVersion(std::string_view text);

}  // namespace sluice::serve
