#include "graph/batchability.h"

#include <gtest/gtest.h>

#include "graph/test_graph.h"

namespace sluice::graph {
namespace {

using tensor::DType;

Batchability Prove(TestGraph& g) {
  return ProveBatchability(g.graph());
}

TEST(BatchabilityTest, AUserAgainstManyItemsIsNotJoined) {
  TestGraph g;
  Value* user = g.Input("user", {Dim(1), Dim(8)});
  Value* items = g.Input("items", {g.Symbol("N"), Dim(8)});
  g.Output("y", g.Add("MatMul", {items, g.Add("Transpose", {user})}));
  const Batchability proof = Prove(g);
  EXPECT_FALSE(proof.joinable);
  EXPECT_EQ(proof.reason, "axis 0 of input 'user' is fixed at 1");
}

TEST(BatchabilityTest, InputsWithDifferentFirstAxesAreNotJoined) {
  TestGraph g;
  Value* users = g.Input("users", {g.Symbol("M"), Dim(8)});
  Value* items = g.Input("items", {g.Symbol("N"), Dim(8)});
  g.Output("y", g.Add("MatMul", {users, g.Add("Transpose", {items})}));
  EXPECT_EQ(Prove(g).reason, "inputs 'users' and 'items' have different first axes");
}

TEST(BatchabilityTest, RowsThatMeetInAProductAreNamed) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
  g.Output("y", g.Add("MatMul", {x, g.Add("Transpose", {x})}));
  const Batchability proof = Prove(g);
  EXPECT_FALSE(proof.joinable);
  EXPECT_NE(proof.reason.find("MatMul2"), std::string::npos) << proof.reason;
}

TEST(BatchabilityTest, AReductionOverTheBatchIsNamed) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
  Value* mean = g.Add("ReduceMean", {x}, {{"axes", std::vector<int64_t>{0}}});
  g.Output("y", g.Add("Sub", {x, mean}));
  const Batchability proof = Prove(g);
  EXPECT_FALSE(proof.joinable);
  EXPECT_NE(proof.reason.find("reduces the batch axis"), std::string::npos) << proof.reason;
}

TEST(BatchabilityTest, SoftmaxOverTheBatchIsNamed) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
  g.Output("y", g.Add("Softmax", {x}, {{"axis", int64_t{0}}}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, DividingByTheNumberOfRowsIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
  Value* count =
      g.Add("Cast", {g.Add("Gather", {g.Add("Shape", {x}), g.Ints({0})}, {{"axis", int64_t{0}}})},
            {{"to", int64_t{1}}});
  g.Output("y", g.Add("Div", {x, count}));
  const Batchability proof = Prove(g);
  EXPECT_FALSE(proof.joinable);
  EXPECT_NE(proof.reason.find("number of rows"), std::string::npos) << proof.reason;
}

TEST(BatchabilityTest, AddingToTheTransposeOfTheBatchIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(1)});
  g.Output("y", g.Add("Add", {x, g.Add("Transpose", {x})}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, FlatteningAndRestoringTheBatchIsHarmless) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(8)});
  Value* flat = g.Add("Reshape", {x, g.Ints({-1, 8})});
  Value* y = g.Add("MatMul", {flat, g.Weights({8, 8})});
  Value* shape = g.Add("Shape", {x});
  g.Output("y", g.Add("Reshape", {y, shape}));
  const Batchability proof = Prove(g);
  EXPECT_TRUE(proof.joinable) << proof.reason;
}

TEST(BatchabilityTest, AttentionThatMergesLengthAndBatchIsProven) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(8)});
  Value* turned = g.Add("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
  Value* flat = g.Add("Reshape", {turned, g.Ints({-1, 8})});  // [S * B, 8]
  Value* y = g.Add("Relu", {g.Add("Gemm", {flat, g.Weights({8, 8}), g.Weights({8})})});
  Value* back = g.Add("Reshape", {y, g.Add("Shape", {turned})});
  g.Output("y", g.Add("Transpose", {back}, {{"perm", std::vector<int64_t>{1, 0, 2}}}));
  const Batchability proof = Prove(g);
  EXPECT_TRUE(proof.joinable) << proof.reason;
}

TEST(BatchabilityTest, ASumOverLengthAndBatchMergedIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(8)});
  Value* turned = g.Add("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
  Value* flat = g.Add("Reshape", {turned, g.Ints({-1, 8})});
  Value* sum = g.Add("ReduceSum", {flat, g.Ints({0})}, {{"keepdims", int64_t{1}}});
  g.Output("y", g.Add("Sub", {x, sum}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, EinsumKeepsRowsApartWhereTheBatchHasALabelOfItsOwn) {
  const auto prove = [](const char* equation) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), Dim(3), Dim(4)});
    Value* w = g.Input("w", {g.Symbol("B"), Dim(3)});
    g.Output("y", g.Add("Einsum", {x, w}, {{"equation", std::string(equation)}}));
    return Prove(g).joinable;
  };
  EXPECT_TRUE(prove("bij,bi->bj"));
  EXPECT_TRUE(prove("bij,bi->bij"));
  EXPECT_FALSE(prove("bij,bi->ij"));
  EXPECT_FALSE(prove("bij,ci->bj"));
}

