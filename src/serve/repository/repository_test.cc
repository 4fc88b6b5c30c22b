// The life cycle of models over a repository in a temporary folder, fake engines, and the verbs
// over HTTP.
#include "serve/repository/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "serve/server_fixture.h"

namespace sluice::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RepositoryTest : public ServerFixture {
 protected:
  RepositoryTest() { config_.model_control = ModelControl::kExplicit; }
  void StartExplicit(std::vector<std::string> models = {"identity"}) {
    config_.load_models = std::move(models);
    StartServer();
  }
  HttpReply Load(const std::string& name, const std::string& body = "") {
    return Post("/v2/repository/models/" + name + "/load", body);
  }
  HttpReply Unload(const std::string& name) {
    return Post("/v2/repository/models/" + name + "/unload", "");
  }
  std::string Index(const std::string& body = "") {
    return Post("/v2/repository/index", body).body;
  }
  int ReadyStatus(const std::string& model) { return Get("/v2/models/" + model + "/ready").status; }
};

TEST_F(RepositoryTest, ServesTheLatestVersionUnlessToldOtherwise) {
  folder_.Write("identity/2/model.onnx", "identity");
  folder_.Write("identity/10/model.onnx", "identity");
  folder_.Write("identity/not-a-version/model.onnx", "identity");
  folder_.Write("identity/01/model.onnx", "identity");
  StartExplicit();
  EXPECT_THAT(Get("/v2/models/identity").body, HasSubstr(R"("versions":["10"])"));
  folder_.Write("identity/config.pbtxt", "version_policy { all { } }");
  EXPECT_EQ(Load("identity").status, 200);
  EXPECT_THAT(Get("/v2/models/identity").body, HasSubstr(R"("versions":["1","2","10"])"));
  EXPECT_EQ(Post("/v2/models/identity/versions/2/infer", InferJson()).status, 200);
  folder_.Write("identity/config.pbtxt", "version_policy { specific { versions: [ 2 ] } }");
  EXPECT_EQ(Load("identity").status, 200);
  EXPECT_THAT(Get("/v2/models/identity").body, HasSubstr(R"("versions":["2"])"));
  folder_.Write("identity/config.pbtxt", "version_policy { specific { versions: [ 3 ] } }");
  EXPECT_EQ(Load("identity").status, 400);
  EXPECT_THAT(Get("/v2/models/identity").body, HasSubstr(R"("versions":["2"])"));
}

TEST_F(RepositoryTest, ReportsABadModelAndServesTheOthers) {
  folder_.Write("bad/1/model.onnx", "broken");
  folder_.Write("refused/1/model.onnx", "identity");
  folder_.Write("refused/config.pbtxt", "ensemble_scheduling { }");
  folder_.Write("empty/readme", "");
  StartExplicit({"*"});
  EXPECT_EQ(Post(kInferPath, InferJson()).status, 200);
  std::string index = Index();
  EXPECT_THAT(index, HasSubstr(R"({"name":"bad","version":"1","state":"UNAVAILABLE",)"
                               R"("reason":"the fake model is broken"})"));
  EXPECT_THAT(index, HasSubstr("ensemble_scheduling"));
  EXPECT_THAT(index, HasSubstr(R"({"name":"empty","state":"UNAVAILABLE")"));
  EXPECT_THAT(Index(R"({"ready":true})"), Not(HasSubstr("bad")));
  EXPECT_EQ(Get("/v2/health/ready").status, 400);
}

TEST_F(RepositoryTest, IsReadyWithOneModelWhenNotStrict) {
  folder_.Write("bad/1/model.onnx", "broken");
  config_.strict_readiness = false;
  StartExplicit({"*"});
  EXPECT_EQ(Get("/v2/health/ready").status, 200);
}

TEST_F(RepositoryTest, LoadsAndUnloadsByRequest) {
  folder_.Write("other/1/model.onnx", "identity");
  StartExplicit();
  EXPECT_EQ(ReadyStatus("other"), 400);
  EXPECT_EQ(Load("other").status, 200);
  EXPECT_EQ(ReadyStatus("other"), 200);
  EXPECT_EQ(loader_.control("other")->alive.load(), 1);
  EXPECT_EQ(Unload("other").status, 200);
  EXPECT_EQ(ReadyStatus("other"), 400);
  EXPECT_EQ(Post("/v2/models/other/infer", InferJson()).status, 404);
  EXPECT_THAT(
      Index(),
      HasSubstr(R"({"name":"other","version":"1","state":"UNAVAILABLE","reason":"unloaded"})"));
  EXPECT_EQ(Load("identity").status, 200);
  // Whoever asked last may hold its pin a moment longer than its client waited.
  while (loader_.control("other")->alive.load() > 0) std::this_thread::yield();
  EXPECT_EQ(Get("/v2/health/ready").status, 200);
}

