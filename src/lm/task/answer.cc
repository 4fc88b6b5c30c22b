#include "lm/task/answer.h"

#include <algorithm>

namespace sluice::lm {

Answer::Answer(const Generation& asked, const ModelText* text, const std::vector<int32_t>& end_ids,
               int64_t index)
    : asked_(asked),
      end_ids_(end_ids),
      seed_(SeedOf(asked.sampling.seed, index)),
      tokens_({asked.sampling.logprobs, asked.token_texts}),
      counts_(asked.prompt_counts) {
  if (text != nullptr) decoder_.emplace(text->MakeDecoder());
}

bool Answer::Hear(const Sample& sample) {
  finish_reason_ = Take(sample);
  if (ended() && decoder_.has_value()) {
    decoder_->Finish(text_);
    decoder_.reset();
  }
  return !ended();
}

const char* Answer::Take(const Sample& sample) {
  const auto holds = [&](const std::vector<int32_t>& ids) {
    return std::binary_search(ids.begin(), ids.end(), sample.token);
  };
  if ((!asked_.ignore_eos && holds(end_ids_)) || holds(asked_.stop_ids)) return "stop";
  tokens_.Add(sample);
  if (HasPenalties(asked_.sampling)) counts_.AddGenerated(sample.token);
  if (decoder_.has_value()) {
    const size_t before = text_.size();
    status_ = decoder_->Append(sample.token, text_);
    if (!status_.ok()) return "error";
    if (FindStop(before)) return "stop";
  }
  return static_cast<int64_t>(tokens_.size()) == asked_.answer_max ? "length" : "";
}

bool Answer::FindStop(size_t before) {
  size_t end = std::string::npos;
  for (const std::string& stop : asked_.stop) {
    const size_t from = before < stop.size() ? 0 : before - stop.size() + 1;
    end = std::min(end, text_.find(stop, from));
  }
  if (end == std::string::npos) return false;
  text_.resize(std::max(end, text_sent_));
  decoder_.reset();  // what it holds back comes behind the stop
  return true;
}

std::string Answer::NewText() {
  size_t end = text_.size();
  if (!ended() && asked_.stop_bytes > 0) end -= std::min(asked_.stop_bytes - 1, end);
  end = std::max(end, text_sent_);
  // Not within a character.
  const auto continues = [&](size_t at) { return (text_[at] & 0xc0) == 0x80; };
  while (end < text_.size() && end > text_sent_ && continues(end)) --end;
  std::string piece = text_.substr(text_sent_, end - text_sent_);
  text_sent_ = end;
  return piece;
}

void Answer::MarkSent() {
  sent_ = tokens_.size();
  end_sent_ = ended();
}

}  // namespace sluice::lm
