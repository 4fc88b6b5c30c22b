#include "engine/backlog.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice::engine {
namespace {

using base::Duration;
using base::Time;

struct Entry {
  Time when;
  Backlog::Work work;
  int slice = 0;
};

Duration Exact(const std::vector<Entry>& entries, Time bound) {
  Duration sum;
  for (const Entry& entry : entries) {
    if (entry.when <= bound) sum = sum + entry.work.time;
  }
  return sum;
}

TEST(Backlog, IsExactWhenTimesComeInOrder) {
  std::mt19937_64 random(3);
  for (const int64_t step : {1'000L, 300'000L, 50'000'000L, 4'000'000'000L}) {
    Backlog backlog;
    std::vector<Entry> entries;
    const Time now{5'000'000'000};
    Time when = now;
    for (int i = 0; i < 500; ++i) {
      when = when + Duration{static_cast<int64_t>(random() % static_cast<uint64_t>(step))};
      Entry entry{when, {1, Duration{static_cast<int64_t>(random() % 1000)}, false}, 0};
      // A newcomer is due no earlier than all that waits.
      ASSERT_EQ(backlog.Before(0, when, now).lengthy, Exact(entries, when)) << step << " " << i;
      entry.slice = backlog.Add(0, when, now, entry.work);
      entries.push_back(entry);
    }
  }
}

TEST(Backlog, IsNeverTooLargeWhateverTheOrder) {
  std::mt19937_64 random(4);
  Backlog backlog;
  std::vector<Entry> entries;
  Time now{1'000'000'000};
  int64_t counted = 0;
  for (int i = 0; i < 20'000; ++i) {
    now = now + Duration{static_cast<int64_t>(random() % 2'000'000)};
    // What is past its time goes, as sweeps see to.
    std::erase_if(entries, [&](const Entry& entry) {
      if (entry.when > now && random() % 40 != 0) return false;
      backlog.Remove(2, entry.slice, entry.work);
      return true;
    });
    Entry entry;
    entry.when =
        now + Duration{static_cast<int64_t>(random() % (uint64_t{1} << (20 + random() % 16)))};
    entry.work = {3, Duration{static_cast<int64_t>(random() % 5000)}, false};
    entry.slice = backlog.Add(2, entry.when, now, entry.work);
    entries.push_back(entry);
    const Time bound = now + Duration{static_cast<int64_t>(random() % (uint64_t{1} << 35))};
    const Duration told = backlog.Before(2, bound, now).lengthy;
    ASSERT_LE(told, Exact(entries, bound));
    counted += told > Duration{} ? 1 : 0;
  }
  EXPECT_GT(counted, 5'000);
  EXPECT_EQ(backlog.All(2).units, static_cast<int64_t>(entries.size()) * 3);
  for (const Entry& entry : entries) backlog.Remove(2, entry.slice, entry.work);
  EXPECT_EQ(backlog.All().units, 0);
  EXPECT_EQ(backlog.All().lengthy, Duration{});
}

TEST(Backlog, LevelsAndKindsOfWorkAreApartAndOnesOwnCanBeLeftOut) {
  Backlog all, own;
  const Time now{1'000'000'000};
  const Time soon = now + Duration::Millis(5);
  all.Add(0, soon, now, {1, Duration::Micros(10), true});
  all.Add(0, soon, now, {1, Duration::Micros(200), false});
  all.Add(1, soon, now, {1, Duration::Micros(7), true});
  own.Add(0, soon, now, {1, Duration::Micros(10), true});
  EXPECT_EQ(all.Before(0, soon, now).brief, Duration::Micros(10));
  EXPECT_EQ(all.Before(0, soon, now).lengthy, Duration::Micros(200));
  EXPECT_EQ(all.Before(0, soon, now, &own).brief, Duration{});
  EXPECT_EQ(all.Before(0, soon, now, &own).units, 1);
  EXPECT_EQ(all.Before(1, soon, now, &own).brief, Duration::Micros(7));
  EXPECT_EQ(all.Before(0, soon - Duration{1}, now).units, 0);
  EXPECT_EQ(all.Before(7, soon, now).units, 0);
}

TEST(BacklogTest, TellsThePatienceOfTheTightWorkOfTheLastSeconds) {
  Backlog backlog;
  const base::Time now = base::Time{} + base::Duration::Seconds(9);
  EXPECT_EQ(backlog.patience(now), base::Duration::Max());
  const auto add = [&](int64_t ms, bool tight) {
    backlog.Add(0, now + base::Duration::Millis(ms), now,
                {1, base::Duration::Millis(1), false, tight});
  };
  add(3, false);
  EXPECT_EQ(backlog.patience(now), base::Duration::Max()) << "it runs at safepoints";
  add(50, true);
  add(30, true);
  add(40, true);
  EXPECT_EQ(backlog.patience(now), base::Duration::Millis(30));
  EXPECT_EQ(backlog.patience(now + Backlog::kPatienceKept), base::Duration::Max());
}

}  // namespace
}  // namespace sluice::engine
