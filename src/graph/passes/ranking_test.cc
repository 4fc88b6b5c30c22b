// What click models are made of, written in several ways: recognised in each, and computing what
// the interpreter computes from the graph as it was.
#include <cstring>
#include <tuple>

#include "graph/passes/compare_compiled.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

int64_t CountSteps(const Plan& plan, const std::string& kind) {
  int64_t count = 0;
  for (const StepInfo& info : plan.infos) count += info.kind == kind ? 1 : 0;
  return count;
}

TEST(FuseLookupsTest, SumsMeansAndWeightedSumsOfBagsAreFound) {
  for (int form = 0; form < 5; ++form) {
    TestGraph g;
    Value* ids = g.Input("ids", {g.Symbol("B"), Dim(6)}, DType::kI64);
    Value* weights = g.Input("weights", {g.Symbol("B"), Dim(6)});
    Value* rows = g.Add("Gather", {g.Weights({20, 12}), ids}, {{"axis", int64_t{0}}});
    Value* per_id = g.Add("Unsqueeze", {weights, g.Ints({-1})});
    if (form == 2) rows = g.Add("Mul", {rows, per_id});
    if (form == 3) rows = g.Add("Mul", {per_id, rows});
    Value* bags = form == 1 ? g.Add("ReduceMean", {rows},
                                    {{"axes", std::vector<int64_t>{-2}}, {"keepdims", int64_t{0}}})
                            : g.Add("ReduceSum", {rows, g.Ints({1})},
                                    {{"keepdims", int64_t{form == 4 ? 1 : 0}}});
    g.Output("y", bags);
    const auto model = CompileAndCompare(g, {RandomIds({5, 6}, 20, 1), RandomFloats({5, 6}, 2)});
    EXPECT_EQ(CountOps(*model, "sluice.FusedLookups"), 1) << "form " << form;
    EXPECT_EQ(CountOps(*model, "Gather"), 0) << "form " << form;
    EXPECT_EQ(CountOps(*model, "ReduceSum") + CountOps(*model, "ReduceMean"), 0);
    EXPECT_TRUE(model->batchability().joinable) << model->batchability().reason;
  }
}

TEST(FuseLookupsTest, AReductionOverTheEmbeddingIsNoBag) {
  TestGraph g;
  Value* ids = g.Input("ids", {g.Symbol("B"), Dim(6)}, DType::kI64);
  Value* rows = g.Add("Gather", {g.Weights({20, 12}), ids}, {{"axis", int64_t{0}}});
  g.Output("y", g.Add("ReduceSum", {rows, g.Ints({2})}, {{"keepdims", int64_t{0}}}));
  EXPECT_EQ(CountOps(*CompileAndCompare(g, {RandomIds({5, 6}, 20, 1)}), "sluice.FusedLookups"), 0);
}

// Columns of ids, each with its own table; bags or rows; side by side with a dense tower.
TestGraph Tables(int64_t tables, bool bags) {
  TestGraph g;
  const Dim batch = g.Symbol("B");
  Value* ids = bags ? g.Input("ids", {batch, Dim(tables), Dim(3)}, DType::kI64)
                    : g.Input("ids", {batch, Dim(tables)}, DType::kI64);
  Value* dense =
      g.Add("Relu", {g.Add("MatMul", {g.Input("dense", {batch, Dim(4)}), g.Weights({4, 8})})});
  std::vector<Value*> parts = {dense};
  for (int64_t t = 0; t < tables; ++t) {
    Value* column = g.Add("Gather", {ids, g.Ints({t})}, {{"axis", int64_t{1}}});
    column = g.Add("Squeeze", {column, g.Ints({1})});
    Value* rows = g.Add("Gather", {g.Weights({30, 8}), column}, {{"axis", int64_t{0}}});
    if (bags) rows = g.Add("ReduceSum", {rows, g.Ints({1})}, {{"keepdims", int64_t{0}}});
    parts.push_back(rows);
  }
  Value* x = g.Add("Concat", parts, {{"axis", int64_t{1}}});
  g.Output("y", g.Add("MatMul", {x, g.Weights({8 * (tables + 1), 2})}));
  return g;
}

