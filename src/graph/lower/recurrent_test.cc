// Recurrent layers compiled against the interpreter.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "graph/interpreter.h"
#include "graph/test_graph.h"
#include "graph/test_values.h"

namespace sluice::graph {
namespace {

using tensor::Shape;
using tensor::Tensor;

Tensor Lengths(std::initializer_list<int32_t> lengths) {
  Tensor tensor =
      Tensor::Allocate(tensor::DType::kI32, Shape({static_cast<int64_t>(lengths.size())}), 1 << 20)
          .value();
  std::copy(lengths.begin(), lengths.end(), tensor.mutable_view().as<int32_t>());
  return tensor;
}

void ExpectSame(TestGraph& g, const Model& model, const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> expected = Interpreter(g.graph()).Run(inputs).value();
  const base::Result<std::vector<Tensor>> actual = RunCompiled(model, inputs);
  ASSERT_TRUE(actual.ok()) << actual.error().message;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(actual->at(i).shape, expected[i].shape);
    for (int64_t k = 0; k < expected[i].shape.elements(); ++k) {
      ASSERT_NEAR(ValueAt(actual->at(i).view(), k), ValueAt(expected[i].view(), k), 2e-5)
          << i << " " << k;
    }
  }
}

struct Kind {
  const char* op;
  int64_t gates;
};

// All outputs of one layer of `hidden` over inputs of 6.
void AddLayer(TestGraph& g, const Kind& kind, Value* x, Value* lengths, Value* initial,
              std::initializer_list<std::pair<const char*, AttributeValue>> attributes) {
  constexpr int64_t kHidden = 5;
  bool both = false;
  for (const auto& [key, value] : attributes) {
    const auto* text = std::get_if<std::string>(&value);
    both = both || (text != nullptr && *text == "bidirectional");
  }
  const int64_t directions = both ? 2 : 1;
  const int64_t rows = kind.gates * kHidden;
  Node* node = g.graph().AddNode(
      FindOp("", kind.op, 22), 22,
      {x, g.Weights({directions, rows, 6}), g.Weights({directions, rows, kHidden}),
       g.Weights({directions, 2 * rows}), lengths, initial},
      kind.gates == 4 ? 3 : 2);
  node->name = kind.op;
  node->Set("hidden_size", kHidden);
  for (const auto& [key, value] : attributes) node->Set(key, value);
  ASSERT_TRUE(InferNode(g.graph(), *node).ok());
  for (size_t i = 0; i < node->outputs.size(); ++i)
    g.Output(("out" + std::to_string(i)).c_str(), node->outputs[i]);
}

const Kind kKinds[] = {{"RNN", 1}, {"GRU", 3}, {"LSTM", 4}};

TEST(RecurrentLayers, EveryCellAndDirectionAgreesWithTheInterpreter) {
  for (const Kind& kind : kKinds) {
    for (const char* direction : {"forward", "reverse", "bidirectional"}) {
      for (const int64_t after : {0, 1}) {
        TestGraph g;
        Value* x = g.Input("x", {g.Symbol("steps"), g.Symbol("batch"), Dim(6)});
        AddLayer(g, kind, x, nullptr, nullptr,
                 {{"direction", std::string(direction)}, {"linear_before_reset", after}});
        const auto model = g.Compile();
        EXPECT_EQ(CountOps(*model, "sluice.FusedRecurrent"), 1);
        ExpectSame(g, *model, {Random({7, 3, 6}, 1)});
        ExpectSame(g, *model, {Random({1, 17, 6}, 2)});
      }
    }
  }
}

TEST(RecurrentLayers, LengthsInitialStatesAndBatchFirstAgreeWithTheInterpreter) {
  for (const Kind& kind : kKinds) {
    for (const char* direction : {"reverse", "bidirectional"}) {
      TestGraph g;
      const int64_t directions = direction[0] == 'b' ? 2 : 1;
      Value* x = g.Input("x", {g.Symbol("batch"), g.Symbol("steps"), Dim(6)});
      Value* lengths = g.Input("lengths", {g.Symbol("batch")}, tensor::DType::kI32);
      Value* initial = g.Input("h", {g.Symbol("batch"), Dim(directions), Dim(5)});
      AddLayer(g, kind, x, lengths, initial,
               {{"direction", std::string(direction)}, {"layout", int64_t{1}}});
      ExpectSame(g, *g.Compile(),
                 {Random({4, 6, 6}, 3), Lengths({6, 0, 3, 1}), Random({4, directions, 5}, 4)});
    }
  }
}

TEST(RecurrentLayers, ATransposedInputIsReadWhereItLies) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("batch"), Dim(9), Dim(6)});
  Value* steps = g.Add("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
  Value* y = g.Add("LSTM", {steps, g.Weights({1, 20, 6}), g.Weights({1, 20, 5})},
                   {{"hidden_size", int64_t{5}}});
  y = g.Add("Transpose", {y}, {{"perm", std::vector<int64_t>{2, 0, 1, 3}}});
  g.Output("y", g.Add("Reshape", {y, g.Ints({0, 0, -1})}));
  const auto model = g.Compile();
  ExpectSame(g, *model, {Random({4, 9, 6}, 5)});
  const std::vector<Shape> shapes = {Shape({4, 9, 6})};
  const std::shared_ptr<const Plan> plan = model->PlanFor(shapes).value();
  for (const StepInfo& info : plan->infos) EXPECT_NE(info.kind, "copy") << info.detail;
}

TEST(RecurrentLayers, ALengthBeyondTheStepsIsRefusedByName) {
  TestGraph g;
  Value* x = g.Input("x", {Dim(4), Dim(2), Dim(6)});
  Value* lengths = g.Input("lengths", {Dim(2)}, tensor::DType::kI32);
  AddLayer(g, kKinds[1], x, lengths, nullptr, {});
  const auto model = g.Compile();
  for (const int32_t bad : {-1, 5}) {
    const auto result = RunCompiled(*model, {Random({4, 2, 6}, 6), Lengths({4, bad})});
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.error().message.find("sequence length"), std::string::npos);
  }
}

TEST(RecurrentLayers, ASequenceGivesTheSameBitsAloneAndInABatch) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("batch"), Dim(8), Dim(6)});
  AddLayer(g, kKinds[1], x, nullptr, nullptr, {{"layout", int64_t{1}}});
  const auto model = g.Compile();
  const Tensor all = Random({19, 8, 6}, 8);
  const Tensor together = RunCompiled(*model, {all})->at(0);
  for (int64_t b = 0; b < 19; ++b) {
    Tensor one = Random({1, 8, 6}, 8);
    std::copy_n(all.view().as<float>() + b * 48, 48, one.mutable_view().as<float>());
    const Tensor alone = RunCompiled(*model, {one})->at(0);
    for (int64_t k = 0; k < 40; ++k)
      ASSERT_EQ(alone.view().as<float>()[k], together.view().as<float>()[b * 40 + k]);
  }
}

}  // namespace
}  // namespace sluice::graph
