// The engine of language models: every step computes rows of all sequences that have some to go.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cost_model.h"
#include "engine/engine.h"
#include "lm/language_model.h"
#include "lm/sampler.h"
#include "lm/scheduler.h"

namespace sluice::lm {

// One per (model version, loop). The mutable part belongs to the lease holder; Prepare and the
// descriptions look at the shared model alone.
class LmEngine : public engine::Engine {
 public:
  explicit LmEngine(std::shared_ptr<const LanguageModel> model);
  ~LmEngine() override;

  const engine::Description& description() const override { return model_->description; }
  base::Duration PrepareCost(const engine::Request& request) const override;
  base::Status Prepare(engine::Request& request) const override;
  engine::MemoryUse memory() const override;
  std::unique_ptr<engine::Step> MakeStep(int slot) override;

  engine::Admission Admit(std::unique_ptr<engine::Request>& request,
                          const engine::Outlook& outlook) override;
  void OnEvent(const engine::Event& event, const engine::Outlook& outlook,
               engine::Replies& replies) override;
  void Sweep(base::Time now, engine::Replies& replies) override;
  const engine::Offer* BestOffer(base::Time now, engine::WorkClass work) override;
  bool Form(const engine::Offer& offer, engine::Step& step, engine::Replies& replies) override;
  void Commit(engine::Step& step, engine::StepStatus status, engine::Replies& replies) override;
  int64_t pending() const override { return static_cast<int64_t>(answers_.size()); }
  void CheckIntegrity() const override;

  void Launch(engine::Step& step, engine::Exec& exec, engine::Safepoint& safepoint) override;

  const Scheduler::Statistics& statistics() const { return scheduler_.statistics(); }

 private:
  // A request and what was said to it.
  struct Answer {
    std::unique_ptr<engine::Request> request;
    Scheduler::Id id = Scheduler::kNone;
    size_t index = 0;  // among all answers
    TokenCounts counts;
    std::vector<int32_t> tokens;
    std::vector<float> logprobs;
    std::optional<text::StreamDecoder> decoder;  // of a model with text
    std::string text;                            // of all tokens
    size_t text_sent = 0;                        // of it, what chunks have carried
    base::Status status;                         // why it cannot go on
    size_t sent = 0;                             // tokens that chunks have carried
    int64_t found_tokens = -1;                   // of the prompt, in the cache; -1: not started
    bool in_step = false;
  };
  struct LmStep;

  const Generation& GenerationOf(const Answer& answer) const {
    return static_cast<const Generation&>(*answer.request->prepared);
  }
  base::Duration PriorOf(int64_t rows) const;
  Answer& Find(Scheduler::Id id) { return *by_id_[static_cast<size_t>(id)]; }
  // Takes the request out; the scheduler forgets its sequence. Another answer takes its place.
  std::unique_ptr<engine::Request> TakeOut(size_t index);
  // What the next token means: null while the answer goes on, else why it is finished.
  const char* Hear(Answer& answer, const Sample& sample) const;
  // Whether the newest text holds a stop: the answer ends before it.
  bool FindStop(Answer& answer, size_t before) const;
  engine::Reply ReplyWith(Answer& answer, bool last) const;
  void Finish(size_t index, const char* why, engine::Replies& replies);

  const std::shared_ptr<const LanguageModel> model_;
  engine::CostModel costs_;
  Scheduler scheduler_;
  tensor::Buffer blocks_;
  CacheMemory cache_;
  std::vector<std::unique_ptr<Answer>> answers_;
  std::vector<Answer*> by_id_;  // [sequences_max] the same by their sequences
  engine::Offer offers_[2];     // by class
};

}  // namespace sluice::lm
