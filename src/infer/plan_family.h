// The plans of one set of input shapes, apart from their rows: which row counts are planned, and
// how a step of any number of rows runs as parts of planned sizes. And the families of one model.
//
// Planning takes up to a millisecond, so it never happens on a loop: Planner (planner.h) or the
// thread that prepares a request adds plans, steps use those that are there.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "graph/program.h"
#include "tensor/ledger.h"
#include "tensor/shape.h"

namespace sluice::infer {

// `count` runs of `plan`, for `rows` rows each.
struct Part {
  const graph::Plan* plan = nullptr;
  int64_t rows = 0;
  int64_t count = 0;
};

// Thread-safe without a lock: plans are only ever added, and go with the family. Steps and prepared
// requests that use a family hold it.
class PlanFamily {
 public:
  enum class State { kNew, kReady, kFailed };

  // `rows_apart`: dimension 0 of every shape is rows, which may be planned in any number.
  PlanFamily(std::vector<tensor::Shape> shapes, bool rows_apart);
  ~PlanFamily();
  PlanFamily(const PlanFamily&) = delete;
  PlanFamily& operator=(const PlanFamily&) = delete;

  // With one row each, where rows are apart.
  const std::vector<tensor::Shape>& shapes() const { return shapes_; }
  bool rows_apart() const { return rows_apart_; }
  State state() const { return state_.load(std::memory_order_acquire); }

  // kReady: a plan for one row (for the shapes as they are, when rows are not apart) is there.
  const graph::Plan& first() const { return *Find(1); }
  // kFailed: what the model has against the shapes.
  const base::Status& failure() const { return failure_; }

  // The largest size that is ever planned and at most `rows` (>= 1): exact up to 64, then sixteen
  // an octave, so that what is left over is below a sixteenth.
  static int64_t SizeFor(int64_t rows);
  const graph::Plan* Find(int64_t size) const;
  // kReady: fills `parts` (its capacity is kPartsMax) with planned sizes that add up to `rows`, the
  // largest first. Allocates nothing.
  void Choose(int64_t rows, std::vector<Part>& parts) const;
  static constexpr size_t kPartsMax = 32;
  double PredictedNs(int64_t rows) const;

  // A step of `rows` rows was formed. The size that should be planned for such steps, once it was
  // wanted twice; 0: none. Lease holders only.
  int64_t Want(int64_t rows);
  // What Want asked for could not be asked of anybody: ask again.
  void Unwant(int64_t size);

  // Whoever makes plans; several threads may.
  void AddPlan(int64_t size, std::unique_ptr<const graph::Plan> plan);
  void SetReady() { state_.store(State::kReady, std::memory_order_release); }
  void Fail(base::Status why);
  // Larger steps do not fit into a slot's memory: they run in parts.
  void LimitRows(int64_t rows_max);
  int64_t rows_max() const { return rows_max_.load(std::memory_order_relaxed); }
  // Of the plans and the family itself.
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kExact = 64;
  static constexpr int kOctaves = 18;  // above kExact: to 2^24 rows
  static constexpr int kSizes = kExact + 16 * kOctaves;
  static int IndexOf(int64_t rows);  // of SizeFor(rows)
  static int64_t SizeAt(int index);

  const std::vector<tensor::Shape> shapes_;
  const bool rows_apart_;
  std::array<std::atomic<const graph::Plan*>, kSizes> plans_{};
  std::array<std::atomic<uint8_t>, kSizes> wanted_{};
  std::atomic<int64_t> rows_max_{int64_t{1} << 24};
  std::atomic<int64_t> bytes_{0};
  std::atomic<State> state_{State::kNew};
  std::mutex failing_;
  base::Status failure_;  // written before state_ becomes kFailed
};

// Resident bytes of a plan, about.
int64_t PlanBytes(const graph::Plan& plan);

// The families of one model, the least recently used of which go when their plans exceed the limit.
// Thread-safe; locked for a look-up only, never while a plan is made. Loops do not call it.
class PlanFamilies {
 public:
  struct Options {
    int64_t bytes_max = int64_t{64} << 20;  // of all plans; the family used last always stays
    tensor::Ledger* ledger = nullptr;       // where they are reserved; null: nowhere
    std::string owner = "plans";
  };
  explicit PlanFamilies(Options options) : options_(std::move(options)) {}

  // The family of these shapes (dimension 0 ignored where rows are apart), made when it is new.
  std::shared_ptr<PlanFamily> Get(const std::vector<tensor::Shape>& shapes, bool rows_apart);
  // After plans were added: counts them, and makes room. kResourceExhausted: they stay, uncounted,
  // until their family goes.
  base::Status Recount(PlanFamily& family);
  int64_t bytes() const;
  int64_t size() const;

 private:
  struct Entry {
    uint64_t hash = 0;
    std::shared_ptr<PlanFamily> family;
    int64_t counted = 0;  // bytes of it in bytes_
  };
  using Entries = std::list<Entry>;  // most recently used first

  void DropLast(std::vector<std::shared_ptr<PlanFamily>>& dropped);

  const Options options_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::unordered_multimap<uint64_t, Entries::iterator> by_hash_;
  int64_t bytes_ = 0;
  tensor::Reservation reservation_;
};

}  // namespace sluice::infer
