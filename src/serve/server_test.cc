// The whole server over fake engines and real sockets: routes, answers, codes, life cycle, drain.
#include "serve/server.h"

#include <gmock/gmock.h>

#include <future>
#include <thread>

#include "serve/client/grpc_client.h"
#include "serve/proto/health.pb.h"
#include "serve/server_fixture.h"

namespace sluice::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Floats(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    float value = static_cast<float>(i) + 0.25f;
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

inference::ModelInferRequest Message(const std::string& model = "identity") {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  auto& input = *request.add_inputs();
  input.set_name("INPUT0");
  input.set_datatype("FP32");
  input.add_shape(1);
  input.add_shape(16);
  request.add_raw_input_contents(Floats(16));
  return request;
}

// Waits until `done` holds; the server's own threads make it so.
template <class Condition>
bool Eventually(Condition done) {
  for (int i = 0; i < 20000; ++i) {
    if (done()) return true;
    std::this_thread::yield();
    if (i > 1000) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

using ServerTest = ServerFixture;

TEST_F(ServerTest, AnswersJsonWithJson) {
  StartServer();
  HttpReply reply = Post(kInferPath, InferJson(R"(,"id":"q7")"));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("content-type"), "application/json");
  EXPECT_EQ(
      reply.body,
      R"({"id":"q7","model_name":"identity","model_version":"1","outputs":[{"name":"OUTPUT0",)"
      R"("datatype":"FP32","shape":[1,16],"data":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15.5]}]})");
}

TEST_F(ServerTest, AnswersBinaryTensorsWithTheSameBytes) {
  StartServer();
  for (int rows : {1, 64}) {
    std::string head = R"({"inputs":[{"name":"INPUT0","shape":[)" + std::to_string(rows) +
                       R"(,16],"datatype":"FP32","parameters":{"binary_data_size":)" +
                       std::to_string(rows * 64) +
                       R"(}}],"outputs":[{"name":"OUTPUT0","parameters":{"binary_data":true}}]})";
    std::string raw = Floats(rows * 16);
    HttpReply reply =
        Post(kInferPath, head + raw,
             "Inference-Header-Content-Length: " + std::to_string(head.size()) + "\r\n");
    ASSERT_EQ(reply.status, 200) << reply.body;
    size_t json = std::stoul(std::string(reply.header("Inference-Header-Content-Length")));
    EXPECT_EQ(reply.body.substr(json), raw);
  }
}

TEST_F(ServerTest, ReadsALargeBinaryBodyIntoMemoryOfItsOwn) {
  config_.models = folder_.path();
  folder_.Write("text/1/model.onnx", "text");
  StartServer();
  std::string text(3 << 20, 'x');
  uint32_t length = static_cast<uint32_t>(text.size());
  std::string raw(reinterpret_cast<const char*>(&length), 4);
  raw += text;
  std::string head = R"({"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"BYTES",)"
                     R"("parameters":{"binary_data_size":)" +
                     std::to_string(raw.size()) +
                     R"(}}],"parameters":{"binary_data_output":true}})";
  HttpReply reply =
      Post("/v2/models/text/infer", head + raw,
           "Inference-Header-Content-Length: " + std::to_string(head.size()) + "\r\n");
  ASSERT_EQ(reply.status, 200) << reply.body.substr(0, 300);
  size_t json = std::stoul(std::string(reply.header("Inference-Header-Content-Length")));
  EXPECT_EQ(reply.body.substr(json), raw);
}

TEST_F(ServerTest, AnswersARawBodyOfOneTensor) {
  StartServer();
  HttpReply reply = Post(kInferPath, Floats(16), "Inference-Header-Content-Length: 0\r\n");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_TRUE(reply.body.ends_with(Floats(16)));
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  StartServer();
  HttpClient client = Connect();
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    bytes += HttpClient::Format("POST", kInferPath,
                                InferJson(",\"id\":\"" + std::to_string(i) + "\""), "");
  }
  ASSERT_TRUE(client.Write(bytes).ok());
  for (int i = 0; i < 50; ++i) {
    base::Result<HttpReply> reply = client.Read();
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_THAT(reply->body, HasSubstr("\"id\":\"" + std::to_string(i) + "\""));
  }
}

