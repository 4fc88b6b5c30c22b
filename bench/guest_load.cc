// guest_load --url HOST:PORT [--seconds N] [--seed N] GUEST...: several loads on one server at a
// time, each with arrivals or clients of its own; a line of JSON tells what became of each.
//
// A GUEST is KIND:MODEL[,KEY=VALUE...]. KIND infer sends binary tensors of the model's own inputs,
// chat asks /v1/completions for tokens to a prompt of random ids. Keys: rate (requests a second,
// Poisson; 0: a closed loop), connections, deadline_ms (sent along; answers within it are in time),
// and of chats prompt, tokens, shared (of the prompt's tokens, the same in all requests) and
// vocabulary; of others batch, length, integer_max.
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "bin/load.h"
#include "bin/server_address.h"
#include "bin/synthetic_request.h"
#include "serve/client/http_client.h"

namespace {

using namespace sluice;

struct Guest {
  std::string kind, model;
  std::map<std::string, double> values;
  double Get(const std::string& key, double otherwise) const {
    const auto found = values.find(key);
    return found == values.end() ? otherwise : found->second;
  }
};

base::Result<Guest> ParseGuest(const std::string& text) {
  Guest guest;
  const size_t colon = text.find(':');
  guest.kind = text.substr(0, colon);
  if (colon == std::string::npos || (guest.kind != "infer" && guest.kind != "chat")) {
    return base::InvalidArgument("a guest is infer:MODEL or chat:MODEL, got " + text);
  }
  for (size_t at = colon + 1; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string word = text.substr(at, end - at);
    const size_t equals = word.find('=');
    if (guest.model.empty()) {
      guest.model = word;
    } else if (equals == std::string::npos) {
      return base::InvalidArgument("expected KEY=VALUE, got " + word);
    } else {
      guest.values[word.substr(0, equals)] = std::strtod(word.c_str() + equals + 1, nullptr);
    }
    at = end + 1;
  }
  return guest;
}

// Answers of a refused kind are told apart from failures by their status.
struct Outcome {
  std::atomic<int64_t> tokens{0};
  std::atomic<int64_t> refused{0};
};

base::Status Heard(const serve::HttpReply& reply, Outcome& outcome) {
  if (reply.status == 200) return base::Ok();
  if (reply.status == 429 || reply.status == 503 || reply.status == 504) ++outcome.refused;
  return base::Unavailable("status " + std::to_string(reply.status) + ": " +
                           reply.body.substr(0, 200));
}

class InferCaller : public bin::Caller {
 public:
  InferCaller(serve::HttpClient client, std::string request, Outcome& outcome)
      : client_(std::move(client)), request_(std::move(request)), outcome_(outcome) {}
  base::Status Call() override {
    TRY(client_.Write(request_));
    const serve::HttpReply reply = TRY(client_.Read());
    return Heard(reply, outcome_);
  }

