// A tiny encoder through a real loop on a virtual clock: tests/conformance/sentence_encoders.
#include "lm/encoder/encoder_engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/test_loop.h"
#include "lm/encoder/encoder_task.h"
#include "lm/generation.h"
#include "lm/task_names.h"

namespace sluice::lm {
namespace {

using Ids = std::vector<int32_t>;

class Sink : public engine::OneReplySink {
 public:
  std::vector<float> Floats(const char* name) const {
    for (const tensor::NamedTensor& output : last.outputs) {
      if (output.name != name) continue;
      const auto span = output.tensor.view().span<float>();
      return {span.begin(), span.end()};
    }
    return {};
  }
};

tensor::NamedTensor Named(const char* name, const Ids& ids) {
  tensor::Tensor tensor = *tensor::Tensor::Allocate(
      tensor::DType::kI32, tensor::Shape({static_cast<int64_t>(ids.size())}), 1 << 20);
  std::copy(ids.begin(), ids.end(), tensor.mutable_view().as<int32_t>());
  return {name, std::move(tensor)};
}

// Sequences of random ids.
struct Ask {
  Ids ids;
  Ids lengths;
};
Ask Sequences(int count, int longest, uint32_t seed) {
  std::mt19937 random(seed);
  Ask ask;
  for (int i = 0; i < count; ++i) {
    ask.lengths.push_back(1 + static_cast<int32_t>(random() % static_cast<uint32_t>(longest)));
    for (int32_t j = 0; j < ask.lengths.back(); ++j) {
      ask.ids.push_back(static_cast<int32_t>(random() % 160));
    }
  }
  return ask;
}

class EncoderEngineTest : public engine::LoopTest {
 protected:
  void SetUp() override { Load({.step_rows_max = 64}); }
  void Load(const EncoderModel::Options& options) {
    const std::string folder = "tests/conformance/sentence_encoders/minilm";
    std::ifstream file(folder + "/config.json");
    const std::string config{std::istreambuf_iterator<char>(file),
                             std::istreambuf_iterator<char>()};
    auto model = LoadEncoderModel(folder, config, options);
    ASSERT_TRUE(model.ok()) << model.error().message;
    model->description.model = "minilm";
    auto engine =
        std::make_unique<EncoderEngine>(std::make_shared<const EncoderModel>(*std::move(model)));
    Serve(std::move(engine));
  }

  std::shared_ptr<Sink> Send(const Ask& ask, engine::Call::Options call = {},
                             engine::Parameters parameters = {}) {
    auto sink = std::make_shared<Sink>();
    auto request = std::make_unique<engine::Request>();
    request->call = std::make_shared<engine::Call>(std::move(call));
    call_ = request->call;
    request->inputs.push_back(Named(kInputIds, ask.ids));
    request->inputs.push_back(Named(kLengths, ask.lengths));
    request->parameters = std::move(parameters);
    request->sink = sink;
    Submit(std::move(request));
    return sink;
  }
  std::vector<float> RunAlone(const Ask& ask) {
    const std::shared_ptr<Sink> sink = Send(ask);
    Run();
    return sink->Floats(kEmbedding);
  }