TEST_F(ServerTest, AnswersARequestThatComesByteByByte) {
  StartServer();
  HttpClient client = Connect();
  for (char c : HttpClient::Format("POST", kInferPath, InferJson(), "")) {
    ASSERT_TRUE(client.Write(std::string_view(&c, 1)).ok());
  }
  base::Result<HttpReply> reply = client.Read();
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->status, 200) << reply->body;
}

TEST_F(ServerTest, TakesAChunkedBodyWithExtensionsAndTrailers) {
  StartServer();
  HttpClient client = Connect();
  std::string bytes =
      "POST " + std::string(kInferPath) + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (char c : InferJson()) bytes += std::string("1;x=y\r\n") + c + "\r\n";
  bytes += "0\r\nX-Checked: no\r\n\r\n";
  ASSERT_TRUE(client.Write(bytes).ok());
  base::Result<HttpReply> reply = client.Read();
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->status, 200) << reply->body;
  // The connection goes on behind the trailers.
  EXPECT_EQ(client.Send("GET", "/v2/health/live")->status, 200);
}

TEST_F(ServerTest, ContinuesWhenAskedToAndReadsTheBodyThen) {
  StartServer();
  HttpClient client = Connect();
  std::string body = InferJson();
  ASSERT_TRUE(client
                  .Write("POST " + std::string(kInferPath) +
                         " HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: " +
                         std::to_string(body.size()) + "\r\n\r\n")
                  .ok());
  EXPECT_EQ(client.Read()->status, 100);
  ASSERT_TRUE(client.Write(body).ok());
  EXPECT_EQ(client.Read()->status, 200);
}

TEST_F(ServerTest, TellsItsMetadataAndHealth) {
  StartServer();
  EXPECT_THAT(Get("/v2").body, HasSubstr(R"("binary_tensor_data")"));
  EXPECT_EQ(Get("/v2/health/live").status, 200);
  EXPECT_EQ(Get("/v2/health/ready").status, 200);
  EXPECT_EQ(Get("/v2/models/identity/ready").status, 200);
  EXPECT_EQ(Get("/v2/models/identity/versions/2/ready").status, 400);
  EXPECT_EQ(
      Get("/v2/models/identity/versions/1").body,
      R"({"name":"identity","versions":["1"],"platform":"fake",)"
      R"("inputs":[{"name":"INPUT0","datatype":"FP32",)"
      R"("shape":[-1,16]}],"outputs":[{"name":"OUTPUT0","datatype":"FP32","shape":[-1,16]}]})");
  EXPECT_THAT(Get("/v2/models/identity/config").body, HasSubstr(R"("max_batch_size":64)"));
}

TEST_F(ServerTest, CountsRequestsAndNotItsWarmUp) {
  StartServer();
  Post(kInferPath, InferJson());
  Post(kInferPath, "{}");
  std::string stats = Get("/v2/models/identity/stats").body;
  EXPECT_THAT(stats, HasSubstr(R"("inference_count":1,"execution_count":1)"));
  EXPECT_THAT(stats, HasSubstr(R"("fail":{"count":1)"));
}

TEST_F(ServerTest, ShowsTritonsMetricNamesAndItsOwn) {
  StartServer();
  Post(kInferPath, InferJson());
  base::Result<HttpClient> client = HttpClient::Connect("127.0.0.1", server_->metrics_port());
  base::Result<HttpReply> page = client->Send("GET", "/metrics");
  ASSERT_TRUE(page.ok());
  EXPECT_THAT(page->body,
              HasSubstr("nv_inference_request_success{model=\"identity\",version=\"1\"} 1\n"));
  EXPECT_THAT(
      page->body,
      HasSubstr("sluice_queue_seconds_bucket{model=\"identity\",version=\"1\",le=\"+Inf\"}"));
  EXPECT_THAT(
      page->body,
      HasSubstr("sluice_refused_total{model=\"identity\",version=\"1\",reason=\"queue_full\"} 0"));
  EXPECT_EQ(client->Send("GET", "/v2")->status, 404);
}

