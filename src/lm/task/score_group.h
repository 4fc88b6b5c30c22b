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
  ScoreGroup(const LanguageModel& model, std::unique_ptr<Scoring> asked);

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
  void HearHead(size_t item, std::span<const float> values);
  // The sum of an item's logprobs.
  float LikelihoodOf(size_t item) const;
  float* scores() { return scores_.mutable_view().as<float>(); }

  const Scoring& asked_;
  std::vector<float> said_;         // by the head of one item; of relevance more than is a score
  tensor::Tensor scores_;           // [items, columns]
  tensor::Tensor item_logprobs_;    // of all items' tokens, of likelihoods
  tensor::Tensor item_lengths_;     // where logprobs of tokens are asked for
  std::vector<uint32_t> branches_;  // the item of each
  size_t next_ = 0;                 // the item that comes next
  size_t ended_ = 0;
  bool prefix_ready_ = false;
};

}  // namespace sluice::lm
