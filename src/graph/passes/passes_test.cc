// Every pattern is written in several ways, must be recognised in each, and must compute what the
// interpreter computes from the graph as it was.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/passes/compare_compiled.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

TEST(RecognizeGeluTest, ErfFormIsFoundInAnyOrderOfFactors) {
  for (int form = 0; form < 5; ++form) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
    Value* half = g.Scalar(0.5F);
    Value* inner = form == 0 ? g.Add("Div", {x, g.Scalar(std::sqrt(2.0F))})
                             : g.Add("Mul", {g.Scalar(std::sqrt(0.5F)), x});
    Value* sum = form == 1 ? g.Add("Add", {g.Scalar(1), g.Add("Erf", {inner})})
                           : g.Add("Add", {g.Add("Erf", {inner}), g.Scalar(1)});
    Value* y = nullptr;
    if (form <= 1) y = g.Add("Mul", {g.Add("Mul", {x, sum}), half});
    if (form == 2) y = g.Add("Mul", {g.Add("Mul", {half, x}), sum});
    if (form == 3) y = g.Add("Mul", {x, g.Add("Mul", {sum, half})});
    if (form == 4) y = g.Add("Div", {g.Add("Mul", {sum, x}), g.Scalar(2)});
    g.Output("y", y);
    const auto model = CompileAndCompare(g, {RandomFloats({5, 8}, 1)});
    EXPECT_EQ(CountOps(*model, "Erf"), 0) << "form " << form;
    EXPECT_TRUE(model->passes().near_misses.empty()) << "form " << form;
    EXPECT_EQ(CountOps(*model, "Mul"), 0) << "form " << form;
  }
}

TEST(RecognizeGeluTest, TanhFormIsFoundHoweverItsCubeIsWritten) {
  for (int form = 0; form < 3; ++form) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
    Value* square = g.Add("Mul", {x, x});
    Value* cube = form == 0 ? g.Add("Pow", {x, g.Scalar(3)}) : g.Add("Mul", {x, square});
    Value* inner = nullptr;
    if (form < 2) {
      inner = g.Add("Mul", {g.Add("Add", {x, g.Add("Mul", {g.Scalar(0.044715F), cube})}),
                            g.Scalar(0.7978845608F)});
    } else {
      Value* poly = g.Add("Add", {g.Scalar(1), g.Add("Mul", {square, g.Scalar(0.044715F)})});
      inner = g.Add("Mul", {g.Add("Mul", {g.Scalar(0.7978845608F), x}), poly});
    }
    Value* sum = g.Add("Add", {g.Add("Tanh", {inner}), g.Scalar(1)});
    g.Output("y", g.Add("Mul", {g.Add("Mul", {x, g.Scalar(0.5F)}), sum}));
    const auto model = CompileAndCompare(g, {RandomFloats({5, 8}, 2)});
    EXPECT_EQ(CountOps(*model, "Tanh"), 0) << "form " << form;
    // One step of one op.
    const auto plan = model->PlanFor(std::vector<Shape>{{5, 8}}).value();
    ASSERT_EQ(plan->steps.size(), 1U) << "form " << form;
    EXPECT_NE(plan->infos[0].detail.find("of 1 ops"), std::string::npos) << plan->infos[0].detail;
  }
}

TEST(RecognizeGeluTest, ASlightlyDifferentConstantIsNoGelu) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(8)});
  Value* sum = g.Add("Add", {g.Add("Erf", {g.Add("Mul", {x, g.Scalar(0.75F)})}), g.Scalar(1)});
  g.Output("y", g.Add("Mul", {g.Add("Mul", {x, sum}), g.Scalar(0.5F)}));
  const auto model = CompileAndCompare(g, {RandomFloats({5, 8}, 3)});
  EXPECT_EQ(model->passes().near_misses.size(), 1U);
}

