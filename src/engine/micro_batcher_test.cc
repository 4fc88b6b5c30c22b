#include "engine/micro_batcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <tuple>

namespace sluice::engine {
namespace {

using base::Duration;
using base::Time;

constexpr Time kStart{1'000'000'000};

struct NullSink : ReplySink {
  void Post(Reply) override {}
};

struct Ask {
  Time deadline = Time::Never();
  int priority = 0;
  int64_t rows = 1;
  int64_t bytes = 0;
  std::string id = "";
};

std::unique_ptr<Request> MakeRequest(const Ask& ask, Time now) {
  auto request = std::make_unique<Request>();
  Call::Options options;
  options.deadline = ask.deadline;
  options.priority = ask.priority;
  request->call = std::make_shared<Call>(std::move(options));
  request->sink = std::make_shared<NullSink>();
  request->rows = ask.rows;
  request->bytes = ask.bytes;
  request->enqueued = now;
  request->id = ask.id;
  return request;
}

struct PlainStep : Step {};

class MicroBatcherTest : public ::testing::Test {
 protected:
  MicroBatcherTest() : costs_([](uint64_t, int64_t) { return Duration{}; }) {}

  void Make(MicroBatcher::Options options) {
    batcher_ = std::make_unique<MicroBatcher>(std::move(options), costs_);
  }
  Admission Add(const Ask& ask, uint64_t shape = 0) {
    std::unique_ptr<Request> request = MakeRequest(ask, now_);
    const Admission admission = batcher_->Add(request, shape, {now_, now_, {}});
    EXPECT_EQ(request == nullptr, admission == Admission::kQueued);
    batcher_->CheckIntegrity();
    return admission;
  }
  // The ids of the members of the best step of the class; empty when there is none.
  std::vector<std::string> Take(WorkClass work) {
    const Offer* offer = batcher_->BestOffer(now_, work);
    if (offer == nullptr) return {};
    PlainStep step;
    step.formed = now_;
    std::vector<std::unique_ptr<Request>> members;
    batcher_->Take(Offer(*offer), step, members, replies_);
    batcher_->CheckIntegrity();
    rows_ = step.rows;
    std::vector<std::string> ids;
    for (const auto& member : members) ids.push_back(member->id);
    return ids;
  }
  std::vector<std::string> Reasons() {
    std::vector<std::string> reasons;
    for (const auto& row : replies_.rows()) reasons.push_back(row.reply.reason);
    return reasons;
  }
  void Measure(uint64_t shape, int64_t rows, Duration cost) {
    for (int i = 0; i < 3; ++i) costs_.Record(shape, rows, cost, now_);
    batcher_->CostsChanged();
  }
  Time In(int64_t us) const { return now_ + Duration::Micros(us); }

  Time now_ = kStart;
  CostModel costs_;
  std::unique_ptr<MicroBatcher> batcher_;
  Replies replies_;
  int64_t rows_ = 0;
};

using Ids = std::vector<std::string>;

TEST_F(MicroBatcherTest, OffersNothingWhenEmpty) {
  Make({});
  EXPECT_EQ(batcher_->BestOffer(now_, WorkClass::kTimed), nullptr);
  EXPECT_EQ(batcher_->BestOffer(now_, WorkClass::kUntimed), nullptr);
}

TEST_F(MicroBatcherTest, NeverJoinsWhenRowsMaxIsZero) {
  Make({});
  Add({.id = "a"});
  Add({.id = "b"});
  EXPECT_EQ(Take(WorkClass::kUntimed), Ids{"a"});
  EXPECT_EQ(Take(WorkClass::kUntimed), Ids{"b"});
}

TEST_F(MicroBatcherTest, OrdersByPriorityThenDeadlineThenArrival) {
  Make({.rows_max = 8, .priority_levels = 2, .priority_default = 2});
  Add({.deadline = In(500), .id = "late"});
  Add({.deadline = In(100), .id = "soon"});
  Add({.deadline = In(900), .priority = 1, .id = "first"});
  Add({.deadline = In(500), .id = "later"});
  Add({.id = "untimed"});
  EXPECT_EQ(Take(WorkClass::kTimed), (Ids{"first", "soon", "late", "later", "untimed"}));
}

TEST_F(MicroBatcherTest, StopsAtRowsMax) {
  Make({.rows_max = 4});
  Add({.rows = 3, .id = "a"});
  Add({.rows = 2, .id = "b"});
  EXPECT_EQ(Take(WorkClass::kUntimed), Ids{"a"});
  EXPECT_EQ(rows_, 3);
  EXPECT_EQ(Take(WorkClass::kUntimed), Ids{"b"});
}

TEST_F(MicroBatcherTest, UntimedWorkLeadsItsOwnOffer) {
  Make({.rows_max = 1});
  Add({.deadline = In(100), .id = "timed"});
  Add({.id = "untimed"});
  EXPECT_EQ(Take(WorkClass::kUntimed), Ids{"untimed"});
  EXPECT_EQ(Take(WorkClass::kTimed), Ids{"timed"});
}

TEST_F(MicroBatcherTest, DropsTheCancelledAndTheExpired) {
  Make({.rows_max = 4});
  std::unique_ptr<Request> request = MakeRequest({.deadline = In(10)}, now_);
  const std::shared_ptr<Call> call = request->call;
  batcher_->Add(request, 0, {now_, now_, {}});
  Add({.deadline = In(20)});
  Add({.deadline = In(1000), .id = "alive"});
  call->Cancel();
  now_ = In(30);
  EXPECT_EQ(Take(WorkClass::kTimed), Ids{"alive"});
  EXPECT_EQ(Reasons(), (Ids{reason::kCancelled, reason::kDeadlineQueue}));
}

TEST_F(MicroBatcherTest, SweepAnswersTheCancelledAndTheExpired) {
  Make({.rows_max = 4});
  std::unique_ptr<Request> request = MakeRequest({}, now_);
  const std::shared_ptr<Call> call = request->call;
  batcher_->Add(request, 0, {now_, now_, {}});
  Add({.deadline = In(20)});
  Add({.id = "alive"});
  call->Cancel();
  now_ = In(30);
  batcher_->Sweep(now_, replies_);
  batcher_->CheckIntegrity();
  EXPECT_EQ(batcher_->waiting(), 1);
  EXPECT_EQ(Reasons(), (Ids{reason::kDeadlineQueue, reason::kCancelled}));
}

TEST_F(MicroBatcherTest, RefusesBeyondTheLimitsOfCountBytesAndLevel) {
  Make({.priority_levels = 2, .requests_max = 3, .bytes_max = 100, .level_requests_max = {0, 1}});
  EXPECT_EQ(Add({.priority = 1, .bytes = 60}), Admission::kQueued);
  EXPECT_EQ(Add({.priority = 1, .bytes = 60}), Admission::kQueueFull);
  EXPECT_EQ(Add({.priority = 2}), Admission::kQueued);
  EXPECT_EQ(Add({.priority = 2}), Admission::kQueueFull);
  EXPECT_EQ(Add({.priority = 1}), Admission::kQueued);
  EXPECT_EQ(Add({.priority = 1}), Admission::kQueueFull);
}

TEST_F(MicroBatcherTest, RefusesMoreShapesThanItHolds) {
  Make({.rows_max = 4});
  for (uint64_t shape = 0; shape < MicroBatcher::kShapesMax; ++shape) {
    std::unique_ptr<Request> request = MakeRequest({}, now_);
    ASSERT_EQ(batcher_->Add(request, shape, {now_, now_, {}}), Admission::kQueued);
  }
  EXPECT_EQ(Add({}, MicroBatcher::kShapesMax), Admission::kQueueFull);
  Take(WorkClass::kUntimed);  // one shape is empty now and gives its place
  EXPECT_EQ(Add({}, MicroBatcher::kShapesMax), Admission::kQueued);
}

TEST_F(MicroBatcherTest, JoinsOnlyAsLongAsTheTightestMemberIsInTime) {
  Make({.rows_max = 16});
  for (int64_t rows = 1; rows <= 16; ++rows) Measure(0, rows, Duration::Micros(100 * rows));
  for (int i = 0; i < 8; ++i) Add({.deadline = In(350), .id = std::to_string(i)});
  EXPECT_EQ(Take(WorkClass::kTimed), (Ids{"0", "1", "2"}));
}

TEST_F(MicroBatcherTest, DropsWhatCannotBeMetEvenAlone) {
  Make({.rows_max = 4});
  Add({.deadline = In(500), .id = "doomed"});
  Add({.deadline = In(5000), .id = "fine"});
  Measure(0, 1, Duration::Millis(1));
  Measure(0, 2, Duration::Millis(1));
  (void)costs_.TakeProbe(now_);
  EXPECT_EQ(Take(WorkClass::kTimed), Ids{"fine"});
  EXPECT_EQ(Reasons(), Ids{reason::kDeadlineQueue});
}

TEST_F(MicroBatcherTest, TheProbeOfTheSecondRunsAlone) {
  Make({.rows_max = 4});
  Measure(0, 1, Duration::Millis(1));
  Measure(0, 2, Duration::Millis(1));
  EXPECT_EQ(Add({.deadline = In(500), .id = "probe"}), Admission::kQueued);
  EXPECT_EQ(Add({.deadline = In(500), .id = "refused"}), Admission::kTooLate);
  Add({.deadline = In(5000), .id = "fine"});
  EXPECT_EQ(Take(WorkClass::kTimed).front(), "probe");
}

TEST_F(MicroBatcherTest, AdmissionCountsTheDeviceAndTheQueueAhead) {
  Make({.rows_max = 1});
  Measure(0, 1, Duration::Millis(10));
  (void)costs_.TakeProbe(now_);
  const auto add = [&](int64_t deadline_ms, int64_t free_in_ms, Duration nest_below) {
    std::unique_ptr<Request> request = MakeRequest({.deadline = In(deadline_ms * 1000)}, now_);
    return batcher_->Add(request, 0, {now_, In(free_in_ms * 1000), nest_below});
  };
  EXPECT_EQ(add(15, 6, {}), Admission::kTooLate);                   // the device is busy
  EXPECT_EQ(add(15, 6, Duration::Millis(10)), Admission::kQueued);  // but this step may nest
  EXPECT_EQ(add(24, 0, {}), Admission::kQueued);
  EXPECT_EQ(add(33, 0, {}), Admission::kQueued);
  EXPECT_EQ(add(39, 0, {}), Admission::kTooLate);  // three go first
  EXPECT_EQ(add(11, 0, {}), Admission::kQueued);   // this one goes before them
}

TEST_F(MicroBatcherTest, OnlyWorkThatCannotWaitAsLongAsItTakesAsksOthersForShortSteps) {
  Make({.rows_max = 1});
  Measure(0, 1, Duration::Millis(10));
  Backlog backlog;
  Outlook outlook{now_, now_, {}, Duration::Millis(5), &backlog};
  const auto patience_with = [&](int64_t deadline_ms) {
    std::unique_ptr<Request> request = MakeRequest({.deadline = In(deadline_ms * 1000)}, now_);
    EXPECT_EQ(batcher_->Add(request, 0, outlook), Admission::kQueued);
    const Duration told = backlog.patience(now_);
    batcher_->CheckIntegrity();
    return told;
  };
  EXPECT_EQ(patience_with(100), Duration::Max()) << "it waits or runs at safepoints";
  EXPECT_EQ(patience_with(18), Duration::Millis(8));
  outlook.brief = {};  // nothing runs at safepoints: any step may be in its way
  EXPECT_EQ(patience_with(16), Duration::Millis(6));
}

TEST_F(MicroBatcherTest, WaitsForCompanyNeverPastTheLatestStart) {
  Make({.rows_max = 4, .queue_delay_max = Duration::Millis(2)});
  Measure(0, 1, Duration::Micros(300));
  Measure(0, 2, Duration::Micros(300));
  Add({.deadline = In(10'000)});
  EXPECT_EQ(batcher_->BestOffer(now_, WorkClass::kTimed)->wait_until, In(2000));
  Add({.deadline = In(1'000)});
  const Offer* tight = batcher_->BestOffer(now_, WorkClass::kTimed);
  EXPECT_EQ(tight->latest_start, In(700));
  EXPECT_EQ(tight->wait_until, In(700) - MicroBatcher::kStartMargin);
  Add({.rows = 2});
  EXPECT_LE(batcher_->BestOffer(now_, WorkClass::kTimed)->wait_until, now_);  // full
}

TEST_F(MicroBatcherTest, AWaitingShapeDoesNotHideAReadyOne) {
  Make({.rows_max = 4, .queue_delay_max = Duration::Millis(2)});
  Add({.deadline = In(50'000), .id = "old"}, 1);
  now_ = In(1'500);
  Add({.deadline = In(20'000), .id = "urgent"}, 2);
  now_ = In(600);
  ASSERT_LE(batcher_->BestOffer(now_, WorkClass::kTimed)->wait_until, now_);
  // Both are ready later: then the more urgent one goes first.
  now_ = In(2'000);
  EXPECT_EQ(Take(WorkClass::kTimed), Ids{"urgent"});
  EXPECT_EQ(Take(WorkClass::kTimed), Ids{"old"});
}

// Against a list that is searched and sorted each time.
TEST_F(MicroBatcherTest, AgreesWithASortedList) {
  struct Row {
    int level;
    Time deadline;
    int64_t sequence;
    uint64_t shape;
    int64_t rows;
  };
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto roll = [&](int64_t below) {
      return static_cast<int64_t>(random() % static_cast<uint64_t>(below));
    };
    now_ = kStart;
    const int64_t rows_max = 1 + roll(6);
    Make({.rows_max = rows_max, .priority_levels = 3});
    std::vector<Row> reference;
    int64_t sequence = 0;
    const auto before = [](const Row& a, const Row& b) {
      return std::tuple(a.level, a.deadline, a.sequence) <
             std::tuple(b.level, b.deadline, b.sequence);
    };
    const auto timed = [](const Row& row) { return !row.deadline.never(); };
    for (int i = 0; i < 120; ++i) {
      if (roll(3) > 0) {
        Row row{static_cast<int>(roll(3)), Time::Never(), sequence++,
                static_cast<uint64_t>(roll(4)), 1 + roll(rows_max)};
        if (roll(2) == 0) row.deadline = In(1'000'000 + roll(50) * 100);
        ASSERT_EQ(Add({.deadline = row.deadline,
                       .priority = row.level + 1,
                       .rows = row.rows,
                       .id = std::to_string(row.sequence)},
                      row.shape),
                  Admission::kQueued);
        reference.push_back(row);
        continue;
      }
      const WorkClass work = roll(2) == 0 ? WorkClass::kTimed : WorkClass::kUntimed;
      const bool want_timed = work == WorkClass::kTimed;
      // The group whose lead is first; among timed leads of one level the tightest deadline of any
      // member of the group.
      std::map<uint64_t, std::pair<Row, Time>> leads;
      for (const Row& row : reference) {
        if (timed(row) != want_timed) continue;
        auto [at, fresh] = leads.try_emplace(row.shape, row, row.deadline);
        if (before(row, at->second.first)) at->second.first = row;
        at->second.second = std::min(at->second.second, row.deadline);
      }
      Ids expected;
      if (!leads.empty()) {
        const auto best =
            std::min_element(leads.begin(), leads.end(), [](const auto& a, const auto& b) {
              const auto key = [](const auto& entry) {
                return std::tuple(entry.second.first.level, entry.second.second,
                                  entry.second.first.sequence);
              };
              return key(a) < key(b);
            });
        std::vector<Row> group;
        for (const Row& row : reference) {
          if (row.shape == best->first) group.push_back(row);
        }
        std::sort(group.begin(), group.end(), [&](const Row& a, const Row& b) {
          if (timed(a) != timed(b)) return timed(a) == want_timed;
          return before(a, b);
        });
        int64_t rows = 0;
        for (const Row& row : group) {
          if (rows + row.rows > rows_max) break;
          rows += row.rows;
          expected.push_back(std::to_string(row.sequence));
          reference.erase(std::find_if(reference.begin(), reference.end(),
                                       [&](const Row& r) { return r.sequence == row.sequence; }));
        }
      }
      ASSERT_EQ(Take(work), expected) << "seed " << seed << " action " << i;
    }
    ASSERT_EQ(batcher_->waiting(), static_cast<int64_t>(reference.size()));
  }
}

}  // namespace
}  // namespace sluice::engine
