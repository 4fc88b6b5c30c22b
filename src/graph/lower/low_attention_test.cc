// Encoder layers in 16 and 8 bits through whole plans: which attentions run in bf16, their answers,
// and their bits in any batch.
#include "graph/lower/low_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "graph/test_graph.h"
#include "graph/test_values.h"
#include "kernels/low_attention.h"

namespace sluice::graph {
namespace {

using kernels::WeightForm;
using tensor::Shape;
using tensor::Tensor;

constexpr int64_t kWidth = 64, kHeads = 2, kLength = 45;

// On no grid that int8 could keep without loss.
Value* Wavy(TestGraph& test, const Shape& shape) {
  std::vector<float> values;
  for (int64_t i = 0; i < shape.elements(); ++i)
    values.push_back(0.2F * std::sin(static_cast<float>(i) * 1.7F));
  return test.Floats(shape, values);
}

// One layer as exporters write it; `leak` makes something else read the values.
std::shared_ptr<const Model> MakeLayer(WeightForm form, int64_t heads = kHeads, bool leak = false) {
  TestGraph test;
  const Dim batch = test.Symbol("batch"), length = test.Symbol("length");
  Value* const x = test.Input("x", {batch, length, Dim(kWidth)});
  Value* const mask = test.Input("mask", {batch, Dim(1), Dim(1), length});
  const auto linear = [&](Value* from, int64_t in, int64_t out) {
    return test.Add("Add", {test.Add("MatMul", {from, Wavy(test, Shape({in, out}))}),
                            Wavy(test, Shape({out}))});
  };
  const auto split = [&](Value* from, std::vector<int64_t> perm) {
    Value* const parts = test.Add("Reshape", {from, test.Ints({0, 0, heads, kWidth / heads})});
    return test.Add("Transpose", {parts}, {{"perm", std::move(perm)}});
  };
  Value* const values = linear(x, kWidth, kWidth);
  Value* const scores = test.Add("MatMul", {split(linear(x, kWidth, kWidth), {0, 2, 1, 3}),
                                            split(linear(x, kWidth, kWidth), {0, 2, 3, 1})});
  Value* const weights =
      test.Add("Softmax", {test.Add("Add", {test.Add("Mul", {scores, test.Scalar(0.18F)}), mask})},
               {{"axis", int64_t{-1}}});
  Value* const seen = test.Add("MatMul", {weights, split(values, {0, 2, 1, 3})});
  Value* const merged = test.Add(
      "Reshape", {test.Add("Transpose", {seen}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}),
                  test.Ints({0, 0, kWidth})});
  const auto norm = [&](Value* from) {
    return test.Add("LayerNormalization",
                    {from, Wavy(test, Shape({kWidth})), Wavy(test, Shape({kWidth}))});
  };
  Value* const attended = norm(test.Add("Add", {linear(merged, kWidth, kWidth), x}));
  Value* const hidden = test.Add("Relu", {linear(attended, kWidth, 2 * kWidth)});
  test.Output("y", norm(test.Add("Add", {linear(hidden, 2 * kWidth, kWidth), attended})));
  if (leak) test.Output("values", test.Add("Relu", {values}));
  CompileOptions options;
  options.weights = WeightChoice{form, {}};
  return test.Compile(options);
}

std::vector<Tensor> MakeInputs(int64_t batch) {
  Tensor x =
      Tensor::Allocate(tensor::DType::kF32, Shape({batch, kLength, kWidth}), 1 << 30).value();
  Tensor mask =
      Tensor::Allocate(tensor::DType::kF32, Shape({batch, 1, 1, kLength}), 1 << 30).value();
  for (int64_t i = 0; i < x.shape.elements(); ++i)
    x.mutable_view().as<float>()[i] = std::sin(static_cast<float>(i) * 0.37F);
  for (int64_t i = 0; i < mask.shape.elements(); ++i) {
    const int64_t end = kLength - i / kLength % 5;
    mask.mutable_view().as<float>()[i] = i % kLength < end ? 0.0F : -3.4e38F;
  }
  return {x, mask};
}

int StepsOf(const Model& model, const std::string& kind) {
  const auto plan =
      model.PlanFor(std::vector<Shape>{Shape({2, kLength, kWidth}), Shape({2, 1, 1, kLength})});
  int count = 0;
  for (const StepInfo& info : plan.value()->infos) count += info.kind == kind ? 1 : 0;
  return count;
}

constexpr WeightForm kForms[] = {WeightForm::kBF16, WeightForm::kInt8};

TEST(LowAttentionTest, RunsInBF16WhereTheMachineMultipliesSuchMatrices) {
  for (const WeightForm form : kForms) {
    const int low = kernels::HasLowAttention() ? 1 : 0;
    EXPECT_EQ(StepsOf(*MakeLayer(form), "attention bf16"), low) << WeightFormName(form);
    kernels::LimitLowFeaturesForTesting(0);
    EXPECT_EQ(StepsOf(*MakeLayer(form), "attention"), 1) << WeightFormName(form);
    kernels::LimitLowFeaturesForTesting(~0u);
  }
  EXPECT_EQ(StepsOf(*MakeLayer(WeightForm::kF32), "attention"), 1);
}

TEST(LowAttentionTest, StaysInF32WhereSomethingElseReadsAnOperandOrHeadsAreNarrow) {
  for (const WeightForm form : kForms) {
    EXPECT_EQ(StepsOf(*MakeLayer(form, kHeads, true), "attention"), 1) << WeightFormName(form);
    EXPECT_EQ(StepsOf(*MakeLayer(form, 4), "attention"), 1) << WeightFormName(form);
  }
}

TEST(LowAttentionTest, NoRowsArePreparedInAStepOfTheirOwnBehindTheInput) {
  for (const WeightForm form : kForms) {
    const auto model = MakeLayer(form);
    const int expected = kernels::PathFor(form) == kernels::LowPath::kWiden ? 0 : 1;
    if (kernels::HasLowAttention()) {
      EXPECT_EQ(StepsOf(*model, "prepare rows"), expected) << WeightFormName(form);
    }
  }
}

TEST(LowAttentionTest, AnswersPointWhereThoseOfF32Point) {
  for (const bool leak : {false, true}) {
    const auto want =
        RunCompiled(*MakeLayer(WeightForm::kF32, kHeads, leak), MakeInputs(3)).value();
    for (const WeightForm form : kForms) {
      const auto got = RunCompiled(*MakeLayer(form, kHeads, leak), MakeInputs(3)).value();
      for (size_t i = 0; i < want.size(); ++i)
        EXPECT_GT(Cosine(got[i], want[i]), 0.999) << WeightFormName(form);
    }
  }
}

TEST(LowAttentionTest, ASequenceHasTheSameBitsAloneAndInAnyBatch) {
  for (const WeightForm form : kForms) {
    const auto model = MakeLayer(form);
    const std::vector<Tensor> all = MakeInputs(7);
    const Tensor whole = std::move(RunCompiled(*model, all).value()[0]);
    const int64_t bytes = kLength * kWidth * 4;
    for (int64_t b = 0; b < 7; ++b) {
      std::vector<Tensor> one = MakeInputs(1);
      std::memcpy(one[0].buffer.mutable_data(), all[0].buffer.data() + b * bytes,
                  static_cast<size_t>(bytes));
      std::memcpy(one[1].buffer.mutable_data(), all[1].buffer.data() + b * kLength * 4,
                  static_cast<size_t>(kLength) * 4);
      const Tensor alone = std::move(RunCompiled(*model, one).value()[0]);
      EXPECT_EQ(std::memcmp(alone.buffer.data(), whole.buffer.data() + b * bytes,
                            static_cast<size_t>(bytes)),
                0)
          << WeightFormName(form) << " sequence " << b;
    }
  }
}

}  // namespace
}  // namespace sluice::graph
