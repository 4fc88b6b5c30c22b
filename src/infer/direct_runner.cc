#include "infer/direct_runner.h"

#include <algorithm>

#include "infer/serve_step.h"
#include "tensor/arena.h"
#include "tensor/buffer_pool.h"

namespace sluice::infer {
namespace {

// Nobody else waits for this thread.
class NoSafepoint : public engine::Safepoint {
 public:
  bool Reach() override { return true; }
  base::Duration quantum() const override { return {}; }
};

}  // namespace

// What one call runs in.
struct DirectRunner::Context {
  std::unique_ptr<engine::Step> step;
  tensor::Arena arena;
  std::shared_ptr<tensor::BufferPool> answers = tensor::BufferPool::Create({});
};

DirectRunner::DirectRunner(std::shared_ptr<const ServedModel> served, Options options)
    : engine_(std::move(served)), pool_({.workers = options.workers, .name = "sluice-run"}) {}

DirectRunner::~DirectRunner() = default;

std::unique_ptr<DirectRunner::Context> DirectRunner::TakeContext() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Context> context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  auto context = std::make_unique<Context>();
  context->step = engine_.MakeStep(0);
  return context;
}

base::Result<std::vector<tensor::NamedTensor>> DirectRunner::RunIn(Context& context) {
  auto& step = static_cast<ServeStep&>(*context.step);
  const ServedModel& model = served();
  step.status = base::Ok();
  TRY(FormStep(model, *context.answers, step));
  int64_t bytes = 0;
  for (const Part& part : step.parts) bytes = std::max(bytes, RunBytes(model, *part.plan));
  if (bytes > context.arena.capacity()) {
    context.arena = tensor::Arena();  // its memory goes before the larger one comes
    context.arena = TRY(tensor::Arena::Create(bytes));
  }
  engine::Exec exec;
  exec.pool = pool_.workers() > 0 ? &pool_ : nullptr;
  exec.memory = context.arena.data();
  exec.memory_bytes = context.arena.capacity();
  NoSafepoint safepoint;
  RunStep(model, step, exec, safepoint);
  TRY(std::move(step.status));
  TRY(std::move(step.member_status[0]));
  return AnswerOf(model, step, MutablePreparedOf(*step.members[0]), {});
}

base::Result<std::vector<tensor::NamedTensor>> DirectRunner::Run(
    std::unique_ptr<engine::Request> request) {
  if (request->call == nullptr) {
    request->call = std::make_shared<engine::Call>(engine::Call::Options{});
  }
  TRY(engine_.Prepare(*request));
  std::unique_ptr<Context> context = TakeContext();
  auto& step = static_cast<ServeStep&>(*context->step);
  step.members.push_back(std::move(request));
  base::Result<std::vector<tensor::NamedTensor>> answer = RunIn(*context);
  step.members.clear();
  step.interpreted.clear();
  step.parts.clear();
  step.answer.reset();
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(context));
  return answer;
}

}  // namespace sluice::infer
