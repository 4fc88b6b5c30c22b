#include "infer/planner.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "infer/ragged_plans.h"
#include "infer/serve_step.h"
#include "infer/served_model.h"

namespace sluice::infer {
namespace {

std::vector<tensor::Shape> WithRows(const std::vector<tensor::Shape>& shapes, int64_t rows) {
  std::vector<tensor::Shape> changed = shapes;
  for (tensor::Shape& shape : changed) shape.set_dim(0, rows);
  return changed;
}

// Where dimension 0 is the batch, every output must have its rows there: proven, unless the
// configuration declared it.
base::Status CheckOutputRows(const ServedModel& served, const graph::Plan& plan) {
  for (size_t i = 0; i < plan.output_shapes.size(); ++i) {
    const tensor::Shape& shape = plan.output_shapes[i];
    if (shape.rank() > 0 && shape[0] == 1) continue;
    return base::InvalidArgument("the configuration declares rows independent, but output '" +
                                 served.graph->outputs()[i].name + "' has shape " +
                                 shape.ToString() + " for 1 rows");
  }
  return base::Ok();
}

base::Status AddFirst(const ServedModel& served, PlanFamily& family) {
  std::unique_ptr<const graph::Plan> plan = TRY(served.graph->NewPlan(family.shapes()));
  const int64_t needed = RunBytes(served, *plan);
  if (needed > served.activation_bytes) {
    return base::ResourceExhausted("the request needs " + std::to_string(needed) +
                                   " bytes of activations, model '" + served.options.model +
                                   "' may use " + std::to_string(served.activation_bytes));
  }
  if (family.rows_apart()) TRY(CheckOutputRows(served, *plan));
  family.AddPlan(1, std::move(plan));
  return base::Ok();
}

}  // namespace

void AddPlans(const ServedModel& served, PlanFamily& family, int64_t rows) {
  if (family.state() == PlanFamily::State::kFailed) return;
  if (family.Find(1) == nullptr) {
    base::Status added = AddFirst(served, family);
    if (!added.ok()) return family.Fail(std::move(added));
  }
  rows = std::min(rows, family.rows_max());
  while (family.rows_apart() && rows > 1) {
    const int64_t size = PlanFamily::SizeFor(rows);
    if (family.Find(size) != nullptr) break;
    base::Result<std::unique_ptr<const graph::Plan>> plan =
        served.graph->NewPlan(WithRows(family.shapes(), size));
    if (!plan.ok()) {  // steps go on in parts of what is there
      family.LimitRows(size - 1);
      break;
    }
    const int64_t needed = RunBytes(served, **plan);
    if (needed <= served.activation_bytes) {
      family.AddPlan(size, std::move(plan).value());
      break;
    }
    const double share = static_cast<double>(served.activation_bytes) / static_cast<double>(needed);
    rows =
        std::clamp<int64_t>(static_cast<int64_t>(static_cast<double>(size) * share), 1, size - 1);
    family.LimitRows(rows);
  }
  const base::Status counted = served.plans->Recount(family);
  if (!counted.ok()) {
    base::Log(base::LogLevel::kWarning, "plans_above_the_memory_limit")
        .With("model", served.options.model)
        .With("reason", counted.error().message);
  }
  family.SetReady();
}

Planner::Planner(Options options) : options_(options) {
  if (options_.threaded) thread_ = std::thread([this] { Main(); });
}

Planner::~Planner() {
  if (thread_.joinable()) {
    stopping_.store(true, std::memory_order_seq_cst);
    doorbell_.Ring();
    thread_.join();
  }
  while (RunOnce()) {
  }
}

bool Planner::Enqueue(std::unique_ptr<Job> job) {
  if (jobs_.fetch_add(1, std::memory_order_relaxed) >= options_.jobs_max) {
    jobs_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  Job* const last = job.release();
  last->next = newest_.load(std::memory_order_relaxed);
  while (!newest_.compare_exchange_weak(last->next, last, std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
  }
  doorbell_.Ring();
  return true;
}

void Planner::Main() {
  setpriority(PRIO_PROCESS, 0, options_.nice);  // of this thread; a refusal is no error
  while (!stopping_.load(std::memory_order_seq_cst)) {
    const uint32_t ticket = doorbell_.Ticket();
    if (!RunOnce()) doorbell_.Wait(ticket, base::Time::Never());
  }
}

bool Planner::RunOnce() {
  Job* newest = newest_.exchange(nullptr, std::memory_order_seq_cst);
  if (newest == nullptr) return false;
  Job* oldest = nullptr;
  while (newest != nullptr) {
    Job* const next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    const std::unique_ptr<Job> job(std::exchange(oldest, oldest->next));
    Run(*job);
    jobs_.fetch_sub(1, std::memory_order_relaxed);
  }
  return true;
}

void Planner::Run(Job& job) {
  // Requests that wait need a family that is ready; a size that is there already needs nothing.
  if (job.family == nullptr) {
    job.served->ragged->AddPlan(job.rows);
  } else {
    AddPlans(*job.served, *job.family, job.rows);
  }
  plans_made_.fetch_add(1, std::memory_order_relaxed);
  if (job.waiter != nullptr) engine::PostEvent(std::move(job.waiter), {});
}

}  // namespace sluice::infer
