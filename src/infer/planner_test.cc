// Requests of shapes that are not planned yet, and steps of row counts that are not.
#include "infer/planner.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "engine/test_loop.h"
#include "infer/infer_engine.h"

namespace sluice::infer {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

using Sink = engine::OneReplySink;

class PlannerTest : public engine::LoopTest {
 protected:
  void Load(const std::string& graph, int64_t jobs_max = 8) {
    planner_ = std::make_unique<Planner>(Planner::Options{jobs_max, false, 0});
    Options options;
    options.model_file = graph + ".onnx";
    options.model = graph;
    options.planner = planner_.get();
    auto loaded = infer::Load("tests/conformance/graphs", options);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    engine_ = static_cast<InferEngine*>(loaded->get());
    Serve(std::move(loaded).value());
  }
  void TearDown() override {
    planner_.reset();
    LoopTest::TearDown();
  }
  static Tensor Ints(const Shape& shape, int64_t high, uint32_t seed) {
    std::mt19937 random(seed);
    Tensor tensor = Tensor::Allocate(DType::kI64, shape, 1 << 20).value();
    for (int64_t& x : tensor.mutable_view().span<int64_t>())
      x = static_cast<int64_t>(random() % static_cast<uint32_t>(high));
    return tensor;
  }
  static Tensor Floats(const Shape& shape, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    Tensor tensor = Tensor::Allocate(DType::kF32, shape, 1 << 20).value();
    for (float& x : tensor.mutable_view().span<float>()) x = normal(random);
    return tensor;
  }
  std::shared_ptr<Sink> Send(std::vector<tensor::NamedTensor> inputs,
                             base::Time deadline = base::Time::Never()) {
    engine::Call::Options call;
    call.deadline = deadline;
    auto sink = std::make_shared<Sink>();
    auto request = std::make_unique<engine::Request>();
    request->call = call_ = std::make_shared<engine::Call>(std::move(call));
    request->inputs = std::move(inputs);
    request->sink = sink;
    Submit(std::move(request));
    return sink;
  }
  std::shared_ptr<Sink> SendText(int64_t rows, int64_t length,
                                 base::Time deadline = base::Time::Never()) {
    return Send({{"input_ids", Ints({rows, length}, 80, 1)},
                 {"attention_mask", Ints({rows, length}, 1, 2)},
                 {"token_type_ids", Ints({rows, length}, 2, 3)}},
                deadline);
  }
  std::shared_ptr<Sink> SendClick(int64_t rows, uint32_t seed) {
    return Send({{"ids", Ints({rows, 6}, 40, seed)}, {"dense", Floats({rows, 4}, seed)}});
  }
  void TurnOften() {
    for (int i = 0; i < 100; ++i) {
      loop_->RunOnce();
      loop_->CheckIntegrity();
      clock_.Advance(base::Duration::Millis(1));
    }
  }