TEST(FuseLookupsTest, AllTablesAreOneStepThatWritesIntoTheConcatenation) {
  for (const bool bags : {false, true}) {
    TestGraph g = Tables(7, bags);
    const Shape ids = bags ? Shape({5, 7, 3}) : Shape({5, 7});
    const auto model = CompileAndCompare(g, {RandomIds(ids, 30, 3), RandomFloats({5, 4}, 4)});
    const auto plan = model->PlanFor(std::vector<Shape>{ids, {5, 4}}).value();
    EXPECT_EQ(CountSteps(*plan, "look-ups"), 1);
    EXPECT_EQ(CountSteps(*plan, "linear"), 2);
    EXPECT_EQ(plan->steps.size(), 3U) << "nothing is copied";
  }
}

TEST(FuseLookupsTest, RowsOfAFewTablesStayGathers) {
  TestGraph g = Tables(3, false);
  const auto model = CompileAndCompare(g, {RandomIds({5, 3}, 30, 3), RandomFloats({5, 4}, 4)});
  EXPECT_EQ(CountOps(*model, "sluice.FusedLookups"), 0);
}

TEST(FuseLookupsTest, ABadIdNamesItsTableAndPosition) {
  TestGraph g = Tables(5, true);
  const auto model = g.Compile();
  Tensor ids = RandomIds({2, 5, 3}, 30, 5);
  ids.mutable_view().as<int64_t>()[15 + 3 + 2] = 30;  // of row 1, table 1, the last of its bag
  const auto outputs = RunCompiled(*model, {ids, RandomFloats({2, 4}, 4)});
  ASSERT_FALSE(outputs.ok());
  EXPECT_EQ(outputs.error().code, base::Code::kInvalidArgument);
  EXPECT_NE(outputs.error().message.find("id 30 at position 5 is outside [0, 30)"),
            std::string::npos)
      << outputs.error().message;
}

TEST(FuseLookupsTest, OffsetsThatDoNotAscendFailTheRequest) {
  TestGraph g;
  Value* ids = g.Input("ids", {g.Symbol("K")}, DType::kI64);
  Value* offsets = g.Input("offsets", {g.Symbol("B")}, DType::kI64);
  Node* bag = g.graph().AddNode(RequireOp("EmbeddingBag"), 1, {g.Weights({9, 4}), ids, offsets}, 1);
  ASSERT_TRUE(InferNode(g.graph(), *bag).ok());
  g.Output("y", bag->output());
  Tensor cuts = RandomIds({3}, 1, 1);
  for (const auto& [second, third, fine] :
       {std::tuple{2, 5, true}, {0, 7, true}, {3, 2, false}, {-1, 5, false}, {2, 8, false}}) {
    cuts.mutable_view().as<int64_t>()[1] = second;
    cuts.mutable_view().as<int64_t>()[2] = third;
    const std::vector<Tensor> inputs = {RandomIds({7}, 9, 2), cuts};
    if (fine) {
      CompileAndCompare(g, inputs);
      continue;
    }
    const auto outputs = RunCompiled(*g.Compile(), inputs);
    ASSERT_FALSE(outputs.ok());
    EXPECT_NE(outputs.error().message.find("offset"), std::string::npos);
  }
}

TEST(FuseLookupsTest, LookUpsThatAreAddedUpBecomeOneSum) {
  TestGraph g;
  const Dim batch = g.Symbol("B");
  Value* ids = g.Input("ids", {batch, Dim(6)}, DType::kI64);
  Value* total = g.Input("dense", {batch, Dim(1)});
  for (int64_t t = 0; t < 6; ++t) {
    Value* column = g.Add("Gather", {ids, g.Ints({t})}, {{"axis", int64_t{1}}});
    column = g.Add("Squeeze", {column, g.Ints({1})});
    Value* row = g.Add("Gather", {g.Weights({30, 1}), column}, {{"axis", int64_t{0}}});
    total = t % 2 == 0 ? g.Add("Add", {total, row}) : g.Add("Add", {row, total});
  }
  g.Output("y", total);
  const auto model = CompileAndCompare(g, {RandomIds({9, 6}, 30, 6), RandomFloats({9, 1}, 7)});
  const auto plan = model->PlanFor(std::vector<Shape>{{9, 6}, {9, 1}}).value();
  EXPECT_EQ(plan->steps.size(), 2U) << "look-ups and one addition";
  const auto fused = model->PlanFor(std::vector<Shape>{{9, 6}, {9, 1}}).value();
  EXPECT_NE(fused->infos[0].detail.find("6 tables"), std::string::npos) << fused->infos[0].detail;
}

