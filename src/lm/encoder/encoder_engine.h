// The engine of encoders: sequences of all requests share steps, ragged, most urgent first.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/cost_model.h"
#include "engine/engine.h"
#include "lm/encoder/encoder_model.h"
#include "lm/encoder/encoder_queue.h"

namespace sluice::lm {

// One per (model version, loop). The mutable part belongs to the lease holder; Prepare and the
// descriptions look at the shared model alone.
class EncoderEngine : public engine::Engine {
 public:
  explicit EncoderEngine(std::shared_ptr<const EncoderModel> model);
  ~EncoderEngine() override;

  const engine::Description& description() const override { return model_->description; }
  base::Duration PrepareCost(const engine::Request& request) const override;
  base::Status Prepare(engine::Request& request) const override;
  engine::MemoryUse memory() const override;
  std::unique_ptr<engine::Step> MakeStep(int slot) override;

  engine::Admission Admit(std::unique_ptr<engine::Request>& request,
                          const engine::Outlook& outlook) override;
  void OnEvent(const engine::Event& event, const engine::Outlook& outlook,
               engine::Replies& replies) override;
  void Sweep(base::Time now, engine::Replies& replies) override { queue_.Sweep(now, replies); }
  const engine::Offer* BestOffer(base::Time now, engine::WorkClass work) override {
    return queue_.BestOffer(now, work);
  }
  bool Form(const engine::Offer& offer, engine::Step& step, engine::Replies& replies) override;
  void Commit(engine::Step& step, engine::StepStatus status, engine::Replies& replies) override;
  int64_t pending() const override { return queue_.size(); }
  void CheckIntegrity() const override { queue_.CheckIntegrity(); }

  void Launch(engine::Step& step, engine::Exec& exec, engine::Safepoint& safepoint) override;

 private:
  struct EncoderStep;

  int64_t rows_max() const;  // of a step
  base::Duration PriorOf(int64_t units) const;

  const std::shared_ptr<const EncoderModel> model_;
  engine::CostModel costs_;
  EncoderQueue queue_;
};

}  // namespace sluice::lm
