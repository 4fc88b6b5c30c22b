// A request for embeddings: texts side by side, of whose final states vectors are made.
#pragma once

#include <memory>
#include <vector>

#include "lm/language_model.h"
#include "lm/task/group.h"
#include "lm/task/scoring.h"

namespace sluice::lm {

// Every text is a branch. A mean adds the states one by one in their order, however the text is cut
// into steps.
class EmbedGroup : public Group {
 public:
  // `request` has been prepared as an Embedding.
  EmbedGroup(const LanguageModel& model, std::unique_ptr<engine::Request> request);

  bool Next(SequenceSpec& spec) override;
  bool feeds() const override { return next_ < asked_.texts.size(); }
  void Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) override;
  std::optional<int32_t> Hear(int32_t branch, const Scheduler::Member& member,
                              const Readings::Results& results) override;
  bool done() const override { return ended_ == asked_.texts.size(); }
  engine::Reply Finish() override;

 private:
  std::span<float> VectorOf(size_t text) {
    return std::span(vectors_).subspan(text * static_cast<size_t>(hidden_),
                                       static_cast<size_t>(hidden_));
  }
  void FinishVector(size_t text);

  const Embedding& asked_;
  const int64_t hidden_;
  std::vector<float> vectors_;  // [texts, hidden]: sums until a text is whole
  size_t next_ = 0;             // a branch's number is its text
  size_t ended_ = 0;
};

}  // namespace sluice::lm
