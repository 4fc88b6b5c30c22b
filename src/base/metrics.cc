#include "base/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/utf8.h"

namespace sluice::base {
namespace {

bool IsName(std::string_view name, bool colon_allowed) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (colon_allowed && c == ':');
  });
}

// `text` with backslash and newline escaped, and quotes where `quotes`.
std::string Escape(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : ReplaceInvalidUtf8(text)) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
  return out;
}

// a="x",b="y" in the order of the names, so that equal sets are equal texts.
std::string LabelText(Labels labels) {
  std::sort(labels.begin(), labels.end());
  std::string out;
  for (const auto& [name, value] : labels) {
    CHECK(IsName(name, false)) << "label name " << name;
    if (!out.empty()) out += ',';
    out.append(name).append("=\"").append(Escape(value, true)).append("\"");
  }
  return out;
}

void AppendNumber(double value, std::string& out) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    std::array<char, 32> text{};
    const std::to_chars_result end = std::to_chars(text.data(), text.data() + text.size(), value);
    out.append(text.data(), end.ptr);
  }
}

void AppendSample(const std::string& name, std::string_view suffix, const std::string& labels,
                  std::string_view extra_label, std::string& out) {
  out.append(name).append(suffix);
  if (!labels.empty() || !extra_label.empty()) {
    out.append("{").append(labels);
    if (!labels.empty() && !extra_label.empty()) out += ',';
    out.append(extra_label).append("}");
  }
  out += ' ';
}

void AppendHistogram(const std::string& name, const std::string& labels, const Histogram& histogram,
                     std::string& out) {
  const Histogram::Snapshot read = histogram.Read();
  int64_t cumulative = 0;
  for (size_t i = 0; i < read.counts.size(); ++i) {
    cumulative += read.counts[i];
    std::string bound = "le=\"";
    AppendNumber(i < histogram.bounds().size() ? histogram.bounds()[i]
                                               : std::numeric_limits<double>::infinity(),
                 bound);
    bound += '"';
    AppendSample(name, "_bucket", labels, bound, out);
    out.append(std::to_string(cumulative)).append("\n");
  }
  AppendSample(name, "_sum", labels, "", out);
  AppendNumber(read.sum, out);
  out += '\n';
  AppendSample(name, "_count", labels, "", out);
  out.append(std::to_string(read.count)).append("\n");
}

bool Carries(const Labels& pairs, const Labels& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& pair) {
    return std::find(pairs.begin(), pairs.end(), pair) != pairs.end();
  });
}

}  // namespace

size_t MetricShard() {
  static std::atomic<size_t> dealt{0};
  thread_local const size_t mine = dealt.fetch_add(1, std::memory_order_relaxed) % kMetricShards;
  return mine;
}

int64_t Counter::value() const {
  int64_t sum = 0;
  for (const Cell& cell : cells_) sum += cell.value.load(std::memory_order_relaxed);
  return sum;
}

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)) {
  CHECK_LE(bounds_.size(), kBoundsMax);
  for (size_t i = 0; i < bounds_.size(); ++i) {
    CHECK(std::isfinite(bounds_[i]) && (i == 0 || bounds_[i - 1] < bounds_[i])) << bounds_[i];
  }
  for (Shard& shard : shards_) {
    shard.counts = std::make_unique<std::atomic<int64_t>[]>(bounds_.size() + 1);
  }
}

