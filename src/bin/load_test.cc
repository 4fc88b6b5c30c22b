#include "bin/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "bin/flags.h"

namespace sluice::bin {
namespace {

TEST(LatencyHistogram, QuantilesAreAtMostOneBucketAboveTheExactOnes) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(11, 1.5);
  LatencyHistogram histogram;
  std::vector<int64_t> exact;
  for (int i = 0; i < 20000; ++i) {
    exact.push_back(static_cast<int64_t>(latency(random)) + 1);
    histogram.Record({exact.back()});
  }
  std::sort(exact.begin(), exact.end());
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(exact.size()))) - 1;
    const auto want = static_cast<double>(exact[rank]);
    const auto got = static_cast<double>(histogram.Quantile(q).ns);
    EXPECT_GE(got, want);
    EXPECT_LE(got, want * 1.032 + 1);
  }
  EXPECT_EQ(histogram.Quantile(1.0).ns, exact.back());
}

TEST(LatencyHistogram, AnEmptyOneHasNoQuantiles) {
  EXPECT_EQ(LatencyHistogram().Quantile(0.5).ns, 0);
  EXPECT_EQ(LatencyHistogram().mean().ns, 0);
}

TEST(LatencyHistogram, MergingAddsCountsAndKeepsTheMaximum) {
  LatencyHistogram a, b;
  a.Record({10});
  b.Record({1000});
  b.Record({20});
  a.Merge(b);
  EXPECT_EQ(a.count(), 3);
  EXPECT_EQ(a.max().ns, 1000);
  EXPECT_EQ(a.AtMost({31}), 2);
}

class CountingCaller : public Caller {
 public:
  explicit CountingCaller(int64_t fail_every) : fail_every_(fail_every) {}
  base::Status Call() override {
    if (++calls_ % fail_every_ == 0) return base::Unavailable("every so often");
    return base::Ok();
  }

 private:
  const int64_t fail_every_;
  int64_t calls_ = 0;
};

TEST(RunLoad, CountsFailuresApartAndTellsTheFirst) {
  LoadOptions options;
  options.duration = base::Duration::Millis(20);
  options.warm_up = {};
  const auto report = RunLoad(options, []() -> base::Result<std::unique_ptr<Caller>> {
    return std::unique_ptr<Caller>(std::make_unique<CountingCaller>(1));
  });
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->succeeded, 0);
  EXPECT_EQ(report->latency.count(), 0);
  EXPECT_GE(report->failed, 1);
  EXPECT_EQ(report->first_failure, "UNAVAILABLE: every so often");
}

TEST(RunLoad, AConnectionThatCannotBeMadeEndsTheRun) {
  const auto report = RunLoad({}, []() -> base::Result<std::unique_ptr<Caller>> {
    return base::Unavailable("nobody listens");
  });
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().message, "nobody listens");
}

TEST(RunLoad, AnOpenLoopOffersThePoissonArrivalsOfItsSeed) {
  LoadOptions options;
  options.rate = 20000;
  options.duration = base::Duration::Millis(50);
  options.warm_up = {};
  const auto connect = []() -> base::Result<std::unique_ptr<Caller>> {
    return std::unique_ptr<Caller>(std::make_unique<CountingCaller>(1 << 30));
  };
  const auto first = RunLoad(options, connect);
  const auto second = RunLoad(options, connect);
  ASSERT_TRUE(first.ok() && second.ok());
  // Late or not, every arrival of the schedule is sent or counted as unsent.
  EXPECT_EQ(first->succeeded + first->unsent, second->succeeded + second->unsent);
  EXPECT_NEAR(static_cast<double>(first->succeeded + first->unsent), 1000, 150);
}

TEST(Flags, ErrorsNameTheFlagWhatItExpectsAndWhatCame) {
  int64_t port = 8000;
  bool strict = true;
  const std::vector<Flag> flags = {{"http-port", &port, "N", "port"},
                                   {"strict", &strict, "", "all"}};
  EXPECT_EQ(ParseFlags({"--http-port", "x"}, flags).error().message,
            "--http-port expects a whole number, got 'x'");
  EXPECT_EQ(ParseFlags({"--nothing"}, flags).error().message,
            "unknown flag --nothing; --help lists them");
  EXPECT_EQ(ParseFlags({"--http-port"}, flags).error().message, "--http-port expects a value (N)");
}

TEST(Flags, TakesBothFormsOfAValueAndTheNegatedBool) {
  int64_t port = 8000;
  bool strict = true;
  const std::vector<Flag> flags = {{"http-port", &port, "N", "port"},
                                   {"strict", &strict, "", "all"}};
  const auto positional = ParseFlags({"a", "--http-port=1", "--no-strict", "--", "--b"}, flags);
  ASSERT_TRUE(positional.ok());
  EXPECT_EQ(*positional, (std::vector<std::string>{"a", "--b"}));
  EXPECT_EQ(port, 1);
  EXPECT_FALSE(strict);
  ASSERT_TRUE(ParseFlags({"--http-port", "2"}, flags).ok());
  EXPECT_EQ(port, 2);
}

}  // namespace
}  // namespace sluice::bin