TEST(RecognizeLayerNormTest, EveryWayToDivideByTheDeviationIsFound) {
  for (int form = 0; form < 6; ++form) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(12)});
    Value* mean = g.Add("ReduceMean", {x}, {{"axes", std::vector<int64_t>{-1}}});
    Value* d = g.Add("Sub", {x, mean});
    Value* square = form % 2 == 0 ? g.Add("Pow", {d, g.Scalar(2)}) : g.Add("Mul", {d, d});
    Value* variance = g.Add("ReduceMean", {square}, {{"axes", std::vector<int64_t>{2}}});
    Value* shifted = form % 2 == 0 ? g.Add("Add", {variance, g.Scalar(1e-5F)})
                                   : g.Add("Add", {g.Scalar(1e-5F), variance});
    Value* normal = nullptr;
    if (form < 2) normal = g.Add("Div", {d, g.Add("Sqrt", {shifted})});
    if (form == 2) normal = g.Add("Mul", {d, g.Add("Reciprocal", {g.Add("Sqrt", {shifted})})});
    if (form == 3)
      normal = g.Add("Mul", {g.Add("Div", {g.Scalar(1), g.Add("Sqrt", {shifted})}), d});
    if (form == 4) normal = g.Add("Mul", {d, g.Add("Pow", {shifted, g.Scalar(-0.5F)})});
    if (form == 5) normal = g.Add("Div", {d, g.Add("Pow", {shifted, g.Scalar(0.5F)})});
    Value* scaled = g.Add("Mul", {g.Weights({12}), normal});
    g.Output("y", g.Add("Add", {scaled, g.Weights({12})}));
    const auto model = CompileAndCompare(g, {RandomFloats({2, 3, 12}, 4)});
    EXPECT_EQ(CountOps(*model, "LayerNormalization"), 1) << "form " << form;
    EXPECT_EQ(model->PlanFor(std::vector<Shape>{{2, 3, 12}}).value()->steps.size(), 1U)
        << "form " << form;
  }
}

TEST(RecognizeLayerNormTest, TheRootMeanSquareFormIsFound) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(12)});
  Value* mean =
      g.Add("ReduceMean", {g.Add("Pow", {x, g.Scalar(2)})}, {{"axes", std::vector<int64_t>{-1}}});
  Value* root = g.Add("Sqrt", {g.Add("Add", {mean, g.Scalar(1e-6F)})});
  g.Output("y", g.Add("Mul", {g.Weights({12}), g.Add("Mul", {x, g.Add("Reciprocal", {root})})}));
  const auto model = CompileAndCompare(g, {RandomFloats({4, 12}, 5)});
  EXPECT_EQ(CountOps(*model, "RMSNormalization"), 1);
}

