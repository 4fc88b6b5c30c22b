// System shared memory that clients registered. Off unless the operator allows it; names are
// confined to a prefix.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "serve/oip/infer_request.h"
#include "tensor/tensor.h"

namespace sluice::serve {

// Thread-safe. Regions are read and written through their file and never mapped: a client that
// shrinks its file then gets an error, where a mapping would end the process.
class ShmRegions {
 public:
  struct Options {
    std::string prefix;
    int64_t regions_max = 128;
  };
  explicit ShmRegions(Options options) : options_(std::move(options)) {}

  struct Region {
    std::string name;
    std::string key;  // of shm_open
    int64_t offset = 0;
    int64_t bytes = 0;
  };
  base::Status Register(const Region& region);
  // An unknown name is no error; empty: all of them.
  void Unregister(const std::string& name);
  // kNotFound for an unknown name; empty: all of them.
  base::Result<std::vector<Region>> Status(const std::string& name) const;

  // A copy of the bytes of a slice.
  base::Result<tensor::Buffer> Read(const ShmSlice& slice) const;
  // Writes `bytes` at the beginning of a slice; kInvalidArgument when they do not fit.
  base::Status Write(const ShmSlice& slice, std::string_view bytes) const;

 private:
  struct Entry {
    Region region;
    std::shared_ptr<base::FileHandle> file;
  };
  // A copy, so that a region unregistered meanwhile stays open for this use.
  base::Result<Entry> Find(const ShmSlice& slice) const;

  const Options options_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> regions_;
};

}  // namespace sluice::serve
