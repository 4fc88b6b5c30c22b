// The engine of language models: every step computes rows of all sequences that have some to go.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "lm/language_model.h"
#include "lm/schedule/forecast.h"
#include "lm/schedule/scheduler.h"
#include "lm/schedule/step_cost.h"
#include "lm/schedule/token_measures.h"
#include "lm/task/group.h"

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
  const std::vector<engine::Measure>& measures() const override { return measures_.list(); }
  std::unique_ptr<engine::Step> MakeStep(int slot) override;

  engine::Admission Admit(std::unique_ptr<engine::Request>& request,
                          const engine::Outlook& outlook) override;
  void OnEvent(const engine::Event& event, const engine::Outlook& outlook,
               engine::Replies& replies) override;
  void Sweep(base::Time now, engine::Replies& replies) override;
  const engine::Offer* BestOffer(base::Time now, engine::WorkClass work) override;
  bool Form(const engine::Offer& offer, engine::Step& step, engine::Replies& replies) override;
  void Commit(engine::Step& step, engine::StepStatus status, engine::Replies& replies) override;
  int64_t pending() const override { return static_cast<int64_t>(groups_.size()); }
  void CheckIntegrity() const override;

  void Launch(engine::Step& step, engine::Exec& exec, engine::Safepoint& safepoint) override;

  const Scheduler::Statistics& statistics() const { return scheduler_.statistics(); }

 private:
  struct LmStep;
  // Whose a sequence of the scheduler is.
  struct Owner {
    Group* group = nullptr;
    int32_t branch = 0;
    base::Time heard = {};  // its last token; zero: none yet
  };

  // Time: lm_engine_time.cc.
  static StepCost::Prior PriorOf(const LanguageModel& model);
  // Whether the request, of whose prompt the cache has `found` tokens, cannot be in time behind
  // what is there, or makes something as important late.
  bool IsTooLate(const Asked& asked, const SequenceSpec& frame, int64_t found,
                 const engine::Outlook& outlook);
  void CollectErrands(bool timed_only);
  // Steps behind the first token, as many as such answers have had of what they may have.
  int64_t ExpectedSteps(const Asked& asked) const;
  // A branch has been given a token at `now`, and another one comes if it `goes_on`.
  void NoteToken(Owner& owner, Scheduler::Id id, base::Time now, bool goes_on);
  void NoteAnswer(const Group& group, const engine::Reply& reply, base::Time now);
  void NoteStep(const LmStep& step, engine::StepStatus status);
  StepLimits LimitsAt(base::Time now) const;
  // Whether somebody waits for it with a deadline or an objective.
  static bool IsTimed(const Group& group);
  SequenceSpec FrameOf(const Asked& asked, const engine::Call& call);
  // Hands sequences of the group to the scheduler, as many as it takes now.
  bool Feed(Group& group);
  void FeedAll();
  Owner& OwnerOf(Scheduler::Id id) { return owners_[static_cast<size_t>(id)]; }
  // The scheduler forgets a branch, or all of them.
  void DropBranch(Group& group, Scheduler::Id id);
  std::unique_ptr<Group> TakeOut(size_t index);
  void HearMember(const LmStep& step, size_t member);
  void TellAll(const LmStep& step, engine::Replies& replies);

  const std::shared_ptr<const LanguageModel> model_;
  StepCost costs_;
  Scheduler scheduler_;
  tensor::Buffer blocks_;
  CacheMemory cache_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::vector<Owner> owners_;    // by sequence
  std::vector<Group*> feeding_;  // those that may have sequences the scheduler lacks
  int32_t extra_branches_ = 0;   // beyond the first of each group
  uint64_t arrivals_ = 0;
  uint64_t forms_ = 0;
  engine::Offer offers_[2];  // by class
  TokenMeasures measures_;
  Forecast forecast_;
  std::vector<Errand> errands_;
  std::vector<Errand> played_;
  const engine::Backlog* backlog_ = nullptr;  // the loop's, once a request was admitted
  double said_share_ = 1;  // of the tokens that answers may have, those that they had; a mean
  double stretch_ = 1;     // time that passes while a step is computed, by that time; a mean
  base::Time busy_since_ = base::Time::Never();  // the end of the last step, if others waited then
};

}  // namespace sluice::lm