  std::unique_ptr<Planner> planner_;
  InferEngine* engine_ = nullptr;
  std::shared_ptr<engine::Call> call_;
};

TEST_F(PlannerTest, RequestsOfANewShapeWaitForThePlannerAndNotOnTheLoop) {
  Load("bert_encoder_ts15");
  const auto first = SendText(2, 7);
  const auto second = SendText(1, 7);
  const auto other = SendText(1, 9);
  TurnOften();
  EXPECT_FALSE(first->answered || second->answered || other->answered);
  EXPECT_EQ(loop_->unanswered(), 3);
  EXPECT_EQ(planner_->jobs(), 2) << "one job a shape";
  EXPECT_TRUE(planner_->RunOnce());
  TurnOften();
  ASSERT_TRUE(first->answered && second->answered && other->answered);
  EXPECT_TRUE(first->last.status.ok());
  EXPECT_EQ(first->last.timings.batch_rows, 3) << "they joined";
  // Planned now: nothing waits for the planner any more.
  const auto third = SendText(1, 9);
  TurnOften();
  EXPECT_TRUE(third->answered);
  EXPECT_EQ(planner_->jobs(), 0);
}

TEST_F(PlannerTest, ShapesThatTheModelDoesNotTakeAreTheClientsFault) {
  Load("bert_encoder_ts15");
  const auto wrong = SendText(1, 25);  // its table of positions has 24 rows
  TurnOften();
  EXPECT_FALSE(wrong->answered);
  planner_->RunOnce();
  TurnOften();
  ASSERT_TRUE(wrong->answered);
  ASSERT_FALSE(wrong->last.status.ok());
  EXPECT_EQ(wrong->last.status.error().code, base::Code::kInvalidArgument);
  // Known by now: Prepare refuses.
  engine::Request request;
  request.inputs = {{"input_ids", Ints({1, 25}, 80, 1)},
                    {"attention_mask", Ints({1, 25}, 1, 2)},
                    {"token_type_ids", Ints({1, 25}, 2, 3)}};
  EXPECT_FALSE(pin_->engine().Prepare(request).ok());
}

TEST_F(PlannerTest, AParkedRequestExpiresAndIsCancelled) {
  Load("bert_encoder_ts15");
  const auto late = SendText(1, 7, clock_.Now() + base::Duration::Millis(5));
  const auto gone = SendText(1, 7);
  call_->Cancel();
  const auto stays = SendText(1, 7);
  TurnOften();
  ASSERT_TRUE(late->answered && gone->answered);
  EXPECT_STREQ(late->last.reason, engine::reason::kDeadlineQueue);
  EXPECT_STREQ(gone->last.reason, engine::reason::kCancelled);
  EXPECT_FALSE(stays->answered);
  planner_->RunOnce();
  TurnOften();
  EXPECT_TRUE(stays->answered && stays->last.status.ok());
}

TEST_F(PlannerTest, AFullPlannerRefusesNewShapesAndServesTheRest) {
  Load("bert_encoder_ts15", 2);
  const auto a = SendText(1, 5);
  const auto b = SendText(1, 6);
  const auto c = SendText(1, 7);
  TurnOften();
  ASSERT_TRUE(c->answered);
  EXPECT_STREQ(c->last.reason, engine::reason::kQueueFull);
  planner_->RunOnce();
  TurnOften();
  EXPECT_TRUE(a->answered && b->answered);
}

TEST_F(PlannerTest, AStepOfUnplannedRowsRunsInPartsUntilItsPlanIsMade) {
  Load("deepfm_ts14");
  std::vector<std::shared_ptr<Sink>> alone;
  for (uint32_t i = 0; i < 7; ++i) {
    alone.push_back(SendClick(1, i));
    TurnOften();
  }
  EXPECT_EQ(planner_->jobs(), 0) << "powers of two are planned at load";
  for (int round = 0; round < 3; ++round) {
    std::vector<std::shared_ptr<Sink>> together;
    for (uint32_t i = 0; i < 7; ++i) together.push_back(SendClick(1, i));
    TurnOften();
    for (size_t i = 0; i < together.size(); ++i) {
      ASSERT_TRUE(together[i]->answered && together[i]->last.status.ok());
      EXPECT_EQ(together[i]->last.timings.batch_rows, 7);
      const Tensor& a = alone[i]->last.outputs[0].tensor;
      const Tensor& b = together[i]->last.outputs[0].tensor;
      EXPECT_EQ(
          std::memcmp(a.buffer.data(), b.buffer.data(), static_cast<size_t>(a.view().bytes())), 0);
    }
    EXPECT_EQ(planner_->jobs(), round == 1 ? 1 : 0) << "asked for when it came a second time";
    if (round == 1) {
      const int64_t before = engine_->memory().state_bytes;
      EXPECT_TRUE(planner_->RunOnce());
      EXPECT_GT(engine_->memory().state_bytes, before);
    }
  }
}

TEST_F(PlannerTest, AThreadMakesWhatLoopsWaitFor) {
  Load("bert_encoder_ts15");
  std::vector<std::shared_ptr<Sink>> sinks;
  {
    Planner threaded;
    for (int64_t length = 1; length <= 20; ++length) {
      auto job = std::make_unique<Planner::Job>();
      job->served = std::shared_ptr<const ServedModel>(pin_, &engine_->served());
      job->family = engine_->served().plans->Get(
          {Shape({1, length}), Shape({1, length}), Shape({1, length})}, true);
      job->rows = 2;
      job->waiter = pin_;
      while (!threaded.Enqueue(std::move(job))) {
      }
    }
  }
  for (int64_t length = 1; length <= 20; ++length) sinks.push_back(SendText(2, length));
  TurnOften();
  for (const auto& sink : sinks) EXPECT_TRUE(sink->answered && sink->last.status.ok());
  EXPECT_EQ(planner_->jobs(), 0);
}

}  // namespace
}  // namespace sluice::infer
