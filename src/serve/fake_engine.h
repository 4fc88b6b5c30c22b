// Engines for the server's tests: identity, failing, and one that holds its requests until it is
// told to go on.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/device_loop.h"
#include "engine/engine.h"
#include "engine/measure.h"
#include "engine/version.h"

namespace sluice::serve {

// Shared by a test and the engine that it controls. Thread-safe.
struct FakeControl {
  std::atomic<bool> hold{false};          // requests stay queued
  std::atomic<bool> fail{false};          // steps fail
  std::atomic<bool> long_prepare{false};  // preparation is said to be long
  std::atomic<bool> fail_prepare{false};
  std::function<void()> prepare_gate;  // set before the first request; called by each Prepare
  std::atomic<int64_t> executed{0};
  std::atomic<int64_t> begun{0};    // answers that a writer has taken up
  std::atomic<int64_t> dropped{0};  // cancelled or expired before they ran
  std::atomic<int64_t> alive{0};    // engines not destroyed yet
};

// Gives each input back as the output of the same position. One request a step; the loop's thread
// owns it.
class FakeEngine : public engine::Engine {
 public:
  FakeEngine(engine::Description description, std::shared_ptr<FakeControl> control)
      : description_(std::move(description)), control_(std::move(control)) {
    control_->alive.fetch_add(1);
    for (const char* const model_label : {"model", "model_name"}) {
      engine::Measure measure;
      measure.name = model_label[5] == '\0' ? "sluice_fake_steps_total" : "other:steps";
      measure.help = "Steps of a fake";
      measure.labels = {{"kind", "echo"}};
      measure.model_label = model_label;
      measure.counter = steps_;
      measures_.push_back(std::move(measure));
    }
  }
  ~FakeEngine() override { control_->alive.fetch_sub(1); }

  const engine::Description& description() const override { return description_; }
  const std::vector<engine::Measure>& measures() const override { return measures_; }
  base::Duration PrepareCost(const engine::Request&) const override {
    return control_->long_prepare.load() ? base::Duration::Millis(5) : base::Duration();
  }
  base::Status Prepare(engine::Request& request) const override {
    if (control_->fail_prepare.load())
      return base::InvalidArgument("the fake engine cannot prepare this");
    if (control_->prepare_gate) control_->prepare_gate();
    if (description_.batch_rows_max > 0 && !request.inputs.empty() &&
        request.inputs[0].tensor.shape.rank() > 0) {
      request.rows = request.inputs[0].tensor.shape.dim(0);
    }
    return base::Ok();
  }
  engine::MemoryUse memory() const override { return {}; }

  std::unique_ptr<engine::Step> MakeStep(int) override { return std::make_unique<OneRequest>(); }
  engine::Admission Admit(std::unique_ptr<engine::Request>& request,
                          const engine::Outlook&) override {
    if (queue_.size() >= kQueueMax) return engine::Admission::kQueueFull;
    queue_.push_back(std::move(request));
    return engine::Admission::kQueued;
  }
  void OnEvent(const engine::Event&, const engine::Outlook&, engine::Replies&) override {}
  void Sweep(base::Time now, engine::Replies& replies) override {
    for (auto it = queue_.begin(); it != queue_.end();) {
      bool cancelled = (*it)->call->cancelled();
      if (!cancelled && !(*it)->call->expired(now)) {
        ++it;
        continue;
      }
      control_->dropped.fetch_add(1);
      std::unique_ptr<engine::Request> request = std::move(*it);
      it = queue_.erase(it);
      replies.Refuse(std::move(request),
                     cancelled ? engine::reason::kCancelled : engine::reason::kDeadlineQueue);
    }
  }
  const engine::Offer* BestOffer(base::Time, engine::WorkClass work) override {
    if (queue_.empty() || control_->hold.load()) return nullptr;
    offer_.work = queue_.front()->call->deadline().never() ? engine::WorkClass::kUntimed
                                                           : engine::WorkClass::kTimed;
    if (offer_.work != work) return nullptr;
    offer_.latest_start = queue_.front()->call->deadline();
    offer_.cost = {base::Duration::Micros(1), true, 1};
    return &offer_;
  }
  bool Form(const engine::Offer&, engine::Step& step, engine::Replies&) override {
    auto& one = static_cast<OneRequest&>(step);
    one.request = std::move(queue_.front());
    queue_.pop_front();
    step.rows = one.request->rows;
    step.predicted = base::Duration::Micros(1);
    return true;
  }
  void Launch(engine::Step& step, engine::Exec&, engine::Safepoint&) override {
    if (control_->fail.load()) step.status = base::Internal("the fake engine was told to fail");
  }
  void Commit(engine::Step& step, engine::StepStatus, engine::Replies& replies) override {
    auto& one = static_cast<OneRequest&>(step);
    engine::Reply reply;
    reply.timings.queue = step.formed - one.request->enqueued;
    reply.timings.compute = step.computed();
    reply.timings.batch_rows = one.request->rows;
    if (!step.status.ok()) {
      reply.status = step.status;
      step.status = base::Ok();
    } else {
      Echo(*one.request, reply);
    }
    control_->executed.fetch_add(1);
    steps_->Add();
    replies.Finish(std::move(one.request), std::move(reply));
  }
  int64_t pending() const override { return static_cast<int64_t>(queue_.size()); }
  void CheckIntegrity() const override {}

  static constexpr size_t kQueueMax = 256;

 private:
  struct OneRequest : engine::Step {
    std::unique_ptr<engine::Request> request;
  };

  void Echo(engine::Request& request, engine::Reply& reply) {
    for (size_t i = 0; i < description_.outputs.size(); ++i) {
      const std::string& name = description_.outputs[i].name;
      bool wanted = request.outputs.empty();
      for (const std::string& asked : request.outputs) wanted = wanted || asked == name;
      if (!wanted) continue;
      const std::string& from =
          description_.inputs[std::min(i, description_.inputs.size() - 1)].name;
      for (const tensor::NamedTensor& input : request.inputs) {
        if (input.name == from) reply.outputs.push_back({name, input.tensor});
      }
    }
  }

  const engine::Description description_;
  const std::shared_ptr<FakeControl> control_;
  const std::shared_ptr<base::Counter> steps_ = std::make_shared<base::Counter>();
  std::vector<engine::Measure> measures_;  // the same counter under two names
  std::deque<std::unique_ptr<engine::Request>> queue_;
  engine::Offer offer_;
};

// One tensor in, the same out: FP32 [-1, 16], up to 64 rows.
inline engine::Description IdentityDescription(const std::string& name, int64_t version) {
  engine::Description d;
  d.model = name;
  d.version = version;
  d.platform = "fake";
  d.inputs = {{"INPUT0", tensor::DType::kF32, {-1, 16}, false}};
  d.outputs = {{"OUTPUT0", tensor::DType::kF32, {-1, 16}, false}};
  d.batch_rows_max = 64;
  return d;
}

}  // namespace sluice::serve