// Every load waits for the gate and fails.
class GatedLoader : public ModelLoader {
 public:
  base::Result<std::shared_ptr<const engine::EngineVersion>> Load(
      const ModelSource&, engine::EngineVersion::Retire) override {
    if (++loads == 1) begun.set_value();
    opened.wait();
    return base::InvalidArgument("no engine here");
  }
  std::promise<void> begun;
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  std::atomic<int> loads{0};
};

TEST(RepositoryStopTest, StoppingDoesNotLoadWhatStillWaits) {
  TemporaryFolder folder;
  for (const char* name : {"a", "b", "c"})
    folder.Write(std::string(name) + "/1/model.onnx", "identity");
  ServerConfig config;
  config.models = folder.path();
  GatedLoader loader;
  Router router;
  Repository repository(config, loader, router);
  ASSERT_TRUE(repository.Start().ok());
  loader.begun.get_future().wait();
  std::thread stopper([&] { repository.Stop(); });
  repository.AwaitStart();
  loader.gate.set_value();
  stopper.join();
  EXPECT_EQ(loader.loads.load(), 1);
}

TEST_F(RepositoryTest, AFailedReloadLeavesWhatServes) {
  StartExplicit();
  folder_.Write("identity/1/model.onnx", "broken");
  HttpReply reply = Load("identity");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("failed to load 'identity'"));
  EXPECT_EQ(Post(kInferPath, InferJson()).status, 200);
  EXPECT_EQ(ReadyStatus("identity"), 200);
}

TEST_F(RepositoryTest, ARequestKeepsTheVersionThatItBeganWith) {
  StartExplicit();
  loader_.control("identity")->hold = true;
  HttpClient client = Connect();
  ASSERT_TRUE(client.Write(HttpClient::Format("POST", kInferPath, InferJson(), "")).ok());
  while (loader_.loop().unanswered() == 0) std::this_thread::yield();
  EXPECT_EQ(Unload("identity").status, 200);
  EXPECT_EQ(Load("absent").status, 400);
  EXPECT_EQ(loader_.control("identity")->alive.load(), 1);
  loader_.Release("identity");
  EXPECT_EQ(client.Read()->status, 200);
}

TEST_F(RepositoryTest, AModelIsReadyOnlyOnceItAnsweredItsWarmUp) {
  folder_.Write("late/1/model.onnx", "identity");
  loader_.control("late")->hold = true;
  StartExplicit();
  HttpClient client = Connect();
  ASSERT_TRUE(
      client.Write(HttpClient::Format("POST", "/v2/repository/models/late/load", "", "")).ok());
  while (loader_.control("late")->alive.load() == 0 || loader_.loop().unanswered() == 0)
    std::this_thread::yield();
  EXPECT_EQ(ReadyStatus("late"), 400);
  EXPECT_THAT(Index(), HasSubstr(R"({"name":"late","version":"1","state":"LOADING")"));
  // Others serve meanwhile, and the server stays ready.
  EXPECT_EQ(Post(kInferPath, InferJson()).status, 200);
  EXPECT_EQ(Get("/v2/health/ready").status, 200);
  loader_.Release("late");
  EXPECT_EQ(client.Read()->status, 200);
  EXPECT_EQ(ReadyStatus("late"), 200);
}

TEST_F(RepositoryTest, AModelThatFailsItsWarmUpIsNotPublished) {
  folder_.Write("other/1/model.onnx", "identity");
  loader_.control("other")->fail = true;
  StartExplicit();
  HttpReply reply = Load("other");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("synthetic request"));
  EXPECT_EQ(ReadyStatus("other"), 400);
}

TEST_F(RepositoryTest, RunsTheConfiguredWarmUps) {
  folder_.Write("other/1/model.onnx", "identity");
  folder_.Write("other/warmup/values", std::string(3 * 64, '\0'));
  folder_.Write("other/config.pbtxt", R"(max_batch_size: 64
      model_warmup { name: "z" batch_size: 2 count: 5
        inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: 16 zero_data: true } } }
      model_warmup { name: "f" batch_size: 3
        inputs { key: "INPUT0"
          value { data_type: TYPE_FP32 dims: 16 input_data_file: "values" } } })");
  StartExplicit({"other"});
  EXPECT_EQ(loader_.control("other")->executed.load(), 6);
  folder_.Write("other/config.pbtxt", R"(max_batch_size: 64
      model_warmup { name: "f" batch_size: 3
        inputs { key: "INPUT0"
          value { data_type: TYPE_FP32 dims: 16 input_data_file: "../../../etc/hostname" } } })");
  EXPECT_EQ(Load("other").status, 400);
}

