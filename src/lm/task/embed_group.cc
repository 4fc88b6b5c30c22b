#include "lm/task/embed_group.h"

#include <algorithm>
#include <utility>

#include "lm/task/score_outputs.h"
#include "lm/task/scored_tokens.h"
#include "lm/task_names.h"

namespace sluice::lm {

EmbedGroup::EmbedGroup(const LanguageModel& model, std::unique_ptr<engine::Request> request)
    : Group(std::move(request)),
      asked_(static_cast<const Embedding&>(*this->request().prepared)),
      hidden_(model.decoder.config().hidden) {
  vectors_.resize(asked_.texts.size() * static_cast<size_t>(hidden_));
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
  std::span<float> vector = VectorOf(text);
  if (asked_.pooling == StatePooling::kMean) {
    const auto count = static_cast<float>(asked_.texts[text].size());
    for (float& x : vector) x /= count;
  }
  vector = vector.first(static_cast<size_t>(asked_.dimensions));
  if (asked_.normalize) NormalizeVector(vector);
}

engine::Reply EmbedGroup::Finish() {
  engine::Reply reply;
  const auto columns = static_cast<size_t>(asked_.dimensions);
  if (asked_.compares) {
    std::vector<float> scores;
    const std::span<const float> first = VectorOf(0).first(columns);
    for (size_t i = 1; i < asked_.texts.size(); ++i) {
      double sum = 0;
      for (size_t j = 0; j < columns; ++j) {
        sum += static_cast<double>(first[j]) * static_cast<double>(VectorOf(i)[j]);
      }
      scores.push_back(static_cast<float>(sum));
    }
    AppendScores(scores, 1, asked_.ranking, reply.outputs);
  } else {
    std::vector<float> cut;
    cut.reserve(asked_.texts.size() * columns);
    for (size_t i = 0; i < asked_.texts.size(); ++i) {
      const std::span<const float> own = VectorOf(i).first(columns);
      cut.insert(cut.end(), own.begin(), own.end());
    }
    reply.outputs.push_back(
        {kEmbedding, CopiedTensor<float>(tensor::DType::kF32, cut, asked_.dimensions)});
  }
  reply.parameters.emplace_back("prompt_tokens", static_cast<int64_t>(asked_.texts.tokens.size()));
  return reply;
}

}  // namespace sluice::lm
