#include "base/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>
#include <vector>

namespace sluice::base {
namespace {

TEST(Metrics, ExposesFamiliesInThePrometheusTextFormat) {
  Registry registry;
  const FamilyId requests = registry.AddCounters("nv_inference_count", "Requests\nserved \\ all");
  const FamilyId level = registry.AddGauges("queue_size", "Waiting");
  registry.GetCounter(requests, {{"model", "b"}, {"version", "1"}}).value()->Add(3);
  registry.GetCounter(requests, {{"model", "a"}, {"version", "1"}}).value()->Add();
  registry.GetGauge(level).value()->Set(2.5);
  EXPECT_EQ(registry.Scrape(),
            "# HELP nv_inference_count Requests\\nserved \\\\ all\n"
            "# TYPE nv_inference_count counter\n"
            "nv_inference_count{model=\"a\",version=\"1\"} 1\n"
            "nv_inference_count{model=\"b\",version=\"1\"} 3\n"
            "# HELP queue_size Waiting\n"
            "# TYPE queue_size gauge\n"
            "queue_size 2.5\n");
}

TEST(Metrics, HistogramBucketsAreCumulativeAndIncludeTheirBound) {
  Registry registry;
  const FamilyId family = registry.AddHistograms("time_us", "Time", {1, 10});
  const auto histogram = registry.GetHistogram(family, {{"m", "x"}}).value();
  for (const double value : {0.5, 1.0, 1.5, 10.0, 11.0}) histogram->Observe(value);
  EXPECT_EQ(registry.Scrape(),
            "# HELP time_us Time\n"
            "# TYPE time_us histogram\n"
            "time_us_bucket{m=\"x\",le=\"1\"} 2\n"
            "time_us_bucket{m=\"x\",le=\"10\"} 4\n"
            "time_us_bucket{m=\"x\",le=\"+Inf\"} 5\n"
            "time_us_sum{m=\"x\"} 24\n"
            "time_us_count{m=\"x\"} 5\n");
}

TEST(Metrics, GaugesThatAreNoNumbersOrInfiniteAreNamedAsPrometheusDoes) {
  Registry registry;
  const auto gauge = registry.GetGauge(registry.AddGauges("g", "h")).value();
  gauge->Set(std::nan(""));
  EXPECT_NE(registry.Scrape().find("\ng NaN\n"), std::string::npos);
  gauge->Set(-HUGE_VAL);
  EXPECT_NE(registry.Scrape().find("\ng -Inf\n"), std::string::npos);
}

TEST(Metrics, ANanIsCountedAboveEveryBound) {
  Histogram histogram({1});
  histogram.Observe(std::nan(""));
  EXPECT_EQ(histogram.Read().counts, (std::vector<int64_t>{0, 1}));
}

TEST(Metrics, LabelValuesAreEscapedAndInvalidUtf8IsReplaced) {
  Registry registry;
  const FamilyId family = registry.AddCounters("c", "h");
  registry.GetCounter(family, {{"m", "a\"b\\c\nd\xff"}}).value()->Add();
  EXPECT_NE(registry.Scrape().find("c{m=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\"} 1\n"), std::string::npos);
}

TEST(Metrics, TheOrderOfLabelsDoesNotMakeAnotherSeries) {
  Registry registry;
  const FamilyId family = registry.AddCounters("c", "h");
  const auto one = registry.GetCounter(family, {{"a", "1"}, {"b", "2"}}).value();
  EXPECT_EQ(one, registry.GetCounter(family, {{"b", "2"}, {"a", "1"}}).value());
  EXPECT_EQ(registry.series_count(), 1u);
}

TEST(Metrics, ARemovedSeriesDisappearsWhileItsHandleStaysUsable) {
  Registry registry;
  const FamilyId family = registry.AddCounters("c", "h");
  const FamilyId other = registry.AddGauges("g", "h");
  const auto counter = registry.GetCounter(family, {{"model", "x"}, {"version", "1"}}).value();
  ASSERT_TRUE(registry.GetGauge(other, {{"model", "x"}}).ok());
  ASSERT_TRUE(registry.GetGauge(other, {{"model", "y"}}).ok());
  registry.RemoveAll({{"model", "x"}});
  counter->Add();
  EXPECT_EQ(registry.series_count(), 1u);
  EXPECT_EQ(registry.Scrape().find("model=\"x\""), std::string::npos);
  registry.Remove(other, {{"model", "y"}});
  registry.Remove(other, {{"model", "y"}});
  EXPECT_EQ(registry.series_count(), 0u);
}

TEST(Metrics, SeriesAreRefusedAtTheLimit) {
  Registry registry(2);
  const FamilyId family = registry.AddCounters("c", "h");
  EXPECT_TRUE(registry.GetCounter(family, {{"m", "1"}}).ok());
  EXPECT_TRUE(registry.GetCounter(family, {{"m", "2"}}).ok());
  const auto refused = registry.GetCounter(family, {{"m", "3"}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
  EXPECT_TRUE(registry.GetCounter(family, {{"m", "1"}}).ok());
  registry.Remove(family, {{"m", "1"}});
  EXPECT_TRUE(registry.GetCounter(family, {{"m", "3"}}).ok());
}

TEST(Metrics, CountsOfManyThreadsAddUpWhileOthersScrape) {
  Registry registry;
  const auto counter = registry.GetCounter(registry.AddCounters("c", "h")).value();
  const auto gauge = registry.GetGauge(registry.AddGauges("g", "h")).value();
  const auto histogram = registry.GetHistogram(registry.AddHistograms("t", "h", {0.5})).value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        counter->Add(2);
        gauge->Add(1);
        histogram->Observe(i % 2);
      }
    });
  }
  int64_t last = 0;
  for (int i = 0; i < 200; ++i) {
    const int64_t now = histogram->Read().count;
    EXPECT_GE(now, last);
    last = now;
    EXPECT_FALSE(registry.Scrape().empty());
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter->value(), 6 * 20000 * 2);
  EXPECT_EQ(gauge->value(), 6 * 20000.0);
  const Histogram::Snapshot snapshot = histogram->Read();
  EXPECT_EQ(snapshot.counts, (std::vector<int64_t>{60000, 60000}));
  EXPECT_EQ(snapshot.sum, 60000.0);
}

TEST(Metrics, ExponentialBoundsRiseByTheFactor) {
  EXPECT_EQ(ExponentialBounds(1, 4, 4), (std::vector<double>{1, 4, 16, 64}));
}

TEST(MetricsDeath, WrongNamesBoundsAndRepeatedFamiliesAreOurBugs) {
  Registry registry;
  registry.AddCounters("ok_name", "h");
  EXPECT_DEATH(registry.AddCounters("ok_name", "h"), "added before");
  EXPECT_DEATH(registry.AddCounters("2bad", "h"), "metric name");
  EXPECT_DEATH(Histogram({2, 1}), "CHECK failed");
  EXPECT_DEATH(registry.RemoveAll({}), "every series");
  EXPECT_DEATH(Histogram(std::vector<double>(Histogram::kBoundsMax + 1)), "CHECK failed");
}

}  // namespace
}  // namespace sluice::base
