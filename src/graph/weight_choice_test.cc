// Linear layers in 16 and 8 bits through whole plans: answers, bits in any batch, choices and their
// file.
#include "graph/weight_choice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "graph/test_graph.h"
#include "graph/test_values.h"
#include "kernels/low_path.h"
#include "kernels/target.h"

namespace sluice::graph {
namespace {

using kernels::WeightForm;
using tensor::Shape;
using tensor::Tensor;

constexpr int64_t kWidth = 70;

// On no grid that int8 could keep without loss.
Value* Wavy(TestGraph& test, const Shape& shape) {
  std::vector<float> values;
  for (int64_t i = 0; i < shape.elements(); ++i)
    values.push_back(0.3F * std::sin(static_cast<float>(i) * 1.7F));
  return test.Floats(shape, values);
}

// Two layers behind each other and one that shares their input, with bias, GELU and residual.
std::shared_ptr<const Model> MakeModel(WeightForm form,
                                       std::map<std::string, WeightForm> nodes = {}) {
  TestGraph test;
  Value* const x = test.Input("x", {test.Symbol("batch"), Dim(kWidth)});
  Value* const wide = test.Add("MatMul", {x, Wavy(test, Shape({kWidth, 130}))});
  Value* const biased = test.Add("Add", {wide, Wavy(test, Shape({130}))});
  Value* const active = test.Add("Relu", {biased});
  Value* const narrow = test.Add("MatMul", {active, Wavy(test, Shape({130, kWidth}))});
  Value* const sum = test.Add("Add", {narrow, x});
  Value* const beside = test.Add("MatMul", {x, Wavy(test, Shape({kWidth, 33}))});
  test.Output("sum", sum);
  test.Output("beside", beside);
  CompileOptions options;
  options.weights = WeightChoice{form, std::move(nodes)};
  return test.Compile(options);
}

Tensor MakeInput(int64_t rows) {
  Tensor x = Tensor::Allocate(tensor::DType::kF32, Shape({rows, kWidth}), 1 << 30).value();
  for (int64_t i = 0; i < rows * kWidth; ++i)
    x.mutable_view().as<float>()[i] = std::sin(static_cast<float>(i) * 0.37F);
  return x;
}

constexpr WeightForm kForms[] = {WeightForm::kBF16, WeightForm::kInt8, WeightForm::kBF16Storage,
                                 WeightForm::kInt8Storage};

// On every target and, on the best, with every feature taken away.
template <class F>
void OnEveryPath(F f) {
  for (const kernels::Target target : kernels::AvailableTargets()) {
    kernels::SetTargetForTesting(target);
    for (const uint32_t mask : {~0u, kernels::kHasVnni, kernels::kHasBF16Dots, 0u}) {
      kernels::LimitLowFeaturesForTesting(mask);
      f();
    }
    kernels::LimitLowFeaturesForTesting(~0u);
  }
}

TEST(WeightChoiceTest, AnswersPointWhereThoseOfF32Point) {
  const std::shared_ptr<const Model> exact = MakeModel(WeightForm::kF32);
  const auto want = RunCompiled(*exact, {MakeInput(9)}).value();
  OnEveryPath([&] {
    for (const WeightForm form : kForms) {
      const auto got = RunCompiled(*MakeModel(form), {MakeInput(9)}).value();
      for (size_t i = 0; i < want.size(); ++i) {
        EXPECT_GT(Cosine(got[i], want[i]), 0.9995) << WeightFormName(form);
        EXPECT_LT(Cosine(got[i], want[i]), 1.0 - 1e-12) << WeightFormName(form) << " did nothing";
      }
    }
  });
}

TEST(WeightChoiceTest, ACrossIsOneProductInEveryForm) {
  const auto make = [](WeightForm form) {
    TestGraph test;
    Value* const x0 = test.Input("x", {test.Symbol("batch"), Dim(kWidth)});
    Value* const x = test.Add("Tanh", {x0});
    Value* const layer =
        test.Add("Add", {test.Add("MatMul", {x, Wavy(test, Shape({kWidth, kWidth}))}),
                         Wavy(test, Shape({kWidth}))});
    test.Output("y", test.Add("Add", {test.Add("Mul", {x0, layer}), x}));
    CompileOptions options;
    options.weights.emplace();  // with ASan, g++ 12 takes an assignment for an uninitialised use
    options.weights->form = form;
    return test.Compile(options);
  };
  const auto want = RunCompiled(*make(WeightForm::kF32), {MakeInput(9)}).value();
  OnEveryPath([&] {
    for (const WeightForm form : kForms) {
      const std::shared_ptr<const Model> model = make(form);
      const auto got = RunCompiled(*model, {MakeInput(9)}).value();
      EXPECT_GT(Cosine(got[0], want[0]), 0.9995) << WeightFormName(form);
      const auto plan = model->PlanFor(std::vector<Shape>{Shape({9, kWidth})}).value();
      EXPECT_NE(plan->infos.back().detail.find("cross *factor +residual"), std::string::npos)
          << WeightFormName(form) << ": " << plan->infos.back().detail;
    }
  });
}

TEST(WeightChoiceTest, ARowHasTheSameBitsInABatchOf1And7And256InAnyOrder) {
  OnEveryPath([&] {
    for (const WeightForm form : kForms) {
      const std::shared_ptr<const Model> model = MakeModel(form);
      const Tensor all = MakeInput(256);
      const auto whole = RunCompiled(*model, {all}).value();
      for (const int64_t rows : {1, 7}) {
        for (const int64_t first : {200, 0, 31}) {
          Tensor part = MakeInput(rows);
          // The rows backwards, so that each has another place and other company.
          for (int64_t i = 0; i < rows; ++i) {
            std::memcpy(part.mutable_view().as<float>() + i * kWidth,
                        all.view().as<float>() + (first + rows - 1 - i) * kWidth, kWidth * 4);
          }
          const auto got = RunCompiled(*model, {part}).value();
          for (size_t o = 0; o < got.size(); ++o) {
            const int64_t width = got[o].shape[1];
            for (int64_t i = 0; i < rows; ++i) {
              EXPECT_EQ(std::memcmp(got[o].view().as<float>() + i * width,
                                    whole[o].view().as<float>() + (first + rows - 1 - i) * width,
                                    static_cast<size_t>(width) * 4),
                        0)
                  << WeightFormName(form) << " rows " << rows << " at " << first;
            }
          }
        }
      }
    }
  });
}

TEST(WeightChoiceTest, StepsTellTheFormAndWeightsTakeFewerBytes) {
  const std::shared_ptr<const Model> exact = MakeModel(WeightForm::kF32);
  const std::shared_ptr<const Model> int8 = MakeModel(WeightForm::kInt8);
  EXPECT_LT(int8->weights_bytes(), exact->weights_bytes() * 7 / 10);
  const auto plan = int8->PlanFor(std::vector<Shape>{Shape({4, kWidth})}).value();
  int int8_steps = 0, prepared = 0;
  for (const StepInfo& info : plan->infos) {
    int8_steps += info.kind == "linear int8" ? 1 : 0;
    prepared += info.kind == "prepare rows" ? 1 : 0;
  }
  EXPECT_EQ(int8_steps, 3);
  EXPECT_EQ(prepared, 1) << "x is prepared once for two layers, the hidden rows by the first";
}

TEST(WeightChoiceTest, ANodeMayBeAnException) {
  const std::shared_ptr<const Model> model =
      MakeModel(WeightForm::kInt8, {{"MatMul4", WeightForm::kF32}});
  const auto plan = model->PlanFor(std::vector<Shape>{Shape({4, kWidth})}).value();
  int int8 = 0, f32 = 0;
  for (const StepInfo& info : plan->infos) {
    int8 += info.kind == "linear int8" ? 1 : 0;
    f32 += info.kind == "linear" ? 1 : 0;
  }
  EXPECT_EQ(int8, 2);
  EXPECT_EQ(f32, 1);
}

TEST(WeightChoiceTest, AWeightThatInt8CannotHoldStaysF32AndIsTold) {
  TestGraph test;
  Value* const x = test.Input("x", {test.Symbol("batch"), Dim(64)});
  std::vector<float> weights(64 * 64, 1.0F);
  weights[5] = INFINITY;
  test.Output("y", test.Add("MatMul", {x, test.Floats(Shape({64, 64}), weights)}));
  CompileOptions options;
  options.weights.emplace();  // with ASan, g++ 12 takes an assignment for an uninitialised use
  options.weights->form = WeightForm::kInt8;
  const std::shared_ptr<const Model> model = test.Compile(options);
  ASSERT_EQ(model->passes().near_misses.size(), 1u);
  EXPECT_NE(model->passes().near_misses[0].what.find("not finite"), std::string::npos);
}

TEST(WeightChoiceTest, ReadsItsFileAndRefusesOthersByName) {
  const auto choice = ParseWeightChoice(R"({"weights":"int8","nodes":{"head":"f32"},"more":1})");
  ASSERT_TRUE(choice.ok()) << choice.error().message;
  EXPECT_EQ(choice->For("head"), WeightForm::kF32);
  EXPECT_EQ(choice->For("other"), WeightForm::kInt8);
  for (const char* const bad :
       {"", "[]", "{}", R"({"weights":"int7"})", R"({"weights":"int8","nodes":{"a":5}})"}) {
    EXPECT_FALSE(ParseWeightChoice(bad).ok()) << bad;
  }
  EXPECT_NE(ParseWeightForm("fp4").error().message.find("'fp4'"), std::string::npos);
}

TEST(WeightChoiceTest, TheFileBesideAModelIsReadAndItsErrorsNameIt) {
  const std::string model = testing::TempDir() + "weight_choice_test.onnx";
  const std::string path = WeightChoicePath(model);
  std::remove(path.c_str());
  EXPECT_EQ(ReadWeightChoice(model).value().form, WeightForm::kF32);
  std::ofstream(path) << R"({"weights":"bf16"})";
  EXPECT_EQ(ReadWeightChoice(model).value().form, WeightForm::kBF16);
  std::ofstream(path) << R"({"weights":"half"})";
  const auto broken = ReadWeightChoice(model);
  ASSERT_FALSE(broken.ok());
  EXPECT_NE(broken.error().message.find(path), std::string::npos);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace sluice::graph
