// The plans of a model's ragged form, by how many rows they hold; and what rows cost. A step takes
// the smallest plan that is there and holds it; exact ones are made beside the loop.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "graph/model.h"

namespace sluice::infer {

// Thread-safe without a lock: plans are only ever added, and go with this.
class RaggedPlans {
 public:
  // Plans powers of two of rows, up to what `memory_bytes` can run and kRowsMax. Null: no plan
  // fits.
  static base::Result<std::unique_ptr<RaggedPlans>> Create(const graph::Model& model,
                                                           int64_t memory_bytes);
  ~RaggedPlans();
  RaggedPlans(const RaggedPlans&) = delete;
  RaggedPlans& operator=(const RaggedPlans&) = delete;

  static constexpr int64_t kRowsMax = 16384;
  // Rows of one run of a longer step: more of them would leave the caches between two kernels.
  static constexpr int64_t kPartRows = 1024;

  // The smallest size that is ever planned and at least `rows`: exact up to 64, then 32 an octave.
  static int64_t SizeFor(int64_t rows);
  // Sequences that a plan of `size` rows holds.
  static int64_t SequencesFor(int64_t size);

  struct Choice {
    const graph::Plan* plan = nullptr;
    int64_t size = 0;  // rows that the plan holds
  };
  // The smallest plan that is there and holds this many; `rows` <= rows_max(), and at most
  // SequencesFor(rows_max()) sequences.
  Choice Choose(int64_t rows, int64_t sequences) const;
  int64_t rows_max() const { return rows_max_; }

  // A step took a larger plan than it needs. The size that should be planned, once it was wanted
  // twice; 0: none. Lease holders only.
  int64_t Want(int64_t rows, int64_t sequences);
  void Unwant(int64_t size) { wanted_[Index(size)].store(1, std::memory_order_relaxed); }
  // Any thread but a loop. Does nothing for a size that is there or cannot be planned.
  void AddPlan(int64_t size);

  // What a request of these sequences costs, in rows without attention: attention's share grows
  // with the square of each length.
  int64_t Units(std::span<const int32_t> lengths) const;
  double unit_ns() const { return row_ns_; }
  // Memory that a run needs beside the plan's: inputs, starts, positions, outputs.
  int64_t RunBytes(const graph::Plan& plan) const;
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kExact = 64;
  static constexpr int kOctaves = 8;  // above kExact: to kRowsMax
  static constexpr int kSizes = kExact + 32 * kOctaves;
  static size_t Index(int64_t size);  // of SizeFor(size)
  static int64_t SizeAt(size_t index);

  explicit RaggedPlans(const graph::Model& model) : model_(model) {}
  bool Keep(int64_t size, std::unique_ptr<const graph::Plan> plan);
  void LearnCosts();

  const graph::Model& model_;
  std::array<std::atomic<const graph::Plan*>, kSizes> plans_{};
  std::array<std::atomic<uint8_t>, kSizes> wanted_{};
  std::atomic<int64_t> bytes_{0};
  int64_t memory_bytes_ = 0;
  int64_t rows_max_ = 0;
  double row_ns_ = 1;
  double pair_rows_ = 0;  // what one pair of query and key costs, in rows
};

}  // namespace sluice::infer
