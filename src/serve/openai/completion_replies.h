// The replies of the engine to the prompts of one request, brought to the connection's thread and
// made into its answer: one document, or a stream of events.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/request.h"
#include "serve/delivery.h"
#include "serve/http/session.h"
#include "serve/openai/answer_json.h"
#include "serve/openai/completion_request.h"

namespace sluice::serve {

// What an answer needs to know of its request.
struct CompletionShape {
  AnswerNames names;
  int64_t answers = 1;  // to each prompt
  bool logprobs = false;
  bool tells_usage = false;
  bool usage_always = false;
  bool echo = false;
  std::vector<std::string> echoed;  // of each prompt; empty: its tokens' texts
  std::string headers;              // of every answer to the request
  std::string accept_encoding;
  std::vector<std::shared_ptr<engine::Call>> calls;  // of each prompt
};

// One per request. Replies may be posted on any thread; everything else happens on the exchange's
// io thread.
class CompletionReplies : public Delivery, public std::enable_shared_from_this<CompletionReplies> {
 public:
  CompletionReplies(const HttpExchange& exchange, CompletionShape shape);
  // The sink of one prompt's replies.
  std::shared_ptr<engine::ReplySink> SinkOf(size_t prompt);
  void Arrive() override;

 protected:
  virtual void Take(size_t prompt, engine::Reply reply) = 0;
  // All that has come was taken.
  virtual void Settle() {}
  virtual bool takes_chunks() const { return false; }

  // Nobody wants what is not answered yet.
  void CancelAll();
  // Adds what a last reply counted.
  void Count(const engine::Reply& reply);
  int64_t IndexOf(size_t prompt, int64_t choice) const {
    return static_cast<int64_t>(prompt) * shape_.answers + choice;
  }

  const HttpExchange exchange_;
  const CompletionShape shape_;
  size_t unanswered_;  // prompts
  bool failed_ = false;
  Usage usage_;

 private:
  class Sink;
  void Post(size_t prompt, engine::Reply reply);

  std::mutex mutex_;
  std::vector<std::pair<size_t, engine::Reply>> came_;  // guarded by mutex_
};

// One document when all prompts are answered.
std::shared_ptr<CompletionReplies> AnswerInOne(const HttpExchange& exchange, CompletionShape shape);
// Server-sent events as tokens come. A request that fails before its first token is answered as if
// it were not streamed.
std::shared_ptr<CompletionReplies> AnswerInEvents(const HttpExchange& exchange,
                                                  CompletionShape shape);

}  // namespace sluice::serve
