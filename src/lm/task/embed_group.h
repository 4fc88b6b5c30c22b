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
  explicit EmbedGroup(std::unique_ptr<Embedding> asked);

  bool Next(SequenceSpec& spec) override;
  bool feeds() const override { return next_ < asked_.texts.size(); }
  void Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) override;
  std::optional<int32_t> Hear(int32_t branch, const Scheduler::Member& member,
                              const Readings::Results& results) override;
  bool done() const override { return ended_ == asked_.texts.size(); }
  engine::Reply Finish() override;

 private:
  std::span<float> VectorOf(size_t text) {
    const auto columns = static_cast<size_t>(asked_.dimensions);
    return {vectors_.mutable_view().as<float>() + text * columns, columns};
  }
  void FinishVector(size_t text);

  const Embedding& asked_;
  tensor::Tensor vectors_;  // [texts, dimensions]: sums until a text is whole
  tensor::Tensor scores_;   // [texts - 1, 1], where they are compared
  size_t next_ = 0;         // a branch's number is its text
  size_t ended_ = 0;
};

}  // namespace sluice::lm
