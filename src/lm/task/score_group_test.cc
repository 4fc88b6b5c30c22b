// Scores and embeddings against the decoder's own logits and states, taken row by row.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "lm/task/scored_tokens.h"
#include "lm/task_names.h"
#include "lm/test_engine.h"

namespace sluice::lm {
namespace {

// The small model's logits and states of a sequence, in one step over a cache of its own.
struct Outputs {
  std::vector<std::vector<float>> rows;
};
Outputs RunWhole(const DecoderConfig& config, const Ids& tokens, RowOutput output) {
  const Decoder decoder = *Decoder::Load(RandomCheckpoint(config), config, {});
  kv::PrefixCache cache({.blocks = 16});
  const tensor::Buffer blocks = tensor::Buffer::Allocate(16 * decoder.cache_block_bytes() + 64);
  CacheMemory memory;
  memory.data = const_cast<std::byte*>(blocks.data());
  memory.block_bytes = decoder.cache_block_bytes();
  memory.layer_bytes = decoder.cache_layer_bytes();
  memory.type = decoder.cache_type();
  const auto count = static_cast<int64_t>(tokens.size());
  kv::Sequence sequence;
  StepRows rows;
  EXPECT_TRUE(cache.Extend(sequence, count, rows.copies));
  rows.Add(sequence, tokens, 0, count);
  rows.Want(output, count);
  tensor::Buffer space = tensor::Buffer::Allocate(decoder.MemoryBytes(count, count));
  Runner runner({});
  Decoder::States states;
  EXPECT_TRUE(decoder.RunLayers(rows, memory, space.mutable_data(), count, states, runner));
  Outputs outputs;
  for (int64_t i = 0; i < count; ++i) {
    if (output == RowOutput::kState) {
      const float* const row = states.rows + i * states.stride;
      outputs.rows.emplace_back(row, row + config.hidden);
    } else {
      EXPECT_TRUE(decoder.RunHead(states, i, 1, runner));
      outputs.rows.emplace_back(states.logits, states.logits + decoder.head_width());
    }
  }
  cache.Release(sequence);
  return outputs;
}

double LogSumExp(const std::vector<float>& row) {
  double sum = 0;
  for (const float x : row) sum += std::exp(double{x});
  return std::log(sum);
}

Ids Joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Items of 1, 2, … tokens.
std::vector<Ids> Items(int32_t count) {
  std::vector<Ids> items;
  for (int32_t i = 0; i < count; ++i) items.push_back(Random(1 + i, static_cast<uint32_t>(90 + i)));
  return items;
}

Ask ScoreOf(const Ids& prefix, const std::vector<Ids>& items, const Ids& labels = {}) {
  Ids all, lengths;
  for (const Ids& item : items) {
    all = Joined(all, item);
    lengths.push_back(static_cast<int32_t>(item.size()));
  }
  Ask ask{prefix, {{kTask, std::string(kTaskScore)}}};
  ask.more = {Named(kItemIds, all), Named(kItemLengths, lengths)};
  if (!labels.empty()) ask.more.push_back(Named(kLabelIds, labels));
  return ask;
}

Ask EmbedOf(const std::vector<Ids>& texts) {
  Ids all, lengths;
  for (const Ids& text : texts) {
    all = Joined(all, text);
    lengths.push_back(static_cast<int32_t>(text.size()));
  }
  Ask ask{all, {{kTask, std::string(kTaskEmbed)}}};
  ask.more = {Named(kLengths, lengths)};
  return ask;
}

class ScoreGroupTest : public LmEngineTest {
 protected:
  std::shared_ptr<Sink> Answered(const Ask& ask) {
    const auto sink = Send(ask);
    Run();
    EXPECT_TRUE(sink->last.status.ok()) << sink->last.status.error().message;
    return sink;
  }
};

TEST_F(ScoreGroupTest, LabelsScoreByTheirLogprobsBehindEachItem) {
  const Ids prefix = Random(70, 1);
  const std::vector<Ids> items = Items(9);
  const Ids labels = {7, 250, 31};
  Ask ask = ScoreOf(prefix, items, labels);
  const auto scores = Answered(ask)->Values<float>(kScores);
  ask.parameters.emplace_back("over", std::string("labels"));
  const auto shares = Answered(ask)->Values<float>(kScores);
  ASSERT_EQ(scores.size(), 27u);
  for (size_t i = 0; i < items.size(); ++i) {
    const std::vector<float> row =
        RunWhole(SmallConfig(), Joined(prefix, items[i]), RowOutput::kLogits).rows.back();
    double total = 0;
    for (const int32_t label : labels) total += std::exp(double{row[static_cast<size_t>(label)]});
    for (size_t j = 0; j < 3; ++j) {
      const double logit = row[static_cast<size_t>(labels[j])];
      EXPECT_NEAR(scores[3 * i + j], logit - LogSumExp(row), 1e-5);
      EXPECT_NEAR(shares[3 * i + j], std::exp(logit) / total, 1e-6);
    }
  }
}

TEST_F(ScoreGroupTest, ItemsScoreByTheSumOfTheirTokensLogprobs) {
  Load({.step_rows_max = 16}, kernels::WeightForm::kF32);  // items are cut
  for (const int64_t length : {0, 1, 70}) {
    const Ids prefix = Random(length, 1);
    std::vector<Ids> items = Items(9);
    items.push_back(Random(40, 5));
    if (length == 0) {
      items.erase(items.begin());  // nothing is known of a first token
    } else {
      items.insert(items.begin() + 4, {17});
      items.push_back({18});
    }
    Ask ask = ScoreOf(prefix, items);
    ask.parameters.emplace_back("token_logprobs", true);
    const auto sink = Answered(ask);
    const auto scores = sink->Values<float>(kScores);
    const auto logprobs = sink->Values<float>("item_logprobs");
    size_t at = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      const Ids whole = Joined(prefix, items[i]);
      const auto rows = RunWhole(SmallConfig(), whole, RowOutput::kLogits).rows;
      double sum = 0;
      for (size_t p = prefix.size(); p < whole.size(); ++p, ++at) {
        if (p == 0) {
          EXPECT_TRUE(std::isnan(logprobs[at]));
          continue;
        }
        const double logit = rows[p - 1][static_cast<size_t>(whole[p])];
        EXPECT_NEAR(logprobs[at], logit - LogSumExp(rows[p - 1]), 1e-5);
        sum += logit - LogSumExp(rows[p - 1]);
      }
      EXPECT_NEAR(scores[i], sum, 1e-3);
    }
    EXPECT_EQ(at, logprobs.size());
  }
}

TEST_F(ScoreGroupTest, ThePrefixIsComputedOnceAndItemsLeaveNothingBehind) {
  Load({.running_max = 8}, kernels::WeightForm::kF32);
  const Ids prefix = Random(200, 1);
  const std::vector<Ids> items(50, Random(10, 3));
  const auto sink = Answered(ScoreOf(prefix, items, {5}));
  EXPECT_EQ(engine_->statistics().computed_tokens, 200 + 50 * 10);
  EXPECT_EQ(sink->Number("prompt_tokens"), 200 + 50 * 10);
  EXPECT_EQ(sink->Number("cached_tokens"), 0);
  const auto again = Answered(ScoreOf(prefix, {Random(10, 4)}, {5}));
  EXPECT_EQ(again->Number("cached_tokens"), 200);
  EXPECT_EQ(engine_->statistics().computed_tokens, 200 + 50 * 10 + 10);
  // The item's rows are gone: an answer behind it finds the prefix alone.
  const auto behind = Send({Joined(prefix, items[0]), kGreedy});
  Run();
  EXPECT_EQ(behind->Number("cached_tokens"), 200);
}

TEST_F(ScoreGroupTest, ThePrefixsLastRowTellsOfAllItemsFirstTokens) {
  // The first item is cut behind the prefix, which ends within a block; with steps of 14 rows the
  // block is not full then, nor begun in that step.
  for (const int64_t step_rows : {205, 14}) {
    Load({.step_rows_max = step_rows}, kernels::WeightForm::kF32);
    std::vector<Ids> items(40, Random(10, 3));
    items[0] = Random(20, 4);
    for (int32_t i = 0; i < 10; ++i) items.push_back({i});
    const auto sink = Answered(ScoreOf(Random(200, 1), items));
    EXPECT_EQ(engine_->statistics().computed_tokens, 200 + 19 + 39 * 9) << step_rows;
    EXPECT_EQ(sink->Number("prompt_tokens"), 200 + 20 + 39 * 10 + 10);
    // Single tokens alone are the prefix's row.
    Answered(ScoreOf(Random(70, 2), {{1}, {2}, {3}}));
    EXPECT_EQ(engine_->statistics().computed_tokens, 200 + 19 + 39 * 9 + 70) << step_rows;
  }
}

TEST_F(ScoreGroupTest, TheBestItemsComeFirst) {
  Ask ask = ScoreOf(Random(40, 1), Items(12), {9, 10});
  const auto all = Answered(ask)->Values<float>(kScores);
  ask.parameters.emplace_back("top_k", int64_t{5});
  ask.parameters.emplace_back("by_label", int64_t{1});
  const auto sink = Answered(ask);
  const auto items = sink->Values<int32_t>(kTopItems);
  const auto best = sink->Values<float>(kScores);
  ASSERT_EQ(items.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    const auto item = static_cast<size_t>(items[i]);
    EXPECT_EQ(best[2 * i], all[2 * item]);
    EXPECT_EQ(best[2 * i + 1], all[2 * item + 1]);
    int better = 0;
    for (size_t other = 0; other < 12; ++other) better += all[2 * other + 1] > best[2 * i + 1];
    EXPECT_EQ(better, static_cast<int>(i));
  }
}

TEST_F(ScoreGroupTest, AClassifierScoresByItsHead) {
  DecoderConfig config = SmallConfig();
  config.classes = 3;
  Load({}, kernels::WeightForm::kF32, {}, config);
  const Ids prefix = Random(40, 1);
  Ask ask = ScoreOf(prefix, Items(4));
  ask.parameters = {{"activation", std::string("none")}};  // its only task is the default
  const auto scores = Answered(ask)->Values<float>(kScores);
  const auto shares = Answered(ScoreOf(prefix, Items(4)))->Values<float>(kScores);
  ASSERT_EQ(scores.size(), 12u);
  for (size_t i = 0; i < 4; ++i) {
    const std::vector<float> row =
        RunWhole(config, Joined(prefix, Items(4)[i]), RowOutput::kLogits).rows.back();
    for (size_t j = 0; j < 3; ++j) {
      EXPECT_EQ(scores[3 * i + j], row[j]);
      EXPECT_NEAR(shares[3 * i + j], std::exp(row[j] - LogSumExp(row)), 1e-6);
    }
  }
  EXPECT_NE(PrepareError({prefix, {{kTask, std::string("generate")}}}).find("expected score"),
            std::string::npos);
  EXPECT_NE(PrepareError(ScoreOf(prefix, Items(4), {1})).find("classifier"), std::string::npos);
}

TEST_F(ScoreGroupTest, EmbedsByTheLastStateOrTheMean) {
  std::vector<Ids> texts = Items(6);
  texts.push_back(Random(90, 8));
  for (const StatePooling pooling : {StatePooling::kLast, StatePooling::kMean}) {
    Load({.step_rows_max = 16, .pooling = pooling}, kernels::WeightForm::kF32);
    Ask ask = EmbedOf(texts);
    ask.parameters.emplace_back("normalize", false);
    const auto raw = Answered(ask)->Values<float>(kEmbedding);
    Ask cut = EmbedOf(texts);
    cut.parameters.emplace_back("dimensions", int64_t{10});
    const auto unit = Answered(cut)->Values<float>(kEmbedding);
    ASSERT_EQ(raw.size(), texts.size() * 64);
    ASSERT_EQ(unit.size(), texts.size() * 10);
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto rows = RunWhole(SmallConfig(), texts[i], RowOutput::kState).rows;
      double norm = 0;
      for (size_t j = 0; j < 64; ++j) {
        double want = rows.back()[j];
        if (pooling == StatePooling::kMean) {
          want = 0;
          for (const auto& row : rows) want += double{row[j]} / static_cast<double>(rows.size());
        }
        EXPECT_NEAR(raw[64 * i + j], want, 1e-5);
        if (j < 10) norm += want * want;
      }
      for (size_t j = 0; j < 10; ++j) {
        EXPECT_NEAR(unit[10 * i + j], raw[64 * i + j] / std::sqrt(norm), 1e-5);
      }
    }
  }
}