  std::shared_ptr<engine::Call> call_;
};

TEST_F(EncoderEngineTest, RequestsOfManyStepsHaveTheBitsOfEachAlone) {
  std::vector<Ask> asks;
  std::vector<std::vector<float>> alone;
  for (uint32_t seed = 0; seed < 12; ++seed) {
    asks.push_back(Sequences(static_cast<int>(1 + seed % 5 * 4), seed % 3 == 0 ? 96 : 30, seed));
    alone.push_back(RunAlone(asks.back()));
    ASSERT_EQ(alone.back().size(), asks.back().lengths.size() * 64);
  }
  std::vector<std::shared_ptr<Sink>> sinks;
  for (const Ask& ask : asks) sinks.push_back(Send(ask));
  Run();
  for (size_t i = 0; i < asks.size(); ++i) EXPECT_EQ(sinks[i]->Floats(kEmbedding), alone[i]) << i;
}

TEST_F(EncoderEngineTest, AnUrgentRequestGoesBetweenTheStepsOfALongOne) {
  const std::shared_ptr<Sink> bulk = Send(Sequences(100, 60, 1));
  for (int i = 0; i < 3; ++i) Turn();
  EXPECT_FALSE(bulk->answered);
  engine::Call::Options call;
  call.deadline = clock_.Now() + base::Duration::Seconds(100);
  const std::shared_ptr<Sink> urgent = Send(Sequences(1, 10, 2), call);
  for (int i = 0; i < 4 && !urgent->answered; ++i) Turn();
  EXPECT_TRUE(urgent->answered);
  EXPECT_FALSE(bulk->answered);
  Run();
  EXPECT_TRUE(bulk->last.status.ok());
}

TEST_F(EncoderEngineTest, ACancelledRequestIsRefusedBetweenItsSteps) {
  const std::shared_ptr<Sink> sink = Send(Sequences(100, 60, 1));
  for (int i = 0; i < 3; ++i) Turn();
  call_->Cancel();
  const Ask other = Sequences(3, 20, 5);
  const std::shared_ptr<Sink> next = Send(other);
  Run();
  EXPECT_FALSE(sink->last.status.ok());
  EXPECT_STREQ(sink->last.reason, engine::reason::kCancelled);
  EXPECT_TRUE(next->last.status.ok());
}

TEST_F(EncoderEngineTest, WhatHasExpiredIsDropped) {
  engine::Call::Options call;
  call.deadline = clock_.Now() + base::Duration::Millis(10);
  const std::shared_ptr<Sink> begun = Send(Sequences(100, 60, 1), call);
  call.deadline = clock_.Now() + base::Duration::Millis(20);
  const std::shared_ptr<Sink> waiting = Send(Sequences(2, 20, 1), call);
  for (int i = 0; i < 3; ++i) Turn();
  EXPECT_FALSE(begun->answered);
  clock_.Set(clock_.Now() + base::Duration::Millis(30));
  Run();
  EXPECT_STREQ(begun->last.reason, engine::reason::kDeadlineQueue);
  EXPECT_STREQ(waiting->last.reason, engine::reason::kDeadlineQueue);
}

TEST_F(EncoderEngineTest, RequestsAboveTheQueuesLimitAreRefused) {
  Load({.step_rows_max = 64, .queue_requests_max = 4});
  std::vector<std::shared_ptr<Sink>> sinks;
  for (uint32_t i = 0; i < 6; ++i) sinks.push_back(Send(Sequences(2, 20, i)));
  Run();
  const auto refused = std::count_if(sinks.begin(), sinks.end(), [](const auto& sink) {
    return std::string(sink->last.reason) == engine::reason::kQueueFull;
  });
  EXPECT_EQ(refused, 2);
}

TEST_F(EncoderEngineTest, RandomArrivalsAndCancellationsLeaveNothingBehind) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<Ask, std::shared_ptr<Sink>>> sent;
    for (int i = 0; i < 25; ++i) {
      engine::Call::Options call;
      if (random() % 3 == 0) {
        call.deadline =
            clock_.Now() + base::Duration::Millis(1 + static_cast<int64_t>(random() % 40));
      }
      const Ask ask =
          Sequences(1 + static_cast<int>(random() % 12), 40, static_cast<uint32_t>(random()));
      sent.emplace_back(ask, Send(ask, call));
      if (random() % 4 == 0) call_->Cancel();
      for (auto turns = random() % 3; turns > 0; --turns) Turn();
      if (random() % 5 == 0) clock_.Set(clock_.Now() + base::Duration::Millis(3));
    }
    Run();
    for (const auto& [ask, sink] : sent) {
      ASSERT_TRUE(sink->answered);
      if (!sink->last.status.ok()) continue;
      EXPECT_EQ(sink->Floats(kEmbedding).size(), ask.lengths.size() * 64);
    }
    EXPECT_EQ(pin_->engine().pending(), 0);
  }
}

}  // namespace
}  // namespace sluice::lm
