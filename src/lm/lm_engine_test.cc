// A small model of random weights through a real loop on a virtual clock.
#include "lm/lm_engine.h"

#include <gtest/gtest.h>

#include <string>

#include "lm/test_engine.h"

namespace sluice::lm {
namespace {

TEST_F(LmEngineTest, RequestsOfDifferentSaltsShareNoPrefix) {
  const auto cached = [&](const char* salt) {
    Ask ask{Random(80, 1), kGreedy};
    ask.parameters.emplace_back("cache_salt", std::string(salt));
    const auto sink = Send(ask);
    Run();
    return sink->Number("cached_tokens");
  };
  EXPECT_EQ(cached("one"), 0);
  EXPECT_EQ(cached("two"), 0);
  EXPECT_EQ(cached(""), 0);
  EXPECT_EQ(cached("one"), 79);
}

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
  int seen = 0;
  for (const engine::Measure& measure : engine_->measures()) {
    const bool held = measure.name == "sluice_lm_running" || measure.name == "sluice_lm_waiting" ||
                      measure.name == "sluice_lm_kv_blocks_used";
    if (!held) continue;
    EXPECT_EQ(measure.gauge->value(), 0) << measure.name;
    ++seen;
  }
  EXPECT_EQ(seen, 3);
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
