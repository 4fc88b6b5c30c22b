#include "lm/task/generate_group.h"

#include <string>
#include <utility>

#include "base/check.h"

namespace sluice::lm {
namespace {

constexpr TokenOutputNames kAnswerNames = {kOutputIds,   kLogprobs,   kTopIds,
                                           kTopLogprobs, kTokenTexts, kTopTexts};
constexpr TokenOutputNames kPromptNames = {kPromptIds,         kPromptLogprobs, kPromptTopIds,
                                           kPromptTopLogprobs, kPromptTexts,    kPromptTopTexts};

engine::Parameter Count(size_t n) {
  return static_cast<int64_t>(n);
}

}  // namespace

GenerateGroup::GenerateGroup(const LanguageModel& model, std::unique_ptr<Generation> asked)
    : Group(std::move(asked)),
      model_(model),
      asked_(static_cast<const Generation&>(Group::asked())),
      prompt_({asked_.prompt_top, asked_.token_texts}) {
  if (asked_.prompt_top >= 0) prompt_.Reserve(asked_.prompt.size());
  answers_.reserve(static_cast<size_t>(asked_.answers));
  for (int64_t i = 0; i < asked_.answers; ++i) {
    answers_.push_back(std::make_unique<Answer>(asked_, model.text.get(), model.end_ids, i));
  }
}

bool GenerateGroup::Next(SequenceSpec& spec) {
  if (branches_.empty()) {
    spec.tokens = asked_.prompt;
    // The last token is said, never computed.
    spec.generated_max = asked_.serial_steps();
    if (asked_.prompt_top >= 0) {
      prompt_.AddUnknown(asked_.prompt[0]);
      spec.outputs_from = 0;
    }
    branches_.push_back(0);
    next_ = 1;
    return true;
  }
  if (!begun_) return false;
  while (next_ < answers_.size() && answers_[next_]->ended()) ++next_;
  if (next_ == answers_.size()) return false;
  spec.tokens.reserve(asked_.prompt.size() + static_cast<size_t>(asked_.answer_max));
  spec.tokens = asked_.prompt;
  spec.tokens.push_back(answers_[next_]->tokens().ids().front());
  spec.generated_max = asked_.answer_max - 2;
  branches_.push_back(next_++);
  return true;
}

void GenerateGroup::Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) {
  const int64_t row = member.first_output + member.outputs - 1;
  if (!begun_ && asked_.prompt_top >= 0) {
    for (int64_t p = member.to - member.outputs; p < member.to; ++p) {
      if (p + 1 == asked_.row_count()) break;  // what follows the prompt is drawn
      readings.AddToken(row + 1 + p - member.to, asked_.prompt[static_cast<size_t>(p + 1)],
                        asked_.prompt_top);
    }
  }
  if (!member.whole) return;
  if (!begun_) {
    for (const auto& answer : answers_) {
      if (asked_.answer_max == 0) break;
      readings.AddDraw(row, asked_.sampling, answer->counts(), answer->seed(), member.to);
    }
    return;
  }
  const Answer& answer = *answers_[branches_[static_cast<size_t>(branch)]];
  readings.AddDraw(row, asked_.sampling, answer.counts(), answer.seed(), member.to);
}

void GenerateGroup::Heed(Answer& answer, const Sample& sample) {
  if (answer.Hear(sample)) return;
  ++ended_;
  if (!answer.status().ok()) failed_ = &answer;
}

std::optional<int32_t> GenerateGroup::Hear(int32_t branch, const Scheduler::Member& member,
                                           const Readings::Results& results) {
  if (!begun_) {
    HearPrompt(member, results);
  } else if (member.whole) {
    CHECK_EQ(results.samples.size(), 1u);
    Heed(*answers_[branches_[static_cast<size_t>(branch)]], results.samples[0]);
  }
  const Answer& answer = *answers_[branches_[static_cast<size_t>(branch)]];
  if (!member.whole || answer.ended()) return std::nullopt;
  return answer.tokens().ids().back();
}

