// Completions as server-sent events. A chunk of the engine becomes an event; when all events so far
// have left for the client, the engine may send as many chunks as they were made of.
#include <utility>

#include "serve/openai/completion_replies.h"
#include "serve/openai/errors.h"

namespace sluice::serve {
namespace {

// Chunks of one choice that the engine may send ahead of the client.
constexpr int kChunksAhead = 4;

class EventStream final : public CompletionReplies {
 public:
  EventStream(const HttpExchange& exchange, CompletionShape shape)
      : CompletionReplies(exchange, std::move(shape)),
        writer_(shape_.names, shape_.tells_usage),
        owed_(shape_.calls.size()),
        told_(shape_.calls.size() * static_cast<size_t>(shape_.answers)) {
    // A call begins with one.
    const int ahead = kChunksAhead * static_cast<int>(shape_.answers) - 1;
    for (const std::shared_ptr<engine::Call>& call : shape_.calls) call->GrantCredit(ahead);
  }

 private:
  // What has been said of a choice.
  struct Told {
    bool begun = false;
    bool ended = false;
    int64_t characters = 0;  // of the tokens told with their logprobs
    int64_t tokens = 0;
  };

  bool takes_chunks() const override { return true; }

  void Take(size_t prompt, engine::Reply reply) override {
    if (!reply.status.ok()) return Fail(reply);
    if (reply.terminal) {
      Count(reply);
    } else {
      ++owed_[prompt];
    }
    for (const Said& said : ReadChoices(reply, shape_.answers)) Tell(prompt, said, reply);
  }

  void Tell(size_t prompt, const Said& said, const engine::Reply& reply) {
    const int64_t index = IndexOf(prompt, said.choice);
    Told& told = told_[static_cast<size_t>(index)];
    if (told.ended) return;
    const bool ends = reply.terminal || !said.finish_reason.empty();
    const bool tells_tokens = shape_.logprobs && !said.tokens.empty();
    if (said.text.empty() && !tells_tokens && !ends) return;
    ChoiceText choice;
    choice.index = index;
    choice.text = said.text;
    choice.first = !std::exchange(told.begun, true);
    std::string echo;
    std::vector<SaidToken> tokens;
    if (choice.first && shape_.echo) {
      tokens = ReadPromptTokens(reply);
      echo = shape_.echoed[prompt].empty() ? JoinTexts(tokens) : shape_.echoed[prompt];
      choice.text = echo.append(said.text);
    }
    if (shape_.logprobs) {
      tokens.insert(tokens.end(), said.tokens.begin(), said.tokens.end());
      choice.tokens = &tokens;
      choice.characters = told.characters;
    }
    if (ends) choice.finish_reason = said.finish_reason.empty() ? "stop" : said.finish_reason;
    told.ended = ends;
    told.tokens += said.token_count;
    const Usage usage{CountOf(reply, "prompt_tokens"), told.tokens, 0};
    writer_.Append(choice, shape_.usage_always ? &usage : nullptr, events_);
    for (const SaidToken& token : tokens) told.characters += CountCharacters(token.text);
  }

  void Fail(const engine::Reply& reply) {
    failed_ = true;
    CancelAll();
    if (begun_) {
      EventWriter::AppendFault(FaultJson(FaultOf(reply.status.error(), reply.reason)), events_);
      return;
    }
    HttpResponse response = OpenAiError(reply.status.error(), reply.reason);
    response.headers += shape_.headers;
    exchange_.RespondHere(std::move(response));
  }

  void Settle() override {
    if (ended_) return;
    ended_ = failed_ || unanswered_ == 0;
    if (failed_ && !begun_) return;
    if (ended_) {
      if (shape_.tells_usage && !failed_) writer_.AppendUsage(usage_, events_);
      EventWriter::AppendDone(events_);
    }
    std::string events = std::exchange(events_, {});
    if (events.empty()) return Repay();
    if (!std::exchange(begun_, true)) {
      Begin(std::move(events));
      if (ended_) exchange_.EndParts();
    } else if (ended_) {
      exchange_.EndParts(events);
    } else {
      exchange_.SendPart(events);
    }
  }

  void Begin(std::string events) {
    HttpResponse head;
    head.body = std::move(events);
    head.content_type = "text/event-stream; charset=utf-8";
    head.headers = "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n" + shape_.headers;
    std::weak_ptr<EventStream> self = std::static_pointer_cast<EventStream>(shared_from_this());
    exchange_.RespondInParts(std::move(head), [self] {
      if (const std::shared_ptr<EventStream> stream = self.lock()) stream->Repay();
    });
  }

  void Repay() {
    for (size_t i = 0; i < owed_.size(); ++i) {
      if (owed_[i] > 0) shape_.calls[i]->GrantCredit(std::exchange(owed_[i], 0));
    }
  }

  const EventWriter writer_;
  std::string events_;      // not passed to the connection yet
  std::vector<int> owed_;   // credit by prompt, for chunks that have not left
  std::vector<Told> told_;  // by index of the choice
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace

std::shared_ptr<CompletionReplies> AnswerInEvents(const HttpExchange& exchange,
                                                  CompletionShape shape) {
  return std::make_shared<EventStream>(exchange, std::move(shape));
}

}  // namespace sluice::serve
