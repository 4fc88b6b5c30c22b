// Every limit of the HTTP listener is reached, over real sockets.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "serve/client/http_client.h"
#include "serve/http/server.h"

namespace sluice::serve {
namespace {

using ::testing::HasSubstr;

// Answers with what it saw of the request.
class Mirror : public HttpHandler {
 public:
  void Handle(const HttpRequest& request, const HttpExchange& exchange) override {
    if (request.target == "/never") return held_.push_back(exchange);
    HttpResponse response;
    response.content_type = "text/plain";
    if (request.target == "/large") {
      response.body.assign(64 << 20, 'x');
    } else {
      response.body = std::string(request.method) + " " + std::string(request.target) + " " +
                      std::to_string(request.body.size()) + " " +
                      std::to_string(request.headers.size());
    }
    exchange.RespondHere(std::move(response));
  }

 private:
  std::vector<HttpExchange> held_;
};

class HttpLimitsTest : public ::testing::Test {
 protected:
  ~HttpLimitsTest() override {
    if (server_ != nullptr) server_->Stop();
  }
  HttpClient Connect() {
    if (server_ == nullptr) {
      server_ =
          std::make_unique<HttpServer>(HttpServer::Options{"127.0.0.1", 0, 1, limits_}, &mirror_);
      base::Status started = server_->Start();
      CHECK(started.ok()) << started.error().message;
    }
    base::Result<HttpClient> client = HttpClient::Connect("127.0.0.1", server_->port());
    CHECK(client.ok()) << client.error().message;
    return std::move(*client);
  }
  // Status of the answer to these bytes, and that the connection is then closed.
  int Refused(const std::string& bytes) {
    HttpClient client = Connect();
    // The server may close before it has read everything.
    base::Status written = client.Write(bytes);
    base::Result<HttpReply> reply = client.Read();
    if (!reply.ok()) return written.ok() ? -1 : -2;
    EXPECT_THAT(reply->body, HasSubstr("error"));
    EXPECT_EQ(reply->header("Connection"), "close");
    client.FinishWriting();
    EXPECT_TRUE(client.AwaitClosed());
    return reply->status;
  }

  HttpLimits limits_;
  Mirror mirror_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpLimitsTest, TakesWhatIsJustWithinTheLimits) {
  limits_.header_count_max = 20;
  HttpClient client = Connect();
  std::string headers;
  for (int i = 0; i < 18; ++i) headers += "X-" + std::to_string(i) + ": v\r\n";
  base::Result<HttpReply> reply = client.Send("POST", "/x", "abc", headers);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->body, "POST /x 3 20");
}

TEST_F(HttpLimitsTest, RefusesTooManyHeaders) {
  std::string bytes = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 101; ++i) bytes += "X-" + std::to_string(i) + ": v\r\n";
  EXPECT_EQ(Refused(bytes + "\r\n"), 431);
}

TEST_F(HttpLimitsTest, RefusesAHeadThatIsTooLong) {
  EXPECT_EQ(Refused("GET / HTTP/1.1\r\nX: " + std::string(17 << 10, 'v') + "\r\n\r\n"), 431);
}

TEST_F(HttpLimitsTest, RefusesAHeadThatNeverEnds) {
  EXPECT_EQ(Refused("GET / HTTP/1.1\r\nX: " + std::string(20 << 10, 'v')), 431);
}

TEST_F(HttpLimitsTest, RefusesALongTarget) {
  EXPECT_EQ(Refused("GET /" + std::string(9 << 10, 'a') + " HTTP/1.1\r\n\r\n"), 414);
}

TEST_F(HttpLimitsTest, RefusesABodyThatAnnouncesTooMuchBeforeItComes) {
  EXPECT_EQ(Refused("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"), 413);
}

TEST_F(HttpLimitsTest, RefusesAChunkedBodyThatGrowsTooLong) {
  limits_.body_bytes_max = 100;
  std::string bytes = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 11; ++i) bytes += "a\r\n0123456789\r\n";
  EXPECT_EQ(Refused(bytes), 413);
}

TEST_F(HttpLimitsTest, RefusesAFloodOfChunks) {
  limits_.chunk_count_max = 1000;
  std::string bytes = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 1001; ++i) bytes += "1\r\nx\r\n";
  EXPECT_EQ(Refused(bytes), 413);
}

TEST_F(HttpLimitsTest, RefusesAnEndlessChunkExtension) {
  EXPECT_EQ(Refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                    std::string(40 << 10, 'e')),
            400);
}

