// A request for scores: one prefix, computed once, and items as leaves on it.
#pragma once

#include <memory>
#include <vector>

#include "lm/language_model.h"
#include "lm/task/group.h"
#include "lm/task/scoring.h"

namespace sluice::lm {

// Every item is a branch: the prefix and the item behind it. Items come when the first one has
// computed the prefix; their own rows are left to nobody. How likely an item's first token is tells
// the prefix's last row, which the first branch computes for all of them: items of one token need
// no branch.
class ScoreGroup : public Group {
 public:
  // `request` has been prepared as a Scoring.
  ScoreGroup(const LanguageModel& model, std::unique_ptr<engine::Request> request);

  bool Next(SequenceSpec& spec) override;
  bool feeds() const override { return next_ < asked_.items.size(); }
  void Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) override;
  std::optional<int32_t> Hear(int32_t branch, const Scheduler::Member& member,
                              const Readings::Results& results) override;
  bool done() const override { return ended_ == asked_.items.size(); }
  engine::Reply Finish() override;

 private:
  int64_t prefix_size() const { return static_cast<int64_t>(asked_.prompt.size()); }
  bool shares_first() const { return !asked_.first_tokens.empty(); }
  void HearLikelihoods(size_t item, const Scheduler::Member& member,
                       const Readings::Results& results);
  // The sum of an item's logprobs.
  float LikelihoodOf(size_t item) const;

  const Scoring& asked_;
  const int64_t columns_;
  std::vector<float> scores_;         // [items, columns]
  std::vector<float> item_logprobs_;  // of all items' tokens, of likelihoods
  std::vector<uint32_t> branches_;    // the item of each
  size_t next_ = 0;                   // the item that comes next
  size_t ended_ = 0;
  bool prefix_ready_ = false;
};

}  // namespace sluice::lm