TEST_F(ServerTest, ShowsWhatEnginesCountOfThemselves) {
  StartServer();
  Post(kInferPath, InferJson());
  base::Result<HttpClient> client = HttpClient::Connect("127.0.0.1", server_->metrics_port());
  const std::string page = client->Send("GET", "/metrics")->body;
  // The warm-up has made one step too.
  EXPECT_THAT(
      page, HasSubstr("# HELP sluice_fake_steps_total Steps of a fake\n"
                      "# TYPE sluice_fake_steps_total counter\n"
                      "sluice_fake_steps_total{model=\"identity\",version=\"1\",kind=\"echo\"} 2\n"
                      "# HELP other:steps Steps of a fake\n# TYPE other:steps counter\n"
                      "other:steps{model_name=\"identity\",version=\"1\",kind=\"echo\"} 2\n"));
}

struct WrongRequest {
  const char* method;
  const char* target;
  const char* body;
  int status;
};

TEST_F(ServerTest, RefusesWhatIsNotThereByTritonsCodes) {
  StartServer();
  const WrongRequest kWrong[] = {
      {"GET", "/", "", 404},
      {"GET", "/v2/nothing", "", 404},
      {"GET", "/v2/models", "", 404},
      {"GET", "/v2/models/absent", "", 404},
      {"POST", "/v2/models/absent/infer", "{}", 404},
      {"POST", "/v2/models/identity/versions/9/infer", "{}", 404},
      {"POST", "/v2/models/identity/versions/x/infer", "{}", 404},
      {"POST", "/v2/models/identity/versions/99999999999999999999/infer", "{}", 404},
      {"GET", "/v2/models/identity/infer", "", 405},
      {"POST", "/v2/health/live", "{}", 405},
      {"POST", "/v2/models/..%2F..%2Fetc/infer", "{}", 404},
      {"POST", "/v2/repository/models/..%2Fx/load", "{}", 400},
      {"POST", "/v2/repository/models/.hidden/load", "{}", 400},
      {"POST", "/v2/repository/models/a%00b/load", "{}", 400},
      {"POST", "/v2/repository/models/identity/load", "{}", 503},
      {"POST", "/v2/repository/other/models/identity/load", "{}", 501},
      {"POST", "/v2/models/identity/generate", "{}", 501},
      {"GET", "/v2/trace/setting", "", 501},
      {"GET", "/v2/logging", "", 501},
      {"POST", "/v2/cudasharedmemory/region/x/register", "{}", 501},
      {"POST", "/v2/systemsharedmemory/region/x/register", "{}", 501},
      {"GET", "/v2/models/%zz", "", 404},
      {"GET", "/v2/a/b/c/d/e/f/g/h/i/j", "", 404},
  };
  for (const WrongRequest& wrong : kWrong) {
    HttpReply reply = Ask(wrong.method, wrong.target, wrong.body, "");
    EXPECT_EQ(reply.status, wrong.status)
        << wrong.method << " " << wrong.target << " " << reply.body;
    EXPECT_THAT(reply.body, HasSubstr("{\"error\":")) << wrong.target;
  }
}