TEST_F(RepositoryTest, TakesAConfigurationAndFilesWithALoad) {
  StartExplicit();
  // "identity from the request" in base64.
  HttpReply reply = Load("sent", R"({"parameters":{"config":"{\"max_batch_size\":8}",)"
                                 R"("file:1/model.onnx":"aWRlbnRpdHkgZnJvbSB0aGUgcmVxdWVzdA=="}})");
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(loader_.last_content, "identity from the request");
  EXPECT_EQ(Post("/v2/models/sent/infer", InferJson()).status, 200);
  EXPECT_EQ(
      Load("identity",
           R"({"parameters":{"config":"{\"max_batch_size\":0,\"input\":[{\"name\":\"INPUT0\",)"
           R"(\"data_type\":\"TYPE_FP32\",\"dims\":[16]}]}"}})")
          .status,
      200);
  EXPECT_THAT(Get("/v2/models/identity").body, HasSubstr(R"("shape":[16])"));
}

TEST_F(RepositoryTest, RefusesFilesThatWouldEscape) {
  StartExplicit();
  const char* kPaths[] = {
      "../x", "1/../../x", "/etc/x", "1/a/b", "x/model.onnx",          "1/", "1/.hidden", "01/m",
      "-1/m", "1",         "",       "1/..",  "99999999999999999999/m"};
  for (const char* path : kPaths) {
    HttpReply reply = Load(
        "sent", std::string(R"({"parameters":{"config":"{}","file:)") + path + R"(":"AAAA"}})");
    EXPECT_EQ(reply.status, 400) << path;
  }
  EXPECT_EQ(Load("sent", R"({"parameters":{"config":"{}","file:1/m":"A"}})").status, 400);
  EXPECT_EQ(Load("sent", R"({"parameters":{"file:1/model.onnx":"AAAA"}})").status, 400);
  EXPECT_EQ(Load("sent", R"({"parameters":{"unknown":"x"}})").status, 400);
  EXPECT_EQ(Load("sent", R"({"parameters":{"config":5}})").status, 400);
  EXPECT_EQ(Load("sent", "[").status, 400);
}

TEST_F(RepositoryTest, HoldsTheLimitOfALoadsFiles) {
  config_.load_override_bytes_max = 100;
  StartExplicit();
  std::string base64(200, 'A');
  HttpReply reply = Load("sent", R"({"parameters":{"config":"{}","file:1/m":")" + base64 + "\"}}");
  EXPECT_EQ(reply.status, 503) << reply.body;
}

TEST_F(RepositoryTest, FollowsNoLinkOutOfTheRepository) {
  TemporaryFolder outside;
  outside.Write("config.pbtxt", "max_batch_size: 8");
  folder_.Write("linked/1/model.onnx", "identity");
  ASSERT_EQ(symlink((outside.path() + "/config.pbtxt").c_str(),
                    (folder_.path() + "/linked/config.pbtxt").c_str()),
            0);
  ASSERT_EQ(symlink(outside.path().c_str(), (folder_.path() + "/whole").c_str()), 0);
  StartExplicit();
  EXPECT_EQ(Load("linked").status, 400);
  EXPECT_EQ(Load("whole").status, 400);
}

TEST_F(RepositoryTest, PollingFollowsTheFiles) {
  config_.model_control = ModelControl::kPoll;
  config_.poll_interval = base::Duration::Seconds(3600);
  StartServer();
  EXPECT_EQ(Load("identity").status, 503);
  folder_.Write("added/1/model.onnx", "identity");
  server_->repository().Poll();
  EXPECT_EQ(ReadyStatus("added"), 200);
  folder_.Write("added/2/model.onnx", "identity");
  server_->repository().Poll();
  EXPECT_THAT(Get("/v2/models/added").body, HasSubstr(R"("versions":["2"])"));
  int64_t executed = loader_.control("added")->executed.load();
  server_->repository().Poll();
  EXPECT_EQ(loader_.control("added")->executed.load(), executed);
  folder_.Remove("added");
  server_->repository().Poll();
  EXPECT_EQ(ReadyStatus("added"), 400);
  EXPECT_THAT(Index(), Not(HasSubstr("added")));
}

TEST_F(RepositoryTest, HoldsTheLimitOfModels) {
  config_.models_max = 2;
  folder_.Write("other/1/model.onnx", "identity");
  StartExplicit();
  EXPECT_EQ(Load("other").status, 200);
  EXPECT_EQ(Load("third").status, 503);
}

TEST_F(RepositoryTest, ARepositoryThatIsNotThereIsAnErrorAtStart) {
  config_.models = folder_.path() + "/absent";
  Server server(config_, Server::Environment{&loader_, {}, {}});
  base::Status started = server.Start();
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.error().message, HasSubstr("absent"));
}

}  // namespace
}  // namespace sluice::serve