void GenerateGroup::HearPrompt(const Scheduler::Member& member, const Readings::Results& results) {
  size_t known = 0;
  if (asked_.prompt_top >= 0) {
    known = static_cast<size_t>(member.outputs) - (member.whole ? 1 : 0);
    for (const Sample& sample : results.samples.first(known)) prompt_.Add(sample);
  }
  if (!member.whole) return;
  begun_ = true;
  for (size_t i = 0; i < answers_.size(); ++i) {
    if (asked_.answer_max == 0) {
      answers_[i]->EndAtLength();
      ++ended_;
    } else {
      Heed(*answers_[i], results.samples[known + i]);
    }
  }
}

engine::Reply GenerateGroup::ReplyWith(std::span<Answer* const> answers) const {
  engine::Reply reply;
  std::vector<TokenRange> ranges;
  std::vector<int32_t> lengths;
  std::vector<std::string> texts;
  for (Answer* const answer : answers) {
    ranges.push_back(answer->NewTokens());
    lengths.push_back(static_cast<int32_t>(answer->tokens().size() - ranges.back().begin));
    texts.push_back(answer->NewText());
  }
  AppendTokenOutputs(kAnswerNames, ranges, model_.text.get(), reply.outputs);
  if (answers.size() > 1) {
    reply.outputs.push_back({kOutputLengths, CopiedTensor<int32_t>(tensor::DType::kI32, lengths)});
  }
  if (model_.text != nullptr) {
    const auto count = static_cast<int64_t>(texts.size());
    reply.outputs.push_back({kText, tensor::Tensor::FromStrings(tensor::Shape({count}), texts)});
  }
  for (Answer* const answer : answers) answer->MarkSent();
  return reply;
}

bool GenerateGroup::has_news() const {
  if (!asked_.stream) return false;
  for (const auto& answer : answers_) {
    if (answer->has_news()) return true;
  }
  return false;
}

engine::Reply GenerateGroup::TakeChunk() {
  // Whoever waits longest goes first, so that a reader who is behind hears of all.
  while (!answers_[next_chunk_]->has_news()) next_chunk_ = (next_chunk_ + 1) % answers_.size();
  const size_t index = next_chunk_;
  Answer* const answer = answers_[index].get();
  engine::Reply chunk = ReplyWith({&answer, 1});
  chunk.terminal = false;
  chunk.parameters.emplace_back("choice", Count(index));
  chunk.parameters.emplace_back("prompt_tokens", Count(asked_.prompt.size()));
  if (answer->ended()) {
    chunk.parameters.emplace_back("finish_reason", std::string(answer->finish_reason()));
  }
  next_chunk_ = (next_chunk_ + 1) % answers_.size();
  return chunk;
}

engine::Reply GenerateGroup::Finish() {
  if (failed_ != nullptr) {
    engine::Reply reply;
    reply.status = failed_->status();
    return reply;
  }
  std::vector<Answer*> all;
  std::vector<std::string> reasons;
  size_t said = 0;
  for (const auto& answer : answers_) {
    all.push_back(answer.get());
    reasons.emplace_back(answer->finish_reason());
    said += answer->tokens().size();
  }
  engine::Reply reply = ReplyWith(all);
  const auto count = static_cast<int64_t>(reasons.size());
  reply.outputs.push_back(
      {kFinishReasons, tensor::Tensor::FromStrings(tensor::Shape({count}), reasons)});
  if (asked_.prompt_top >= 0) {
    const TokenRange whole = {&prompt_, 0};
    AppendTokenOutputs(kPromptNames, {&whole, 1}, model_.text.get(), reply.outputs);
  }
  if (count == 1) reply.parameters.emplace_back("finish_reason", reasons[0]);
  reply.parameters.emplace_back("prompt_tokens", Count(asked_.prompt.size()));
  if (asked_.truncated > 0) reply.parameters.emplace_back("truncated_tokens", asked_.truncated);
  reply.parameters.emplace_back("completion_tokens", Count(said));
  reply.parameters.emplace_back("cached_tokens", found_tokens());
  return reply;
}

}  // namespace sluice::lm