TEST(RecognizeInteractionTest, PairsAreFoundHoweverTheTriangleIsPicked) {
  constexpr int64_t kFeatures = 5, kColumns = 9;
  std::vector<int64_t> flat, pairs;
  for (int64_t i = 0; i < kFeatures; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      flat.push_back(i * kFeatures + j);
      pairs.insert(pairs.end(), {i, j});
    }
  }
  const auto count = static_cast<int64_t>(flat.size());
  for (int form = 0; form < 4; ++form) {
    TestGraph g;
    const Dim batch = g.Symbol("B");
    Value* x = g.Input("x", {batch, Dim(kFeatures), Dim(kColumns)});
    Value* turned = g.Add("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
    Value* products = g.Add("MatMul", {x, turned});
    Value* y = nullptr;
    if (form == 0) {
      y = g.Add("Flatten", {products}, {{"axis", int64_t{1}}});
      y = g.Add("Gather", {y, g.Ints(flat)}, {{"axis", int64_t{1}}});
    } else if (form == 1) {  // the TorchScript exporter
      y = g.Add("Transpose", {products}, {{"perm", std::vector<int64_t>{1, 2, 0}}});
      y = g.Add("Flatten", {y}, {{"axis", int64_t{2}}});
      y = g.Add("Gather", {y, g.Ints(flat)}, {{"axis", int64_t{0}}});
      y = g.Add("Transpose", {y}, {{"perm", std::vector<int64_t>{1, 0}}});
    } else if (form == 2) {  // the torch.export exporter
      Value* picks = g.Add("Reshape", {g.Ints(pairs), g.Ints({count, 2})});
      y = g.Add("Transpose", {products}, {{"perm", std::vector<int64_t>{1, 2, 0}}});
      y = g.Add("GatherND", {y, picks});
      y = g.Add("Transpose", {y}, {{"perm", std::vector<int64_t>{1, 0}}});
    } else {
      y = g.Add("Reshape", {products, g.Ints({-1, kFeatures * kFeatures})});
      y = g.Add("Gather", {y, g.Ints({24, -23, 3, 5})}, {{"axis", int64_t{-1}}});
    }
    g.Output("y", y);
    const auto model = CompileAndCompare(g, {RandomFloats({4, kFeatures, kColumns}, 8)});
    const auto plan = model->PlanFor(std::vector<Shape>{{4, kFeatures, kColumns}}).value();
    ASSERT_EQ(plan->steps.size(), 1U) << "form " << form << "\n" << model->DumpGraph();
    EXPECT_EQ(plan->infos[0].kind, "pair dots");
  }
}

TEST(RecognizeInteractionTest, AllProductsWithoutAChoiceAreANearMiss) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(5), Dim(9)});
  Value* turned = g.Add("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  g.Output("y", g.Add("Flatten", {g.Add("MatMul", {x, turned})}, {{"axis", int64_t{1}}}));
  const auto model = CompileAndCompare(g, {RandomFloats({4, 5, 9}, 8)});
  EXPECT_EQ(CountOps(*model, "sluice.FusedPairDots"), 0);
  EXPECT_EQ(model->passes().near_misses.size(), 1U);
}