TEST_F(ScoreGroupTest, AnEmbeddingModelScoresByTheCosine) {
  DecoderConfig config = SmallConfig();
  config.has_head = false;
  Load({.embeds = true}, kernels::WeightForm::kF32, {}, config);
  const Ids first = Random(12, 1);
  const std::vector<Ids> items = Items(5);
  std::vector<Ids> texts = {first};
  texts.insert(texts.end(), items.begin(), items.end());
  const auto vectors = Answered(EmbedOf(texts))->Values<float>(kEmbedding);
  const auto scores = Answered(ScoreOf(first, items))->Values<float>(kScores);
  ASSERT_EQ(scores.size(), items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    double want = 0;
    for (size_t j = 0; j < 64; ++j) want += double{vectors[j]} * vectors[64 * (i + 1) + j];
    EXPECT_NEAR(scores[i], want, 1e-6);
  }
}

TEST_F(ScoreGroupTest, NamesWhatIsWrongWithARequestForScores) {
  const Ids prefix = Random(10, 1);
  const auto error_of = [&](const Ask& ask) { return PrepareError(ask); };
  Ask ask = ScoreOf(prefix, Items(3));
  ask.more[1] = Named(kItemLengths, {1, 2});
  EXPECT_NE(error_of(ask).find("whose sum is 6"), std::string::npos);
  ask.more[1] = Named(kItemLengths, {6, 0});
  EXPECT_NE(error_of(ask).find("item_lengths"), std::string::npos);
  ask.more = {};
  EXPECT_NE(error_of(ask).find("items and item_ids"), std::string::npos);
  EXPECT_NE(error_of(ScoreOf(prefix, {Random(510, 1)})).find("item 0: expected 2 to 512 tokens"),
            std::string::npos);
  EXPECT_NE(error_of(ScoreOf({}, {{1}})).find("expected 2 to 512"), std::string::npos);
  EXPECT_NE(error_of(ScoreOf(prefix, Items(2), {300})).find("label_ids"), std::string::npos);
  ask = ScoreOf(prefix, Items(2), {3});
  ask.parameters.emplace_back("over", std::string("all"));
  EXPECT_NE(error_of(ask).find("vocabulary or labels"), std::string::npos);
  EXPECT_NE(error_of({prefix, {{kTask, std::string("dream")}}}).find("generate, score, embed"),
            std::string::npos);
  ask = EmbedOf(Items(2));
  ask.parameters.emplace_back("dimensions", int64_t{65});
  EXPECT_NE(error_of(ask).find("[1, 64]"), std::string::npos);
}

}  // namespace
}  // namespace sluice::lm
