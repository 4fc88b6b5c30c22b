#include "lm/task/score_group.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lm/task/score_outputs.h"
#include "lm/task/scored_tokens.h"

namespace sluice::lm {
namespace {

int64_t ColumnsOf(const Scoring& asked, const LanguageModel& model) {
  switch (asked.kind) {
    case Scoring::Kind::kLabels:
      return static_cast<int64_t>(asked.labels.size());
    case Scoring::Kind::kClasses:
      return model.decoder.head_width();
    case Scoring::Kind::kLikelihood:
      break;
  }
  return 1;
}

}  // namespace

ScoreGroup::ScoreGroup(const LanguageModel& model, std::unique_ptr<engine::Request> request)
    : Group(std::move(request)),
      asked_(static_cast<const Scoring&>(*this->request().prepared)),
      columns_(ColumnsOf(asked_, model)) {
  scores_.resize(asked_.items.size() * static_cast<size_t>(columns_));
  if (asked_.kind == Scoring::Kind::kLikelihood) sums_.resize(asked_.items.size());
  if (asked_.token_logprobs) {
    item_logprobs_.resize(asked_.items.tokens.size(), std::numeric_limits<float>::quiet_NaN());
  }
}

bool ScoreGroup::Next(SequenceSpec& spec) {
  if (next_ == asked_.items.size()) return false;
  // Less than a block of the prefix is computed as fast as it is waited for.
  const bool waits =
      next_ > 0 && !prefix_ready_ && place().cached + kernels::kCacheBlockRows <= prefix_size();
  if (waits) return false;
  const std::span<const int32_t> item = asked_.items[next_++];
  spec.tokens.reserve(asked_.prompt.size() + item.size());
  spec.tokens = asked_.prompt;
  spec.tokens.insert(spec.tokens.end(), item.begin(), item.end());
  spec.shared_max = prefix_size();
  // Among themselves labels need no other logits.
  if (asked_.over_labels) spec.output = RowOutput::kState;
  if (asked_.kind == Scoring::Kind::kLikelihood) {
    // What the last token is followed by is not asked, so that its row is not computed.
    spec.tokens.pop_back();
    spec.outputs_from = std::max<int64_t>(prefix_size() - 1, 0);
  }
  return true;
}

void ScoreGroup::Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) {
  const int64_t last = member.first_output + member.outputs - 1;
  if (asked_.kind == Scoring::Kind::kLabels && member.whole) {
    if (asked_.over_labels) {
      readings.AddColumns(last, asked_.label_columns);
    } else {
      readings.AddLogprobs(last, asked_.labels);
    }
  } else if (asked_.kind == Scoring::Kind::kClasses && member.whole) {
    readings.AddLogits(last);
  } else if (asked_.kind == Scoring::Kind::kLikelihood) {
    const std::span<const int32_t> item = asked_.items[static_cast<size_t>(branch)];
    for (int64_t i = 0; i < member.outputs; ++i) {
      const int64_t following = member.to - member.outputs + i + 1 - prefix_size();
      readings.AddToken(member.first_output + i, item[static_cast<size_t>(following)], 0);
    }
  }
}

std::optional<int32_t> ScoreGroup::Hear(int32_t branch, const Scheduler::Member& member,
                                        const Readings::Results& results) {
  const auto item = static_cast<size_t>(branch);
  prefix_ready_ = prefix_ready_ || member.to >= prefix_size() - 1;
  if (asked_.kind == Scoring::Kind::kLikelihood) {
    const int64_t before = item == 0 ? 0 : asked_.items.ends[item - 1];
    int64_t at = before + member.to - member.outputs + 1 - prefix_size();
    for (const Sample& sample : results.samples) {
      sums_[item] += static_cast<double>(sample.logprob);
      if (asked_.token_logprobs) item_logprobs_[static_cast<size_t>(at)] = sample.logprob;
      ++at;
    }
    scores_[item] = static_cast<float>(sums_[item]);
  }
  if (!member.whole) return std::nullopt;
  ++ended_;
  if (asked_.kind == Scoring::Kind::kLikelihood) return std::nullopt;
  const std::span<float> own = std::span(scores_).subspan(item * static_cast<size_t>(columns_),
                                                          static_cast<size_t>(columns_));
  std::copy(results.values.begin(), results.values.end(), own.begin());
  ActivateScores(asked_.activation, own);
  return std::nullopt;
}

engine::Reply ScoreGroup::Finish() {
  engine::Reply reply;
  if (asked_.relevance) {
    std::vector<float> first;
    for (size_t i = 0; i < asked_.items.size(); ++i) {
      first.push_back(scores_[i * static_cast<size_t>(columns_)]);
    }
    AppendScores(first, 1, asked_.ranking, reply.outputs);
  } else {
    AppendScores(scores_, columns_, asked_.ranking, reply.outputs);
  }
  if (asked_.token_logprobs) {
    reply.outputs.push_back(
        {"item_logprobs", CopiedTensor<float>(tensor::DType::kF32, item_logprobs_)});
  }
  const auto tokens = static_cast<int64_t>(asked_.items.tokens.size());
  reply.parameters.emplace_back("prompt_tokens", prefix_size() + tokens);
  reply.parameters.emplace_back("cached_tokens", std::min(found_tokens(), prefix_size()));
  return reply;
}

}  // namespace sluice::lm
