#include "engine/statistics.h"

#include <time.h>

#include <algorithm>
#include <cstring>

#include "engine/engine.h"

namespace sluice::engine {

namespace {

std::shared_ptr<base::Histogram> OrOwn(std::shared_ptr<base::Histogram> given) {
  constexpr int kBounds = 24;
  if (given != nullptr) return given;
  return std::make_shared<base::Histogram>(base::ExponentialBounds(1, 2, kBounds));
}

}  // namespace

Statistics::Statistics(int64_t rows_max, Histograms histograms)
    : rows_max_(std::clamp<int64_t>(rows_max, 1, kRowsMax)),
      batches_(std::make_unique<Sized[]>(static_cast<size_t>(rows_max_) + 1)),
      histograms_(std::move(histograms)) {
  histograms_.queue_us = OrOwn(std::move(histograms_.queue_us));
  histograms_.step_us = OrOwn(std::move(histograms_.step_us));
  histograms_.step_rows = OrOwn(std::move(histograms_.step_rows));
  histograms_.slack_us = OrOwn(std::move(histograms_.slack_us));
}

void Statistics::RecordRefusal(const char* why) {
  if (std::strcmp(why, reason::kQueueFull) == 0) Add(queue_full_, 1);
  if (std::strcmp(why, reason::kDeadlineAdmission) == 0) Add(deadline_admission_, 1);
  if (std::strcmp(why, reason::kDeadlineQueue) == 0) Add(deadline_queue_, 1);
  if (std::strcmp(why, reason::kDeadlineStep) == 0) Add(deadline_step_, 1);
  if (std::strcmp(why, reason::kDraining) == 0) Add(draining_, 1);
}

void Statistics::RecordReply(const Request& request, const Reply& reply, base::Time now) {
  const base::Duration took = now - request.enqueued;
  Add(pending_, -1);
  if (!reply.status.ok()) {
    fail_.Record(took);
    if (reply.status.error().code == base::Code::kCancelled) cancelled_.Record(took);
    if (reply.reason[0] != '\0') RecordRefusal(reply.reason);
    return;
  }
  success_.Count(took);
  AddAlone(inference_count_, request.rows);
  queue_.Count(reply.timings.queue);
  input_.Count(reply.timings.input);
  infer_.Count(reply.timings.compute);
  output_.Count(reply.timings.output);
  histograms_.queue_us->Observe(reply.timings.queue.us());
  const base::Time deadline = request.call->deadline();
  if (deadline.never()) return;
  if (now > deadline) {
    AddAlone(late_, 1);
  } else {
    histograms_.slack_us->Observe((deadline - now).us());
  }
}

void Statistics::RecordStep(const Step& step, base::Time committed) {
  timespec wall{};
  clock_gettime(CLOCK_REALTIME_COARSE, &wall);  // to some milliseconds, and cheap
  last_inference_ms_.store(int64_t{wall.tv_sec} * 1000 + wall.tv_nsec / 1'000'000,
                           std::memory_order_relaxed);
  AddAlone(execution_count_, 1);
  Sized& sized = batches_[static_cast<size_t>(std::clamp<int64_t>(step.rows, 0, rows_max_))];
  sized.input.Count(step.launched - step.formed);
  sized.infer.Count(step.computed());
  sized.output.Count(committed - step.finished);
  histograms_.step_us->Observe(step.computed().us());
  histograms_.step_rows->Observe(static_cast<double>(step.rows));
}

Statistics::Snapshot Statistics::snapshot() const {
  const auto get = [](const std::atomic<int64_t>& from) {
    return from.load(std::memory_order_relaxed);
  };
  Snapshot taken;
  taken.inference_count = get(inference_count_);
  taken.execution_count = get(execution_count_);
  taken.last_inference_ms = get(last_inference_ms_);
  taken.pending = get(pending_);
  taken.late = get(late_);
  taken.abandoned = get(abandoned_);
  taken.success = success_.get();
  const CountTime at_once = at_once_.get();
  taken.success.count += at_once.count;
  taken.success.ns += at_once.ns;
  taken.inference_count += at_once.count;
  taken.fail = fail_.get();
  taken.queue = queue_.get();
  taken.input = input_.get();
  taken.infer = infer_.get();
  taken.output = output_.get();
  taken.cancelled = cancelled_.get();
  taken.refusals = {get(queue_full_),    get(deadline_admission_), get(deadline_queue_),
                    get(deadline_step_), taken.cancelled.count,    get(draining_)};
  for (int64_t rows = 0; rows <= rows_max_; ++rows) {
    const Sized& sized = batches_[static_cast<size_t>(rows)];
    if (sized.infer.get().count == 0) continue;
    taken.batches.push_back({rows, sized.input.get(), sized.infer.get(), sized.output.get()});
  }
  return taken;
}

}  // namespace sluice::engine
