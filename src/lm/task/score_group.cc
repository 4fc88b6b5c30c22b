#include "lm/task/score_group.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lm/task/score_outputs.h"
#include "lm/task/scored_tokens.h"
#include "lm/task_names.h"

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

ScoreGroup::ScoreGroup(const LanguageModel& model, std::unique_ptr<Scoring> asked)
    : Group(std::move(asked)), asked_(static_cast<const Scoring&>(Group::asked())) {
  const auto items = static_cast<int64_t>(asked_.items.size());
  const int64_t said = ColumnsOf(asked_, model);
  said_.resize(static_cast<size_t>(said));
  scores_ = FilledTensor({items, asked_.relevance ? 1 : said}, 0);
  branches_.reserve(asked_.items.size());
  if (asked_.kind == Scoring::Kind::kLikelihood) {
    item_logprobs_ = FilledTensor({static_cast<int64_t>(asked_.items.tokens.size())},
                                  std::numeric_limits<float>::quiet_NaN());
  }
  if (asked_.token_logprobs) {
    std::vector<int32_t> lengths;
    for (size_t i = 0; i < asked_.items.size(); ++i) {
      lengths.push_back(static_cast<int32_t>(asked_.items[i].size()));
    }
    item_lengths_ = CopiedTensor<int32_t>(tensor::DType::kI32, lengths);
  }
}

bool ScoreGroup::Next(SequenceSpec& spec) {
  if (next_ == asked_.items.size()) return false;
  // Less than a block of the prefix is computed as fast as it is waited for.
  const bool waits =
      next_ > 0 && !prefix_ready_ && place().cached + kernels::kCacheBlockRows <= prefix_size();
  if (waits) return false;
  const std::span<const int32_t> item = asked_.items[next_];
  spec.tokens.reserve(asked_.prompt.size() + item.size());
  spec.tokens = asked_.prompt;
  spec.tokens.insert(spec.tokens.end(), item.begin(), item.end());
  spec.shared_max = prefix_size();
  // Among themselves labels need no other logits.
  if (asked_.over_labels) spec.output = RowOutput::kState;
  if (asked_.kind == Scoring::Kind::kLikelihood) {
    // What the last token is followed by is not asked, so that its row is not computed.
    spec.tokens.pop_back();
    spec.outputs_from = prefix_size();
    if (branches_.empty()) spec.outputs_from = std::max<int64_t>(prefix_size() - 1, 0);
  }
  branches_.push_back(static_cast<uint32_t>(next_++));
  while (shares_first() && feeds() && asked_.items[next_].size() == 1) ++next_;
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
    const std::span<const int32_t> item = asked_.items[branches_[static_cast<size_t>(branch)]];
    for (int64_t row = member.first_output; row <= last; ++row) {
      const int64_t following = member.to - (last - row) - prefix_size();
      if (following == 0 && shares_first()) {
        readings.AddLogprobs(row, asked_.first_tokens);
      } else {
        readings.AddToken(row, item[static_cast<size_t>(following)], 0);
      }
    }
  }
}

std::optional<int32_t> ScoreGroup::Hear(int32_t branch, const Scheduler::Member& member,
                                        const Readings::Results& results) {
  const size_t item = branches_[static_cast<size_t>(branch)];
  prefix_ready_ = prefix_ready_ || member.to >= prefix_size();
  if (asked_.kind == Scoring::Kind::kLikelihood) HearLikelihoods(item, member, results);
  if (!member.whole) return std::nullopt;
  ++ended_;
  if (asked_.kind != Scoring::Kind::kLikelihood) HearHead(item, results.values);
  return std::nullopt;
}

void ScoreGroup::HearHead(size_t item, std::span<const float> values) {
  std::copy(values.begin(), values.end(), said_.begin());
  ActivateScores(asked_.activation, said_);
  const auto columns = static_cast<size_t>(scores_.shape[1]);
  std::copy(said_.begin(), said_.begin() + scores_.shape[1], scores() + item * columns);
}

void ScoreGroup::HearLikelihoods(size_t item, const Scheduler::Member& member,
                                 const Readings::Results& results) {
  float* const logprobs = item_logprobs_.mutable_view().as<float>();
  for (size_t i = 0; i < results.values.size(); ++i) {
    logprobs[asked_.items.begin_of(i)] = results.values[i];
    if (i > 0 && asked_.items[i].size() == 1) ++ended_;
  }
  // What is said of single tokens are the last rows.
  const auto singles = static_cast<int64_t>(results.samples.size());
  int64_t at = asked_.items.begin_of(item) + member.to - prefix_size() + 1 - singles;
  for (const Sample& sample : results.samples) {
    logprobs[at++] = sample.logprob;
  }
}

float ScoreGroup::LikelihoodOf(size_t item) const {
  const float* const logprobs = item_logprobs_.view().as<float>();
  int64_t at = asked_.items.begin_of(item);
  if (!shares_first()) ++at;  // nothing is known of a text's first token
  double sum = 0;
  for (; at < asked_.items.ends[item]; ++at) sum += static_cast<double>(logprobs[at]);
  return static_cast<float>(sum);
}

engine::Reply ScoreGroup::Finish() {
  engine::Reply reply;
  if (asked_.kind == Scoring::Kind::kLikelihood) {
    for (size_t i = 0; i < asked_.items.size(); ++i) scores()[i] = LikelihoodOf(i);
  }
  AppendScores(std::move(scores_), asked_.ranking, reply.outputs);
  if (asked_.token_logprobs) {
    reply.outputs.push_back({"item_logprobs", std::move(item_logprobs_)});
    reply.outputs.push_back({kItemLengths, std::move(item_lengths_)});
  }
  const auto tokens = static_cast<int64_t>(asked_.items.tokens.size());
  reply.parameters.emplace_back("prompt_tokens", prefix_size() + tokens);
  reply.parameters.emplace_back("cached_tokens", std::min(found_tokens(), prefix_size()));
  return reply;
}

}  // namespace sluice::lm