TEST(RecognizeInteractionTest, TheSecondOrderTermIsFoundInAnyForm) {
  for (int form = 0; form < 5; ++form) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), Dim(6), Dim(10)});
    const int64_t keep = form == 1 || form == 4 ? 1 : 0;
    Value* sum = g.Add("ReduceSum", {x, g.Ints({1})}, {{"keepdims", keep}});
    Value* square_of_sum = form == 2 ? g.Add("Mul", {sum, sum}) : g.Add("Pow", {sum, g.Scalar(2)});
    Value* sum_of_square =
        form == 3
            ? g.Add("ReduceSumSquare", {x}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", keep}})
            : g.Add("ReduceSum", {g.Add("Mul", {x, x}), g.Ints({-2})}, {{"keepdims", keep}});
    Value* y = g.Add("Sub", {square_of_sum, sum_of_square});
    if (form == 2) y = g.Add("Mul", {g.Scalar(0.5F), y});
    if (form != 3) y = g.Add("ReduceSum", {y, g.Ints({-1})}, {{"keepdims", int64_t{form % 2}}});
    if (form != 2) y = g.Add("Div", {y, g.Scalar(2)});
    g.Output("y", y);
    const auto model = CompileAndCompare(g, {RandomFloats({4, 6, 10}, 9)});
    const auto plan = model->PlanFor(std::vector<Shape>{{4, 6, 10}}).value();
    ASSERT_EQ(plan->steps.size(), 1U) << "form " << form << "\n" << model->DumpGraph();
    EXPECT_EQ(plan->infos[0].kind, "second order");
  }
}

// A history of T rows of 6 scored against an item, softmax over those that count, pooled.
TestGraph TargetAttention(int form) {
  TestGraph g;
  const Dim batch = g.Symbol("B"), time = g.Symbol("T");
  Value* ids = g.Input("history", {batch, time}, DType::kI64);
  Value* item = g.Input("item", {batch, Dim(6)});
  Value* past = g.Add("Gather", {g.Weights({30, 6}), ids}, {{"axis", int64_t{0}}});
  Value* query = g.Add("Unsqueeze", {item, g.Ints({1})});
  query = g.Add("Expand", {query, g.Add("Shape", {past})});
  Value* difference = form == 1 ? g.Add("Sub", {past, query}) : g.Add("Sub", {query, past});
  Value* product = form == 1 ? g.Add("Mul", {past, query}) : g.Add("Mul", {query, past});
  std::vector<Value*> parts = {query, past, difference, product};
  if (form == 1) parts = {product, difference, past, query};
  if (form == 2) parts = {past, query};
  const auto width = static_cast<int64_t>(parts.size()) * 6;
  Value* x = g.Add("Concat", parts, {{"axis", int64_t{form == 1 ? 2 : -1}}});
  x = g.Add("Sigmoid",
            {g.Add("Add", {g.Weights({8}), g.Add("MatMul", {x, g.Weights({width, 8})})})});
  x = g.Add("Relu", {g.Add("Add", {g.Add("MatMul", {x, g.Weights({8, 5})}), g.Weights({5})})});
  x = g.Add("MatMul", {x, g.Weights({5, 1})});
  Value* counts = g.Add("Greater", {ids, g.Add("Cast", {g.Ints({4})}, {{"to", int64_t{7}}})});
  counts = g.Add("Unsqueeze", {counts, g.Ints({-1})});
  x = g.Add("Where", {counts, x, g.Scalar(-1e9F)});
  x = g.Add("Softmax", {x}, {{"axis", int64_t{1}}});
  x = form == 1 ? g.Add("Mul", {past, x}) : g.Add("Mul", {x, past});
  g.Output("y", g.Add("ReduceSum", {x, g.Ints({1})}, {{"keepdims", int64_t{form == 2 ? 1 : 0}}}));
  return g;
}