 private:
  serve::HttpClient client_;
  const std::string request_;
  Outcome& outcome_;
};

class ChatCaller : public bin::Caller {
 public:
  ChatCaller(serve::HttpClient client, const Guest& guest, uint64_t seed, Outcome& outcome)
      : client_(std::move(client)), guest_(guest), random_(seed), outcome_(outcome) {}
  base::Status Call() override {
    const auto tokens = static_cast<int64_t>(guest_.Get("tokens", 32));
    const auto shared = static_cast<int64_t>(guest_.Get("shared", 0));
    const auto vocabulary = static_cast<uint64_t>(guest_.Get("vocabulary", 30'000));
    std::string body = "{\"model\":\"" + guest_.model + "\",\"prompt\":[";
    for (int64_t i = 0; i < static_cast<int64_t>(guest_.Get("prompt", 100)); ++i) {
      const uint64_t id = i < shared ? static_cast<uint64_t>(i) * 7919 : random_();
      if (i > 0) body += ',';
      body += std::to_string(id % vocabulary);
    }
    body += "],\"max_tokens\":" + std::to_string(tokens) + ",\"temperature\":0,\"ignore_eos\":true";
    const double deadline = guest_.Get("deadline_ms", 0);
    if (deadline > 0) body += ",\"deadline_ms\":" + std::to_string(deadline);
    body += "}";
    const serve::HttpReply reply =
        TRY(client_.Send("POST", "/v1/completions", body, "Content-Type: application/json\r\n"));
    TRY(Heard(reply, outcome_));
    outcome_.tokens += tokens;
    return base::Ok();
  }

 private:
  serve::HttpClient client_;
  const Guest& guest_;
  std::mt19937_64 random_;
  Outcome& outcome_;
};

base::Result<std::string> Run(const Guest& guest, const bin::ServerAddress& address, double seconds,
                              double warm_up, uint64_t seed) {
  bin::LoadOptions options;
  options.rate = guest.Get("rate", 0);
  options.connections = static_cast<int64_t>(guest.Get("connections", 8));
  options.duration = {static_cast<int64_t>(seconds * 1e9)};
  options.warm_up = {static_cast<int64_t>(warm_up * 1e9)};
  options.seed = seed;
  const double deadline_ms = guest.Get("deadline_ms", 0);
  options.bound = {static_cast<int64_t>(deadline_ms * 1e6)};
  Outcome outcome;
  const auto client = [&]() {
    return serve::HttpClient::Connect(address.host, address.port, base::Duration::Seconds(120));
  };
  std::string request;
  if (guest.kind == "infer") {
    bin::RequestSizes sizes;
    sizes.batch = static_cast<int64_t>(guest.Get("batch", 1));
    sizes.length = static_cast<int64_t>(guest.Get("length", 32));
    sizes.integer_max = static_cast<int64_t>(guest.Get("integer_max", 1));
    sizes.seed = seed;
    serve::HttpClient first = TRY(client());
    const std::vector<bin::SyntheticTensor> tensors =
        TRY(bin::MakeTensors(first, guest.model, sizes));
    const std::string parameters =
        deadline_ms > 0
            ? "{\"timeout\":" + std::to_string(static_cast<int64_t>(deadline_ms * 1e3)) + "}"
            : "";
    request = bin::HttpBinaryRequest(guest.model, tensors, parameters);
  }
  uint64_t caller = 0;
  const auto connect = [&]() -> base::Result<std::unique_ptr<bin::Caller>> {
    serve::HttpClient connected = TRY(client());
    if (guest.kind == "chat") {
      return std::unique_ptr<bin::Caller>(std::make_unique<ChatCaller>(
          std::move(connected), guest, seed * 1000 + ++caller, outcome));
    }
    return std::unique_ptr<bin::Caller>(
        std::make_unique<InferCaller>(std::move(connected), request, outcome));
  };
  const bin::LoadReport report = TRY(bin::RunLoad(options, connect));
  const int64_t in_time =
      deadline_ms > 0 ? report.latency.AtMost(options.bound) : report.latency.count();
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("guest").String(guest.kind + ":" + guest.model);
  json.Key("deadline_ms").Double(deadline_ms).Key("seconds").Double(report.took.seconds());
  json.Key("sent").Int(report.succeeded + report.failed + report.unsent);
  json.Key("answered").Int(report.succeeded).Key("in_time").Int(in_time);
  json.Key("refused").Int(outcome.refused).Key("failed").Int(report.failed);
  json.Key("unsent").Int(report.unsent);
  // Of the warm-up as well, so by the whole time.
  json.Key("tokens_per_second")
      .Double(static_cast<double>(outcome.tokens) / (report.took.seconds() + warm_up));
  json.Key("p50_ms").Double(report.latency.Quantile(0.5).us() / 1e3);
  json.Key("p99_ms").Double(report.latency.Quantile(0.99).us() / 1e3);
  json.Key("max_ms").Double(report.latency.max().us() / 1e3);
  json.Key("first_failure").String(report.first_failure).EndObject();
  return out;
}

int Fail(const std::string& message) {
  std::fprintf(stderr, "guest_load: %s\n", message.c_str());
  return 1;
}

}  // namespace

int main(int count, char** words) {
  std::string url = "127.0.0.1:8000";
  double seconds = 5, warm_up = 0.5, seed = 1;
  std::vector<Guest> guests;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto next = [&]() { return i + 1 < count ? std::string(words[++i]) : std::string(); };
    if (word == "--url") {
      url = next();
    } else if (word == "--seconds") {
      seconds = std::strtod(next().c_str(), nullptr);
    } else if (word == "--warm-up-seconds") {
      warm_up = std::strtod(next().c_str(), nullptr);
    } else if (word == "--seed") {
      seed = std::strtod(next().c_str(), nullptr);
    } else {
      base::Result<Guest> guest = ParseGuest(word);
      if (!guest.ok()) return Fail(guest.error().message);
      guests.push_back(*std::move(guest));
    }
  }
  const auto address = bin::ParseServerAddress(url);
  if (!address.ok()) return Fail(address.error().message);
  if (guests.empty() || !(seconds > 0)) return Fail("expected guests and --seconds above 0");
  std::vector<base::Result<std::string>> told(guests.size(), std::string());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < guests.size(); ++i) {
    threads.emplace_back([&, i] {
      told[i] = Run(guests[i], *address, seconds, warm_up, static_cast<uint64_t>(seed) + i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string out = "{\"guests\":[";
  for (size_t i = 0; i < told.size(); ++i) {
    if (!told[i].ok()) return Fail(guests[i].model + ": " + told[i].error().message);
    out += (i == 0 ? "" : ",") + *told[i];
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  std::printf("%s],\"cpu_seconds\":%.3f}\n", out.c_str(), of(usage.ru_utime) + of(usage.ru_stime));
  return 0;
}
