// A small model of random weights through a real loop on a virtual clock.
#include "lm/lm_engine.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <string>

#include "engine/device_loop.h"
#include "engine/version.h"
#include "lm/test_checkpoint.h"

namespace sluice::lm {
namespace {

using Ids = std::vector<int32_t>;

class Sink : public engine::ReplySink {
 public:
  void Post(engine::Reply reply) override {
    ASSERT_FALSE(answered);
    answered = reply.terminal;
    ++replies;
    for (const tensor::NamedTensor& output : reply.outputs) {
      const tensor::ConstView view = output.tensor.view();
      if (output.name == kOutputIds) {
        ids.insert(ids.end(), view.span<int32_t>().begin(), view.span<int32_t>().end());
      } else if (output.name == kLogprobs) {
        logprobs.insert(logprobs.end(), view.span<float>().begin(), view.span<float>().end());
      }
    }
    last = std::move(reply);
  }
  int64_t Number(const std::string& name) const {
    for (const auto& [key, value] : last.parameters) {
      if (key == name) return std::get<int64_t>(value);
    }
    return -1;
  }
  std::string finish_reason() const {
    for (const auto& [key, value] : last.parameters) {
      if (key == "finish_reason") return std::get<std::string>(value);
    }
    return "";
  }

  bool answered = false;
  int replies = 0;
  Ids ids;
  std::vector<float> logprobs;
  engine::Reply last;
};

Ids Random(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Ids ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 300);
  return ids;
}

tensor::NamedTensor Named(const char* name, const Ids& ids) {
  tensor::Tensor tensor = *tensor::Tensor::Allocate(
      tensor::DType::kI32, tensor::Shape({static_cast<int64_t>(ids.size())}), 1 << 20);
  std::copy(ids.begin(), ids.end(), tensor.mutable_view().as<int32_t>());
  return {name, std::move(tensor)};
}

struct Ask {
  Ids prompt;
  engine::Parameters parameters;
  Ids stop_ids = {};
};

class LmEngineTest : public testing::Test {
 protected:
  void SetUp() override { Load({}, kernels::WeightForm::kF32); }
  void Load(LanguageModel::Options options, kernels::WeightForm form, Ids end_ids = {}) {
    TearDown();
    // Small: its integrity is checked after every turn.
    options.cache_bytes = std::min(options.cache_bytes, int64_t{1} << 20);
    const DecoderConfig config = SmallConfig();
    auto decoder = Decoder::Load(RandomCheckpoint(config), config, {.form = form});
    ASSERT_TRUE(decoder.ok()) << decoder.error().message;
    auto model = MakeLanguageModel(*std::move(decoder), nullptr, std::move(end_ids), options);
    ASSERT_TRUE(model.ok()) << model.error().message;
    auto engine =
        std::make_unique<LmEngine>(std::make_shared<const LanguageModel>(*std::move(model)));
    engine_ = engine.get();
    engine::DeviceLoop::Options loop;
    loop.clock = &clock_;
    loop.threaded = false;
    loop.inline_below = {};
    loop_ = std::make_unique<engine::DeviceLoop>(loop);
    pin_ = engine::EngineVersion::Create(std::move(engine), *loop_, [this](auto version) {
             retired_.push_back(std::move(version));
           }).value();
  }
  void TearDown() override {
    pin_.reset();
    retired_.clear();
    loop_.reset();
  }

