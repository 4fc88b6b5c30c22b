#include "serve/openai/completion_replies.h"

#include "serve/oip/http_answers.h"
#include "serve/openai/errors.h"

namespace sluice::serve {

class CompletionReplies::Sink : public engine::ReplySink {
 public:
  Sink(std::shared_ptr<CompletionReplies> replies, size_t prompt)
      : replies_(std::move(replies)), prompt_(prompt) {}
  void Post(engine::Reply reply) override { replies_->Post(prompt_, std::move(reply)); }

 private:
  const std::shared_ptr<CompletionReplies> replies_;
  const size_t prompt_;
};

CompletionReplies::CompletionReplies(const HttpExchange& exchange, CompletionShape shape)
    : exchange_(exchange), shape_(std::move(shape)), unanswered_(shape_.calls.size()) {}

std::shared_ptr<engine::ReplySink> CompletionReplies::SinkOf(size_t prompt) {
  return std::make_shared<Sink>(shared_from_this(), prompt);
}

void CompletionReplies::Post(size_t prompt, engine::Reply reply) {
  if (!reply.terminal && !takes_chunks()) return;
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = came_.empty();
    came_.emplace_back(prompt, std::move(reply));
  }
  if (first) exchange_.io().Deliver(shared_from_this());
}

void CompletionReplies::Arrive() {
  std::vector<std::pair<size_t, engine::Reply>> came;
  {
    std::lock_guard lock(mutex_);
    came.swap(came_);
  }
  for (auto& [prompt, reply] : came) {
    if (reply.terminal) --unanswered_;
    // Of several that fail the first speaks for all; the others are cancelled because of it.
    if (!failed_) Take(prompt, std::move(reply));
  }
  Settle();
}

void CompletionReplies::CancelAll() {
  for (const std::shared_ptr<engine::Call>& call : shape_.calls) call->Cancel();
}

void CompletionReplies::Count(const engine::Reply& reply) {
  usage_.prompt_tokens += CountOf(reply, "prompt_tokens");
  usage_.completion_tokens += CountOf(reply, "completion_tokens");
  usage_.cached_tokens += CountOf(reply, "cached_tokens");
}

namespace {

class OneAnswer final : public CompletionReplies {
 public:
  OneAnswer(const HttpExchange& exchange, CompletionShape shape)
      : CompletionReplies(exchange, std::move(shape)), replies_(shape_.calls.size()) {}

 private:
  void Take(size_t prompt, engine::Reply reply) override {
    if (!reply.status.ok()) {
      failed_ = true;
      CancelAll();
      HttpResponse response = OpenAiError(reply.status.error(), reply.reason);
      response.headers += shape_.headers;
      return exchange_.RespondHere(std::move(response));
    }
    Count(reply);
    replies_[prompt] = std::move(reply);
    if (unanswered_ == 0) exchange_.RespondHere(Answer());
  }

  HttpResponse Answer() const {
    std::vector<ChoiceText> choices;
    // What the choices look at.
    std::vector<std::vector<Said>> said(replies_.size());
    std::vector<std::string> texts;
    std::vector<std::vector<SaidToken>> tokens;
    const size_t count = replies_.size() * static_cast<size_t>(shape_.answers);
    texts.reserve(count);
    tokens.reserve(count);
    for (size_t prompt = 0; prompt < replies_.size(); ++prompt) {
      said[prompt] = ReadChoices(replies_[prompt], shape_.answers);
      std::vector<SaidToken> echoed;
      std::string echo;
      if (shape_.echo) {
        echoed = ReadPromptTokens(replies_[prompt]);
        echo = shape_.echoed[prompt].empty() ? JoinTexts(echoed) : shape_.echoed[prompt];
      }
      for (Said& one : said[prompt]) {
        ChoiceText choice;
        choice.index = IndexOf(prompt, one.choice);
        choice.finish_reason = one.finish_reason.empty() ? "stop" : one.finish_reason;
        choice.text = one.text;
        if (shape_.echo) {
          texts.push_back(echo + std::string(one.text));
          choice.text = texts.back();
        }
        if (shape_.logprobs) {
          tokens.push_back(echoed);
          tokens.back().insert(tokens.back().end(), one.tokens.begin(), one.tokens.end());
          choice.tokens = &tokens.back();
        }
        choices.push_back(choice);
      }
    }
    HttpResponse response = JsonAnswer(WriteAnswer(shape_.names, choices, usage_));
    response.headers = shape_.headers;
    CompressAnswer(shape_.accept_encoding, response);
    return response;
  }

  std::vector<engine::Reply> replies_;
};

}  // namespace

std::shared_ptr<CompletionReplies> AnswerInOne(const HttpExchange& exchange,
                                               CompletionShape shape) {
  return std::make_shared<OneAnswer>(exchange, std::move(shape));
}

}  // namespace sluice::serve
