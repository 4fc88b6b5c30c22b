#include "tensor/ledger.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"

namespace sluice::tensor {

// The state that a ledger shares with its reservations.
struct Reservation::Book {
  Book(std::string pool_name, int64_t limit) : pool(std::move(pool_name)), limit_bytes(limit) {}

  // Takes `bytes` more for `owner`, or says why not. The mutex is held.
  base::Status Take(const std::string& owner, int64_t bytes) {
    if (bytes > limit_bytes - used_bytes) {
      return base::ResourceExhausted(
          pool + " memory: " + owner + " needs " + std::to_string(bytes) + " bytes, " +
          std::to_string(limit_bytes - used_bytes) + " of the limit of " +
          std::to_string(limit_bytes) + " are free");
    }
    used_bytes += bytes;
    peak_bytes = std::max(peak_bytes, used_bytes);
    owners[owner] += bytes;
    return base::Ok();
  }
  void Give(const std::string& owner, int64_t bytes) {
    used_bytes -= bytes;
    const auto at = owners.find(owner);
    CHECK(at != owners.end() && at->second >= bytes && used_bytes >= 0);
    at->second -= bytes;
    if (at->second == 0) owners.erase(at);
  }

  const std::string pool;
  const int64_t limit_bytes;
  mutable std::mutex mutex;
  int64_t used_bytes = 0;
  int64_t peak_bytes = 0;
  std::map<std::string, int64_t> owners;
};

Reservation::Reservation(std::shared_ptr<Book> book, std::string owner, int64_t bytes)
    : book_(std::move(book)), owner_(std::move(owner)), bytes_(bytes) {}

Reservation::Reservation(Reservation&& other) noexcept
    : book_(std::move(other.book_)),
      owner_(std::move(other.owner_)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  std::swap(book_, other.book_);
  std::swap(owner_, other.owner_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void Reservation::Release() {
  if (book_ == nullptr) return;
  {
    const std::lock_guard lock(book_->mutex);
    if (bytes_ > 0) book_->Give(owner_, bytes_);
  }
  bytes_ = 0;
  book_ = nullptr;
}

base::Status Reservation::Resize(int64_t bytes) {
  CHECK(book_ != nullptr) << "an empty reservation has no ledger";
  if (bytes < 0) return base::InvalidArgument("a reservation of negative size");
  const std::lock_guard lock(book_->mutex);
  if (bytes > bytes_) TRY(book_->Take(owner_, bytes - bytes_));
  if (bytes < bytes_) book_->Give(owner_, bytes_ - bytes);
  bytes_ = bytes;
  return base::Ok();
}

Ledger::Ledger(std::string pool, int64_t limit_bytes)
    : book_(std::make_shared<Reservation::Book>(std::move(pool), limit_bytes)) {
  CHECK_GE(limit_bytes, 0);
}

base::Result<Reservation> Ledger::Reserve(std::string owner, int64_t bytes) {
  if (bytes < 0) return base::InvalidArgument(owner + ": a reservation of negative size");
  if (bytes > 0) {
    const std::lock_guard lock(book_->mutex);
    TRY(book_->Take(owner, bytes));
  }
  return Reservation(book_, std::move(owner), bytes);
}

std::vector<Ledger::Entry> Ledger::List() const {
  const std::lock_guard lock(book_->mutex);
  std::vector<Entry> entries;
  for (const auto& [owner, bytes] : book_->owners) entries.push_back({owner, bytes});
  return entries;
}

int64_t Ledger::used_bytes() const {
  const std::lock_guard lock(book_->mutex);
  return book_->used_bytes;
}
int64_t Ledger::peak_bytes() const {
  const std::lock_guard lock(book_->mutex);
  return book_->peak_bytes;
}
int64_t Ledger::limit_bytes() const {
  return book_->limit_bytes;
}
const std::string& Ledger::pool() const {
  return book_->pool;
}

}  // namespace sluice::tensor
