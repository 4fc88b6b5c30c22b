#include "engine/cost_model.h"

#include <algorithm>
#include <cmath>

namespace sluice::engine {
namespace {

constexpr double kUp = 0.2;         // an estimate rises by at most this part of itself a sample
constexpr double kDown = 0.001;     // and falls by this one
constexpr double kScaleStep = 0.1;  // how fast the prior's scale follows
constexpr double kScaleMax = 64;    // a prior is never trusted to be further off
constexpr size_t kProbeLength = 8;  // buckets that one key may use
constexpr int64_t kSamplesNeeded = 2;

size_t Hash(uint64_t shape, int64_t rows) {
  uint64_t h = (shape ^ static_cast<uint64_t>(rows) * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
  return static_cast<size_t>(h ^ (h >> 32));
}

}  // namespace

int64_t CostModel::RowBucket(int64_t rows) {
  int64_t step = 1;
  while (rows > step * 8) step *= 2;
  return (rows + step - 1) / step * step;
}

const CostModel::Bucket* CostModel::Find(uint64_t shape, int64_t rows) const {
  const size_t home = Hash(shape, rows);
  for (size_t i = 0; i < kProbeLength; ++i) {
    const Bucket& bucket = buckets_[(home + i) % kBuckets];
    if (bucket.rows == rows && bucket.shape == shape) return &bucket;
  }
  return nullptr;
}

// The least recently measured of the key's buckets makes room.
CostModel::Bucket& CostModel::FindOrMake(uint64_t shape, int64_t rows) {
  if (const Bucket* found = Find(shape, rows)) return const_cast<Bucket&>(*found);
  const size_t home = Hash(shape, rows);
  Bucket* oldest = &buckets_[home % kBuckets];
  for (size_t i = 0; i < kProbeLength && oldest->rows != 0; ++i) {
    Bucket& bucket = buckets_[(home + i) % kBuckets];
    if (bucket.rows == 0 || bucket.last < oldest->last) oldest = &bucket;
  }
  *oldest = {};
  oldest->shape = shape;
  oldest->rows = rows;
  return *oldest;
}

Cost CostModel::Predict(uint64_t shape, int64_t rows) const {
  const int64_t bucket_rows = RowBucket(std::max<int64_t>(rows, 1));
  const Bucket* bucket = Find(shape, bucket_rows);
  if (bucket != nullptr && bucket->samples > 0) {
    const base::Duration predicted{static_cast<int64_t>(bucket->estimate_ns)};
    return {predicted, bucket->samples >= kSamplesNeeded, rows};
  }
  const double prior = static_cast<double>(prior_(shape, rows).ns) * prior_scale_;
  return {{static_cast<int64_t>(std::min(prior, 1e18))}, false, rows};
}

void CostModel::Record(uint64_t shape, int64_t rows, base::Duration measured, base::Time now) {
  const double sample = static_cast<double>(std::max<int64_t>(measured.ns, 1));
  Bucket& bucket = FindOrMake(shape, RowBucket(std::max<int64_t>(rows, 1)));
  double& estimate = bucket.estimate_ns;
  ++bucket.samples;
  if (bucket.samples <= kSamplesNeeded) {
    estimate = sample;
  } else if (sample > estimate) {
    estimate = std::min(sample, estimate * (1 + kUp));
  } else {
    const double halves =
        static_cast<double>((now - bucket.last).ns) / static_cast<double>(kHalfLife.ns);
    const double aged = sample + (estimate - sample) / (1 + std::max(halves, 0.0));
    estimate = std::max(sample, aged * (1 - kDown));
  }
  bucket.last = now;
  const double prior = static_cast<double>(prior_(shape, rows).ns);
  if (prior > 0) {
    const double off = std::clamp(sample / prior, 1 / kScaleMax, kScaleMax);
    prior_scale_ += kScaleStep * (off - prior_scale_);
  }
}

void CostModel::RecordAtLeast(uint64_t shape, int64_t rows, base::Duration at_least,
                              base::Time now) {
  if (at_least > Predict(shape, rows).predicted) Record(shape, rows, at_least, now);
}

bool CostModel::TakeProbe(base::Time now) {
  if (now < next_probe_) return false;
  next_probe_ = now + kProbeEvery;
  return true;
}

}  // namespace sluice::engine