TEST_F(ServerTest, DropsWhatMissesItsDeadlineAndSaysWhy) {
  StartServer();
  loader_.control("identity")->hold = true;
  HttpReply reply = Post(kInferPath, InferJson(R"(,"parameters":{"timeout":1000})"));
  EXPECT_EQ(reply.status, 504);
  EXPECT_THAT(std::string(reply.header("x-sluice-reason")), HasSubstr("deadline"));
  for (const char* header : {"grpc-timeout: 2m\r\n", "x-envoy-expected-rq-timeout-ms: 2\r\n"}) {
    EXPECT_EQ(Post(kInferPath, InferJson(), header).status, 504) << header;
  }
  GrpcClient client("127.0.0.1", server_->grpc_port());
  inference::ModelInferRequest request = Message();
  (*request.mutable_parameters())["timeout"].set_int64_param(1000);
  inference::ModelInferResponse response;
  base::Status status = client.Infer(request, response);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, base::Code::kDeadlineExceeded);
  EXPECT_THAT(client.last_reason(), HasSubstr("deadline"));
}

TEST_F(ServerTest, CancelsTheCallOfAClientThatWentAway) {
  StartServer();
  loader_.control("identity")->hold = true;
  {
    HttpClient client = Connect();
    ASSERT_TRUE(client.Write(HttpClient::Format("POST", kInferPath, InferJson(), "")).ok());
    ASSERT_TRUE(Eventually([&] { return loader_.loop().unanswered() == 1; }));
  }
  // Dropped by the loop on its way to the engine, or by the engine when the loop next sweeps.
  EXPECT_TRUE(Eventually([&] { return CancelledRequests() == 1; }));
  GrpcClient client("127.0.0.1", server_->grpc_port());
  inference::ModelInferResponse response;
  const int64_t dropped = loader_.control("identity")->dropped.load();
  // On a busy machine a call may end before it has reached the server.
  EXPECT_TRUE(Eventually([&] {
    EXPECT_FALSE(client.Infer(Message(), response, base::Duration::Millis(20)).ok());
    return loader_.control("identity")->dropped.load() > dropped;
  }));
}

TEST_F(ServerTest, RefusesWhatTheQueueDoesNotTake) {
  StartServer();
  loader_.control("identity")->hold = true;
  std::vector<HttpClient> clients;
  for (size_t i = 0; i < FakeEngine::kQueueMax + 8; ++i) {
    clients.push_back(Connect());
    ASSERT_TRUE(clients.back().Write(HttpClient::Format("POST", kInferPath, InferJson(), "")).ok());
  }
  // Those that found the queue full are answered while the rest is held.
  ASSERT_TRUE(Eventually([&] {
    return Get("/v2/models/identity/stats").body.find("\"fail\":{\"count\":8,") !=
           std::string::npos;
  }));
  loader_.Release("identity");
  int full = 0;
  for (HttpClient& client : clients) {
    base::Result<HttpReply> reply = client.Read();
    ASSERT_TRUE(reply.ok());
    if (reply->status == 200) continue;
    EXPECT_EQ(reply->status, 503);
    EXPECT_EQ(reply->header("x-sluice-reason"), "queue_full");
    ++full;
  }
  EXPECT_EQ(full, 8);
}

TEST_F(ServerTest, PreparesLongRequestsAwayFromTheIoThreads) {
  config_.io_threads = 1;
  config_.prep_queue_max = 1;
  StartServer();
  std::promise<void> opened;
  std::shared_future<void> gate = opened.get_future().share();
  std::atomic<int> waiting{0};
  FakeControl& control = *loader_.control("identity");
  control.prepare_gate = [&] {
    ++waiting;
    gate.wait();
  };
  control.long_prepare = true;
  // One is being prepared, one waits, and the third finds the queue full.
  HttpClient first = Connect();
  ASSERT_TRUE(first.Write(HttpClient::Format("POST", kInferPath, InferJson(), "")).ok());
  ASSERT_TRUE(Eventually([&] { return waiting.load() == 1; }));
  HttpClient second = Connect();
  ASSERT_TRUE(second.Write(HttpClient::Format("POST", kInferPath, InferJson(), "")).ok());
  HttpReply third = Post(kInferPath, InferJson());
  EXPECT_EQ(third.status, 503);
  EXPECT_EQ(third.header("x-sluice-reason"), "queue_full");
  // The io thread is free all the while.
  EXPECT_EQ(Get("/v2/health/live").status, 200);
  opened.set_value();
  EXPECT_EQ(first.Read()->status, 200);
  EXPECT_EQ(second.Read()->status, 200);
}

