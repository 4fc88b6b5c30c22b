// Rows that do not lie side by side, and repeats that are only looked at, against the interpreter.
#include <gtest/gtest.h>

#include <random>

#include "graph/interpreter.h"
#include "graph/test_graph.h"
#include "graph/test_values.h"

namespace sluice::graph {
namespace {

using tensor::Shape;
using tensor::Tensor;

Tensor Random(const Shape& shape) {
  Tensor tensor = Tensor::Allocate(tensor::DType::kF32, shape, 1 << 30).value();
  std::mt19937 random(3);
  std::uniform_real_distribution<float> values(-1, 1);
  for (float& v : tensor.mutable_view().span<float>()) v = values(random);
  return tensor;
}

// Compiled and interpreted alike; `kind` is no step of the program.
void ExpectSameWithout(TestGraph& g, const Shape& input, std::string_view kind) {
  const auto model = g.Compile();
  const std::vector<Tensor> inputs = {Random(input)};
  const std::vector<Tensor> expected = Interpreter(g.graph()).Run(inputs).value();
  const std::vector<Tensor> actual = RunCompiled(*model, inputs).value();
  for (size_t i = 0; i < expected.size(); ++i) {
    for (int64_t k = 0; k < expected[i].shape.elements(); ++k)
      ASSERT_NEAR(ValueAt(actual[i].view(), k), ValueAt(expected[i].view(), k), 1e-6)
          << i << " " << k;
  }
  const std::vector<Shape> shapes = {input};
  const std::shared_ptr<const Plan> plan = model->PlanFor(shapes).value();
  for (const StepInfo& info : plan->infos) EXPECT_NE(info.kind, kind);
}

TEST(Rows, SoftmaxAlongAMiddleAxisAgreesWithTheInterpreter) {
  for (const int64_t axis : {0, 1, 2}) {
    for (const char* op : {"Softmax", "LogSoftmax"}) {
      TestGraph g;
      Value* x = g.Input("x", {g.Symbol("batch"), Dim(7), Dim(5), Dim(3)});
      Value* y = g.Add(op, {g.Add("Relu", {x})}, {{"axis", axis}});
      g.Output("soft", y);
      g.Output("weighted", g.Add("Mul", {y, x}));
      ExpectSameWithout(g, {4, 7, 5, 3}, std::string("reference ") + op);
    }
  }
}

TEST(Rows, RepeatingAnAxisOfOneElementCopiesNothing) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("batch"), Dim(1), Dim(6)});
  Value* y = g.Add("Tile", {x, g.Ints({1, 9, 1})});
  g.Output("y", g.Add("Add", {y, g.Weights({9, 6})}));
  ExpectSameWithout(g, {4, 1, 6}, "reference Tile");
}

}  // namespace
}  // namespace sluice::graph
