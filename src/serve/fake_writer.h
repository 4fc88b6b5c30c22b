// An engine for the server's tests that answers as language models do: choices, chunks, logprobs.
// Choice c of an answer says the tokens "c.0 ", "c.1 " and so on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/fake_engine.h"

namespace sluice::serve {

inline engine::Description WriterDescription(const std::string& name, int64_t version) {
  using tensor::DType;
  engine::Description d;
  d.model = name;
  d.version = version;
  d.platform = "language_model";
  for (const char* input : {"text", "messages", "tools", "stop"}) {
    d.inputs.push_back({input, DType::kBytes, {-1}, true});
  }
  for (const char* input : {"input_ids", "stop_ids", "bias_ids"}) {
    d.inputs.push_back({input, DType::kI64, {-1}, true});
  }
  d.inputs.push_back({"bias", DType::kF32, {-1}, true});
  d.outputs = {{"output_ids", DType::kI32, {-1}, false},
               {"text", DType::kBytes, {-1}, false},
               {"prompt_logprobs", DType::kF32, {-1}, true}};
  return d;
}

// A step gives each choice of one request a token. The prompt is its words. Parameters as the
// language models have them; FakeControl::fail ends requests with an error.
class FakeWriter : public engine::Engine {
 public:
  FakeWriter(engine::Description description, std::shared_ptr<FakeControl> control)
      : description_(std::move(description)), control_(std::move(control)) {
    control_->alive.fetch_add(1);
  }
  ~FakeWriter() override { control_->alive.fetch_sub(1); }

  const engine::Description& description() const override { return description_; }
  base::Duration PrepareCost(const engine::Request&) const override { return {}; }
  base::Status Prepare(engine::Request& request) const override {
    if (NumberOf(request, "temperature", 1) < 0) {
      return base::InvalidArgument("parameter temperature: expected a number in [0, 100]");
    }
    return base::Ok();
  }
  engine::MemoryUse memory() const override { return {}; }
  std::unique_ptr<engine::Step> MakeStep(int) override { return std::make_unique<engine::Step>(); }

