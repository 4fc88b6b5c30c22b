// A conversation with a language model: what was said so far, and the next answer as it comes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"
#include "base/result.h"
#include "bin/local_model.h"

namespace sluice::bin {

// What an answer took.
struct AnswerFigures {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of them
  int64_t answer_tokens = 0;
  base::Duration to_first;      // from asking to the first piece of text
  base::Duration behind_first;  // from there to the end
  bool cancelled = false;
};

// Owner: a verb. One thread; `stop` may be set on any.
class Conversation {
 public:
  struct Options {
    std::string system;                       // the first message; empty: none
    engine::Parameters parameters;            // of sampling
    const std::atomic<bool>* stop = nullptr;  // ends the answer that is coming
  };
  Conversation(LocalModel& model, Options options);

  // Whether the model has a chat template. Without one each text is continued for itself, and
  // why_not() says what the model is missing.
  bool is_chat() const { return why_not_.empty(); }
  const std::string& why_not() const { return why_not_; }
  // kInvalidArgument when the model takes neither messages nor text.
  base::Status CheckModel();

  // Says `text` and gives the answer to `show`, piece by piece. What does not fit into the model's
  // context any more is forgotten from its beginning; `forgotten` tells how many exchanges.
  struct Asked {
    AnswerFigures figures;
    int64_t forgotten = 0;
  };
  base::Result<Asked> Ask(const std::string& text,
                          base::FunctionRef<void(std::string_view piece)> show);
  void Reset() { exchanges_.clear(); }

 private:
  struct Exchange {
    std::string question;
    std::string answer;
  };
  engine::Request MakeRequest(const std::string& text) const;
  base::Result<AnswerFigures> Receive(std::unique_ptr<engine::Request> request,
                                      base::FunctionRef<void(std::string_view piece)> show,
                                      std::string& answer);

  LocalModel& model_;
  const Options options_;
  std::string why_not_;
  std::vector<Exchange> exchanges_;
};

}  // namespace sluice::bin
