// Completions and chats over HTTP, answered by a fake writer: whole and as streams of events.
#include "serve/openai/completion_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/json.h"
#include "serve/server_fixture.h"

namespace sluice::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kText = "/v1/completions";
constexpr const char* kChat = "/v1/chat/completions";

class CompletionRoutesTest : public ServerFixture {
 protected:
  void StartWriter() {
    folder_.Write("writer/1/model.onnx", "writer");
    folder_.Write("writer/config.pbtxt", "max_batch_size: 0\n");
    StartServer();
  }
  static std::string Body(const std::string& more) {
    return R"({"model":"writer","prompt":"one two three",)" + more + "}";
  }
  static std::string Chat(const std::string& more) {
    return R"({"model":"writer","messages":[{"role":"user","content":"hello"}],)" + more + "}";
  }
  // The data of each event of a stream's body.
  static std::vector<std::string> Events(const std::string& body) {
    std::vector<std::string> events;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      CHECK(body.compare(at, 6, "data: ") == 0 && end != std::string::npos) << body.substr(at);
      events.push_back(body.substr(at + 6, end - at - 6));
      at = end + 2;
    }
    return events;
  }
  // The text between `before` and `after`.
  static std::string Between(const std::string& text, const std::string& before,
                             const std::string& after) {
    const size_t at = text.find(before);
    if (at == std::string::npos) return {};
    const size_t begin = at + before.size();
    return text.substr(begin, text.find(after, begin) - begin);
  }
  FakeControl& control() { return *loader_.control("writer"); }
};

TEST_F(CompletionRoutesTest, AnswersInOneDocument) {
  StartWriter();
  const HttpReply reply = Post(kText, Body("\"max_tokens\":3"), "x-request-id: r-1\r\n");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.header("x-request-id"), "r-1");
  EXPECT_THAT(reply.body, StartsWith(R"({"id":"cmpl-)"));
  EXPECT_THAT(
      reply.body,
      HasSubstr(R"("model":"writer","choices":[{"index":0,"text":"0.0 0.1 0.2 ",)"
                R"("logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":3,)"
                R"("completion_tokens":3,"total_tokens":6,"prompt_tokens_details":)"
                R"({"cached_tokens":1}},"service_tier":null,"system_fingerprint":"sluice-)"));
  EXPECT_THAT(Post(kChat, Chat("\"max_tokens\":1")).body,
              HasSubstr(R"("message":{"role":"assistant","content":"0.0 ","refusal":null})"));
}

TEST_F(CompletionRoutesTest, AnswersSeveralPromptsInOrder) {
  StartWriter();
  const HttpReply reply =
      Post(kText, R"({"model":"writer","prompt":["a b","c",[7,8,9]],"max_tokens":2})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(reply.body,
                HasSubstr("{\"index\":" + std::to_string(i) + ",\"text\":\"0.0 0.1 \""));
  }
  EXPECT_THAT(reply.body, HasSubstr(R"("usage":{"prompt_tokens":6,"completion_tokens":6,)"));
}