  engine::Admission Admit(std::unique_ptr<engine::Request>& request,
                          const engine::Outlook&) override {
    if (writings_.size() >= kWritingsMax) return engine::Admission::kQueueFull;
    auto writing = std::make_unique<Writing>();
    writing->answers = static_cast<int64_t>(NumberOf(*request, "n", 1));
    writing->tokens_max = static_cast<int64_t>(NumberOf(*request, "max_tokens", 4));
    writing->logprobs = static_cast<int64_t>(NumberOf(*request, "logprobs", -1));
    writing->prompt_logprobs = static_cast<int64_t>(NumberOf(*request, "prompt_logprobs", -1));
    writing->sent.resize(static_cast<size_t>(writing->answers));
    writing->request = std::move(request);
    writings_.push_back(std::move(writing));
    control_->begun.fetch_add(1);
    return engine::Admission::kQueued;
  }
  void OnEvent(const engine::Event&, const engine::Outlook&, engine::Replies&) override {}
  void Sweep(base::Time now, engine::Replies& replies) override {
    for (size_t i = writings_.size(); i-- > 0;) {
      const engine::Call& call = *writings_[i]->request->call;
      if (!call.cancelled() && !call.expired(now)) continue;
      control_->dropped.fetch_add(1);
      replies.Refuse(std::move(writings_[i]->request), call.cancelled()
                                                           ? engine::reason::kCancelled
                                                           : engine::reason::kDeadlineQueue);
      writings_.erase(writings_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  const engine::Offer* BestOffer(base::Time, engine::WorkClass work) override {
    if (writings_.empty() || control_->hold.load()) return nullptr;
    offer_.work = writings_.front()->request->call->deadline().never() ? engine::WorkClass::kUntimed
                                                                       : engine::WorkClass::kTimed;
    if (offer_.work != work) return nullptr;
    offer_.latest_start = writings_.front()->request->call->deadline();
    offer_.cost = {base::Duration::Micros(1), true, 1};
    return &offer_;
  }
  bool Form(const engine::Offer&, engine::Step& step, engine::Replies&) override {
    step.rows = 1;
    step.predicted = base::Duration::Micros(1);
    return true;
  }
  void Launch(engine::Step&, engine::Exec&, engine::Safepoint&) override {}
  void Commit(engine::Step&, engine::StepStatus, engine::Replies& replies) override {
    control_->executed.fetch_add(1);
    std::unique_ptr<Writing> writing = std::move(writings_.front());
    writings_.pop_front();
    engine::Request& request = *writing->request;
    if (control_->fail.load()) {
      engine::Reply reply;
      reply.status = base::Internal("the fake writer was told to fail");
      return replies.Finish(std::move(writing->request), std::move(reply));
    }
    writing->tokens = std::min(writing->tokens + 1, writing->tokens_max);
    if (writing->tokens == writing->tokens_max) {
      engine::Reply reply = LastReply(*writing);
      return replies.Finish(std::move(writing->request), std::move(reply));
    }
    for (int64_t choice = 0; choice < writing->answers; ++choice) {
      if (!request.call->takes_chunks() || NumberOf(request, "stream", 0) == 0) break;
      if (!request.call->TakeCredit()) break;
      engine::Reply chunk;
      chunk.terminal = false;
      chunk.parameters.emplace_back("choice", choice);
      chunk.parameters.emplace_back("prompt_tokens",
                                    static_cast<int64_t>(Prompt(*writing).ids.size()));
      Say(*writing, {choice}, chunk);
      replies.Chunk(request, std::move(chunk));
    }
    writings_.push_back(std::move(writing));
  }
  int64_t pending() const override { return static_cast<int64_t>(writings_.size()); }
  void CheckIntegrity() const override {}

  static constexpr size_t kWritingsMax = 64;

 private:
  struct Writing {
    std::unique_ptr<engine::Request> request;
    int64_t answers = 1;
    int64_t tokens_max = 0;
    int64_t logprobs = -1;
    int64_t prompt_logprobs = -1;
    int64_t tokens = 0;         // said by each choice
    std::vector<int64_t> sent;  // of each choice, in chunks
  };

  static double NumberOf(const engine::Request& request, std::string_view name, double otherwise) {
    for (const auto& [key, value] : request.parameters) {
      if (key != name) continue;
      if (std::holds_alternative<double>(value)) return std::get<double>(value);
      if (std::holds_alternative<bool>(value)) return std::get<bool>(value) ? 1 : 0;
      if (std::holds_alternative<int64_t>(value))
        return static_cast<double>(std::get<int64_t>(value));
    }
    return otherwise;
  }
  template <class T>
  static tensor::NamedTensor Numbers(const char* name, tensor::DType dtype,
                                     const std::vector<T>& values) {
    tensor::Tensor tensor;
    tensor.dtype = dtype;
    tensor.shape = tensor::Shape({static_cast<int64_t>(values.size())});
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    tensor.buffer = tensor::Buffer::Allocate(std::max<int64_t>(bytes, 1));
    if (bytes > 0) {
      std::memcpy(tensor.buffer.mutable_data(), values.data(), static_cast<size_t>(bytes));
    }
    return {name, std::move(tensor)};
  }
  static tensor::NamedTensor Texts(const char* name, const std::vector<std::string>& texts) {
    return {name, tensor::Tensor::FromStrings({static_cast<int64_t>(texts.size())}, texts)};
  }

  // Tokens and their logprobs, for tensors: token i has -i/8, its alternatives 1/8 less each.
  struct Tokens {
    void Add(std::string text, int64_t i, int64_t k, bool known = true) {
      texts.push_back(std::move(text));
      ids.push_back(static_cast<int32_t>(i));
      const float logprob = -static_cast<float>(i) / 8;
      logprobs.push_back(known ? logprob : std::numeric_limits<float>::quiet_NaN());
      for (int64_t j = 0; j < k; ++j) {
        top_texts.push_back("alt" + std::to_string(j));
        top_logprobs.push_back(logprob - static_cast<float>(j) / 8);
      }
    }
    std::vector<std::string> texts;
    std::vector<int32_t> ids;
    std::vector<float> logprobs;
    std::vector<std::string> top_texts;
    std::vector<float> top_logprobs;
  };

  // What these choices have not said yet.
  static void Say(Writing& writing, const std::vector<int64_t>& choices, engine::Reply& reply) {
    Tokens tokens;
    std::vector<std::string> texts;
    std::vector<int32_t> lengths;
    for (const int64_t choice : choices) {
      int64_t& sent = writing.sent[static_cast<size_t>(choice)];
      lengths.push_back(static_cast<int32_t>(writing.tokens - sent));
      texts.emplace_back();
      for (; sent < writing.tokens; ++sent) {
        const std::string text = std::to_string(choice) + "." + std::to_string(sent) + " ";
        texts.back() += text;
        tokens.Add(text, sent, writing.logprobs);
      }
    }
    reply.outputs.push_back(Numbers("output_ids", tensor::DType::kI32, tokens.ids));
    reply.outputs.push_back(Texts("text", texts));
    if (choices.size() > 1) {
      reply.outputs.push_back(Numbers("output_lengths", tensor::DType::kI32, lengths));
    }
    if (writing.logprobs < 0) return;
    reply.outputs.push_back(Texts("token_texts", tokens.texts));
    reply.outputs.push_back(Numbers("logprobs", tensor::DType::kF32, tokens.logprobs));
    reply.outputs.push_back(Texts("top_texts", tokens.top_texts));
    reply.outputs.push_back(Numbers("top_logprobs", tensor::DType::kF32, tokens.top_logprobs));
  }

  static engine::Reply LastReply(Writing& writing) {
    engine::Reply reply;
    std::vector<int64_t> choices;
    for (int64_t choice = 0; choice < writing.answers; ++choice) choices.push_back(choice);
    Say(writing, choices, reply);
    reply.outputs.push_back(
        Texts("finish_reasons", std::vector<std::string>(choices.size(), "length")));
    reply.parameters.emplace_back("finish_reason", std::string("length"));
    const Tokens prompt = Prompt(writing);
    if (writing.prompt_logprobs >= 0) {
      reply.outputs.push_back(Texts("prompt_texts", prompt.texts));
      reply.outputs.push_back(Numbers("prompt_logprobs", tensor::DType::kF32, prompt.logprobs));
      reply.outputs.push_back(Texts("prompt_top_texts", prompt.top_texts));
      reply.outputs.push_back(
          Numbers("prompt_top_logprobs", tensor::DType::kF32, prompt.top_logprobs));
    }
    reply.parameters.emplace_back("prompt_tokens", static_cast<int64_t>(prompt.ids.size()));
    reply.parameters.emplace_back("completion_tokens", writing.tokens * writing.answers);
    reply.parameters.emplace_back("cached_tokens", int64_t{1});
    return reply;
  }

  // The words of a text, the numbers of token ids.
  static Tokens Prompt(const Writing& writing) {
    Tokens tokens;
    const auto add = [&](std::string text) {
      const auto i = static_cast<int64_t>(tokens.ids.size());
      tokens.Add(std::move(text), i, writing.prompt_logprobs, i > 0);
    };
    for (const tensor::NamedTensor& input : writing.request->inputs) {
      if (input.name == "input_ids") {
        for (const int64_t id : input.tensor.view().span<int64_t>()) add(std::to_string(id) + ",");
      } else if (input.name == "text" || input.name == "messages") {
        const std::string text(input.tensor.view().as<std::string_view>()[0]);
        for (size_t at = 0; at < text.size();) {
          const size_t end = std::min(text.find(' ', at), text.size() - 1) + 1;
          add(text.substr(at, end - at));
          at = end;
        }
      }
    }
    return tokens;
  }

  const engine::Description description_;
  const std::shared_ptr<FakeControl> control_;
  std::deque<std::unique_ptr<Writing>> writings_;
  engine::Offer offer_;
};

}  // namespace sluice::serve
