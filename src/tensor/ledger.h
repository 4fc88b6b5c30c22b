// The memory ledger: every large block of bytes is reserved under a name against an explicit limit
// before it is taken.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"

namespace sluice::tensor {

class Ledger;

// Bytes held in a ledger until this goes. One owner; may outlive the Ledger object.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation() { Release(); }

  // Gives the bytes back now.
  void Release();
  // Changes the size in place; kResourceExhausted, and no change, when the growth does not fit.
  base::Status Resize(int64_t bytes);
  int64_t bytes() const { return bytes_; }

 private:
  friend class Ledger;
  struct Book;
  Reservation(std::shared_ptr<Book> book, std::string owner, int64_t bytes);

  std::shared_ptr<Book> book_;
  std::string owner_;
  int64_t bytes_ = 0;
};

// One pool of memory ("host", "device 0", "shared memory") with its limit. Thread-safe. Reserving
// counts bytes and allocates none of them.
class Ledger {
 public:
  Ledger(std::string pool, int64_t limit_bytes);

  // kResourceExhausted, naming pool, owner, limit and what is free; kInvalidArgument for a negative
  // size. `owner` says who holds the bytes and what for, as in "model bert/1 weights"; several
  // reservations may share one.
  base::Result<Reservation> Reserve(std::string owner, int64_t bytes);

  struct Entry {
    std::string owner;
    int64_t bytes = 0;
  };
  // What each owner holds, sorted by owner.
  std::vector<Entry> List() const;
  int64_t used_bytes() const;
  int64_t peak_bytes() const;
  int64_t limit_bytes() const;
  const std::string& pool() const;

 private:
  std::shared_ptr<Reservation::Book> book_;
};

}  // namespace sluice::tensor
