#include "bin/token_load.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "base/json.h"
#include "serve/client/http_fetch.h"

namespace sluice::bin {
namespace {

constexpr size_t kEventBytesMax = size_t{1} << 20;
constexpr int64_t kFirstId = 3;  // lower ones begin, end and pad texts in most vocabularies

base::Time Now() {
  return base::SystemClock::Get().Now();
}

std::string RequestBody(const TokenLoadOptions& o, int64_t index) {
  std::vector<int64_t> ids;
  const auto draw = [&](uint64_t seed, int64_t count) {
    std::mt19937_64 random(seed);
    std::uniform_int_distribution<int64_t> token(kFirstId, o.id_max);
    for (int64_t i = 0; i < count; ++i) ids.push_back(token(random));
  };
  draw(o.seed, o.shared_tokens);
  draw(o.seed + 1 + static_cast<uint64_t>(index), o.prompt_tokens - o.shared_tokens);
  std::string body;
  base::JsonWriter json(body);
  json.BeginObject().Key("model").String(o.model).Key("prompt").BeginArray();
  for (const int64_t id : ids) json.Int(id);
  json.EndArray().Key("max_tokens").Int(o.answer_tokens).Key("temperature").Int(0);
  json.Key("ignore_eos").Bool(true).Key("stream").Bool(true);
  json.Key("stream_options").BeginObject().Key("include_usage").Bool(true).EndObject();
  json.EndObject();
  return body;
}

// What one stream of events tells.
struct Answer {
  std::vector<base::Time> pieces;
  int64_t prompt_tokens = 0;
  int64_t answer_tokens = 0;
  bool done = false;
};

base::Status ReadUsage(const base::JsonValue& event, Answer& answer) {
  const auto usage = TRY(event.Find("usage"));
  if (!usage.has_value() || !usage->is_object()) return base::Ok();
  const base::JsonValue prompt = TRY(usage->Get("prompt_tokens"));
  const base::JsonValue completion = TRY(usage->Get("completion_tokens"));
  answer.prompt_tokens = TRY(prompt.AsInt());
  answer.answer_tokens = TRY(completion.AsInt());
  return base::Ok();
}

base::Status ReadEvent(std::string_view data, base::JsonDocument& document, Answer& answer) {
  if (data == "[DONE]") {
    answer.done = true;
    return base::Ok();
  }
  const base::JsonValue event = TRY(document.Parse(data));
  const auto error = TRY(event.Find("error"));
  if (error.has_value())
    return base::Internal("the stream says " + std::string(data.substr(0, 200)));
  const auto choices = TRY(event.Find("choices"));
  if (choices.has_value() && choices->size() > 0) answer.pieces.push_back(Now());
  return ReadUsage(event, answer);
}

base::Result<Answer> Ask(const TokenLoadOptions& options, const std::string& body) {
  serve::FetchRequest request;
  request.method = "POST";
  request.url = options.server;
  request.url.target =
      (options.server.target == "/" ? "" : options.server.target) + "/v1/completions";
  request.headers = {{"Content-Type", "application/json"}};
  request.body = body;
  request.connection.timeout = base::Duration::Seconds(600);
  serve::HttpFetch fetch = TRY(serve::HttpFetch::Begin(request));
  if (fetch.status() != 200) {
    const std::string said = TRY(fetch.ReadAll(kEventBytesMax));
    return base::Unavailable("status " + std::to_string(fetch.status()) + ": " +
                             said.substr(0, 200));
  }
  Answer answer;
  base::JsonDocument document;
  std::string lines;
  char bytes[16 << 10];
  while (!answer.done) {
    const size_t got = TRY(fetch.Read(bytes, sizeof bytes));
    if (got == 0 || lines.size() > kEventBytesMax) break;
    lines.append(bytes, got);
    size_t begin = 0;
    for (size_t end; (end = lines.find('\n', begin)) != std::string::npos; begin = end + 1) {
      std::string_view line(lines.data() + begin, end - begin);
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
      if (!line.starts_with("data:")) continue;
      line.remove_prefix(line.starts_with("data: ") ? 6 : 5);
      TRY(ReadEvent(line, document, answer));
    }
    lines.erase(0, begin);
  }
  if (!answer.done || answer.pieces.empty()) return base::Unavailable("the stream broke off");
  return answer;
}

void Count(const Answer& answer, base::Time asked, base::Time ended, TokenLoadReport& report) {
  ++report.answered;
  report.prompt_tokens += answer.prompt_tokens;
  report.answer_tokens += answer.answer_tokens;
  report.first.Record(answer.pieces.front() - asked);
  for (size_t i = 1; i < answer.pieces.size(); ++i) {
    report.between.Record(answer.pieces[i] - answer.pieces[i - 1]);
  }
  report.whole.Record(ended - asked);
  if (answer.answer_tokens < 2) return;
  const base::Duration behind = answer.pieces.back() - answer.pieces.front();
  report.token.Record({behind.ns / (answer.answer_tokens - 1)});
}

void Merge(const TokenLoadReport& part, TokenLoadReport& all) {
  all.first.Merge(part.first);
  all.between.Merge(part.between);
  all.whole.Merge(part.whole);
  all.token.Merge(part.token);
  all.answered += part.answered;
  all.failed += part.failed;
  all.prompt_tokens += part.prompt_tokens;
  all.answer_tokens += part.answer_tokens;
  if (all.first_failure.empty()) all.first_failure = part.first_failure;
}

base::Status CheckOptions(const TokenLoadOptions& o) {
  const auto within = [](const char* name, int64_t value, int64_t low,
                         int64_t high) -> base::Status {
    if (value >= low && value <= high) return base::Ok();
    return base::InvalidArgument("--" + std::string(name) + ": expected " + std::to_string(low) +
                                 " to " + std::to_string(high) + ", got " + std::to_string(value));
  };
  TRY(within("clients", o.clients, 1, 1024));
  TRY(within("requests", o.requests, 1, 1'000'000));
  TRY(within("prompt-tokens", o.prompt_tokens, 1, 1'000'000));
  TRY(within("shared-tokens", o.shared_tokens, 0, o.prompt_tokens));
  TRY(within("answer-tokens", o.answer_tokens, 1, 1'000'000));
  return within("id-max", o.id_max, kFirstId, int64_t{1} << 30);
}

}  // namespace

base::Result<TokenLoadReport> RunTokenLoad(const TokenLoadOptions& options) {
  TRY(CheckOptions(options));
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  TokenLoadReport all;
  const base::Time begun = Now();
  std::vector<std::thread> clients;
  for (int64_t i = 0; i < std::min(options.clients, options.requests); ++i) {
    clients.emplace_back([&] {
      TokenLoadReport own;
      for (int64_t index; (index = next.fetch_add(1)) < options.requests;) {
        const std::string body = RequestBody(options, index);
        const base::Time asked = Now();
        const base::Result<Answer> answer = Ask(options, body);
        if (answer.ok()) {
          Count(*answer, asked, Now(), own);
          continue;
        }
        ++own.failed;
        if (own.first_failure.empty()) own.first_failure = answer.error().message;
      }
      std::lock_guard lock(mutex);
      Merge(own, all);
    });
  }
  for (std::thread& client : clients) client.join();
  all.took = Now() - begun;
  return all;
}

}  // namespace sluice::bin