// One head's worth of attention over [B, H, S, D], in several forms.
std::shared_ptr<const Model> Attention(int form, bool masked) {
  TestGraph g;
  const SymShape heads = {g.Symbol("B"), Dim(2), g.Symbol("S"), Dim(8)};
  Value* q = g.Input("q", heads);
  Value* k = g.Input("k", heads);
  Value* v = g.Input("v", heads);
  Value* mask = g.Input("mask", {g.Symbol("B"), Dim(1), Dim(1), g.Symbol("S")});
  Value* kt = g.Add("Transpose", {k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  Value* scores = nullptr;
  const float scale = 1 / std::sqrt(8.0F);
  if (form == 0) scores = g.Add("Div", {g.Add("MatMul", {q, kt}), g.Scalar(std::sqrt(8.0F))});
  if (form == 1) scores = g.Add("Mul", {g.Scalar(scale), g.Add("MatMul", {q, kt})});
  if (form == 2) scores = g.Add("MatMul", {g.Add("Mul", {q, g.Scalar(scale)}), kt});
  if (form >= 3) {
    // As scaled_dot_product_attention is exported: the root of the scale on both sides.
    Value* root = g.Scalar(std::sqrt(scale));
    Value* scaled_k =
        g.Add("Transpose", {g.Add("Mul", {k, root})}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    scores = g.Add("MatMul", {g.Add("Mul", {q, root}), scaled_k});
  }
  if (masked) scores = form % 2 == 0 ? g.Add("Add", {scores, mask}) : g.Add("Add", {mask, scores});
  Value* weights = g.Add("Softmax", {scores}, {{"axis", int64_t{-1}}});
  if (form == 4) {
    weights = g.Add("Where", {g.Add("IsNaN", {weights}), g.Scalar(0), weights});
  }
  g.Output("y", g.Add("MatMul", {weights, v}));
  Tensor m = RandomFloats({3, 1, 1, 5}, 9);
  m.mutable_view().as<float>()[2] = form == 4 ? -INFINITY : std::numeric_limits<float>::lowest();
  if (form == 4) {
    for (int i = 5; i < 10; ++i) m.mutable_view().as<float>()[i] = -INFINITY;  // a row without keys
  }
  std::vector<Tensor> inputs = {RandomFloats({3, 2, 5, 8}, 6), RandomFloats({3, 2, 5, 8}, 7),
                                RandomFloats({3, 2, 5, 8}, 8), m};
  return CompileAndCompare(g, inputs);
}

TEST(RecognizeAttentionTest, EveryPlacementOfScaleAndMaskIsFused) {
  for (int form = 0; form < 5; ++form) {
    for (const bool masked : {false, true}) {
      const auto model = Attention(form, masked);
      EXPECT_EQ(CountOps(*model, "sluice.FusedAttention"), 1)
          << "form " << form << " masked " << masked;
      EXPECT_EQ(CountOps(*model, "Softmax"), 0) << "form " << form << " masked " << masked;
    }
  }
}

TEST(RecognizeAttentionTest, ASelectingMaskIsFused) {
  TestGraph g;
  const SymShape heads = {g.Symbol("B"), Dim(2), g.Symbol("S"), Dim(8)};
  Value* q = g.Input("q", heads);
  Value* k = g.Input("k", heads);
  Value* keep = g.Add(
      "Greater", {g.Input("keep", {g.Symbol("B"), Dim(1), Dim(1), g.Symbol("S")}), g.Scalar(0)});
  Value* kt = g.Add("Transpose", {k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  Value* scores = g.Add("Where", {keep, g.Add("MatMul", {q, kt}), g.Scalar(-1e9F)});
  g.Output("y", g.Add("MatMul", {g.Add("Softmax", {scores}, {{"axis", int64_t{3}}}), k}));
  const auto model =
      CompileAndCompare(g, {RandomFloats({3, 2, 5, 8}, 1), RandomFloats({3, 2, 5, 8}, 2),
                            RandomFloats({3, 1, 1, 5}, 3)});
  EXPECT_EQ(CountOps(*model, "sluice.FusedAttention"), 1);
}

TEST(RecognizeAttentionTest, AScaleThatMultipliesTheMaskAsWellIsANamedMiss) {
  TestGraph g;
  const SymShape heads = {g.Symbol("B"), Dim(2), g.Symbol("S"), Dim(8)};
  Value* q = g.Input("q", heads);
  Value* kt = g.Add("Transpose", {q}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  Value* mask = g.Input("mask", {g.Symbol("B"), Dim(1), Dim(1), g.Symbol("S")});
  Value* scores = g.Add("Mul", {g.Add("Add", {g.Add("MatMul", {q, kt}), mask}), g.Scalar(0.5F)});
  g.Output("y", g.Add("MatMul", {g.Add("Softmax", {scores}, {{"axis", int64_t{-1}}}), q}));
  const auto model =
      CompileAndCompare(g, {RandomFloats({3, 2, 5, 8}, 1), RandomFloats({3, 1, 1, 5}, 3)});
  EXPECT_EQ(CountOps(*model, "sluice.FusedAttention"), 0);
  ASSERT_EQ(model->passes().near_misses.size(), 1U);
  EXPECT_NE(model->passes().near_misses[0].what.find("mask as well"), std::string::npos);
}

TEST(FuseEpiloguesTest, BiasResidualAndActivationMoveIntoTheProduct) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(16)});
  Value* first = g.Add("Add", {g.Weights({16}), g.Add("MatMul", {x, g.Weights({16, 16})})});
  Value* hidden = g.Add("Relu", {g.Add("Add", {x, first})});
  Value* second = g.Add("Add", {g.Add("MatMul", {hidden, g.Weights({16, 9})}), g.Weights({9})});
  g.Output("y", g.Add("Mul", {second, g.Add("Sigmoid", {second})}));
  const auto model = CompileAndCompare(g, {RandomFloats({2, 3, 16}, 1)});
  const auto plan = model->PlanFor(std::vector<Shape>{{2, 3, 16}}).value();
  ASSERT_EQ(plan->steps.size(), 2U);
  EXPECT_EQ(plan->infos[0].detail, "6x16x16 +bias +residual relu");
  EXPECT_EQ(plan->infos[1].detail, "6x9x16 +bias silu");
}

TEST(FuseEpiloguesTest, AReaderOfTheShapeAloneIsNotInTheWay) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(8)});
  Value* product = g.Add("MatMul", {x, g.Weights({8, 6})});
  Value* rows = g.Add("Gather", {g.Add("Shape", {product}), g.Ints({0})}, {{"axis", int64_t{0}}});
  Value* target = g.Add("Concat", {rows, g.Ints({-1, 3})}, {{"axis", int64_t{0}}});
  g.Output("y",
           g.Add("Reshape", {g.Add("Relu", {g.Add("Add", {product, g.Weights({6})})}), target}));
  const auto model = CompileAndCompare(g, {RandomFloats({2, 5, 8}, 1)});
  EXPECT_EQ(model->PlanFor(std::vector<Shape>{{2, 5, 8}}).value()->steps.size(), 1U);
}

