#include "engine/statistics.h"

#include <gtest/gtest.h>

#include <numeric>

#include "engine/engine.h"
#include "engine/version.h"

namespace sluice::engine {
namespace {

using base::Duration;
using base::Time;

Request MakeRequest(Time deadline, int64_t rows) {
  Request request;
  Call::Options options;
  options.deadline = deadline;
  request.call = std::make_shared<Call>(std::move(options));
  request.rows = rows;
  request.enqueued = Time{1000};
  return request;
}

struct PlainStep : Step {};

TEST(Statistics, CountsASuccessInTritonsTerms) {
  Statistics statistics(8);
  const Request request = MakeRequest(Time{100'000}, 3);
  Reply reply;
  reply.timings = {Duration{10}, Duration{20}, Duration{30}, Duration{40}, 5};
  statistics.RecordSubmit();
  statistics.RecordReply(request, reply, Time{2000});
  const Statistics::Snapshot seen = statistics.snapshot();
  EXPECT_EQ(seen.inference_count, 3);
  EXPECT_EQ(seen.success.count, 1);
  EXPECT_EQ(seen.success.ns, 1000);
  EXPECT_EQ(seen.queue.ns, 10);
  EXPECT_EQ(seen.input.ns, 20);
  EXPECT_EQ(seen.infer.ns, 30);
  EXPECT_EQ(seen.output.ns, 40);
  EXPECT_EQ(seen.late, 0);
  EXPECT_EQ(seen.pending, 0);
  EXPECT_EQ(statistics.histograms().slack_us->Read().count, 1);
}

TEST(Statistics, CountsWhatFinishedAfterItsDeadlineAsLate) {
  Statistics statistics(8);
  statistics.RecordSubmit();
  statistics.RecordReply(MakeRequest(Time{1500}, 1), {}, Time{2000});
  EXPECT_EQ(statistics.snapshot().late, 1);
  EXPECT_EQ(statistics.snapshot().success.count, 1);
}

TEST(Statistics, EachReasonHasItsOwnCounter) {
  Statistics statistics(8);
  const Request request = MakeRequest(Time::Never(), 1);
  int64_t times = 0;
  for (const char* why : {reason::kQueueFull, reason::kDeadlineAdmission, reason::kDeadlineQueue,
                          reason::kCancelled, reason::kDraining}) {
    ++times;
    for (int64_t i = 0; i < times; ++i) {
      statistics.RecordSubmit();
      statistics.RecordReply(request, RefusalReply(why), Time{2000});
    }
  }
  const Refusals refused = statistics.snapshot().refusals;
  EXPECT_EQ(refused.queue_full, 1);
  EXPECT_EQ(refused.deadline_admission, 2);
  EXPECT_EQ(refused.deadline_queue, 3);
  EXPECT_EQ(refused.cancelled, 4);
  EXPECT_EQ(refused.draining, 5);
  EXPECT_EQ(statistics.snapshot().fail.count, 15);
  EXPECT_EQ(statistics.snapshot().success.count, 0);
}

TEST(Statistics, KeepsStepsByBatchSize) {
  Statistics statistics(4);
  PlainStep step;
  step.formed = Time{0};
  step.launched = Time{10};
  step.finished = Time{110};
  step.nested = Duration{30};
  for (const int64_t rows : {2, 2, 4, 9}) {
    step.rows = rows;
    statistics.RecordStep(step, Time{115});
  }
  const Statistics::Snapshot seen = statistics.snapshot();
  EXPECT_EQ(seen.execution_count, 4);
  EXPECT_GT(seen.last_inference_ms, 0);
  ASSERT_EQ(seen.batches.size(), 2u);
  EXPECT_EQ(seen.batches[0].rows, 2);
  EXPECT_EQ(seen.batches[0].infer.count, 2);
  EXPECT_EQ(seen.batches[0].infer.ns, 140);
  EXPECT_EQ(seen.batches[0].input.ns, 20);
  EXPECT_EQ(seen.batches[0].output.ns, 10);
  EXPECT_EQ(seen.batches[1].rows, 4);  // what is larger is counted with the largest
  EXPECT_EQ(seen.batches[1].infer.count, 2);
}

}  // namespace
}  // namespace sluice::engine