TEST(FuseRowMlpTest, TargetAttentionScoresInOneStepWithoutTheConcatenation) {
  for (int form = 0; form < 3; ++form) {
    TestGraph g = TargetAttention(form);
    for (const int64_t time : {1, 17}) {
      const auto model =
          CompileAndCompare(g, {RandomIds({3, time}, 30, 11), RandomFloats({3, 6}, 12)});
      const auto plan = model->PlanFor(std::vector<Shape>{{3, time}, {3, 6}}).value();
      EXPECT_EQ(CountSteps(*plan, "row network"), 1) << "form " << form;
      EXPECT_EQ(CountSteps(*plan, "concat") + CountSteps(*plan, "linear"), 0) << "form " << form;
      EXPECT_EQ(CountSteps(*plan, "softmax"), 1) << "form " << form;
      EXPECT_EQ(CountSteps(*plan, "reduce"), 0) << "the weighted sum is a product of matrices";
    }
  }
}

// x0 * (x w + b) + x with the operands in one of four orders; `form` 3 keeps the product for
// others.
TEST(FuseCrossTest, ACrossIsFoundInAnyOrderAndNotWhereItsProductIsReadElsewhere) {
  for (int form = 0; form < 4; ++form) {
    TestGraph g;
    Value* x0 = g.Input("x0", {g.Symbol("B"), Dim(33)});
    Value* x = g.Add("Sigmoid", {x0});
    Value* layer = g.Add("MatMul", {x, g.Weights({33, 33})});
    if (form != 1) layer = g.Add("Add", {g.Weights({33}), layer});
    Value* product = form == 2 ? g.Add("Mul", {layer, x0}) : g.Add("Mul", {x0, layer});
    Value* y = form == 2 ? g.Add("Add", {x, product}) : g.Add("Add", {product, x});
    g.Output("y", y);
    if (form == 3) g.Output("kept", layer);
    const auto model = CompileAndCompare(g, {RandomFloats({20, 33}, 15)});
    const auto plan = model->PlanFor(std::vector<Shape>{{20, 33}}).value();
    EXPECT_EQ(CountSteps(*plan, "elementwise"), form == 3 ? 2 : 1) << "form " << form;
  }
}

TEST(FuseCrossTest, AGateIsMultipliedInWithItsActivation) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(12)});
  Value* gate = g.Add("Sigmoid", {g.Add("MatMul", {x, g.Weights({12, 7})})});
  Value* other = g.Add("Softmax", {g.Input("other", {g.Symbol("B"), Dim(7)})});
  g.Output("y", g.Add("Mul", {gate, other}));
  const auto model = CompileAndCompare(g, {RandomFloats({4, 12}, 16), RandomFloats({4, 7}, 17)});
  const auto plan = model->PlanFor(std::vector<Shape>{{4, 12}, {4, 7}}).value();
  ASSERT_EQ(plan->steps.size(), 2U) << model->DumpGraph();
  EXPECT_NE(plan->infos[1].detail.find("sigmoid *factor"), std::string::npos)
      << plan->infos[1].detail;
}

TEST(FuseCrossTest, AVectorCrossIsOneStepWithItsBiasOrWithout) {
  for (int form = 0; form < 4; ++form) {
    TestGraph g;
    Value* x0 = g.Input("x0", {g.Symbol("B"), Dim(21)});
    Value* x = g.Add("Sigmoid", {x0});
    Value* dot = g.Add("MatMul", {x, g.Weights({21, 1})});
    Value* y = form % 2 == 0 ? g.Add("Mul", {x0, dot}) : g.Add("Mul", {dot, x0});
    if (form == 0) y = g.Add("Add", {g.Add("Add", {y, g.Weights({21})}), x});
    if (form == 1) y = g.Add("Add", {g.Weights({21}), g.Add("Add", {x, y})});
    if (form >= 2) y = g.Add("Add", {x, y});
    g.Output("y", y);
    if (form == 3) g.Output("kept", dot);
    const auto model = CompileAndCompare(g, {RandomFloats({6, 21}, 18)});
    EXPECT_EQ(CountOps(*model, "sluice.FusedVectorCross"), form == 3 ? 0 : 1) << "form " << form;
  }
}