void Histogram::Observe(double value) {
  // A NaN is above every bound: lower_bound would call it below the first.
  const auto bucket = static_cast<size_t>(
      std::isnan(value)
          ? bounds_.end() - bounds_.begin()
          : std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin());
  Shard& shard = shards_[MetricShard()];
  shard.counts[bucket].fetch_add(1, std::memory_order_relaxed);
  shard.sum.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::Read() const {
  Snapshot snapshot;
  snapshot.counts.assign(bounds_.size() + 1, 0);
  for (const Shard& shard : shards_) {
    for (size_t i = 0; i <= bounds_.size(); ++i) {
      snapshot.counts[i] += shard.counts[i].load(std::memory_order_relaxed);
    }
    snapshot.sum += shard.sum.load(std::memory_order_relaxed);
  }
  for (const int64_t count : snapshot.counts) snapshot.count += count;
  return snapshot;
}

std::vector<double> ExponentialBounds(double first, double factor, int count) {
  CHECK(first > 0 && factor > 1 && count >= 0);
  std::vector<double> bounds;
  for (double bound = first; static_cast<int>(bounds.size()) < count; bound *= factor) {
    bounds.push_back(bound);
  }
  return bounds;
}

FamilyId Registry::AddCounters(std::string name, std::string help) {
  return AddFamily({MetricKind::kCounter, std::move(name), std::move(help), {}, {}});
}
FamilyId Registry::AddGauges(std::string name, std::string help) {
  return AddFamily({MetricKind::kGauge, std::move(name), std::move(help), {}, {}});
}
FamilyId Registry::AddHistograms(std::string name, std::string help, std::vector<double> bounds) {
  return AddFamily(
      {MetricKind::kHistogram, std::move(name), std::move(help), std::move(bounds), {}});
}

FamilyId Registry::AddFamily(Family family) {
  CHECK(IsName(family.name, true)) << "metric name " << family.name;
  const std::lock_guard lock(mutex_);
  for (const Family& other : families_) {
    CHECK(other.name != family.name) << "metric " << family.name << " was added before";
  }
  families_.push_back(std::move(family));
  return {families_.size() - 1};
}

Result<Registry::Series*> Registry::GetSeries(FamilyId id, MetricKind kind, const Labels& labels) {
  CHECK_LT(id.index, families_.size());
  Family& family = families_[id.index];
  CHECK(family.kind == kind) << family.name << " is of another kind";
  std::string text = LabelText(labels);
  const auto before = [](const Series& series, const std::string& key) {
    return series.labels < key;
  };
  auto at = std::lower_bound(family.series.begin(), family.series.end(), text, before);
  if (at != family.series.end() && at->labels == text) return &*at;
  if (series_count_ >= series_max_) {
    return ResourceExhausted("metric " + family.name + " needs one more series, the limit is " +
                             std::to_string(series_max_));
  }
  Series series{std::move(text), labels, nullptr, nullptr, nullptr};
  if (kind == MetricKind::kCounter) series.counter = std::make_shared<Counter>();
  if (kind == MetricKind::kGauge) series.gauge = std::make_shared<Gauge>();
  if (kind == MetricKind::kHistogram) series.histogram = std::make_shared<Histogram>(family.bounds);
  at = family.series.insert(at, std::move(series));
  ++series_count_;
  return &*at;
}

Result<std::shared_ptr<Counter>> Registry::GetCounter(FamilyId family, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  return TRY(GetSeries(family, MetricKind::kCounter, labels))->counter;
}
Result<std::shared_ptr<Gauge>> Registry::GetGauge(FamilyId family, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  return TRY(GetSeries(family, MetricKind::kGauge, labels))->gauge;
}
Result<std::shared_ptr<Histogram>> Registry::GetHistogram(FamilyId family, const Labels& labels) {
  const std::lock_guard lock(mutex_);
  return TRY(GetSeries(family, MetricKind::kHistogram, labels))->histogram;
}

void Registry::Remove(FamilyId id, const Labels& labels) {
  const std::string text = LabelText(labels);
  const std::lock_guard lock(mutex_);
  CHECK_LT(id.index, families_.size());
  series_count_ -= std::erase_if(families_[id.index].series,
                                 [&](const Series& series) { return series.labels == text; });
}

void Registry::RemoveAll(const Labels& labels) {
  CHECK(!labels.empty()) << "without a label every series would go";
  const std::lock_guard lock(mutex_);
  for (Family& family : families_) {
    series_count_ -= std::erase_if(
        family.series, [&](const Series& series) { return Carries(series.pairs, labels); });
  }
}

std::string Registry::Scrape() const {
  std::string out;
  const std::lock_guard lock(mutex_);
  for (const Family& family : families_) {
    const std::string_view kind = family.kind == MetricKind::kCounter ? "counter"
                                  : family.kind == MetricKind::kGauge ? "gauge"
                                                                      : "histogram";
    out.append("# HELP ").append(family.name).append(" ").append(Escape(family.help, false));
    out.append("\n# TYPE ").append(family.name).append(" ").append(kind).append("\n");
    for (const Series& series : family.series) {
      if (series.histogram != nullptr) {
        AppendHistogram(family.name, series.labels, *series.histogram, out);
        continue;
      }
      AppendSample(family.name, "", series.labels, "", out);
      if (series.counter != nullptr) {
        out += std::to_string(series.counter->value());
      } else {
        AppendNumber(series.gauge->value(), out);
      }
      out += '\n';
    }
  }
  return out;
}

size_t Registry::series_count() const {
  const std::lock_guard lock(mutex_);
  return series_count_;
}

}  // namespace sluice::base
