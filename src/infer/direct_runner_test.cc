#include "infer/direct_runner.h"

#include <gtest/gtest.h>

#include <thread>

namespace sluice::infer {
namespace {

std::shared_ptr<const ServedModel> Serve(const std::string& name) {
  Options options;
  options.model = name;
  options.model_file = name + ".onnx";
  return LoadServedModel("tests/conformance/graphs", options).value();
}

std::unique_ptr<engine::Request> TowerRequest(int64_t rows, int64_t user) {
  auto request = std::make_unique<engine::Request>();
  for (const char* name : {"user", "item"}) {
    tensor::Tensor ids =
        tensor::Tensor::Allocate(tensor::DType::kI64, tensor::Shape({rows}), 1 << 20).value();
    for (int64_t i = 0; i < rows; ++i) {
      ids.mutable_view().as<int64_t>()[i] = (user + i) % 50;
    }
    request->inputs.push_back({name, std::move(ids)});
  }
  return request;
}

std::vector<float> Scores(DirectRunner& runner, int64_t rows, int64_t user) {
  const auto outputs = runner.Run(TowerRequest(rows, user)).value();
  const std::span<const float> scores = outputs[0].tensor.view().span<float>();
  return {scores.begin(), scores.end()};
}

TEST(DirectRunnerTest, RowsAreTheSameAloneTogetherAndInParts) {
  DirectRunner runner(Serve("two_tower_cosine_ts14"), {});
  const std::vector<float> together = Scores(runner, 1000, 0);
  ASSERT_EQ(together.size(), 1000u);
  for (const int64_t row : {0, 7, 999}) {
    EXPECT_EQ(Scores(runner, 1, row)[0], together[static_cast<size_t>(row)]);
  }
}

TEST(DirectRunnerTest, CallsAtOneTimeDoNotDisturbEachOther) {
  DirectRunner runner(Serve("two_tower_cosine_ts14"), {.workers = 1});
  const std::vector<float> expected = Scores(runner, 64, 3);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) wrong[t] += Scores(runner, 64, 3) != expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(DirectRunnerTest, AnAnswerOutlivesTheRunner) {
  auto runner =
      std::make_unique<DirectRunner>(Serve("two_tower_cosine_ts14"), DirectRunner::Options{});
  const std::vector<float> expected = Scores(*runner, 8, 0);
  const auto outputs = runner->Run(TowerRequest(8, 0)).value();
  Scores(*runner, 8, 20);
  runner.reset();
  const std::span<const float> kept = outputs[0].tensor.view().span<float>();
  EXPECT_EQ(std::vector<float>(kept.begin(), kept.end()), expected);
}

TEST(DirectRunnerTest, BadDataFailAndTheNextCallWorks) {
  DirectRunner runner(Serve("two_tower_cosine_ts14"), {});
  auto request = TowerRequest(4, 0);
  request->inputs[0].tensor.mutable_view().as<int64_t>()[2] = 5000;
  const auto failed = runner.Run(std::move(request));
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, base::Code::kInvalidArgument);
  EXPECT_NE(failed.error().message.find("5000"), std::string::npos);
  EXPECT_EQ(Scores(runner, 4, 0).size(), 4u);
}

TEST(DirectRunnerTest, TheInterpretersModelsRunToo) {
  DirectRunner runner(Serve("top_and_gather_ts17"), {});
  auto warm_up = MakeWarmUp(InferEngine(Serve("top_and_gather_ts17")), 2);
  ASSERT_TRUE(warm_up.ok());
  EXPECT_TRUE(runner.Run(std::move(warm_up).value()).ok());
}

}  // namespace
}  // namespace sluice::infer
