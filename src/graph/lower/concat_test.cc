// Elementwise chains write where the concatenation that reads them lies.
#include <gtest/gtest.h>

#include "graph/passes/compare_compiled.h"

namespace sluice::graph {
namespace {

using tensor::Shape;

int64_t CountSteps(const Plan& plan, std::string_view kind) {
  int64_t count = 0;
  for (const StepInfo& info : plan.infos) count += info.kind == kind ? 1 : 0;
  return count;
}

TEST(ConcatTest, ChainsOfEveryWidthWriteWhereTheConcatenationLies) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(5)});
  Value* z = g.Input("z", {g.Symbol("B"), Dim(2), Dim(4)});
  Value* column = g.Input("column", {g.Symbol("B"), Dim(1)});
  Value* row = g.Weights({5});
  std::vector<Value*> parts = {
      g.Add("Tanh", {g.Add("Mul", {x, row})}),                 // a row vector
      g.Add("Sigmoid", {column}),                              // one column
      g.Add("Reshape", {g.Add("Exp", {z}), g.Ints({-1, 8})}),  // rows of two axes
      g.Add("Sub", {x, column}),                               // a column broadcast
  };
  g.Output("y", g.Add("Concat", parts, {{"axis", int64_t{1}}}));
  for (const int64_t batch : {1, 3, 700}) {
    const auto model = CompileAndCompare(
        g,
        {RandomFloats({batch, 5}, 1), RandomFloats({batch, 2, 4}, 2), RandomFloats({batch, 1}, 3)});
    const auto plan =
        model->PlanFor(std::vector<Shape>{{batch, 5}, {batch, 2, 4}, {batch, 1}}).value();
    EXPECT_EQ(CountSteps(*plan, "concat"), 0) << "batch " << batch;
    EXPECT_EQ(plan->steps.size(), 4U) << "batch " << batch;
  }
}

TEST(ConcatTest, AChainThatOthersReadStaysPackedAndIsCopied) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(6)});
  Value* made = g.Add("Exp", {x});
  g.Output("y", g.Add("Concat", {made, g.Add("Neg", {x})}, {{"axis", int64_t{1}}}));
  g.Output("also", g.Add("MatMul", {made, g.Weights({6, 3})}));
  const auto model = CompileAndCompare(g, {RandomFloats({4, 6}, 1)});
  const auto plan = model->PlanFor(std::vector<Shape>{{4, 6}}).value();
  EXPECT_EQ(CountSteps(*plan, "concat"), 1);
}

}  // namespace
}  // namespace sluice::graph