TEST(FuseEpiloguesTest, AProductThatIsAlsoAnOutputKeepsItsActivationOutside) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(16)});
  Value* product = g.Add("MatMul", {x, g.Weights({16, 8})});
  g.Output("product", product);
  g.Output("y", g.Add("Relu", {product}));
  CompileAndCompare(g, {RandomFloats({4, 16}, 1)});
}

TEST(FormLinearTest, EveryFormOfGemmComputesTheSame) {
  for (int form = 0; form < 6; ++form) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), Dim(6)});
    Value* b = form == 1 ? g.Weights({6, 5}) : g.Weights({5, 6});
    Value* c = form == 2   ? g.Input("c", {g.Symbol("B"), Dim(5)})
               : form == 3 ? g.Weights({1, 5})
                           : g.Weights({5});
    g.Output("y", g.Add("Gemm", {x, b, c},
                        {{"transB", int64_t{form != 1}},
                         {"alpha", form == 4 ? 0.5F : 1.0F},
                         {"beta", form == 5 ? 2.0F : 1.0F}}));
    std::vector<Tensor> inputs = {RandomFloats({4, 6}, 1)};
    if (form == 2) inputs.push_back(RandomFloats({4, 5}, 2));
    const auto model = CompileAndCompare(g, inputs);
    EXPECT_EQ(CountOps(*model, "sluice.FusedLinear"), 1) << "form " << form;
    EXPECT_TRUE(model->passes().near_misses.empty()) << "form " << form;
  }
}

TEST(CanonicalizeTest, EinsumOfTwoOperandsIsAProduct) {
  for (const char* equation : {"bij,bjk->bik", "bij,bkj->bki", "bi,ij->bj", "bhqd,bhkd->bhqk",
                               "be,bde->bd", "a,ab->b", "bi,i->b"}) {
    TestGraph g;
    std::vector<Tensor> inputs;
    const std::string text(equation);
    std::vector<Value*> operands;
    std::string labels = text.substr(0, text.find("->")) + ",";
    uint32_t seed = 1;
    while (!labels.empty()) {
      const std::string own = labels.substr(0, labels.find(','));
      labels = labels.substr(labels.find(',') + 1);
      Shape shape;
      SymShape dims;
      for (const char c : own) {
        shape.Append(c % 5 + 2);
        dims.push_back(Dim(c % 5 + 2));
      }
      operands.push_back(g.Input(("x" + std::to_string(seed)).c_str(), dims));
      inputs.push_back(RandomFloats(shape, seed++));
    }
    g.Output("y", g.Add("Einsum", operands, {{"equation", text}}));
    const auto model = CompileAndCompare(g, inputs);
    EXPECT_EQ(CountOps(*model, "Einsum"), 0) << equation;
  }
}

TEST(LowerIntegersTest, IntegersBroadcastAndWrapAsTheReferenceDoes) {
  TestGraph g;
  Value* ids = g.Input("ids", {g.Symbol("B"), Dim(3)}, DType::kI64);
  Value* swapped = g.Add("Transpose", {g.Input("more", {Dim(3), g.Symbol("B")}, DType::kI64)});
  Value* sum =
      g.Add("Mul", {g.Add("Add", {ids, g.Ints({10, 20, 30})}), g.Add("Sub", {swapped, ids})});
  g.Output("y", sum);
  Tensor a = Tensor::Allocate(DType::kI64, {2, 3}, 1 << 10).value();
  Tensor b = Tensor::Allocate(DType::kI64, {3, 2}, 1 << 10).value();
  for (int64_t i = 0; i < 6; ++i) {
    a.mutable_view().as<int64_t>()[i] = i * i * (INT64_MAX / 30);
    b.mutable_view().as<int64_t>()[i] = 7 - 5 * i;
  }
  const std::vector<Tensor> expected =
      Interpreter(g.graph()).Run(std::vector<Tensor>{a, b}).value();
  const auto model = g.Compile();
  const std::vector<Tensor> actual = RunCompiled(*model, {a, b}).value();
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(expected[0].view().span<int64_t>()[i], actual[0].view().span<int64_t>()[i]) << i;
  }
  for (const StepInfo& info : model->PlanFor(std::vector<Shape>{{2, 3}, {3, 2}}).value()->infos) {
    EXPECT_EQ(info.kind, "integers");
  }
}

