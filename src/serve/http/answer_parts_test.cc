// Answers in parts, over real sockets: their framing, readers that are slow or gone, drains.
#include "serve/http/answer_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "serve/client/http_client.h"
#include "serve/http/server.h"

namespace sluice::serve {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(AnswerParts, FramesPartsAsChunksOrNotAtAll) {
  std::string out;
  AnswerParts chunks(Framing::kChunks, false, [] {});
  chunks.Frame("0123456789abcdefg", out);
  chunks.Frame("", out);
  chunks.FrameEnd(out);
  EXPECT_EQ(out, "11\r\n0123456789abcdefg\r\n0\r\n\r\n");
  out.clear();
  AnswerParts plain(Framing::kClosing, false, [] {});
  plain.Frame("abc", out);
  plain.FrameEnd(out);
  EXPECT_EQ(out, "abc");
  AnswerParts muted(Framing::kChunks, true, [] {});
  muted.Frame("abc", out);
  muted.FrameEnd(out);
  EXPECT_EQ(out, "abc");
  EXPECT_TRUE(muted.ended());
}

// "/parts" answers with parts "a", "bb" and "ccc"; "/open" keeps its answer open for the test to go
// on with; "/flood" sends a part whenever the one before has left.
class Teller : public HttpHandler {
 public:
  void Handle(const HttpRequest& request, const HttpExchange& exchange) override {
    if (request.target == "/plain") {
      HttpResponse response;
      response.body = "plain";
      return exchange.RespondHere(std::move(response));
    }
    HttpResponse head;
    head.content_type = "text/event-stream";
    head.body = "a";
    auto call = std::make_shared<engine::Call>(engine::Call::Options{});
    exchange.Watch(call);
    exchange.RespondInParts(std::move(head), [this] { left.fetch_add(1); });
    if (request.target == "/parts") {
      exchange.SendPart("bb");
      exchange.EndParts("ccc");
      exchange.SendPart("too late");
      return;
    }
    std::lock_guard lock(mutex_);
    open_.push_back(exchange);
    calls_.push_back(call);
  }
  // Of the answer that is open, from any thread.
  void Send(const std::string& part, bool end = false) {
    struct Part : Delivery {
      Part(HttpExchange e, std::string t, bool l)
          : exchange(std::move(e)), text(std::move(t)), last(l) {}
      void Arrive() override {
        if (last) {
          exchange.EndParts(text);
        } else {
          exchange.SendPart(text);
        }
      }
      HttpExchange exchange;
      std::string text;
      bool last;
    };
    std::lock_guard lock(mutex_);
    open_.back().io().Deliver(std::make_shared<Part>(open_.back(), part, end));
  }
  bool cancelled() {
    std::lock_guard lock(mutex_);
    return !calls_.empty() && calls_.back()->cancelled();
  }
  bool open() {
    std::lock_guard lock(mutex_);
    return !open_.empty();
  }
  std::atomic<int> left{0};

 private:
  std::mutex mutex_;
  std::vector<HttpExchange> open_;
  std::vector<std::shared_ptr<engine::Call>> calls_;
};

class AnswerPartsTest : public ::testing::Test {
 protected:
  ~AnswerPartsTest() override {
    if (server_ != nullptr) server_->Stop();
  }
  HttpClient Connect() {
    if (server_ == nullptr) {
      server_ =
          std::make_unique<HttpServer>(HttpServer::Options{"127.0.0.1", 0, 1, limits_}, &teller_);
      CHECK(server_->Start().ok());
    }
    base::Result<HttpClient> client = HttpClient::Connect("127.0.0.1", server_->port());
    CHECK(client.ok()) << client.error().message;
    return std::move(*client);
  }
  // Everything that comes until the server closes.
  static std::string Rest(HttpClient& client) {
    std::string all;
    for (;;) {
      base::Result<std::string> some = client.ReadSome();
      if (!some.ok() || some->empty()) return all;
      all += *some;
    }
  }

