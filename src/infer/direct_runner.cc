#include "infer/direct_runner.h"

#include <utility>

#include "base/clock.h"
#include "tensor/arena.h"

namespace sluice::infer {
namespace {

// Nobody else waits for this thread.
class NoSafepoint : public engine::Safepoint {
 public:
  bool Reach() override { return true; }
  base::Duration quantum() const override { return {}; }
};

}  // namespace

// What one call runs in: what a loop holds of an engine.
struct DirectRunner::Context {
  explicit Context(std::shared_ptr<const ServedModel> served) : engine(std::move(served)) {}

  InferEngine engine;
  std::unique_ptr<engine::Step> step = engine.MakeStep(0);
  tensor::Arena arena;
};

DirectRunner::DirectRunner(std::shared_ptr<const ServedModel> served, Options options)
    : served_(std::move(served)), pool_({.workers = options.workers, .name = "sluice-run"}) {}

DirectRunner::~DirectRunner() = default;

base::Result<std::unique_ptr<DirectRunner::Context>> DirectRunner::TakeContext() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Context> context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  auto context = std::make_unique<Context>(served_);
  const int64_t bytes = context->engine.memory().activation_bytes;
  if (bytes > 0) context->arena = TRY(tensor::Arena::Create(bytes));
  return context;
}

// One turn of the device loop, with one request.
engine::Reply DirectRunner::RunIn(Context& context, std::unique_ptr<engine::Request> request) {
  const auto now = [] { return base::SystemClock::Get().Now(); };
  InferEngine& engine = context.engine;
  engine::Step& step = *context.step;
  engine::Replies replies;
  request->enqueued = now();
  engine::Reply reply;
  if (engine.Admit(request, {request->enqueued, request->enqueued, {}}) !=
      engine::Admission::kQueued) {
    reply.status = base::Internal("the engine did not take the request");
    return reply;
  }
  const engine::Offer* const offer = engine.BestOffer(now(), engine::WorkClass::kUntimed);
  CHECK(offer != nullptr);
  step.status = base::Ok();
  step.nested = {};
  step.formed = now();
  CHECK(engine.Form(*offer, step, replies));
  engine::Exec exec;
  exec.pool = pool_.workers() > 0 ? &pool_ : nullptr;
  exec.memory = context.arena.data();
  exec.memory_bytes = context.arena.capacity();
  NoSafepoint safepoint;
  step.launched = now();
  engine.Launch(step, exec, safepoint);
  step.finished = now();
  engine.Commit(step, step.status.ok() ? engine::StepStatus::kDone : engine::StepStatus::kFailed,
                replies);
  CHECK_EQ(replies.rows().size(), size_t{1});
  return std::move(replies.rows()[0].reply);
}

base::Result<std::vector<tensor::NamedTensor>> DirectRunner::Run(
    std::unique_ptr<engine::Request> request) {
  if (request->call == nullptr) {
    request->call = std::make_shared<engine::Call>(engine::Call::Options{});
  }
  TRY(PrepareRequest(*served_, *request));
  std::unique_ptr<Context> context = TRY(TakeContext());
  engine::Reply reply = RunIn(*context, std::move(request));
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(context));
  }
  TRY(std::move(reply.status));
  return std::move(reply.outputs);
}

}  // namespace sluice::infer