TEST_F(HttpLimitsTest, RefusesMalformedFraming) {
  const char* kMalformed[] = {
      "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      "GET / HTTP/1.1\r\nX : v\r\n\r\n",
      "GET / HTTP/1.1\r\nNo colon\r\n\r\n",
      "GET  / HTTP/1.1\r\n\r\n",
      "\x16\x03\x01\x02 TLS hello\r\n\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
  };
  for (const char* bytes : kMalformed) EXPECT_EQ(Refused(bytes), 400) << bytes;
  EXPECT_EQ(Refused("GET / HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(Refused("GET / HTTP/1.1\nHost: x\n\r\n\r\n"), 505);
  for (const char* coding : {"identity", "gzip, chunked", "xchunked", "chunked, gzip"}) {
    std::string bytes = "POST / HTTP/1.1\r\nTransfer-Encoding: " + std::string(coding) + "\r\n\r\n";
    int status = Refused(bytes);
    EXPECT_TRUE(status == 501 || status == 400) << coding << " " << status;
  }
  EXPECT_EQ(Refused("GET / HTTP/1.1\r\nExpect: wonders\r\n\r\n"), 417);
}

TEST_F(HttpLimitsTest, ClosesConnectionsAboveTheLimit) {
  limits_.connections_max = 2;
  HttpClient first = Connect();
  HttpClient second = Connect();
  ASSERT_TRUE(first.Send("GET", "/").ok());
  ASSERT_TRUE(second.Send("GET", "/").ok());
  HttpClient third = Connect();
  EXPECT_TRUE(third.AwaitClosed());
  EXPECT_EQ(server_->counters().connections_refused.load(), 1);
  EXPECT_TRUE(first.Send("GET", "/").ok());
}

TEST_F(HttpLimitsTest, ClosesAnIdleConnection) {
  limits_.idle_timeout = base::Duration::Millis(30);
  HttpClient client = Connect();
  EXPECT_TRUE(client.AwaitClosed());
}

TEST_F(HttpLimitsTest, AnswersASlowRequestWith408) {
  limits_.read_timeout = base::Duration::Millis(30);
  for (const char* begun : {"GET / HT", "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",
                            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    EXPECT_EQ(Refused(begun), 408) << begun;
  }
}

TEST_F(HttpLimitsTest, ClosesWhenTheClientDoesNotTakeItsAnswer) {
  limits_.write_timeout = base::Duration::Millis(50);
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("GET", "/large", "", "")).ok());
  // Nothing is read: the answer fills the sockets' buffers and stays there.
  for (int i = 0; i < 2000 && server_->counters().connections.load() > 0; ++i) {
    ASSERT_TRUE(Connect().Send("GET", "/").ok());
  }
  EXPECT_TRUE(client.AwaitClosed());
}

TEST_F(HttpLimitsTest, ARequestThatIsNeverAnsweredDoesNotKeepTheServer) {
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("GET", "/never", "", "")).ok());
  ASSERT_TRUE(Connect().Send("GET", "/").ok());
  server_->Stop();
  EXPECT_TRUE(client.AwaitClosed());
}

TEST_F(HttpLimitsTest, AnswersHeadWithoutABody) {
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write("HEAD /x HTTP/1.1\r\n\r\nGET /y HTTP/1.0\r\n\r\n").ok());
  client.FinishWriting();
  EXPECT_TRUE(client.AwaitClosed());
}

TEST_F(HttpLimitsTest, ConnectionsThatFindNoDescriptorAreTakenOnceThereIsOne) {
  limits_.connections_max = 100;
  HttpClient first = Connect();
  ASSERT_TRUE(first.Send("GET", "/a", {}, "").ok());
  const int waiting = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(waiting, 0);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  // The first free descriptor, and with it all others, is beyond the limit.
  const int free_one = dup(waiting);
  close(free_one);
  rlimit lowered = before;
  lowered.rlim_cur = static_cast<rlim_t>(free_one);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lowered), 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(server_->port()));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int connected = connect(waiting, reinterpret_cast<sockaddr*>(&to), sizeof to);
  while (connected == 0 && server_->counters().accept_failures.load() < 2)
    std::this_thread::yield();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_EQ(connected, 0);
  const std::string ask = "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  ASSERT_EQ(write(waiting, ask.data(), ask.size()), static_cast<ssize_t>(ask.size()));
  char answer[12] = {};
  ASSERT_EQ(recv(waiting, answer, sizeof answer, MSG_WAITALL), static_cast<ssize_t>(sizeof answer));
  EXPECT_EQ(std::string(answer, sizeof answer), "HTTP/1.1 200");
  close(waiting);
}

}  // namespace
}  // namespace sluice::serve