  HttpLimits limits_;
  Teller teller_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(AnswerPartsTest, ComeAsChunksAndTheConnectionGoesOn) {
  HttpClient client = Connect();
  for (int i = 0; i < 3; ++i) {
    base::Result<HttpReply> reply = client.Send("GET", "/parts");
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->body, "abbccc");
    EXPECT_EQ(reply->header("Content-Type"), "text/event-stream");
    EXPECT_EQ(reply->header("Content-Length"), "");
    EXPECT_EQ(client.Send("GET", "/plain")->body, "plain");
  }
  EXPECT_EQ(server_->counters().streams.load(), 0);
  EXPECT_EQ(server_->counters().requests_in_flight.load(), 0);
}

TEST_F(AnswerPartsTest, WaitForTheirTurnWhenRequestsArePipelined) {
  HttpClient client = Connect();
  std::string bytes;
  for (const char* target : {"/plain", "/parts", "/plain", "/open", "/plain"}) {
    bytes += HttpClient::Format("GET", target, "", "");
  }
  ASSERT_TRUE(client.Write(bytes).ok());
  EXPECT_EQ(client.Read()->body, "plain");
  EXPECT_EQ(client.Read()->body, "abbccc");
  EXPECT_EQ(client.Read()->body, "plain");
  while (!teller_.open()) std::this_thread::yield();
  teller_.Send("more");
  teller_.Send("end", true);
  EXPECT_EQ(client.Read()->body, "amoreend");
  EXPECT_EQ(client.Read()->body, "plain");
}

TEST_F(AnswerPartsTest, EndWithTheConnectionForAClientOfHttp10) {
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write("GET /parts HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").ok());
  const std::string all = Rest(client);
  EXPECT_THAT(all, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(all, Not(HasSubstr("chunked")));
  EXPECT_THAT(all, EndsWith("\r\n\r\nabbccc"));
}

TEST_F(AnswerPartsTest, AreLeftOutOfTheAnswerToAHead) {
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write("HEAD /parts HTTP/1.1\r\n\r\nGET /plain HTTP/1.0\r\n\r\n").ok());
  const std::string all = Rest(client);
  EXPECT_THAT(all, HasSubstr("Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK"));
  EXPECT_THAT(all, EndsWith("plain"));
}

TEST_F(AnswerPartsTest, TellWhenTheyHaveLeft) {
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("GET", "/open", "", "")).ok());
  while (teller_.left.load() < 1) std::this_thread::yield();
  teller_.Send("next");
  while (teller_.left.load() < 2) std::this_thread::yield();
  EXPECT_EQ(server_->counters().streams.load(), 1);
}

TEST_F(AnswerPartsTest, AreCancelledAtOnceWhenTheClientGoes) {
  for (const size_t body : {size_t{0}, size_t{200} << 10}) {
    {
      HttpClient client = Connect();
      ASSERT_TRUE(
          client.Write(HttpClient::Format("POST", "/open", std::string(body, 'x'), "")).ok());
      while (!teller_.open() || teller_.cancelled()) std::this_thread::yield();
      EXPECT_FALSE(teller_.cancelled());
    }
    while (!teller_.cancelled()) std::this_thread::yield();
    while (server_->counters().connections.load() > 0) std::this_thread::yield();
    EXPECT_EQ(server_->counters().streams.load(), 0);
  }
}

TEST_F(AnswerPartsTest, AreCutOffWhenTheClientTakesNothing) {
  limits_.stall_timeout = base::Duration::Millis(40);
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("GET", "/open", "", "")).ok());
  while (!teller_.open()) std::this_thread::yield();
  teller_.Send(std::string(16 << 20, 'x'));
  while (server_->counters().stalled.load() == 0) std::this_thread::yield();
  EXPECT_TRUE(teller_.cancelled());
}

TEST_F(AnswerPartsTest, DoNotPileUpBeyondTheirLimit) {
  limits_.stream_bytes_max = 1 << 20;
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("GET", "/open", "", "")).ok());
  while (!teller_.open()) std::this_thread::yield();
  teller_.Send(std::string(16 << 20, 'x'));
  // The first is on its way; what follows waits, up to the limit.
  teller_.Send(std::string(1 << 19, 'y'));
  teller_.Send(std::string(1 << 20, 'z'));
  while (!teller_.cancelled()) std::this_thread::yield();
  EXPECT_EQ(server_->counters().stalled.load(), 1);
}

TEST_F(AnswerPartsTest, ReachASlowReaderWhole) {
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("GET", "/open", "", "")).ok());
  while (!teller_.open()) std::this_thread::yield();
  for (int i = 0; i < 64; ++i)
    teller_.Send(std::string(256 << 10, static_cast<char>('A' + i % 26)));
  teller_.Send("", true);
  base::Result<HttpReply> reply = client.Read();
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  ASSERT_EQ(reply->body.size(), 1 + (size_t{64} << 18));
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(reply->body[1 + (i << 18)], static_cast<char>('A' + i % 26));
  }
}

TEST_F(AnswerPartsTest, ComeToTheirEndInADrain) {
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("GET", "/open", "", "")).ok());
  while (!teller_.open()) std::this_thread::yield();
  server_->Drain();
  EXPECT_EQ(server_->counters().requests_in_flight.load(), 1);
  teller_.Send("last", true);
  EXPECT_EQ(client.Read()->body, "alast");
  client.FinishWriting();
  EXPECT_TRUE(client.AwaitClosed());
  EXPECT_EQ(server_->counters().requests_in_flight.load(), 0);
}

}  // namespace
}  // namespace sluice::serve
