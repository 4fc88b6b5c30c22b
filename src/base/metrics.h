// Metrics: counters, gauges and histograms with labels, and their Prometheus text. Counting never
// waits for a scrape.
//
// A family (one name, one help text) lives as long as its registry. A series (one set of label
// values) is made when a model loads and removed when it goes; whoever still holds the handle may
// go on counting, into nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sluice::base {

// Names are ours, [a-zA-Z_][a-zA-Z0-9_]*; values may be any text.
using Labels = std::vector<std::pair<std::string, std::string>>;

// Each thread counts in the shard that it was dealt when it counted first, so threads do not share
// cache lines (up to kMetricShards of them).
inline constexpr size_t kMetricShards = 16;
size_t MetricShard();

// Only grows. Thread-safe, wait-free.
class Counter {
 public:
  void Add(int64_t amount = 1) {
    cells_[MetricShard()].value.fetch_add(amount, std::memory_order_relaxed);
  }
  int64_t value() const;

 private:
  struct alignas(64) Cell {
    std::atomic<int64_t> value{0};
  };
  std::array<Cell, kMetricShards> cells_;
};

// A level. Thread-safe.
class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// How many observations fell at or below each bound. Thread-safe.
class Histogram {
 public:
  static constexpr size_t kBoundsMax = 64;

  // `bounds`: finite, strictly rising, at most kBoundsMax; +Inf is added.
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value);

  struct Snapshot {
    std::vector<int64_t> counts;  // [bounds + 1] not cumulative; the last is above every bound
    int64_t count = 0;
    double sum = 0;
  };
  Snapshot Read() const;
  const std::vector<double>& bounds() const { return bounds_; }

 private:
  struct alignas(64) Shard {
    std::unique_ptr<std::atomic<int64_t>[]> counts;  // [bounds + 1]
    std::atomic<double> sum{0};
  };
  const std::vector<double> bounds_;
  std::array<Shard, kMetricShards> shards_;
};

// `count` bounds from `first` on, each `factor` times the one before.
std::vector<double> ExponentialBounds(double first, double factor, int count);

enum class MetricKind { kCounter, kGauge, kHistogram };

// Names a family inside its registry.
struct FamilyId {
  size_t index = 0;
};

// Families and their series. Thread-safe; its mutex is taken when series come and go and by a
// scrape, never by counting.
class Registry {
 public:
  explicit Registry(size_t series_max = 20000) : series_max_(series_max) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Adding a name twice, or a name that Prometheus would not take, is our bug.
  FamilyId AddCounters(std::string name, std::string help);
  FamilyId AddGauges(std::string name, std::string help);
  FamilyId AddHistograms(std::string name, std::string help, std::vector<double> bounds);

  // The series with these labels, made when absent. kResourceExhausted at the limit of series.
  Result<std::shared_ptr<Counter>> GetCounter(FamilyId family, const Labels& labels = {});
  Result<std::shared_ptr<Gauge>> GetGauge(FamilyId family, const Labels& labels = {});
  Result<std::shared_ptr<Histogram>> GetHistogram(FamilyId family, const Labels& labels = {});

  // Drops the series with exactly these labels; without such a series nothing happens.
  void Remove(FamilyId family, const Labels& labels);
  // Drops, in every family, the series that carry all of `labels`: for a model that was unloaded.
  void RemoveAll(const Labels& labels);

  // The text exposition format, version 0.0.4. Families in the order they were added, series by
  // labels.
  std::string Scrape() const;
  size_t series_count() const;

 private:
  struct Series {
    std::string labels;  // as exposed, without braces
    Labels pairs;
    std::shared_ptr<Counter> counter;
    std::shared_ptr<Gauge> gauge;
    std::shared_ptr<Histogram> histogram;
  };
  struct Family {
    MetricKind kind;
    std::string name;
    std::string help;
    std::vector<double> bounds;
    std::vector<Series> series;  // sorted by labels
  };

  FamilyId AddFamily(Family family);
  Result<Series*> GetSeries(FamilyId family, MetricKind kind, const Labels& labels);

  const size_t series_max_;
  mutable std::mutex mutex_;
  std::vector<Family> families_;
  size_t series_count_ = 0;
};

}  // namespace sluice::base