TEST_F(CompletionRoutesTest, StreamsEventsAsTokensCome) {
  StartWriter();
  const HttpReply reply = Post(kText, Body("\"max_tokens\":3,\"stream\":true"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.header("Content-Type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(reply.header("Cache-Control"), "no-cache");
  EXPECT_EQ(reply.header("X-Accel-Buffering"), "no");
  const std::vector<std::string> events = Events(reply.body);
  ASSERT_EQ(events.size(), 4u) << reply.body;
  const std::string id = Between(events[0], "\"id\":\"", "\"");
  std::string text;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(Between(events[i], "\"id\":\"", "\""), id);
    EXPECT_THAT(events[i], HasSubstr(R"("object":"text_completion")"));
    EXPECT_THAT(events[i], Not(HasSubstr("usage")));
    EXPECT_EQ(Between(events[i], "\"finish_reason\":", "}"), i < 2 ? "null" : "\"length\"");
    text += Between(events[i], "\"text\":\"", "\"");
  }
  EXPECT_EQ(text, "0.0 0.1 0.2 ");
  EXPECT_EQ(events[3], "[DONE]");
}

TEST_F(CompletionRoutesTest, AChatsStreamBeginsWithItsRole) {
  StartWriter();
  const HttpReply reply = Post(kChat, Chat("\"max_tokens\":2,\"stream\":true"));
  const std::vector<std::string> events = Events(reply.body);
  ASSERT_EQ(events.size(), 3u) << reply.body;
  EXPECT_THAT(events[0], HasSubstr(R"("object":"chat.completion.chunk")"));
  EXPECT_THAT(events[0],
              HasSubstr(R"("choices":[{"index":0,"delta":{"role":"assistant","content":"0.0 "},)"
                        R"("logprobs":null,"finish_reason":null}])"));
  EXPECT_THAT(events[1], HasSubstr(R"("delta":{"content":"0.1 "},"logprobs":null,)"
                                   R"("finish_reason":"length")"));
}

TEST_F(CompletionRoutesTest, TellsTheUsageBehindAStreamWhenAskedTo) {
  StartWriter();
  const HttpReply reply =
      Post(kText, Body(R"("max_tokens":2,"stream":true,"stream_options":{"include_usage":true})"));
  const std::vector<std::string> events = Events(reply.body);
  ASSERT_EQ(events.size(), 4u) << reply.body;
  EXPECT_THAT(events[0], HasSubstr(R"("usage":null)"));
  EXPECT_THAT(events[2], HasSubstr(R"("choices":[],"usage":{"prompt_tokens":3,)"
                                   R"("completion_tokens":2,"total_tokens":5,)"));
  EXPECT_EQ(events[3], "[DONE]");
}

TEST_F(CompletionRoutesTest, StreamsSeveralPromptsAtOnce) {
  StartWriter();
  const HttpReply reply =
      Post(kText, R"({"model":"writer","prompt":["a","b"],"max_tokens":20,"stream":true})");
  std::string texts[2];
  for (const std::string& event : Events(reply.body)) {
    if (event == "[DONE]") continue;
    texts[std::stoul(Between(event, "\"index\":", ","))] += Between(event, "\"text\":\"", "\"");
  }
  EXPECT_THAT(texts[0], StartsWith("0.0 0.1 0.2 "));
  EXPECT_EQ(texts[0], texts[1]);
}

TEST_F(CompletionRoutesTest, GivesSeveralAnswersToEachPrompt) {
  StartWriter();
  const HttpReply reply =
      Post(kText, R"({"model":"writer","prompt":["a","b"],"max_tokens":2,"n":3})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  for (int i = 0; i < 6; ++i) {
    const std::string choice = std::to_string(i % 3);
    EXPECT_THAT(reply.body, HasSubstr("{\"index\":" + std::to_string(i) + ",\"text\":\"" + choice +
                                      ".0 " + choice + ".1 \""));
  }
  EXPECT_THAT(reply.body, HasSubstr(R"("usage":{"prompt_tokens":2,"completion_tokens":12,)"));
}

TEST_F(CompletionRoutesTest, StreamsSeveralAnswers) {
  StartWriter();
  const HttpReply reply = Post(kChat, Chat("\"max_tokens\":5,\"n\":3,\"stream\":true"));
  std::string texts[3];
  int begun[3] = {};
  int ended[3] = {};
  for (const std::string& event : Events(reply.body)) {
    if (event == "[DONE]") continue;
    const size_t index = std::stoul(Between(event, "\"index\":", ","));
    begun[index] += Between(event, "\"role\":\"", "\"").empty() ? 0 : 1;
    ended[index] += Between(event, "\"finish_reason\":\"", "\"").empty() ? 0 : 1;
    texts[index] += Between(event, "\"content\":\"", "\"");
  }
  for (int i = 0; i < 3; ++i) {
    std::string want;
    for (int t = 0; t < 5; ++t) want += std::to_string(i) + "." + std::to_string(t) + " ";
    EXPECT_EQ(texts[i], want);
    EXPECT_EQ(begun[i], 1);
    EXPECT_EQ(ended[i], 1);
  }
}

TEST_F(CompletionRoutesTest, TellsLogprobsAsCompletionsDo) {
  StartWriter();
  const HttpReply reply = Post(kText, Body("\"max_tokens\":3,\"logprobs\":2"));
  EXPECT_THAT(
      reply.body,
      HasSubstr(R"("logprobs":{"text_offset":[0,4,8],"token_logprobs":[0,-0.125,-0.25],)"
                R"("tokens":["0.0 ","0.1 ","0.2 "],"top_logprobs":[)"
                R"({"alt0":0,"alt1":-0.125,"0.0 ":0},{"alt0":-0.125,"alt1":-0.25,"0.1 ":-0.125},)"
                R"({"alt0":-0.25,"alt1":-0.375,"0.2 ":-0.25}]})"))
      << reply.body;
}

TEST_F(CompletionRoutesTest, TellsLogprobsAsChatsDo) {
  StartWriter();
  const HttpReply reply = Post(kChat, Chat(R"("max_tokens":1,"logprobs":true,"top_logprobs":1)"));
  EXPECT_THAT(
      reply.body,
      HasSubstr(R"("logprobs":{"content":[{"token":"0.0 ","logprob":0,"bytes":[48,46,48,32],)"
                R"("top_logprobs":[{"token":"alt0","logprob":0,"bytes":[97,108,116,48]}]}],)"
                R"("refusal":null})"))
      << reply.body;
}

TEST_F(CompletionRoutesTest, LogprobsOfAStreamGoOnWhereTheyStopped) {
  StartWriter();
  const HttpReply reply = Post(kText, Body("\"max_tokens\":4,\"logprobs\":0,\"stream\":true"));
  std::string offsets;
  for (const std::string& event : Events(reply.body)) {
    const std::string some = Between(event, "\"text_offset\":[", "]");
    if (!some.empty()) offsets += some + ",";
  }
  EXPECT_EQ(offsets, "0,4,8,12,");
}

TEST_F(CompletionRoutesTest, AnEchoBeginsWithThePrompt) {
  StartWriter();
  EXPECT_THAT(Post(kText, Body("\"max_tokens\":1,\"echo\":true")).body,
              HasSubstr(R"("text":"one two three0.0 ","logprobs":null)"));
  EXPECT_THAT(Post(kText, Body("\"max_tokens\":1,\"echo\":true,\"logprobs\":1")).body,
              HasSubstr(R"("logprobs":{"text_offset":[0,4,8,13],)"
                        R"("token_logprobs":[null,-0.125,-0.25,0],)"
                        R"("tokens":["one ","two ","three","0.0 "],"top_logprobs":[null,)"
                        R"({"alt0":-0.125,"two ":-0.125},)"));
  // Of token ids the engine tells the texts.
  EXPECT_THAT(
      Post(kText, R"({"model":"writer","prompt":[5,6],"max_tokens":1,"echo":true,"n":2})").body,
      HasSubstr(R"({"index":1,"text":"5,6,1.0 ")"));
  const HttpReply streamed = Post(kText, Body("\"max_tokens\":2,\"echo\":true,\"stream\":true"));
  EXPECT_THAT(Events(streamed.body)[0], HasSubstr(R"("text":"one two three0.0 ")"));
  // What the engine tells last is waited for.
  const std::vector<std::string> one = Events(
      Post(kText, R"({"model":"writer","prompt":[5],"max_tokens":2,"echo":true,"stream":true})")
          .body);
  ASSERT_EQ(one.size(), 2u);
  EXPECT_THAT(one[0], HasSubstr(R"("text":"5,0.0 0.1 ")"));
}

TEST_F(CompletionRoutesTest, AnErrorBeforeTheFirstTokenIsAnAnswerOfItsOwn) {
  StartWriter();
  const HttpReply wrong = Post(kText, Body("\"temperature\":-1,\"stream\":true"));
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.header("Content-Type"), "application/json");
  EXPECT_EQ(wrong.body,
            R"({"error":{"message":"parameter temperature: expected a number in [0, 100]",)"
            R"("type":"invalid_request_error","param":"temperature","code":null}})");
}

TEST_F(CompletionRoutesTest, AnErrorWithinAStreamIsItsLastEventButOne) {
  StartWriter();
  control().hold = true;
  HttpClient client = Connect();
  ASSERT_TRUE(
      client
          .Write(HttpClient::Format("POST", kText, Body("\"max_tokens\":1e9,\"stream\":true"), ""))
          .ok());
  while (loader_.loop().unanswered() < 1) std::this_thread::yield();
  loader_.Release("writer");
  base::Result<std::string> begun = client.ReadSome();
  ASSERT_TRUE(begun.ok());
  EXPECT_THAT(*begun, StartsWith("HTTP/1.1 200 OK"));
  control().fail = true;
  std::string all = *begun;
  while (all.find("[DONE]") == std::string::npos) all += *client.ReadSome();
  EXPECT_THAT(all, HasSubstr(R"(data: {"error":{"message":"the fake writer was told to fail",)"
                             R"("type":"server_error","param":null,"code":null}})"));
}

TEST_F(CompletionRoutesTest, AClientThatGoesFreesItsSequence) {
  StartWriter();
  for (const char* more : {"\"max_tokens\":1e9,\"stream\":true", "\"max_tokens\":1e9"}) {
    const int64_t begun = control().begun.load();
    const int64_t dropped = control().dropped.load();
    {
      HttpClient client = Connect();
      ASSERT_TRUE(client.Write(HttpClient::Format("POST", kText, Body(more), "")).ok());
      // Before that nobody but the loop knows of it.
      while (control().begun.load() == begun) std::this_thread::yield();
    }
    while (loader_.loop().unanswered() > 0) std::this_thread::yield();
    EXPECT_EQ(control().dropped.load(), dropped + 1);
  }
}

TEST_F(CompletionRoutesTest, AStreamGoesOnToItsEndInADrain) {
  StartWriter();
  control().hold = true;
  HttpClient client = Connect();
  ASSERT_TRUE(
      client.Write(HttpClient::Format("POST", kText, Body("\"max_tokens\":50,\"stream\":true"), ""))
          .ok());
  while (loader_.loop().unanswered() < 1) std::this_thread::yield();
  std::thread drain([&] { EXPECT_TRUE(server_->Drain()); });
  while (server_->ready()) std::this_thread::yield();
  loader_.Release("writer");
  base::Result<HttpReply> reply = client.Read();
  drain.join();
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(Events(reply->body).back(), "[DONE]");
}

TEST_F(CompletionRoutesTest, TellsTheUsageInEveryEventWhenAskedTo) {
  StartWriter();
  const HttpReply reply = Post(
      kText,
      Body(R"("max_tokens":2,"stream":true,"stream_options":{"continuous_usage_stats":true})"));
  const std::vector<std::string> events = Events(reply.body);
  ASSERT_EQ(events.size(), 3u) << reply.body;
  EXPECT_THAT(events[0], HasSubstr(R"("usage":{"prompt_tokens":3,"completion_tokens":1,)"));
  EXPECT_THAT(events[1], HasSubstr(R"("usage":{"prompt_tokens":3,"completion_tokens":2,)"));
}

TEST_F(CompletionRoutesTest, AReaderThatIsBehindGetsMoreTokensAtOnce) {
  StartWriter();
  HttpClient client = Connect();
  ASSERT_TRUE(client
                  .Write(HttpClient::Format("POST", kText,
                                            Body("\"max_tokens\":200000,\"stream\":true"), ""))
                  .ok());
  // Nothing is read until the writer is done: what did not fit into the sockets waited with it.
  while (control().executed.load() < 200000) std::this_thread::yield();
  base::Result<HttpReply> reply = client.Read();
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  const std::vector<std::string> events = Events(reply->body);
  EXPECT_LT(events.size(), 150000u);
  std::string text;
  for (const std::string& event : events) text += Between(event, "\"text\":\"", "\"");
  size_t at = 0;
  for (int i = 0; i < 200000; ++i) {
    const std::string token = "0." + std::to_string(i) + " ";
    ASSERT_EQ(text.compare(at, token.size(), token), 0) << i;
    at += token.size();
  }
  EXPECT_EQ(at, text.size());
}

TEST_F(CompletionRoutesTest, WhatIsRefusedForLoadSaysWhenToComeAgain) {
  StartWriter();
  control().hold = true;
  std::vector<HttpClient> clients;
  for (size_t i = 0; i < FakeWriter::kWritingsMax; ++i) {
    clients.push_back(Connect());
    ASSERT_TRUE(clients.back().Write(HttpClient::Format("POST", kText, Body("\"n\":1"), "")).ok());
  }
  while (loader_.loop().unanswered() < static_cast<int64_t>(FakeWriter::kWritingsMax)) {
    std::this_thread::yield();
  }
  const HttpReply reply = Post(kText, Body("\"stream\":true"));
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.header("Retry-After"), "1");
  EXPECT_EQ(reply.header("x-sluice-reason"), "queue_full");
  EXPECT_THAT(reply.body,
              HasSubstr(R"("type":"rate_limit_error","param":null,"code":"queue_full")"));
  loader_.Release("writer");
}