TEST(CanonicalizeTest, AnEinsumWhoseExtentsDisagreeHasNoPlan) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("M"), Dim(3)});
  Value* w = g.Input("w", {g.Symbol("N"), Dim(3)});
  g.Output("y", g.Add("Einsum", {x, w}, {{"equation", std::string("ij,ij->ij")}}));
  const auto model = g.Compile();
  EXPECT_TRUE(model->PlanFor(std::vector<Shape>{{2, 3}, {2, 3}}).ok());
  EXPECT_FALSE(model->PlanFor(std::vector<Shape>{{0, 3}, {2, 3}}).ok());
  EXPECT_FALSE(model->PlanFor(std::vector<Shape>{{4, 3}, {2, 3}}).ok());
}

TEST(FuseNormTest, AnAdditionBeforeANormalisationMovesIntoIt) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(12)});
  Value* r = g.Input("r", {g.Symbol("B"), Dim(12)});
  g.Output("y",
           g.Add("LayerNormalization", {g.Add("Add", {x, r}), g.Weights({12}), g.Weights({12})}));
  const auto model = CompileAndCompare(g, {RandomFloats({4, 12}, 1), RandomFloats({4, 12}, 2)});
  EXPECT_EQ(model->PlanFor(std::vector<Shape>{{4, 12}, {4, 12}}).value()->steps.size(), 1U);
}

TEST(FuseElementwiseTest, AChainOverBroadcastOperandsIsOneStep) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(10)});
  Value* column = g.Input("column", {g.Symbol("B"), g.Symbol("S"), Dim(1)});
  Value* row = g.Input("row", {Dim(10)});
  Value* sum = g.Add("Add", {g.Add("Mul", {x, column}), row});
  Value* y =
      g.Add("Tanh",
            {g.Add("Sub", {g.Add("Exp", {g.Add("Neg", {g.Add("Abs", {sum})})}), g.Scalar(0.25F)})});
  g.Output("y", g.Add("Where",
                      {g.Add("Less", {sum, g.Scalar(0)}), y, g.Add("Sqrt", {g.Add("Abs", {x})})}));
  const auto model = CompileAndCompare(
      g, {RandomFloats({2, 3, 10}, 1), RandomFloats({2, 3, 1}, 2), RandomFloats({10}, 3)});
  EXPECT_EQ(model->PlanFor(std::vector<Shape>{{2, 3, 10}, {2, 3, 1}, {10}}).value()->steps.size(),
            1U);
}

TEST(FuseElementwiseTest, MoreOperandsThanAChainTakesMakeSeveralChains) {
  TestGraph g;
  std::vector<Tensor> inputs;
  Value* sum = nullptr;
  for (int i = 0; i < 20; ++i) {
    Value* x = g.Input(("x" + std::to_string(i)).c_str(), {g.Symbol("B"), Dim(3)});
    sum = sum == nullptr ? x : g.Add("Add", {sum, x});
    inputs.push_back(RandomFloats({4, 3}, static_cast<uint32_t>(i)));
  }
  g.Output("y", sum);
  const auto model = CompileAndCompare(g, inputs);
  EXPECT_EQ(CountOps(*model, "Add"), 0);
}

TEST(CleaningTest, TransposesThatCancelAndNeutralArithmeticDisappear) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(3), Dim(4)});
  Value* there = g.Add("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  Value* back = g.Add("Transpose", {there}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  Value* same = g.Add("Div", {g.Add("Add", {back, g.Scalar(0)}), g.Scalar(1)});
  g.Output("y", g.Add("Relu", {g.Add("Identity", {same})}));
  const auto model = CompileAndCompare(g, {RandomFloats({2, 3, 4}, 1)});
  EXPECT_EQ(model->PlanFor(std::vector<Shape>{{2, 3, 4}}).value()->steps.size(), 1U);
}

TEST(CleaningTest, ExportersShapeArithmeticIsGone) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(12)});
  Value* shape = g.Add("Shape", {x});
  Value* batch = g.Add("Gather", {shape, g.Ints({0})}, {{"axis", int64_t{0}}});
  Value* length = g.Add("Gather", {shape, g.Ints({1})}, {{"axis", int64_t{0}}});
  Value* target =
      g.Add("Concat", {batch, length, g.Ints({3}), g.Ints({4})}, {{"axis", int64_t{0}}});
  Value* split = g.Add("Reshape", {x, target});
  g.Output("y", g.Add("Relu", {split}));
  const auto model = CompileAndCompare(g, {RandomFloats({2, 5, 12}, 1)});
  EXPECT_EQ(model->PlanFor(std::vector<Shape>{{2, 5, 12}}).value()->steps.size(), 1U);
}

}  // namespace
}  // namespace sluice::graph
