// The table of kernels that kernel_conformance checks and measures: each family lists its own in
// one file beside this.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/low_path.h"
#include "kernels/work.h"

namespace sluice::conformance {

// Collects comparisons of one kernel on one target.
class Report {
 public:
  explicit Report(std::string kernel) : kernel_(std::move(kernel)) {}

  // |got - want| <= tolerance.absolute * scale + tolerance.relative * |want| for each element, NaN
  // equal to NaN and inf to inf; the tolerance is the row of TolerancesTable() for this kernel.
  void Compare(const std::string& shape, std::span<const float> got, std::span<const float> want,
               double scale = 1.0);
  // Bit for bit, for kernels that only move data and for what must not depend on company.
  void SameBits(const std::string& shape, std::span<const float> got, std::span<const float> want);
  void Expect(const std::string& what, bool holds);

  int64_t comparisons() const { return comparisons_; }
  int64_t failures() const { return failures_; }
  // The largest error seen as a share of what was allowed.
  double worst() const { return worst_; }

 private:
  void Fail(const std::string& text);

  std::string kernel_;
  int64_t comparisons_ = 0;
  int64_t failures_ = 0;
  double worst_ = 0;
};

// What a measurement is a share of: the fused multiply-adds of one core on the active target, or
// the dot products of a path of low precision, or reading `bytes` again and again from wherever so
// many bytes stay.
struct Roof {
  enum class Kind { kMultiplyAdd, kRead, kDots } kind = Kind::kMultiplyAdd;
  int64_t bytes = 0;
  kernels::LowPath path = kernels::LowPath::kWiden;
};

// Measures one kernel on one target, in rounds between which the roof is measured too.
class Perf {
 public:
  // Prints one line: GFLOP/s or GB/s, median and best, and percent of the roof (median of the
  // rounds' own ratios).
  void Measure(const std::string& shape, const kernels::Work& work, const Roof& roof,
               const std::function<void()>& run);
};

struct Kernel {
  const char* name;        // a row of TolerancesTable()
  void (*check)(Report&);  // on kernels::ActiveTarget(), all shapes and types, against kernels/ref
  void (*measure)(Perf&);  // null: not measured
};

std::span<const Kernel> GemmKernels();
std::span<const Kernel> LowKernels();
std::span<const Kernel> BlockKernels();
std::span<const Kernel> LowAttentionKernels();
std::span<const Kernel> RowKernels();
std::span<const Kernel> ChainKernels();
std::span<const Kernel> MoveKernels();
std::span<const Kernel> AttentionKernels();
std::span<const Kernel> CachedAttentionKernels();
std::span<const Kernel> RankingKernels();
std::span<const Kernel> ConvKernels();
std::span<const Kernel> RecurrentKernels();

// Allowed error of each kernel; the only place where tolerances stand.
struct Tolerance {
  const char* kernel;
  double absolute;
  double relative;
};
std::span<const Tolerance> TolerancesTable();

// Seeded values in [low, high).
std::vector<float> RandomFloats(int64_t count, uint32_t seed, float low = -1.0f, float high = 1.0f);

}  // namespace sluice::conformance