TEST(BatchabilityTest, FlatteningEverythingAndNormalisingIsNot) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
  Value* flat = g.Add("Softmax", {g.Add("Reshape", {x, g.Ints({-1})})}, {{"axis", int64_t{0}}});
  g.Output("y", g.Add("Reshape", {flat, g.Add("Shape", {x})}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, LookingUpEmbeddingsKeepsRowsApart) {
  TestGraph g;
  Value* ids = g.Input("ids", {g.Symbol("B"), Dim(3)}, DType::kI64);
  Value* rows = g.Add("Gather", {g.Weights({10, 4}), ids}, {{"axis", int64_t{0}}});
  g.Output("y", g.Add("ReduceSum", {rows, g.Ints({1})}, {{"keepdims", int64_t{0}}}));
  const Batchability proof = Prove(g);
  EXPECT_TRUE(proof.joinable) << proof.reason;
}

TEST(BatchabilityTest, LookingUpARequestsOwnTableIsNotJoined) {
  TestGraph g;
  Value* table = g.Input("table", {g.Symbol("B"), Dim(4)});
  Value* ids = g.Input("ids", {g.Symbol("B"), Dim(1)}, DType::kI64);
  g.Output("y", g.Add("Gather", {table, ids}, {{"axis", int64_t{0}}}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, ReversingTheBatchIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(4)});
  g.Output("y", g.Add("Slice", {x, g.Ints({-1}), g.Ints({INT64_MIN}), g.Ints({0}), g.Ints({-1})}));
  EXPECT_FALSE(Prove(g).joinable);
}

// Each of these was once taken for independent rows, or could be.
TEST(BatchabilityTest, ExtentsThatGrowWithTheBatchAreFound) {
  const auto proven = [](auto build) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
    Value* count = g.Add("Slice", {g.Add("Shape", {x}), g.Ints({0}), g.Ints({1})});
    g.Output("y", build(g, x, count));
    return Prove(g).joinable;
  };
  const TestGraph::Attributes none = {};
  EXPECT_FALSE(proven([&](TestGraph& g, Value* x, Value* count) {
    Value* repeats = g.Add("Concat", {g.Ints({1}), count}, {{"axis", int64_t{0}}});
    return g.Add("ReduceSum", {g.Add("Tile", {x, repeats}), g.Ints({1})}, none);
  })) << "tiled by the number of rows";
  EXPECT_FALSE(proven([&](TestGraph& g, Value* x, Value* count) {
    Value* narrow = g.Add("ReduceSum", {x, g.Ints({1})}, none);
    Value* square = g.Add("Concat", {count, count}, {{"axis", int64_t{0}}});
    return g.Add("ReduceSum", {g.Add("Expand", {narrow, square}), g.Ints({1})}, none);
  })) << "expanded by the number of rows";
  EXPECT_FALSE(proven([&](TestGraph& g, Value* x, Value* count) {
    Value* cut = g.Add("Slice", {x, g.Ints({0}), count, g.Ints({1})});
    return g.Add("ReduceSum", {cut, g.Ints({1})}, none);
  })) << "cut at the number of rows";
  EXPECT_FALSE(proven([&](TestGraph& g, Value* x, Value* count) {
    Value* cut = g.Add("Slice", {g.Weights({64, 8}), g.Ints({0}), count, g.Ints({0})});
    return g.Add("Add", {x, g.Add("ReduceSum", {cut, g.Ints({0})}, none)});
  })) << "a table summed up to the number of rows";
  EXPECT_FALSE(proven([&](TestGraph& g, Value* x, Value* count) {
    Value* pads = g.Add("Concat", {g.Ints({0, 0, 0}), count}, {{"axis", int64_t{0}}});
    return g.Add("ReduceMean", {g.Add("Pad", {x, pads})}, {{"axes", std::vector<int64_t>{1}}});
  })) << "padded by the number of rows";
}

TEST(BatchabilityTest, ShiftingTheBatchByPaddingIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(4)});
  g.Output("y", g.Add("Pad", {x, g.Ints({1, 0, -1, 0})}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, PaddingOtherAxesKeepsRowsApart) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(4)});
  g.Output("y", g.Add("Pad", {x, g.Ints({0, 1, 0, 2})}));
  EXPECT_TRUE(Prove(g).joinable) << Prove(g).reason;
}

TEST(BatchabilityTest, ATriangleOverTheBatchIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(4)});
  g.Output("y", g.Add("Trilu", {x}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, TrainingStatisticsOfTheBatchAreFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(4)});
  Value* w = g.Weights({4});
  g.Output("y", g.Add("BatchNormalization", {x, w, w, w, w}, {{"training_mode", int64_t{1}}}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, SelectingFromPartsOfRowsByWholeRowsIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
  Value* ids = g.Input("ids", {g.Symbol("B"), Dim(4)}, DType::kI64);
  Value* halves = g.Add("Reshape", {x, g.Ints({-1, 4})});
  g.Output("y", g.Add("GatherElements", {halves, ids}, {{"axis", int64_t{1}}}));
  EXPECT_FALSE(Prove(g).joinable);
}

TEST(BatchabilityTest, AVectorTimesABatchOfMatricesKeepsTheBatchFirst) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(3), Dim(8)});
  g.Output("y", g.Add("MatMul", {x, g.Weights({8})}));
  g.Output("z", g.Add("MatMul", {g.Weights({3}), x}));
  const Batchability proof = Prove(g);
  EXPECT_TRUE(proof.joinable) << proof.reason;
}

TEST(BatchabilityTest, AnOutputWithoutTheBatchIsNotJoined) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(4)});
  g.Output("y", x);
  g.Output("constant", g.Weights({2, 2}));
  EXPECT_NE(Prove(g).reason.find("output 'constant'"), std::string::npos);
}

}  // namespace
}  // namespace sluice::graph
