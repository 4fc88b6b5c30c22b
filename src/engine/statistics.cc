#include "engine/statistics.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>

#include "engine/engine.h"

namespace sluice::engine {

void Histogram::Record(int64_t value) {
  const int64_t held = std::max<int64_t>(value, 0);
  const int width = held <= 1 ? 0 : 64 - std::countl_zero(static_cast<uint64_t>(held - 1));
  const auto bucket = static_cast<size_t>(std::min(width, kBuckets - 1));
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(held, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::snapshot() const {
  Snapshot taken;
  for (size_t i = 0; i < counts_.size(); ++i) {
    taken.counts[i] = counts_[i].load(std::memory_order_relaxed);
  }
  taken.sum = sum_.load(std::memory_order_relaxed);
  return taken;
}

Statistics::Statistics(int64_t rows_max)
    : rows_max_(std::max<int64_t>(rows_max, 1)),
      batches_(std::make_unique<Sized[]>(static_cast<size_t>(rows_max_) + 1)) {}

void Statistics::RecordRefusal(const char* why) {
  if (std::strcmp(why, reason::kQueueFull) == 0) Add(queue_full_, 1);
  if (std::strcmp(why, reason::kDeadlineAdmission) == 0) Add(deadline_admission_, 1);
  if (std::strcmp(why, reason::kDeadlineQueue) == 0) Add(deadline_queue_, 1);
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
  success_.Record(took);
  Add(inference_count_, request.rows);
  queue_.Record(reply.timings.queue);
  input_.Record(reply.timings.input);
  infer_.Record(reply.timings.compute);
  output_.Record(reply.timings.output);
  queue_us_.Record(reply.timings.queue.ns / 1000);
  const base::Time deadline = request.call->deadline();
  if (deadline.never()) return;
  if (now > deadline) {
    Add(late_, 1);
  } else {
    slack_us_.Record((deadline - now).ns / 1000);
  }
}

void Statistics::RecordStep(const Step& step, base::Time committed) {
  using std::chrono::duration_cast, std::chrono::milliseconds, std::chrono::system_clock;
  const auto wall = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  last_inference_ms_.store(wall, std::memory_order_relaxed);
  Add(execution_count_, 1);
  Sized& sized = batches_[static_cast<size_t>(std::clamp<int64_t>(step.rows, 0, rows_max_))];
  sized.input.Record(step.launched - step.formed);
  sized.infer.Record(step.computed());
  sized.output.Record(committed - step.finished);
  step_us_.Record(step.computed().ns / 1000);
  step_rows_.Record(step.rows);
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
  taken.success = success_.get();
  taken.fail = fail_.get();
  taken.queue = queue_.get();
  taken.input = input_.get();
  taken.infer = infer_.get();
  taken.output = output_.get();
  taken.cancelled = cancelled_.get();
  taken.refusals = {get(queue_full_), get(deadline_admission_), get(deadline_queue_),
                    taken.cancelled.count, get(draining_)};
  for (int64_t rows = 0; rows <= rows_max_; ++rows) {
    const Sized& sized = batches_[static_cast<size_t>(rows)];
    if (sized.infer.get().count == 0) continue;
    taken.batches.push_back({rows, sized.input.get(), sized.infer.get(), sized.output.get()});
  }
  taken.queue_us = queue_us_.snapshot();
  taken.step_us = step_us_.snapshot();
  taken.step_rows = step_rows_.snapshot();
  taken.slack_us = slack_us_.snapshot();
  return taken;
}

}  // namespace sluice::engine
