// The JSON of completions and chat completions: whole answers and the events of a stream.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/openai/choices.h"
#include "serve/openai/completion_request.h"

namespace sluice::serve {

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
};

// What all parts of an answer have in common.
struct AnswerNames {
  CompletionKind kind = CompletionKind::kText;
  std::string model;
  std::string id;
  int64_t created = 0;      // seconds since 1970
  std::string fingerprint;  // of what answered
};
// A new answer's; `version` is the model's.
AnswerNames NameAnswer(CompletionKind kind, const std::string& model, std::string_view version);

// One choice of a whole answer, or what an event says of it.
struct ChoiceText {
  int64_t index = 0;
  std::string_view text;
  std::string_view finish_reason;                  // empty: null
  const std::vector<SaidToken>* tokens = nullptr;  // null: no logprobs
  int64_t characters = 0;  // of the choice's text in front of the first of `tokens`
  bool first = false;      // of an event: nothing was said of the choice before
};

std::string WriteAnswer(const AnswerNames& names, std::span<const ChoiceText> choices,
                        const Usage& usage);

// The events of one stream, each "data: {…}" and an empty line.
class EventWriter {
 public:
  // `tells_usage`: an event with the usage comes at the end; the others have a null in its place.
  EventWriter(const AnswerNames& names, bool tells_usage);
  // `usage` may be null.
  void Append(const ChoiceText& choice, const Usage* usage, std::string& out) const;
  void AppendUsage(const Usage& usage, std::string& out) const;
  static void AppendFault(std::string_view json, std::string& out);
  static void AppendDone(std::string& out);

 private:
  const CompletionKind kind_;
  const bool tells_usage_;
  std::string begin_;  // of every event, up to its choices
};

// How many characters a token adds to a text: the bytes that begin one.
int64_t CountCharacters(std::string_view bytes);

}  // namespace sluice::serve