  std::unique_ptr<engine::Request> Request(const Ask& ask, engine::Call::Options call,
                                           std::shared_ptr<Sink> sink) {
    auto request = std::make_unique<engine::Request>();
    request->call = std::make_shared<engine::Call>(std::move(call));
    request->inputs.push_back(Named(kInputIds, ask.prompt));
    if (!ask.stop_ids.empty()) request->inputs.push_back(Named(kStopIds, ask.stop_ids));
    request->parameters = ask.parameters;
    request->sink = std::move(sink);
    return request;
  }
  std::shared_ptr<Sink> Send(const Ask& ask, engine::Call::Options call = {}) {
    auto sink = std::make_shared<Sink>();
    auto request = Request(ask, std::move(call), sink);
    call_ = request->call;
    const base::Status prepared = pin_->engine().Prepare(*request);
    EXPECT_TRUE(prepared.ok()) << prepared.error().message;
    engine::Submit(pin_, std::move(request));
    return sink;
  }
  std::string PrepareError(const Ask& ask) {
    auto request = Request(ask, {}, std::make_shared<Sink>());
    const base::Status prepared = pin_->engine().Prepare(*request);
    return prepared.ok() ? "" : prepared.error().message;
  }
  bool Turn() {
    const bool worked = loop_->RunOnce();
    loop_->CheckIntegrity();
    if (!worked && loop_->next_wake() > clock_.Now()) clock_.Set(loop_->next_wake());
    return worked;
  }
  void Run() {
    for (int i = 0; i < 20'000 && loop_->unanswered() > 0; ++i) Turn();
    EXPECT_EQ(loop_->unanswered(), 0);
  }
  Ids RunAlone(const Ask& ask) {
    const auto sink = Send(ask);
    Run();
    EXPECT_TRUE(sink->last.status.ok());
    return sink->ids;
  }

  base::VirtualClock clock_;
  std::unique_ptr<engine::DeviceLoop> loop_;
  std::shared_ptr<const engine::EngineVersion> pin_;
  std::vector<std::unique_ptr<const engine::EngineVersion>> retired_;
  std::shared_ptr<engine::Call> call_;
  const LmEngine* engine_ = nullptr;
};

const engine::Parameters kGreedy = {{"temperature", 0.0}, {"max_tokens", int64_t{20}}};

TEST_F(LmEngineTest, SaysTheSameAloneAndInCompanyInEveryWeightForm) {
  for (const auto form :
       {kernels::WeightForm::kF32, kernels::WeightForm::kBF16, kernels::WeightForm::kInt8}) {
    SCOPED_TRACE(WeightFormName(form));
    // Small steps and few running sequences: prompts are cut and requests wait.
    Load({.step_rows_max = 24, .running_max = 5}, form);
    std::vector<Ask> asks;
    for (uint32_t i = 0; i < 9; ++i) {
      Ask ask{Random(1 + i * 13, i), {{"max_tokens", int64_t{5 + i}}, {"seed", int64_t{i}}}};
      if (i % 3 == 0) ask.parameters.emplace_back("temperature", 0.0);
      if (i % 3 == 1) ask.parameters.emplace_back("top_p", 0.8);
      if (i % 2 == 0) ask.parameters.emplace_back("frequency_penalty", 0.5);
      asks.push_back(ask);
    }
    std::vector<Ids> alone;
    for (const Ask& ask : asks) {
      // Another salt: nothing of it is found later.
      Ask apart = ask;
      apart.parameters.emplace_back("cache_salt", std::string("apart"));
      alone.push_back(RunAlone(apart));
      EXPECT_EQ(alone.back().size(), 5 + alone.size() - 1);
    }
    for (int round = 0; round < 2; ++round) {  // cold, then with all prompts cached
      std::vector<std::shared_ptr<Sink>> sinks;
      for (const Ask& ask : asks) sinks.push_back(Send(ask));
      Run();
      for (size_t i = 0; i < asks.size(); ++i) EXPECT_EQ(sinks[i]->ids, alone[i]) << i;
      if (round == 1) {
        EXPECT_EQ(sinks[8]->Number("cached_tokens"), 1 + 8 * 13 - 1);
      }
    }
  }
}

TEST_F(LmEngineTest, StreamsWhatItWouldSayAtOnce) {
  const Ask ask{Random(30, 1), kGreedy};
  const Ids whole = RunAlone(ask);
  Ask streamed = ask;
  streamed.parameters.emplace_back("stream", true);
  engine::Call::Options call;
  call.takes_chunks = true;
  const auto sink = Send(streamed, call);
  call_->GrantCredit(100);
  Run();
  EXPECT_EQ(sink->ids, whole);
  EXPECT_EQ(sink->replies, 20);
  // A reader that takes nothing gets the rest with the last reply.
  const auto slow = Send(streamed, call);
  Run();
  EXPECT_EQ(slow->ids, whole);
  EXPECT_EQ(slow->replies, 2);
  // One that takes a single reply gets one.
  const auto once = Send(streamed);
  Run();
  EXPECT_EQ(once->ids, whole);
  EXPECT_EQ(once->replies, 1);
}

TEST_F(LmEngineTest, CountsWhatItReadAndSaid) {
  const auto sink = Send({Random(30, 1), kGreedy});
  Run();
  EXPECT_EQ(sink->Number("prompt_tokens"), 30);
  EXPECT_EQ(sink->Number("completion_tokens"), 20);
  EXPECT_EQ(sink->Number("cached_tokens"), 0);
  EXPECT_EQ(sink->finish_reason(), "length");
}

TEST_F(LmEngineTest, StopsAtStopIdsAndAtTheModelsEnd) {
  const Ids whole = RunAlone({Random(30, 1), kGreedy});
  const auto first = std::find(whole.begin(), whole.end(), whole[7]) - whole.begin();
  const Ids before(whole.begin(), whole.begin() + first);
  const auto stopped = Send({Random(30, 1), kGreedy, {whole[7]}});
  Run();
  EXPECT_EQ(stopped->ids, before);
  EXPECT_EQ(stopped->finish_reason(), "stop");
  Load({}, kernels::WeightForm::kF32, {whole[7]});
  EXPECT_EQ(RunAlone({Random(30, 1), kGreedy}), before);
  Ask ignoring{Random(30, 1), kGreedy};
  ignoring.parameters.emplace_back("ignore_eos", true);
  EXPECT_EQ(RunAlone(ignoring), whole);
}

TEST_F(LmEngineTest, ReportsLogprobsOfWhatItSaid) {
  Ask ask{Random(30, 1), kGreedy};
  ask.parameters.emplace_back("logprobs", int64_t{0});
  const auto sink = Send(ask);
  Run();
  ASSERT_EQ(sink->logprobs.size(), sink->ids.size());
  for (const float logprob : sink->logprobs) {
    EXPECT_LT(logprob, 0);
    EXPECT_GT(logprob, -6);  // greedy: above the mean of 300 tokens
  }
}

TEST_F(LmEngineTest, TheCancelledAndTheExpiredAreAnsweredAndGone) {
  Ask forever{Random(40, 2), {{"max_tokens", int64_t{400}}}};
  const auto cancelled = Send(forever);
  const auto cancelled_call = call_;
  engine::Call::Options call;
  call.deadline = clock_.Now() + base::Duration::Millis(5);
  const auto expired = Send(forever, call);
  for (int i = 0; i < 5; ++i) Turn();
  cancelled_call->Cancel();
  clock_.Set(clock_.Now() + base::Duration::Millis(10));
  Run();
  EXPECT_STREQ(cancelled->last.reason, engine::reason::kCancelled);
  EXPECT_STREQ(expired->last.reason, engine::reason::kDeadlineQueue);
}

TEST_F(LmEngineTest, RefusesWhatItsQueueDoesNotHold) {
  Load({.sequences_max = 2}, kernels::WeightForm::kF32);
  const Ask ask{Random(10, 3), kGreedy};
  std::vector<std::shared_ptr<Sink>> sinks;
  for (int i = 0; i < 4; ++i) sinks.push_back(Send(ask));
  Run();
  int refused = 0;
  for (const auto& sink : sinks) {
    if (!sink->last.status.ok()) {
      EXPECT_STREQ(sink->last.reason, engine::reason::kQueueFull);
      ++refused;
    }
  }
  EXPECT_GE(refused, 1);
}

TEST_F(LmEngineTest, SaysTheSameWhereTheCacheIsTooSmallForAll) {
  // Room for four requests of the greatest length at most.
  const int64_t block = 2 * 2 * 2 * 16 * 32 * 2;
  Load({.cache_bytes = 5 * block, .length_max = 100}, kernels::WeightForm::kF32);
  std::vector<Ask> asks;
  std::vector<Ids> alone;
  for (uint32_t i = 0; i < 6; ++i) {
    asks.push_back({Random(40, 20 + i), {{"max_tokens", int64_t{50}}, {"seed", int64_t{i}}}});
    alone.push_back(RunAlone(asks.back()));
  }
  std::vector<std::shared_ptr<Sink>> sinks;
  for (const Ask& ask : asks) sinks.push_back(Send(ask));
  Run();
  for (size_t i = 0; i < asks.size(); ++i) EXPECT_EQ(sinks[i]->ids, alone[i]);
  EXPECT_GT(engine_->statistics().preemptions, 0);
}

TEST_F(LmEngineTest, NamesWhatIsWrongWithARequest) {
  EXPECT_NE(PrepareError({{}, {}}).find("at least one token"), std::string::npos);
  EXPECT_NE(PrepareError({{5, 300}, {}}).find("token 300 at 1 is outside [0, 300)"),
            std::string::npos);
  EXPECT_NE(PrepareError({Random(512, 1), {}}).find("within 512"), std::string::npos);
  EXPECT_NE(PrepareError({{1}, {{"temperature", -1.0}}}).find("temperature"), std::string::npos);
  EXPECT_NE(PrepareError({{1}, {{"max_tokens", int64_t{0}}}}).find("[1, 511]"), std::string::npos);
  EXPECT_NE(PrepareError({{1}, {{"top_k", 1.5}}}).find("an integer"), std::string::npos);
  EXPECT_NE(PrepareError({{1}, {{"stream", int64_t{1}}}}).find("true or false"), std::string::npos);
}

TEST(LanguageModel, TakesRequestsOfTheLengthThatItsCacheHolds) {
  const DecoderConfig config = SmallConfig();
  const auto make = [&](LanguageModel::Options options) {
    return MakeLanguageModel(*Decoder::Load(RandomCheckpoint(config), config, {}), nullptr, {},
                             options);
  };
  const int64_t block = 2 * 2 * 2 * 16 * 32 * 2;
  EXPECT_EQ(make({})->limits.length_max, 512);
  EXPECT_EQ(make({.cache_bytes = 5 * block})->limits.length_max, 4 * 32);
  const auto asked = make({.cache_bytes = 5 * block, .length_max = 200});
  ASSERT_FALSE(asked.ok());
  EXPECT_NE(asked.error().message.find("requests of 128 tokens; one of 200 needs"),
            std::string::npos);
  EXPECT_FALSE(make({.cache_bytes = block}).ok());
}

}  // namespace
}  // namespace sluice::lm
