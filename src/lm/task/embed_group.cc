#include "lm/task/embed_group.h"

#include <algorithm>
#include <utility>

#include "lm/task/score_outputs.h"
#include "lm/task/scored_tokens.h"
#include "lm/task_names.h"

namespace sluice::lm {

EmbedGroup::EmbedGroup(std::unique_ptr<Embedding> asked)
    : Group(std::move(asked)), asked_(static_cast<const Embedding&>(Group::asked())) {
  const auto texts = static_cast<int64_t>(asked_.texts.size());
  vectors_ = FilledTensor({texts, asked_.dimensions}, 0);
  if (asked_.compares) scores_ = FilledTensor({texts - 1, 1}, 0);
}

bool EmbedGroup::Next(SequenceSpec& spec) {
  if (next_ == asked_.texts.size()) return false;
  const std::span<const int32_t> text = asked_.texts[next_++];
  spec.tokens.assign(text.begin(), text.end());
  spec.output = RowOutput::kState;
  // Texts are of one use mostly, but many begin with the same instruction.
  spec.eviction = kv::kEvictionClasses - 1;
  if (asked_.pooling == StatePooling::kMean) {
    spec.outputs_from = 0;
    spec.shared_max = 0;
  }
  return true;
}

void EmbedGroup::Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) {
  if (asked_.pooling == StatePooling::kMean) {
    if (member.outputs == 0) return;
    readings.AddStates(member.first_output, member.outputs, VectorOf(static_cast<size_t>(branch)));
  } else if (member.whole) {
    readings.AddStates(member.first_output + member.outputs - 1, 1,
                       VectorOf(static_cast<size_t>(branch)));
  }
}

std::optional<int32_t> EmbedGroup::Hear(int32_t branch, const Scheduler::Member& member,
                                        const Readings::Results& results) {
  const auto text = static_cast<size_t>(branch);
  std::copy(results.values.begin(), results.values.end(), VectorOf(text).begin());
  if (member.whole) FinishVector(text);
  return std::nullopt;
}

void EmbedGroup::FinishVector(size_t text) {
  ++ended_;
  const std::span<float> vector = VectorOf(text);
  if (asked_.pooling == StatePooling::kMean) {
    const auto count = static_cast<float>(asked_.texts[text].size());
    for (float& x : vector) x /= count;
  }
  if (asked_.normalize) NormalizeVector(vector);
}

engine::Reply EmbedGroup::Finish() {
  engine::Reply reply;
  if (asked_.compares) {
    const std::span<const float> first = VectorOf(0);
    for (size_t i = 1; i < asked_.texts.size(); ++i) {
      const std::span<const float> own = VectorOf(i);
      double sum = 0;
      for (size_t j = 0; j < own.size(); ++j) {
        sum += static_cast<double>(first[j]) * static_cast<double>(own[j]);
      }
      scores_.mutable_view().as<float>()[i - 1] = static_cast<float>(sum);
    }
    AppendScores(std::move(scores_), asked_.ranking, reply.outputs);
  } else {
    reply.outputs.push_back({kEmbedding, std::move(vectors_)});
  }
  reply.parameters.emplace_back("prompt_tokens", static_cast<int64_t>(asked_.texts.tokens.size()));
  return reply;
}

}  // namespace sluice::lm
