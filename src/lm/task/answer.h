// One of the answers to a prompt while it is generated: its tokens, its text and where it ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "lm/generation.h"
#include "lm/task/scored_tokens.h"

namespace sluice::lm {

// Owner: a group. What it is asked stays as long.
class Answer {
 public:
  // `text`: null for a model without one. `end_ids`: the model's, sorted.
  Answer(const Generation& asked, const ModelText* text, const std::vector<int32_t>& end_ids,
         int64_t index);

  // The next token. False: the answer is at its end, with it or, where it is a stop, before it.
  bool Hear(const Sample& sample);
  // It ends without a token.
  void EndAtLength() { finish_reason_ = "length"; }

  // Empty while it goes on.
  const char* finish_reason() const { return finish_reason_; }
  bool ended() const { return *finish_reason_ != '\0'; }
  const base::Status& status() const { return status_; }  // why it could not go on
  const ScoredTokens& tokens() const { return tokens_; }
  const TokenCounts& counts() const { return counts_; }
  uint64_t seed() const { return seed_; }

  // What the reader has been given.
  bool has_news() const { return tokens_.size() > sent_ || (ended() && !end_sent_); }
  bool end_sent() const { return end_sent_; }
  // The tokens that were not given yet.
  TokenRange NewTokens() const { return {&tokens_, sent_}; }
  // The new text, valid UTF-8; what may turn out to be the beginning of a stop waits until the
  // answer has ended.
  std::string NewText();
  void MarkSent();

 private:
  // Whether the newest text holds a stop: the answer ends before it.
  bool FindStop(size_t before);
  const char* Take(const Sample& sample);

  const Generation& asked_;
  const std::vector<int32_t>& end_ids_;
  const uint64_t seed_;
  ScoredTokens tokens_;
  TokenCounts counts_;                          // where there are penalties
  std::optional<text::StreamDecoder> decoder_;  // of a model with text
  std::string text_;                            // of all tokens
  const char* finish_reason_ = "";
  base::Status status_;
  size_t sent_ = 0;       // tokens that replies have carried
  size_t text_sent_ = 0;  // bytes of the text
  bool end_sent_ = false;
};

}  // namespace sluice::lm
