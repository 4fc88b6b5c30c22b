// CostModel: what a step of a given shape and size will take, from what such steps took.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "base/clock.h"
#include "engine/engine.h"

namespace sluice::engine {

// One per engine; the lease holder only. Fixed memory; never allocates after construction.
//
// Per bucket of (shape, rows) it follows a high quantile (about the 95th percentile) of the
// measured times: a sample above the estimate raises it to the sample, though by no more than a
// fifth, and one below lowers it by a thousandth; besides, the distance to lower samples halves
// each kHalfLife, so that rare probes suffice to forget a bad time. An unmeasured bucket has the
// engine's roofline prior, scaled by how far off the prior was elsewhere.
class CostModel {
 public:
  static constexpr base::Duration kHalfLife = base::Duration::Seconds(1);
  static constexpr base::Duration kProbeEvery = base::Duration::Seconds(1);
  static constexpr int kBuckets = 512;

  // The least time that a step of `rows` rows of shape `shape` (the engine's own key) can take.
  using Prior = std::function<base::Duration(uint64_t shape, int64_t rows)>;
  explicit CostModel(Prior prior) : prior_(std::move(prior)) {}

  Cost Predict(uint64_t shape, int64_t rows) const;
  // A step that took `measured` has finished at `now`. The first one of a bucket, which also paid
  // for cold caches, does not count as a measurement yet.
  void Record(uint64_t shape, int64_t rows, base::Duration measured, base::Time now);
  // A step that was abandoned after `at_least`: it would have taken longer.
  void RecordAtLeast(uint64_t shape, int64_t rows, base::Duration at_least, base::Time now);
  // One request a second runs although the model says that it will be late: else a model that
  // refuses everything would never learn better. True: this is the one.
  bool TakeProbe(base::Time now);

  // The largest row count that shares its bucket with `rows`: exact up to 8, then four an octave.
  static int64_t RowBucket(int64_t rows);

 private:
  struct Bucket {
    uint64_t shape = 0;
    int64_t rows = 0;  // 0: unused
    int64_t samples = 0;
    double estimate_ns = 0;
    base::Time last;
  };
  const Bucket* Find(uint64_t shape, int64_t rows) const;
  Bucket& FindOrMake(uint64_t shape, int64_t rows);

  Prior prior_;
  std::array<Bucket, kBuckets> buckets_;
  double prior_scale_ = 1;
  base::Time next_probe_;
};

}  // namespace sluice::engine