TEST_F(ServerTest, ARequestThatCannotBePreparedIsTheClientsFault) {
  StartServer();
  FakeControl& control = *loader_.control("identity");
  control.fail_prepare = true;
  for (bool is_long : {false, true}) {
    control.long_prepare = is_long;
    HttpReply reply = Post(kInferPath, InferJson());
    EXPECT_EQ(reply.status, 400);
    EXPECT_THAT(reply.body, HasSubstr("cannot prepare"));
    GrpcClient client("127.0.0.1", server_->grpc_port());
    inference::ModelInferResponse response;
    EXPECT_EQ(client.Infer(Message(), response).error().code, base::Code::kInvalidArgument);
  }
}

TEST_F(ServerTest, ReportsAFailureOfTheEngine) {
  StartServer();
  loader_.control("identity")->fail = true;
  HttpReply reply = Post(kInferPath, InferJson());
  EXPECT_EQ(reply.status, 500);
  EXPECT_THAT(reply.body, HasSubstr("told to fail"));
}

TEST_F(ServerTest, AnswersOverGrpcInRawContents) {
  StartServer();
  GrpcClient client("127.0.0.1", server_->grpc_port());
  inference::ModelInferResponse response;
  base::Status status = client.Infer(Message(), response);
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(response.raw_output_contents(0), Floats(16));
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_EQ(response.model_version(), "1");
}

TEST_F(ServerTest, TakesTypedContentsOverGrpc) {
  StartServer();
  GrpcClient client("127.0.0.1", server_->grpc_port());
  inference::ModelInferRequest request = Message();
  request.clear_raw_input_contents();
  for (int i = 0; i < 16; ++i) {
    request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(static_cast<float>(i) + 0.25f);
  }
  inference::ModelInferResponse response;
  ASSERT_TRUE(client.Infer(request, response).ok());
  EXPECT_EQ(response.raw_output_contents(0), Floats(16));
}

TEST_F(ServerTest, RefusesWrongMessagesOverGrpc) {
  StartServer();
  GrpcClient client("127.0.0.1", server_->grpc_port());
  inference::ModelInferResponse response;
  auto refused = [&](const std::function<void(inference::ModelInferRequest&)>& spoil) {
    inference::ModelInferRequest request = Message();
    spoil(request);
    base::Status status = client.Infer(request, response);
    EXPECT_FALSE(status.ok());
    return status.ok() ? base::Code::kInternal : status.error().code;
  };
  using Request = inference::ModelInferRequest;
  EXPECT_EQ(refused([](Request& r) { r.set_model_name("absent"); }), base::Code::kNotFound);
  EXPECT_EQ(refused([](Request& r) { r.mutable_raw_input_contents(0)->pop_back(); }),
            base::Code::kInvalidArgument);
  EXPECT_EQ(refused([](Request& r) { r.add_raw_input_contents("more"); }),
            base::Code::kInvalidArgument);
  EXPECT_EQ(
      refused([](Request& r) { r.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1); }),
      base::Code::kInvalidArgument);
  EXPECT_EQ(refused([](Request& r) { r.mutable_inputs(0)->set_shape(0, INT64_MAX); }),
            base::Code::kInvalidArgument);
  EXPECT_EQ(refused([](Request& r) { r.add_outputs()->set_name("absent"); }),
            base::Code::kInvalidArgument);
  EXPECT_EQ(
      refused([](Request& r) { (*r.mutable_parameters())["sequence_id"].set_int64_param(4); }),
      base::Code::kUnimplemented);
  EXPECT_EQ(refused([](Request& r) { (*r.mutable_parameters())["triton_x"].set_int64_param(4); }),
            base::Code::kInvalidArgument);
  inference::TraceSettingRequest trace;
  inference::TraceSettingResponse settings;
  EXPECT_EQ(client.Call("TraceSetting", trace, settings).error().code, base::Code::kUnimplemented);
  EXPECT_EQ(client.Call("NoSuchMethod", trace, settings).error().code, base::Code::kUnimplemented);
}

