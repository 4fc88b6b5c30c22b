#include "graph/ir.h"

#include <gtest/gtest.h>

#include "graph/op.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Tensor;

// x -> Relu -> a -> Add(a, c) -> y
class IrTest : public testing::Test {
 protected:
  IrTest() {
    x = graph.AddInput("x", DType::kF32, SymShape{graph.symbols().Symbol("N"), 3});
    c = graph.AddConstant("c", *Tensor::Allocate(DType::kF32, tensor::Shape({3}), 64));
    relu = graph.AddNode(RequireOp("Relu"), 20, {x}, 1);
    add = graph.AddNode(RequireOp("Add"), 20, {relu->output(), c}, 1);
    graph.AddOutput("y", add->output());
    EXPECT_TRUE(InferGraph(graph).ok());
  }

  std::string VerifyText() {
    const base::Status status = Verify(graph);
    return status.ok() ? "" : status.error().message;
  }

  Graph graph{std::make_shared<SymbolTable>()};
  Value* x = nullptr;
  Value* c = nullptr;
  Node* relu = nullptr;
  Node* add = nullptr;
};

TEST_F(IrTest, AGraphInOrderIsVerified) {
  EXPECT_EQ(VerifyText(), "");
}

TEST_F(IrTest, ReplacingUsesMovesReadersAndOutputsAndKeepsTheInterfacesName) {
  graph.ReplaceUses(relu->output(), x);
  EXPECT_EQ(add->input(0), x);
  graph.Erase(relu);
  graph.ReplaceUses(add->output(), x);
  EXPECT_EQ(graph.outputs()[0].name, "y");
  EXPECT_EQ(graph.outputs()[0].value, x);
  EXPECT_EQ(VerifyText(), "");
}

TEST_F(IrTest, RemovingDeadNodesErasesWhatNoOutputNeeds) {
  Node* unused = graph.AddNode(RequireOp("Exp"), 20, {add->output()}, 1);
  ASSERT_TRUE(InferNode(graph, *unused).ok());
  EXPECT_EQ(graph.RemoveDead(), 1);
  EXPECT_TRUE(unused->erased);
  EXPECT_EQ(graph.node_count(), 2);
  EXPECT_EQ(VerifyText(), "");
}

TEST_F(IrTest, RemovingAnInputShiftsTheOthersUses) {
  Node* concat = graph.AddNode(RequireOp("Concat"), 20, {x, c, x}, 1);
  graph.RemoveNodeInput(concat, 0);
  ASSERT_EQ(concat->inputs.size(), 2u);
  EXPECT_EQ(concat->input(0), c);
  EXPECT_EQ(concat->input(1), x);
  graph.Erase(concat);
  EXPECT_EQ(VerifyText(), "");
}

TEST_F(IrTest, NamesThatAreTakenGetASuffix) {
  const Value* other = graph.AddInput("x", DType::kF32, std::nullopt);
  EXPECT_NE(other->name, "x");
  EXPECT_EQ(graph.FindValue("x"), x);
}

TEST_F(IrTest, ACloneIsEqualAndIndependent) {
  const std::unique_ptr<Graph> copy = Clone(graph);
  EXPECT_EQ(Dump(*copy), Dump(graph));
  graph.ReplaceUses(relu->output(), x);
  EXPECT_NE(Dump(*copy), Dump(graph));
  EXPECT_TRUE(Verify(*copy).ok());
}

TEST_F(IrTest, TheDumpShowsTypesAttributesAndOutputs) {
  relu->Set("alpha", 0.5F);
  EXPECT_EQ(Dump(graph),
            "input %x: FP32[N, 3]\n"
            "constant %c: FP32[3]\n"
            "%v.0: FP32[N, 3] = Relu(%x) {alpha=0.5}\n"
            "%v.1: FP32[N, 3] = Add(%v.0, %c)\n"
            "output y = %v.1\n");
}

TEST_F(IrTest, TheVerifierFindsAValueReadBeforeItIsMade) {
  graph.MoveBefore(add, relu);
  EXPECT_NE(VerifyText().find("before it is made"), std::string::npos);
}

TEST_F(IrTest, TheVerifierFindsUntypedValues) {
  graph.AddNode(RequireOp("Exp"), 20, {x}, 1);
  EXPECT_NE(VerifyText().find("has no type"), std::string::npos);
}

TEST_F(IrTest, TheVerifierFindsUseListsThatDisagree) {
  x->uses.clear();
  EXPECT_NE(VerifyText().find("disagree"), std::string::npos);
}

TEST_F(IrTest, TheVerifierFindsAConstantOfAnotherShapeThanItsTensor) {
  c->shape = SymShape{4};
  EXPECT_NE(VerifyText().find("another shape"), std::string::npos);
}

TEST_F(IrTest, TheVerifierFindsForeignProducers) {
  relu->outputs[0]->producer = add;
  EXPECT_NE(VerifyText().find("producer"), std::string::npos);
}

TEST_F(IrTest, TheVerifierFindsKnownElementsThatContradictTheShape) {
  relu->outputs[0]->elements = std::vector<Dim>{1, 2};
  EXPECT_NE(VerifyText().find("known elements"), std::string::npos);
}

TEST_F(IrTest, TheVerifierFindsOutputsThatNothingMakes) {
  Graph other(graph.shared_symbols());
  graph.mutable_outputs()[0].value = other.AddInput("z", DType::kF32, std::nullopt);
  EXPECT_NE(VerifyText().find("not made by the graph"), std::string::npos);
}

TEST(AttributeTest, LookUpsAreTypedAndFallBack) {
  Graph graph(std::make_shared<SymbolTable>());
  Node* node = graph.AddNode(RequireOp("Relu"), 20, {}, 0);
  node->Set("axis", int64_t{3});
  node->Set("mode", std::string("edge"));
  node->Set("axes", std::vector<int64_t>{1, 2});
  EXPECT_EQ(node->Int("axis", 0), 3);
  EXPECT_EQ(node->Int("mode", 7), 7);
  EXPECT_EQ(node->String("mode", ""), "edge");
  EXPECT_EQ(node->Ints("axes").size(), 2u);
  EXPECT_TRUE(node->Ints("axis").empty());
  node->Set("axis", int64_t{4});
  EXPECT_EQ(node->Int("axis", 0), 4);
  node->Remove("axis");
  EXPECT_FALSE(node->Has("axis"));
}

}  // namespace
}  // namespace sluice::graph
