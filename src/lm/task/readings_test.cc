#include "lm/task/readings.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "lm/checkpoint/test_checkpoint.h"

namespace sluice::lm {
namespace {

class ReadingsTest : public testing::TestWithParam<const char*> {
 protected:
  static constexpr int64_t kStates = 150;

  ReadingsTest() : decoder_(*Decoder::Load(RandomCheckpoint(Config()), Config(), Options())) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    rows_.resize(static_cast<size_t>(kStates * decoder_.config().hidden));
    for (float& x : rows_) x = normal(random);
    scratch_ = tensor::Buffer::Allocate(decoder_.MemoryBytes(kStates, kStates));
    states_.rows = rows_.data();
    states_.stride = decoder_.config().hidden;
    states_.scratch = scratch_.mutable_data();
    logits_.resize(static_cast<size_t>(kStates * decoder_.head_width()));
    states_.logits = logits_.data();
    EXPECT_TRUE(decoder_.RunHead(states_, 0, kStates, runner_));
    states_.logits = nullptr;
  }
  static DecoderConfig Config() {
    DecoderConfig config = SmallConfig();
    config.vocabulary = 289;  // a panel of one column
    config.logit_cap = 1.5f;
    return config;
  }
  static Decoder::Options Options() { return {.form = *LinearForm::Parse(GetParam())}; }
  float Logit(int64_t state, int32_t column) const {
    return logits_[static_cast<size_t>(state * decoder_.head_width() + column)];
  }

  const Decoder decoder_;
  std::vector<float> rows_;
  tensor::Buffer scratch_;
  Decoder::States states_;
  std::vector<float> logits_;
  Runner runner_{{}};
};

// Members of two requests and a sum between them; there is no memory for whole rows of logits.
TEST_P(ReadingsTest, ColumnsAreThoseOfTheWholeHeadWhichIsNotRunForThem) {
  const std::vector<int32_t> some = {7, 288, 3, 40, 7}, others = {100};
  const ColumnPlaces first(some), second(others);
  StepRows rows;
  rows.logit_rows = {0, 1, 2};  // states of whose logits nothing is read
  const int64_t before = 3;
  const std::vector<float> zeros(static_cast<size_t>(decoder_.config().hidden));
  Readings readings(&decoder_, 100);
  for (int64_t i = 0; i < kStates - before; ++i) {
    readings.BeginMember();
    if (i == 120) {
      readings.AddStates(i, 1, zeros);
    } else {
      readings.AddColumns(i, i < 110 ? first : second);
    }
  }
  ASSERT_TRUE(readings.Run(rows, states_, runner_));
  for (int64_t i = 0; i < kStates - before; ++i) {
    if (i == 120) continue;
    const std::vector<int32_t>& columns = i < 110 ? some : others;
    const std::span<const float> values = readings.ResultsOf(static_cast<size_t>(i)).values;
    ASSERT_EQ(values.size(), columns.size());
    for (size_t j = 0; j < columns.size(); ++j) {
      EXPECT_EQ(values[j], Logit(before + i, columns[j])) << "state " << i << " column " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, ReadingsTest,
                         testing::Values("f32", "bf16", "int8", "stored", "int4"));

}  // namespace
}  // namespace sluice::lm
