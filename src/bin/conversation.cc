#include "bin/conversation.h"

#include <string_view>

#include "base/json.h"

namespace sluice::bin {
namespace {

constexpr int kChunksAhead = 7;  // that wait while one is shown
constexpr base::Duration kLookForStop = base::Duration::Millis(20);

base::Time Now() {
  return base::SystemClock::Get().Now();
}

std::string_view TextOf(const engine::Reply& reply) {
  for (const tensor::NamedTensor& output : reply.outputs) {
    if (output.name != "text" || output.tensor.dtype != tensor::DType::kBytes) continue;
    if (output.tensor.shape.elements() > 0) {
      return output.tensor.view().as<std::string_view>()[0];
    }
  }
  return {};
}

int64_t CountOf(const engine::Reply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.parameters) {
    if (key != name) continue;
    if (std::holds_alternative<int64_t>(value)) return std::get<int64_t>(value);
    if (std::holds_alternative<uint64_t>(value)) {
      return static_cast<int64_t>(std::get<uint64_t>(value));
    }
  }
  return 0;
}

void AppendMessage(const char* role, const std::string& content, base::JsonWriter& json) {
  json.BeginObject().Key("role").String(role).Key("content").String(content).EndObject();
}

}  // namespace

Conversation::Conversation(LocalModel& model, Options options)
    : model_(model), options_(std::move(options)) {}

base::Status Conversation::CheckModel() {
  engine::Request chat = MakeRequest("a");
  const base::Status takes_messages = model_.Prepare(chat);
  if (takes_messages.ok()) return base::Ok();
  why_not_ = takes_messages.error().message;
  engine::Request text = MakeRequest("a");
  const base::Status takes_text = model_.Prepare(text);
  if (takes_text.ok() && options_.system.empty()) return base::Ok();
  return takes_messages.error();
}

engine::Request Conversation::MakeRequest(const std::string& text) const {
  engine::Request request;
  std::string content = text;
  if (is_chat()) {
    content.clear();
    base::JsonWriter json(content);
    json.BeginArray();
    if (!options_.system.empty()) AppendMessage("system", options_.system, json);
    for (const Exchange& exchange : exchanges_) {
      AppendMessage("user", exchange.question, json);
      AppendMessage("assistant", exchange.answer, json);
    }
    AppendMessage("user", text, json);
    json.EndArray();
  }
  request.inputs.push_back(
      {is_chat() ? "messages" : "text", tensor::Tensor::FromStrings({1}, {content})});
  request.parameters = options_.parameters;
  request.parameters.emplace_back("stream", true);
  request.arrival = Now();
  engine::Call::Options call;
  call.takes_chunks = true;
  request.call = std::make_shared<engine::Call>(call);
  return request;
}

base::Result<Conversation::Asked> Conversation::Ask(
    const std::string& text, base::FunctionRef<void(std::string_view piece)> show) {
  Asked asked;
  for (;;) {
    auto request = std::make_unique<engine::Request>(MakeRequest(text));
    const base::Status taken = model_.Prepare(*request);
    if (!taken.ok() && (!is_chat() || exchanges_.empty())) return taken.error();
    if (!taken.ok()) {
      exchanges_.erase(exchanges_.begin());
      ++asked.forgotten;
      continue;
    }
    std::string answer;
    asked.figures = TRY(Receive(std::move(request), show, answer));
    if (is_chat()) exchanges_.push_back({text, std::move(answer)});
    return asked;
  }
}

base::Result<AnswerFigures> Conversation::Receive(
    std::unique_ptr<engine::Request> request, base::FunctionRef<void(std::string_view piece)> show,
    std::string& answer) {
  const std::shared_ptr<engine::Call> call = request->call;
  call->GrantCredit(kChunksAhead);
  const auto replies = std::make_shared<ReplyQueue>();
  request->sink = replies;
  const base::Time asked = Now();
  base::Time first = asked;
  model_.Submit(std::move(request));
  AnswerFigures figures;
  for (;;) {
    if (options_.stop != nullptr && options_.stop->load() && !figures.cancelled) {
      figures.cancelled = true;
      call->Cancel();
    }
    const std::optional<engine::Reply> reply = replies->Take(kLookForStop);
    if (!reply.has_value()) continue;
    const std::string_view piece = TextOf(*reply);
    if (answer.empty() && !piece.empty()) first = Now();
    answer += piece;
    if (!piece.empty() && !figures.cancelled) show(piece);
    if (!reply->terminal) {
      call->GrantCredit(1);
      continue;
    }
    if (!reply->status.ok() && !figures.cancelled) return reply->status.error();
    figures.prompt_tokens = CountOf(*reply, "prompt_tokens");
    figures.cached_tokens = CountOf(*reply, "cached_tokens");
    figures.answer_tokens = CountOf(*reply, "completion_tokens");
    figures.to_first = first - asked;
    figures.behind_first = Now() - first;
    return figures;
  }
}

}  // namespace sluice::bin
