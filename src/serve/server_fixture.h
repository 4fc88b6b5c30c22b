// A server over fake engines for tests: a repository in a temporary folder, ephemeral ports, a
// client.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/files.h"
#include "serve/client/http_client.h"
#include "serve/fake_engine.h"
#include "serve/fake_ranker.h"
#include "serve/fake_writer.h"
#include "serve/repository/model_loader.h"
#include "serve/server.h"

namespace sluice::serve {

// Loads fakes: what model.onnx contains decides. "broken": an error; else an identity model;
// "writer" and "ranker": language models; "late": its requests are held, so that it never answers
// its warm-up unless released.
class FakeLoader : public ModelLoader {
 public:
  FakeLoader() : loop_(engine::DeviceLoop::Options{}) {}

  base::Result<std::shared_ptr<const engine::EngineVersion>> Load(
      const ModelSource& source, engine::EngineVersion::Retire retire) override {
    std::string content =
        TRY(base::ReadFile(source.version_folder + "/" + source.model_file, 1 << 20));
    last_content = content;
    if (content.starts_with("broken")) return base::InvalidArgument("the fake model is broken");
    engine::Description description = IdentityDescription(source.name, source.version);
    if (source.settings.max_batch_size == 0) {
      description.batch_rows_max = 0;
      description.inputs[0].dims = description.outputs[0].dims = {16};
    }
    if (content.starts_with("text")) {
      description.inputs[0] = {"INPUT0", tensor::DType::kBytes, {-1, -1}, false};
      description.outputs[0] = {"OUTPUT0", tensor::DType::kBytes, {-1, -1}, false};
    }
    std::unique_ptr<engine::Engine> engine;
    if (content.starts_with("writer")) {
      engine = std::make_unique<FakeWriter>(WriterDescription(source.name, source.version),
                                            control(source.name));
    } else if (content.starts_with("ranker")) {
      engine = std::make_unique<FakeRanker>(RankerDescription(source.name, source.version),
                                            control(source.name));
    } else {
      engine = std::make_unique<FakeEngine>(std::move(description), control(source.name));
    }
    std::shared_ptr<const engine::EngineVersion> version =
        TRY(engine::EngineVersion::Create(std::move(engine), loop_, std::move(retire)));
    last_version = version.get();
    return version;
  }
  // Of all engines with this model's name, also of those to come.
  std::shared_ptr<FakeControl> control(const std::string& model) {
    std::lock_guard lock(mutex_);
    std::shared_ptr<FakeControl>& control = controls_[model];
    if (control == nullptr) control = std::make_shared<FakeControl>();
    return control;
  }
  void Release(const std::string& model) {
    control(model)->hold = false;
    loop_.Wake();
  }
  engine::DeviceLoop& loop() { return loop_; }
  // Of the last load: read after it has ended, and the version while it is served.
  std::string last_content;
  const engine::EngineVersion* last_version = nullptr;

 private:
  engine::DeviceLoop loop_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<FakeControl>> controls_;
};

// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "sluice-test-XXXXXX").string();
    path_ = mkdtemp(path.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  void Write(const std::string& relative, const std::string& content) const {
    std::filesystem::path file = std::filesystem::path(path_) / relative;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
  }
  void Remove(const std::string& relative) const {
    std::filesystem::remove_all(std::filesystem::path(path_) / relative);
  }

 private:
  std::string path_;
};

class ServerFixture : public ::testing::Test {
 protected:
  ServerFixture() {
    config_.models = folder_.path();
    config_.http_port = config_.grpc_port = config_.metrics_port = 0;
    config_.io_threads = 2;
    config_.drain_timeout = base::Duration::Seconds(20);
  }
  ~ServerFixture() override {
    for (const char* name : {"identity", "held", "writer", "ranker"}) loader_.Release(name);
    if (server_ != nullptr) server_->Stop();
  }
  // Starts on what the folder holds; with an "identity" model unless there is one already.
  void StartServer() {
    folder_.Write("identity/1/model.onnx", "identity");
    server_ = std::make_unique<Server>(
        config_, Server::Environment{&loader_, [this] { loader_.loop().BeginDrain(); }, {}});
    base::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started.error().message;
    server_->AwaitModels();
  }
  HttpClient Connect() {
    base::Result<HttpClient> client = HttpClient::Connect("127.0.0.1", server_->http_port());
    CHECK(client.ok()) << client.error().message;
    return std::move(*client);
  }
  HttpReply Get(const std::string& target) { return Ask("GET", target, "", ""); }
  HttpReply Post(const std::string& target, const std::string& body,
                 const std::string& headers = "") {
    return Ask("POST", target, body, headers);
  }
  HttpReply Ask(const std::string& method, const std::string& target, const std::string& body,
                const std::string& headers) {
    HttpClient client = Connect();
    base::Result<HttpReply> reply = client.Send(method, target, body, headers);
    CHECK(reply.ok()) << reply.error().message;
    return std::move(*reply);
  }
  // How many requests of the model were dropped because nobody waited for them any more.
  int64_t CancelledRequests() {
    return loader_.last_version->statistics().snapshot().cancelled.count;
  }
  static std::string InferJson(const std::string& more = "") {
    return R"({"inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"FP32",)"
           R"("data":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15.5]}])" +
           more + "}";
  }

  TemporaryFolder folder_;
  FakeLoader loader_;
  ServerConfig config_;
  std::unique_ptr<Server> server_;
};

inline constexpr const char* kInferPath = "/v2/models/identity/infer";

}  // namespace sluice::serve