TEST_F(ServerTest, TellsItsHealthOverGrpc) {
  StartServer();
  GrpcClient client("127.0.0.1", server_->grpc_port());
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(client.Call("/grpc.health.v1.Health/Check", request, response).ok());
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  request.set_service("absent");
  EXPECT_EQ(client.Call("/grpc.health.v1.Health/Check", request, response).error().code,
            base::Code::kNotFound);
}

TEST_F(ServerTest, DrainFinishesWhatIsInFlight) {
  StartServer();
  loader_.control("identity")->hold = true;
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("POST", kInferPath, InferJson(), "")).ok());
  ASSERT_TRUE(Eventually([&] { return loader_.loop().unanswered() == 1; }));
  std::future<bool> drained = std::async(std::launch::async, [&] { return server_->Drain(); });
  ASSERT_TRUE(
      Eventually([&] { return !HttpClient::Connect("127.0.0.1", server_->http_port()).ok(); }));
  loader_.Release("identity");
  EXPECT_TRUE(drained.get());
  base::Result<HttpReply> reply = client.Read();
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->header("Connection"), "close");
  server_->Stop();
  EXPECT_EQ(loader_.control("identity")->alive.load(), 0);
  EXPECT_FALSE(HttpClient::Connect("127.0.0.1", server_->http_port()).ok());
}

TEST_F(ServerTest, ServesOnWhileTheGracePeriodRunsButIsNotReady) {
  config_.drain_grace = base::Duration::Millis(300);
  StartServer();
  HttpClient client = Connect();
  std::future<bool> drained = std::async(std::launch::async, [&] { return server_->Drain(); });
  ASSERT_TRUE(Eventually([&] { return !server_->ready(); }));
  EXPECT_EQ(client.Send("GET", "/v2/health/ready")->status, 503);
  EXPECT_EQ(client.Send("POST", kInferPath, InferJson())->status, 200);
  EXPECT_TRUE(drained.get());
}

TEST_F(ServerTest, StopsWithClientsConnectedAndRequestsHeld) {
  StartServer();
  loader_.control("identity")->hold = true;
  HttpClient idle = Connect();
  HttpClient busy = Connect();
  ASSERT_TRUE(busy.Write(HttpClient::Format("POST", kInferPath, InferJson(), "")).ok());
  ASSERT_TRUE(Eventually([&] { return loader_.loop().unanswered() == 1; }));
  server_->Stop();
  EXPECT_TRUE(idle.AwaitClosed());
  EXPECT_TRUE(busy.AwaitClosed());
  EXPECT_EQ(loader_.control("identity")->alive.load(), 0);
}

TEST_F(ServerTest, StopsWithGrpcCallsInTheEngine) {
  StartServer();
  loader_.control("identity")->hold = true;
  std::vector<std::future<bool>> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(std::async(std::launch::async, [&] {
      GrpcClient client("127.0.0.1", server_->grpc_port());
      inference::ModelInferResponse response;
      return client.Infer(Message(), response, base::Duration::Seconds(60)).ok();
    }));
  }
  ASSERT_TRUE(Eventually([&] { return loader_.loop().unanswered() == 8; }));
  // Cancelled by the server's end; each is answered by the loop before its lane closes.
  server_->Stop();
  for (std::future<bool>& call : calls) EXPECT_FALSE(call.get());
  EXPECT_EQ(loader_.control("identity")->alive.load(), 0);
}

}  // namespace
}  // namespace sluice::serve