TEST_F(CompletionRoutesTest, CountsFieldsThatNobodyKnows) {
  StartWriter();
  EXPECT_EQ(Post(kText, Body("\"brand_new\":1,\"newer\":{},\"user\":\"u\"")).status, 200);
  base::Result<HttpClient> metrics = HttpClient::Connect("127.0.0.1", server_->metrics_port());
  ASSERT_TRUE(metrics.ok());
  EXPECT_THAT(metrics->Send("GET", "/metrics")->body, HasSubstr("sluice_unknown_fields_total 2\n"));
}

TEST_F(CompletionRoutesTest, NamesRoutesModelsAndMethodsThatAreNotThere) {
  StartWriter();
  EXPECT_EQ(Get("/v1/models/writer").status, 200);
  EXPECT_EQ(Get("/v1/models/writer/more").status, 404);
  EXPECT_EQ(Get("/v1/models/identity").status, 404);
  EXPECT_EQ(Get(kText).status, 405);
  EXPECT_EQ(Get("/v1/other").status, 404);
  const HttpReply absent = Post(kText, R"({"model":"absent","prompt":"p"})");
  EXPECT_EQ(absent.status, 404);
  EXPECT_THAT(absent.body, HasSubstr(R"("code":"model_not_found")"));
}

}  // namespace
}  // namespace sluice::serve
