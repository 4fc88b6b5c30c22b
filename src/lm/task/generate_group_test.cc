// Requests of several answers, and what they report of their tokens.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "lm/test_engine.h"

namespace sluice::lm {
namespace {

class GenerateGroupTest : public LmEngineTest {};

Ask SeveralOf(int64_t answers, int64_t tokens) {
  return {Random(70, 1), {{"max_tokens", tokens}, {"n", answers}, {"seed", int64_t{7}}}};
}

TEST_F(GenerateGroupTest, SeveralAnswersShareOnePromptThatIsComputedOnce) {
  const auto sink = Send(SeveralOf(6, 10));
  Run();
  const std::vector<Ids> answers = sink->Answers();
  ASSERT_EQ(answers.size(), 6u);
  for (const Ids& answer : answers) EXPECT_EQ(answer.size(), 10u);
  EXPECT_GT(std::set<Ids>(answers.begin(), answers.end()).size(), 4u);
  // The last token of each answer is said, never computed.
  EXPECT_EQ(engine_->statistics().computed_tokens, 70 + 6 * 9);
  EXPECT_EQ(sink->Number("prompt_tokens"), 70);
  EXPECT_EQ(sink->Number("completion_tokens"), 60);
  EXPECT_EQ(sink->Texts(kFinishReasons), std::vector<std::string>(6, "length"));
}

TEST_F(GenerateGroupTest, TheFirstOfSeveralAnswersIsTheOneOfARequestForOne) {
  const Ids alone = RunAlone(SeveralOf(1, 12));
  const auto sink = Send(SeveralOf(5, 12));
  Run();
  EXPECT_EQ(sink->Answers()[0], alone);
  // And the others do not depend on how many there are.
  const auto fewer = Send(SeveralOf(3, 12));
  Run();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(fewer->Answers()[i], sink->Answers()[i]);
}

TEST_F(GenerateGroupTest, MoreAnswersThanSequencesThatRunAreAllGiven) {
  Load({.running_max = 3, .sequences_max = 2}, kernels::WeightForm::kF32);
  const auto sink = Send(SeveralOf(40, 4));
  const auto other = Send(SeveralOf(2, 4));
  Run();
  const std::vector<Ids> answers = sink->Answers();
  ASSERT_EQ(answers.size(), 40u);
  for (const Ids& answer : answers) EXPECT_EQ(answer.size(), 4u);
  EXPECT_EQ(other->Answers()[1], answers[1]);
}

TEST_F(GenerateGroupTest, ChunksSayWhichAnswerTheyContinue) {
  const auto whole = Send(SeveralOf(3, 8));
  Run();
  Ask streamed = SeveralOf(3, 8);
  streamed.parameters.emplace_back("stream", true);
  engine::Call::Options call;
  call.takes_chunks = true;
  for (const int credit : {1000, 0, 5}) {
    const auto sink = Send(streamed, call);
    if (credit > 0) call_->GrantCredit(credit);
    Run();
    EXPECT_EQ(sink->Answers(), whole->Answers()) << credit;
    // The last tokens come with the last reply, since the three end in one step.
    const int chunks = std::min(credit + 1, 3 * 7);  // a call begins with credit for one
    EXPECT_EQ(sink->replies, chunks + 1);
  }
}

TEST_F(GenerateGroupTest, AnAnswerThatEndsEarlyLeavesTheOthers) {
  const auto whole = Send(SeveralOf(4, 20));
  Run();
  Ask stopping = SeveralOf(4, 20);
  const Ids first = whole->Answers()[2];
  stopping.stop_ids = {first[3]};
  const auto sink = Send(stopping);
  Run();
  const std::vector<Ids> answers = sink->Answers();
  for (size_t i = 0; i < 4; ++i) {
    Ids want = whole->Answers()[i];
    const auto end = std::find(want.begin(), want.end(), first[3]);
    EXPECT_EQ(sink->Texts(kFinishReasons)[i], end == want.end() ? "length" : "stop");
    want.erase(end, want.end());
    EXPECT_EQ(answers[i], want);
  }
  EXPECT_LE(answers[2].size(), 3u);
}

TEST_F(GenerateGroupTest, ReportsTheLikeliestBesideEachToken) {
  Ask ask{Random(30, 1), kGreedy};
  ask.parameters.emplace_back("logprobs", int64_t{4});
  const auto sink = Send(ask);
  Run();
  ASSERT_EQ(sink->top_ids.size(), 4 * sink->ids.size());
  for (size_t i = 0; i < sink->ids.size(); ++i) {
    EXPECT_EQ(sink->top_ids[4 * i], sink->ids[i]);
    EXPECT_EQ(sink->top_logprobs[4 * i], sink->logprobs[i]);
    EXPECT_GE(sink->top_logprobs[4 * i], sink->top_logprobs[4 * i + 1]);
  }
  ask.parameters.emplace_back("n", int64_t{2});
  const auto twice = Send(ask);
  Run();
  EXPECT_EQ(twice->last.outputs.size(), 6u);
  EXPECT_EQ(twice->top_ids.size(), 8 * sink->ids.size());
}

TEST_F(GenerateGroupTest, ReportsThePromptsOwnLogprobs) {
  const Ids prompt = Random(90, 5);
  // The last token's logprob is that of an answer, which a bias makes say it.
  const auto logprob_of = [&](size_t position) {
    const Ids before(prompt.begin(), prompt.begin() + static_cast<int64_t>(position));
    Ask ask{before, {{"temperature", 0.0}, {"max_tokens", int64_t{1}}, {"logprobs", int64_t{0}}}};
    ask.more = {Named(kBiasIds, {prompt[position]}), NamedFloats(kBias, {900})};
    const auto sink = Send(ask);
    Run();
    return sink->logprobs.at(0);
  };
  for (const int64_t tokens : {0, 5}) {
    // Cached rows have no logits: the prompt is computed again, and its cached part is not.
    Ask ask{prompt,
            {{"temperature", 0.0}, {"max_tokens", tokens}, {"prompt_logprobs", int64_t{2}}}};
    if (tokens > 0) ask.parameters.emplace_back("n", int64_t{2});
    const auto sink = Send(ask);
    Run();
    EXPECT_EQ(sink->Values<int32_t>(kPromptIds), prompt);
    const auto logprobs = sink->Values<float>(kPromptLogprobs);
    ASSERT_EQ(logprobs.size(), prompt.size());
    EXPECT_TRUE(std::isnan(logprobs[0]));
    for (const size_t position : {size_t{1}, size_t{31}, size_t{32}, size_t{60}, size_t{89}}) {
      EXPECT_EQ(logprobs[position], logprob_of(position)) << position;
    }
    const auto top = sink->Values<float>(kPromptTopLogprobs);
    ASSERT_EQ(top.size(), 2 * prompt.size());
    EXPECT_EQ(sink->Values<int32_t>(kPromptTopIds)[0], -1);
    for (size_t i = 1; i < prompt.size(); ++i) EXPECT_GE(top[2 * i], logprobs[i]);
    EXPECT_EQ(sink->Number("completion_tokens"), 2 * tokens);
    EXPECT_EQ(sink->Texts(kFinishReasons)[0], "length");
    EXPECT_EQ(sink->Number("cached_tokens"), 0);
  }
  EXPECT_NE(PrepareError({prompt, {{"max_tokens", int64_t{0}}}}).find("[1, "), std::string::npos);
}

TEST_F(GenerateGroupTest, ABiasMakesATokenCertainOrImpossible) {
  Ask ask{Random(30, 1), kGreedy};
  const Ids plain = RunAlone(ask);
  ask.more = {Named(kBiasIds, {77}), NamedFloats(kBias, {500})};
  EXPECT_EQ(RunAlone(ask), Ids(20, 77));
  ask.more = {Named(kBiasIds, {plain[0]}), NamedFloats(kBias, {-500})};
  EXPECT_NE(RunAlone(ask)[0], plain[0]);
  ask.more = {Named(kBiasIds, {1, 2}), NamedFloats(kBias, {1})};
  EXPECT_NE(PrepareError(ask).find("as many of both"), std::string::npos);
  ask.more = {Named(kBiasIds, {1})};
  EXPECT_NE(PrepareError(ask).find("together"), std::string::npos);
}

TEST_F(GenerateGroupTest, APromptCanBeCutToItsLastTokens) {
  const Ids prompt = Random(100, 5);
  Ask cut{prompt, kGreedy};
  cut.parameters.emplace_back("truncate_prompt", int64_t{40});
  const auto sink = Send(cut);
  Run();
  EXPECT_EQ(sink->Number("prompt_tokens"), 40);
  EXPECT_EQ(sink->ids, RunAlone({Ids(prompt.end() - 40, prompt.end()), kGreedy}));
}

TEST_F(GenerateGroupTest, APromptThatIsTooLongLosesItsBeginningWhereThatIsThePolicy) {
  const Ids prompt = Random(100, 5);
  const engine::Parameters four = {{"temperature", 0.0}, {"max_tokens", int64_t{4}}};
  for (const bool by_request : {false, true}) {
    Load({.length_max = 64, .truncate_left = !by_request}, kernels::WeightForm::kF32);
    Ask ask{prompt, four};
    if (by_request) ask.parameters.emplace_back("overflow", std::string("truncate_left"));
    const auto sink = Send(ask);
    Run();
    EXPECT_EQ(sink->Number("truncated_tokens"), 40);
    EXPECT_EQ(sink->Number("prompt_tokens"), 60);
    EXPECT_EQ(sink->ids, RunAlone({Ids(prompt.end() - 60, prompt.end()), four}));
    ask.parameters = four;
    ask.parameters.emplace_back("overflow", std::string("refuse"));
    EXPECT_NE(PrepareError(ask), "");
  }
}

TEST_F(GenerateGroupTest, AnAnswerMayFillTheContextWhereThatIsAsked) {
  Load({.length_max = 60}, kernels::WeightForm::kF32);
  EXPECT_EQ(RunAlone({Random(20, 5), {}}).size(), 16u);
  EXPECT_EQ(RunAlone({Random(20, 5), {{"fill_context", true}}}).size(), 40u);
}

TEST_F(GenerateGroupTest, ACancelledRequestTakesAllItsAnswersAlong) {
  Load({.step_rows_max = 16, .running_max = 8}, kernels::WeightForm::kF32);
  const auto sink = Send(SeveralOf(20, 300));
  for (int i = 0; i < 8; ++i) Turn();
  call_->Cancel();
  clock_.Set(clock_.Now() + base::Duration::Millis(10));
  Run();
  EXPECT_STREQ(sink->last.reason, engine::reason::kCancelled);
  EXPECT_EQ(sink->replies, 1);
}

}  // namespace
}  // namespace sluice::lm