// An activation unit of two layers with a Dice between them, written in several ways.
TEST(FuseCrossTest, ColumnsOfBothExportersAreTheSameCross) {
  for (const char* const name : {"dcn_columns_ts13", "dcn_columns_dynamo18"}) {
    const std::string path = "tests/conformance/graphs/" + std::string(name) + ".onnx";
    const auto model = Model::Load(path, {}).value();
    EXPECT_FALSE(model->interpreted()) << model->interpreted_reason();
    EXPECT_EQ(CountOps(*model, "sluice.FusedVectorCross"), 3) << name << "\n" << model->DumpGraph();
    const Tensor features = RandomFloats({5, 20}, 7);
    const auto expected = Interpreter(*ReadOnnxFile(path).value().graph).Run({{features}}).value();
    const auto got = RunCompiled(*model, {features});
    ASSERT_TRUE(got.ok()) << got.error().message;
    for (int64_t i = 0; i < 5; ++i) {
      EXPECT_NEAR((*got)[0].view().as<float>()[i], expected[0].view().as<float>()[i], 1e-5F);
    }
    EXPECT_EQ(model->PlanFor(std::vector<Shape>{{5, 20}}).value()->steps.size(), 4U) << name;
  }
}

TEST(FuseRowMlpTest, ADiceIsFoundHoweverItsFactorsAreOrdered) {
  for (int form = 0; form < 5; ++form) {
    TestGraph g;
    const Dim batch = g.Symbol("B"), time = g.Symbol("T");
    Value* past = g.Input("past", {batch, time, Dim(6)});
    Value* item = g.Add("Unsqueeze", {g.Input("item", {batch, Dim(6)}), g.Ints({1})});
    Value* query = g.Add("Expand", {item, g.Add("Shape", {past})});
    Value* x = g.Add("Concat", {query, past}, {{"axis", int64_t{-1}}});
    x = g.Add("Add", {g.Weights({8}), g.Add("MatMul", {x, g.Weights({12, 8})})});
    Value* p = g.Add("Mul", {x, g.Weights({8})});
    p = g.Add("Sigmoid", {g.Add("Add", {p, g.Weights({8})})});
    Value* rest = g.Add("Sub", {g.Scalar(1), p});
    Value* alpha = g.Weights({8});
    Value* y = nullptr;
    if (form == 0) {
      y = g.Add("Add", {g.Add("Mul", {p, x}), g.Add("Mul", {g.Add("Mul", {alpha, rest}), x})});
    } else if (form == 1) {
      y = g.Add("Add", {g.Add("Mul", {g.Add("Mul", {x, rest}), alpha}), g.Add("Mul", {x, p})});
    } else if (form == 2) {
      y = g.Add("Mul", {x, g.Add("Add", {p, g.Add("Mul", {rest, alpha})})});
    } else if (form == 3) {  // not 1 - p: another formula
      rest = g.Add("Sub", {g.Scalar(2), p});
      y = g.Add("Mul", {x, g.Add("Add", {p, g.Add("Mul", {rest, alpha})})});
    } else {  // p is kept for others
      y = g.Add("Mul", {x, g.Add("Add", {p, g.Add("Mul", {rest, alpha})})});
      g.Output("kept", p);
    }
    g.Output("y", g.Add("MatMul", {y, g.Weights({8, 1})}));
    const auto model =
        CompileAndCompare(g, {RandomFloats({3, 9, 6}, 19), RandomFloats({3, 6}, 20)});
    const auto plan = model->PlanFor(std::vector<Shape>{{3, 9, 6}, {3, 6}}).value();
    ASSERT_EQ(CountSteps(*plan, "row network"), 1);
    EXPECT_EQ(CountSteps(*plan, "linear"), form < 3 ? 0 : 1) << "form " << form;
    EXPECT_EQ(CountSteps(*plan, "elementwise"), form < 3 ? 0 : form - 2) << "form " << form;
  }
}

