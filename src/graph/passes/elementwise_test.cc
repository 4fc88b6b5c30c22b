// Activations, outer products and repetitions run on kernels of their own, not on references.
#include <gtest/gtest.h>

#include "graph/passes/compare_compiled.h"

namespace sluice::graph {
namespace {

using tensor::Shape;
using tensor::Tensor;

// No step of the plan for these shapes runs a reference.
void ExpectNative(const Model& model, const std::vector<Shape>& shapes, const std::string& name) {
  for (const StepInfo& info : model.PlanFor(shapes).value()->infos) {
    EXPECT_EQ(info.kind.find("reference"), std::string::npos) << name << ": " << info.kind;
  }
}

TEST(ElementwiseTest, BentActivationsAreStepsOfAChain) {
  Tensor x = RandomFloats({40, 13}, 1);
  for (int i = 0; i < 13; ++i) x.mutable_view().as<float>()[i] = std::ldexp(-1.0F, -2 * i);
  x.mutable_view().as<float>()[20] = 300;
  x.mutable_view().as<float>()[21] = -300;
  for (const char* const op : {"Elu", "Celu", "Selu", "Softsign", "ThresholdedRelu"}) {
    for (const bool told : {false, true}) {
      if (told && std::string_view(op) == "Softsign") continue;
      TestGraph g;
      Value* in = g.Input("x", {g.Symbol("B"), Dim(13)});
      g.Output("y", told ? g.Add(op, {in}, {{"alpha", 0.7F}}) : g.Add(op, {in}));
      const auto model = CompileAndCompare(g, {x});
      EXPECT_EQ(CountOps(*model, "sluice.FusedChain"), 1) << op;
      ExpectNative(*model, {x.shape}, op);
    }
  }
}

TEST(ElementwiseTest, AnEinsumThatSumsOverNothingIsAProductOfBroadcastOperands) {
  for (const char* const equation : {"bi,bj->bij", "bi,bj->jbi", "bi,j->bij", "bi,bi->ib"}) {
    TestGraph g;
    const std::string_view text = equation;
    const Dim batch = g.Symbol("B");
    Value* a = g.Input("a", {batch, Dim(4)});
    const bool vector = text == "bi,j->bij";
    Value* b = vector ? g.Weights({3}) : g.Input("b", {batch, Dim(text == "bi,bi->ib" ? 4 : 3)});
    g.Output("y", g.Add("Einsum", {a, b}, {{"equation", std::string(text)}}));
    std::vector<Tensor> inputs = {RandomFloats({5, 4}, 2)};
    if (!vector) inputs.push_back(RandomFloats({5, text == "bi,bi->ib" ? 4 : 3}, 3));
    const auto model = CompileAndCompare(g, inputs);
    EXPECT_EQ(CountOps(*model, "Einsum"), 0) << equation;
  }
}

TEST(ElementwiseTest, ATileOfSeveralElementsIsOneCopy) {
  for (const std::vector<int64_t>& times :
       {std::vector<int64_t>{1, 3, 2}, {2, 1, 1}, {1, 1, 4}, {2, 2, 2}}) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), Dim(3), Dim(5)});
    g.Output("y", g.Add("Tile", {x, g.Ints(times)}));
    const auto model = CompileAndCompare(g, {RandomFloats({4, 3, 5}, 4)});
    ExpectNative(*model, {Shape({4, 3, 5})}, "Tile");
    EXPECT_EQ(model->PlanFor(std::vector<Shape>{{4, 3, 5}}).value()->steps.size(), 1U);
  }
}

}  // namespace
}  // namespace sluice::graph
