// The same request gives the same bits: with a cold and a warm prefix, whatever a step holds, alone
// and in company, asked for one answer or several, with and without logprobs, in every form of
// weights.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>

#include "lm/task_names.h"
#include "lm/test_engine.h"

namespace sluice::lm {
namespace {

// Every output of a reply as bytes, by name.
std::map<std::string, std::string> BytesOf(const engine::Reply& reply) {
  std::map<std::string, std::string> bytes;
  for (const tensor::NamedTensor& output : reply.outputs) {
    const tensor::ConstView view = output.tensor.view();
    std::string& own = bytes[output.name];
    if (view.dtype == tensor::DType::kBytes) {
      for (const std::string_view text : view.span<std::string_view>()) own.append(text) += '\n';
    } else {
      own.assign(static_cast<const char*>(view.data), static_cast<size_t>(output.tensor.bytes()));
    }
  }
  return bytes;
}

Ids Joined(std::initializer_list<Ids> lists) {
  Ids all;
  for (const Ids& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

// One request of each kind, all behind the same 75 tokens.
std::vector<Ask> Asks() {
  const Ids prefix = Random(75, 1);
  const auto generate = [&](engine::Parameters more) {
    Ask ask{Joined({prefix, Random(9, 2)}), std::move(more)};
    ask.parameters.emplace_back("max_tokens", int64_t{6});
    ask.parameters.emplace_back("seed", int64_t{3});
    return ask;
  };
  std::vector<Ask> asks = {
      generate({}),
      generate({{"n", int64_t{3}}, {"logprobs", int64_t{2}}}),
      generate({{"top_p", 0.7}, {"frequency_penalty", 0.4}, {"logprobs", int64_t{0}}}),
      generate({{"temperature", 0.0}, {"prompt_logprobs", int64_t{1}}}),
  };
  Ask likelihood{prefix, {{kTask, std::string(kTaskScore)}, {"token_logprobs", true}}};
  likelihood.more = {Named(kItemIds, Random(60, 4)), Named(kItemLengths, {40, 1, 19})};
  asks.push_back(likelihood);
  Ask labels{prefix, {{kTask, std::string(kTaskScore)}}};
  labels.more = {Named(kItemIds, Random(30, 5)), Named(kItemLengths, {10, 20}),
                 Named(kLabelIds, {1, 17})};
  asks.push_back(labels);
  labels.parameters.emplace_back("over", std::string("labels"));
  asks.push_back(labels);
  Ask embed{Joined({prefix, Random(5, 6)}), {{kTask, std::string(kTaskEmbed)}}};
  embed.more = {Named(kLengths, {75, 5})};
  asks.push_back(embed);
  return asks;
}

class BitIdentityTest : public LmEngineTest,
                        public testing::WithParamInterface<kernels::WeightForm> {
 protected:
  void SetUp() override {}
  std::map<std::string, std::string> Alone(const Ask& ask) {
    const auto sink = Send(ask);
    Run();
    EXPECT_TRUE(sink->last.status.ok()) << sink->last.status.error().message;
    return BytesOf(sink->last);
  }
};

TEST_P(BitIdentityTest, NothingAroundARequestChangesItsBits) {
  for (const StatePooling pooling : {StatePooling::kLast, StatePooling::kMean}) {
    std::vector<std::map<std::string, std::string>> want;
    for (const Ask& ask : Asks()) {
      // Each on an engine of its own: nothing is cached, and one step holds all of it.
      Load({.step_rows_max = 512, .pooling = pooling}, GetParam());
      want.push_back(Alone(ask));
    }
    for (const int64_t step_rows : {7, 33, 256}) {
      for (const int32_t running : {2, 16}) {
        SCOPED_TRACE("steps of " + std::to_string(step_rows) + ", running " +
                     std::to_string(running));
        Load({.step_rows_max = step_rows, .running_max = running, .pooling = pooling}, GetParam());
        for (int round = 0; round < 3; ++round) {
          // Cold, then with what the first round has left; then in the other order.
          std::vector<Ask> asks = Asks();
          std::vector<std::shared_ptr<Sink>> sinks(asks.size());
          for (size_t i = 0; i < asks.size(); ++i) {
            const size_t turn = round == 2 ? asks.size() - 1 - i : i;
            sinks[turn] = Send(asks[turn]);
            if (round == 1 && i % 2 == 0) Turn();
          }
          Run();
          for (size_t i = 0; i < asks.size(); ++i) {
            EXPECT_EQ(BytesOf(sinks[i]->last), want[i]) << "request " << i << " round " << round;
          }
        }
      }
    }
  }
}

TEST_P(BitIdentityTest, AnItemAndATextScoreAsTheyDoAlone) {
  Load({.step_rows_max = 48}, GetParam());
  const Ids prefix = Random(75, 1);
  std::vector<Ids> items;
  for (uint32_t i = 0; i < 30; ++i) items.push_back(Random(1 + i % 7, 50 + i));
  const auto ask_of = [&](size_t first, size_t count, bool labels) {
    Ids all, lengths;
    for (size_t i = first; i < first + count; ++i) {
      all.insert(all.end(), items[i].begin(), items[i].end());
      lengths.push_back(static_cast<int32_t>(items[i].size()));
    }
    Ask ask{prefix, {{kTask, std::string(kTaskScore)}}};
    ask.more = {Named(kItemIds, all), Named(kItemLengths, lengths)};
    if (labels) ask.more.push_back(Named(kLabelIds, {4, 8}));
    return ask;
  };
  for (const bool labels : {false, true}) {
    const std::string all = Alone(ask_of(0, items.size(), labels))[kScores];
    std::string one_by_one;
    for (size_t i = 0; i < items.size(); ++i) one_by_one += Alone(ask_of(i, 1, labels))[kScores];
    EXPECT_EQ(all, one_by_one);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, BitIdentityTest,
                         testing::Values(kernels::WeightForm::kF32, kernels::WeightForm::kBF16,
                                         kernels::WeightForm::kInt8),
                         [](const auto& one) { return std::string(WeightFormName(one.param)); });

// Requests of all kinds come, are cancelled and expire at random on a cache that is too small:
// what is answered has the bits of a quiet engine, and nothing is left behind.
TEST_F(LmEngineTest, RandomCompanyChangesNoBitsAndLeavesNothingBehind) {
  std::vector<std::map<std::string, std::string>> want;
  const std::vector<Ask> asks = Asks();
  for (const Ask& ask : asks) {
    Load({}, kernels::WeightForm::kF32);
    const auto sink = Send(ask);
    Run();
    want.push_back(BytesOf(sink->last));
  }
  const int64_t block = 2 * 2 * 2 * 16 * 32 * 2;
  int answered = 0, gone = 0;
  int64_t preemptions = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](int32_t n) {
      return static_cast<int32_t>(random() % static_cast<uint32_t>(n));
    };
    Load({.cache_bytes = (6 + below(4)) * block,
          .step_rows_max = 8 + below(60),
          .running_max = 2 + below(6),
          .length_max = 130},
         kernels::WeightForm::kF32);
    struct Sent {
      std::shared_ptr<Sink> sink;
      std::shared_ptr<engine::Call> call;
      size_t kind;
    };
    std::vector<Sent> sent;
    for (int i = 0; i < 25; ++i) {
      const auto kind = static_cast<size_t>(below(static_cast<int32_t>(asks.size())));
      engine::Call::Options call;
      call.priority = 1 + below(3);
      if (below(4) == 0) call.deadline = clock_.Now() + base::Duration::Millis(1 + below(300));
      const auto sink = Send(asks[kind], call);
      sent.push_back({sink, call_, kind});
      for (int turns = below(4); turns > 0 && loop_->unanswered() > 0; --turns) Turn();
      if (below(5) == 0) sent[static_cast<size_t>(below(i + 1))].call->Cancel();
      if (below(3) == 0) clock_.Set(clock_.Now() + base::Duration::Millis(below(40)));
    }
    clock_.Set(clock_.Now() + base::Duration::Millis(10));
    Run();
    for (const Sent& one : sent) {
      ASSERT_TRUE(one.sink->answered);
      if (one.sink->last.status.ok()) {
        ++answered;
        EXPECT_EQ(BytesOf(one.sink->last), want[one.kind]) << one.kind;
      } else {
        ++gone;
      }
    }
    preemptions += engine_->statistics().preemptions;
  }
  EXPECT_GT(answered, 600);
  EXPECT_GT(gone, 100);
  EXPECT_GT(preemptions, 50);
}

}  // namespace
}  // namespace sluice::lm