TEST(CanonicalizeTest, TheEinsumsOfAMixtureOfExpertsAreProducts) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(6)});
  Value* experts =
      g.Add("Einsum", {x, g.Weights({4, 6, 5})}, {{"equation", std::string("bi,eio->beo")}});
  experts = g.Add("Relu", {experts});
  Value* gate =
      g.Add("Softmax", {g.Add("MatMul", {x, g.Weights({6, 4})})}, {{"axis", int64_t{-1}}});
  Value* mixed = g.Add("Einsum", {gate, experts}, {{"equation", std::string("be,beo->bo")}});
  Value* turned = g.Add("Einsum", {experts, gate}, {{"equation", std::string("beo,be->bo")}});
  g.Output("y", g.Add("Sub", {mixed, g.Add("Mul", {turned, g.Scalar(0.5F)})}));
  const auto model = CompileAndCompare(g, {RandomFloats({7, 6}, 14)});
  EXPECT_EQ(CountOps(*model, "Einsum"), 0);
  EXPECT_EQ(CountOps(*model, "sluice.FusedLinear"), 2);
  EXPECT_TRUE(model->batchability().joinable) << model->batchability().reason;
}

TEST(MergeLinearTest, TheFirstLayersOfParallelTowersAreOneProduct) {
  TestGraph g;
  Value* x = g.Input("x", {g.Symbol("B"), Dim(12)});
  std::vector<Value*> heads;
  for (int64_t tower = 0; tower < 3; ++tower) {
    Value* hidden = g.Add("MatMul", {x, g.Weights({12, 5 + 3 * tower})});
    hidden = g.Add("Relu", {g.Add("Add", {hidden, g.Weights({5 + 3 * tower})})});
    heads.push_back(g.Add("MatMul", {hidden, g.Weights({5 + 3 * tower, 2})}));
  }
  // Another activation stays apart.
  Value* other = g.Add("Sigmoid", {g.Add("MatMul", {x, g.Weights({12, 4})})});
  heads.push_back(g.Add("MatMul", {other, g.Weights({4, 2})}));
  g.Output("y", g.Add("Concat", heads, {{"axis", int64_t{1}}}));
  const auto model = CompileAndCompare(g, {RandomFloats({7, 12}, 13)});
  const auto plan = model->PlanFor(std::vector<Shape>{{7, 12}}).value();
  EXPECT_EQ(CountSteps(*plan, "linear"), 2 + 4);
  EXPECT_EQ(plan->steps.size(), 6U) << "nothing is copied";
}

TEST(RecognizeInteractionTest, ARowGivesTheSameBitsAloneAndInCompany) {
  TestGraph g;
  const Dim batch = g.Symbol("B");
  Value* ids = g.Input("ids", {batch, Dim(6), Dim(3)}, DType::kI64);
  std::vector<Value*> parts;
  for (int64_t t = 0; t < 6; ++t) {
    Value* column = g.Add("Gather", {ids, g.Ints({t})}, {{"axis", int64_t{1}}});
    column = g.Add("Squeeze", {column, g.Ints({1})});
    Value* rows = g.Add("Gather", {g.Weights({30, 11}), column}, {{"axis", int64_t{0}}});
    parts.push_back(g.Add("ReduceSum", {rows, g.Ints({1})}));
  }
  Value* x = g.Add("Concat", parts, {{"axis", int64_t{1}}});
  Value* turned = g.Add("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  Value* y = g.Add("Flatten", {g.Add("MatMul", {x, turned})}, {{"axis", int64_t{1}}});
  g.Output("y", g.Add("Gather", {y, g.Ints({6, 12, 13, 35})}, {{"axis", int64_t{1}}}));
  const Tensor all = RandomIds({7, 6, 3}, 30, 10);
  const auto model = CompileAndCompare(g, {all});
  const Tensor together = RunCompiled(*model, {all}).value()[0];
  for (int64_t row = 0; row < 7; ++row) {
    Tensor one = RandomIds({1, 6, 3}, 30, 10);
    std::memcpy(one.buffer.mutable_data(), all.buffer.data() + row * 18 * 8, 18 * 8);
    const Tensor alone = RunCompiled(*model, {one}).value()[0];
    EXPECT_EQ(std::memcmp(alone.buffer.data(), together.buffer.data() + row * 16, 16), 0);
  }
}

}  // namespace
}  // namespace sluice::graph
