// A request for tokens: one or more answers to a prompt, which is computed once.
#pragma once

#include <memory>
#include <vector>

#include "lm/generation.h"
#include "lm/language_model.h"
#include "lm/task/answer.h"
#include "lm/task/group.h"

namespace sluice::lm {

// The first branch computes the prompt, and every answer draws its first token of its last row;
// the others continue from there, on the prompt's rows in the cache.
class GenerateGroup : public Group {
 public:
  GenerateGroup(const LanguageModel& model, std::unique_ptr<Generation> asked);

  bool Next(SequenceSpec& spec) override;
  bool feeds() const override { return next_ < answers_.size(); }
  void Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) override;
  std::optional<int32_t> Hear(int32_t branch, const Scheduler::Member& member,
                              const Readings::Results& results) override;
  bool done() const override { return failed_ != nullptr || ended_ == answers_.size(); }
  engine::Reply Finish() override;
  bool has_news() const override;
  engine::Reply TakeChunk() override;

 private:
  void Heed(Answer& answer, const Sample& sample);
  void HearPrompt(const Scheduler::Member& member, const Readings::Results& results);
  // With what was not said yet of these answers.
  engine::Reply ReplyWith(std::span<Answer* const> answers) const;

  const LanguageModel& model_;
  const Generation& asked_;
  std::vector<std::unique_ptr<Answer>> answers_;
  ScoredTokens prompt_;           // where its logprobs are asked for
  std::vector<size_t> branches_;  // the answer that a branch continues; the first one begins all
  size_t next_ = 0;               // the answer whose branch comes next
  size_t next_chunk_ = 0;         // whose turn it is to be told
  bool begun_ = false;            // the prompt is computed
  size_t ended_ = 0;              // answers
  const Answer* failed_ = nullptr;
};

}  // namespace sluice::lm
