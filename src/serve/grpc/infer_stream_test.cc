// ModelStreamInfer and Health/Watch over a real channel.
#include "serve/grpc/infer_stream.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>

#include <set>

#include "serve/proto/health.grpc.pb.h"
#include "serve/proto/inference.grpc.pb.h"
#include "serve/server_fixture.h"

namespace sluice::serve {
namespace {

using ::testing::HasSubstr;

class InferStreamTest : public ServerFixture {
 protected:
  void StartStream(bool grpc_errors = false) {
    StartServer();
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->grpc_port()),
                                   grpc::InsecureChannelCredentials());
    stub_ = inference::GRPCInferenceService::NewStub(channel_);
    if (grpc_errors) context_.AddMetadata("triton_grpc_error", "true");
    stream_ = stub_->ModelStreamInfer(&context_);
  }
  static inference::ModelInferRequest Message(const std::string& id,
                                              const std::string& model = "identity") {
    inference::ModelInferRequest request;
    request.set_model_name(model);
    request.set_id(id);
    auto& input = *request.add_inputs();
    input.set_name("INPUT0");
    input.set_datatype("FP32");
    input.add_shape(1);
    input.add_shape(16);
    request.add_raw_input_contents(std::string(64, '\0'));
    return request;
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<inference::ModelInferRequest, inference::ModelStreamInferResponse>>
      stream_;
};

TEST_F(InferStreamTest, AnswersEveryRequestOfAStreamOnce) {
  StartStream();
  std::set<std::string> expected;
  for (int i = 0; i < 300; ++i) expected.insert(std::to_string(i));
  std::thread writer([&] {
    for (const std::string& id : expected) ASSERT_TRUE(stream_->Write(Message(id)));
    stream_->WritesDone();
  });
  std::set<std::string> seen;
  inference::ModelStreamInferResponse response;
  while (stream_->Read(&response)) {
    EXPECT_EQ(response.error_message(), "");
    EXPECT_TRUE(response.infer_response().parameters().at("triton_final_response").bool_param());
    EXPECT_TRUE(seen.insert(response.infer_response().id()).second);
  }
  writer.join();
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_EQ(seen, expected);
}

TEST_F(InferStreamTest, ReportsAnErrorInTheStreamAndGoesOn) {
  StartStream();
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream_->Write(Message("bad", "absent")));
  ASSERT_TRUE(stream_->Read(&response));
  EXPECT_THAT(response.error_message(), HasSubstr("'absent' is not found"));
  EXPECT_EQ(response.infer_response().id(), "bad");
  ASSERT_TRUE(stream_->Write(Message("good")));
  ASSERT_TRUE(stream_->Read(&response));
  EXPECT_EQ(response.infer_response().id(), "good");
  stream_->WritesDone();
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(InferStreamTest, EndsTheStreamWithAStatusWhenAskedTo) {
  StartStream(true);
  ASSERT_TRUE(stream_->Write(Message("bad", "absent")));
  inference::ModelStreamInferResponse response;
  EXPECT_FALSE(stream_->Read(&response));
  grpc::Status status = stream_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(InferStreamTest, CancelsWhatAGoneClientAskedFor) {
  StartStream();
  loader_.control("identity")->hold = true;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(stream_->Write(Message(std::to_string(i))));
  while (loader_.loop().unanswered() < 5) std::this_thread::yield();
  context_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (loader_.loop().unanswered() > 0) std::this_thread::yield();
  EXPECT_EQ(CancelledRequests(), 5);
}

TEST_F(InferStreamTest, ReadsNoFurtherThanItsLimit) {
  StartStream();
  loader_.control("identity")->hold = true;
  std::thread writer([&] {
    for (int i = 0; i < kStreamInFlightMax + 20; ++i)
      ASSERT_TRUE(stream_->Write(Message(std::to_string(i))));
    stream_->WritesDone();
  });
  writer.join();
  while (loader_.loop().unanswered() < kStreamInFlightMax) std::this_thread::yield();
  EXPECT_EQ(loader_.loop().unanswered(), kStreamInFlightMax);
  loader_.Release("identity");
  inference::ModelStreamInferResponse response;
  int answers = 0;
  while (stream_->Read(&response)) ++answers;
  EXPECT_EQ(answers, kStreamInFlightMax + 20);
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(InferStreamTest, WatchTellsWhenTheServerDrains) {
  StartStream();
  stream_->WritesDone();
  EXPECT_TRUE(stream_->Finish().ok());
  grpc::ClientContext context;
  auto health = grpc::health::v1::Health::NewStub(channel_);
  auto watch = health->Watch(&context, grpc::health::v1::HealthCheckRequest());
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  std::thread drain([&] { server_->Drain(); });
  EXPECT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&response));
  drain.join();
}

}  // namespace
}  // namespace sluice::serve
