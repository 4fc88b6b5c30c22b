// Rotary embeddings and grouped heads, written as exporters and people write them.
#include <gtest/gtest.h>

#include "graph/passes/compare_compiled.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Shape;

constexpr int64_t kHeads = 2, kWidth = 8, kHalf = kWidth / 2, kLength = 5;

// The last axis's elements from `begin` on, every `step`th.
Value* SliceOf(TestGraph& g, Value* x, int64_t begin, int64_t end, int64_t step = 1) {
  return g.Add("Slice", {x, g.Ints({begin}), g.Ints({end}), g.Ints({-1}), g.Ints({step})});
}

struct Operands {
  Value* x;    // [B, heads, length, width]
  Value* cos;  // [1, 1, length, width or half]
  Value* sin;
};

Operands MakeOperands(TestGraph& g, int64_t columns) {
  return {g.Input("x", {g.Symbol("B"), Dim(kHeads), Dim(kLength), Dim(kWidth)}),
          g.Weights({1, 1, kLength, columns}), g.Weights({1, 1, kLength, columns})};
}

void ExpectFused(TestGraph& g, Value* y, const std::string& form) {
  g.Output("y", y);
  const auto model = CompileAndCompare(g, {RandomFloats({3, kHeads, kLength, kWidth}, 5)});
  EXPECT_EQ(CountOps(*model, "sluice.FusedRotary"), 1) << form;
  const auto plan = model->PlanFor(std::vector<Shape>{{3, kHeads, kLength, kWidth}}).value();
  EXPECT_EQ(plan->steps.size(), 1U) << form;
}

TEST(RecognizeRotaryTest, HalvesTurnedAndAddedAreFoundInAnyOrder) {
  for (int form = 0; form < 4; ++form) {
    TestGraph g;
    const Operands o = MakeOperands(g, kWidth);
    Value* first = SliceOf(g, o.x, 0, kHalf);
    Value* second = SliceOf(g, o.x, form == 1 ? -kHalf : kHalf, INT64_MAX);
    Value* negative = form == 2 ? g.Add("Mul", {second, g.Scalar(-1)}) : g.Add("Neg", {second});
    Value* turned = g.Add("Concat", {negative, first}, {{"axis", int64_t{-1}}});
    Value* plain = form % 2 == 0 ? g.Add("Mul", {o.x, o.cos}) : g.Add("Mul", {o.cos, o.x});
    Value* other = form < 2 ? g.Add("Mul", {turned, o.sin}) : g.Add("Mul", {o.sin, turned});
    Value* y = form == 3 ? g.Add("Add", {other, plain}) : g.Add("Add", {plain, other});
    ExpectFused(g, y, "halves, form " + std::to_string(form));
  }
}

TEST(RecognizeRotaryTest, NeighboursTurnedAndAddedAreFound) {
  TestGraph g;
  const Operands o = MakeOperands(g, kWidth);
  Value* even = SliceOf(g, o.x, 0, INT64_MAX, 2);
  Value* odd = SliceOf(g, o.x, 1, INT64_MAX, 2);
  Value* pairs = g.Add("Concat",
                       {g.Add("Unsqueeze", {g.Add("Neg", {odd}), g.Ints({-1})}),
                        g.Add("Unsqueeze", {even, g.Ints({-1})})},
                       {{"axis", int64_t{-1}}});
  Value* turned = g.Add("Reshape", {pairs, g.Ints({0, kHeads, kLength, kWidth})});
  ExpectFused(g, g.Add("Add", {g.Add("Mul", {o.x, o.cos}), g.Add("Mul", {turned, o.sin})}),
              "neighbours");
}

TEST(RecognizeRotaryTest, HalvesOfTheResultComputedApartAreFound) {
  for (const bool interleaved : {false, true}) {
    for (const bool gathered : {false, true}) {
      TestGraph g;
      const Operands o = MakeOperands(g, kHalf);
      Value* first = nullptr;
      Value* second = nullptr;
      if (gathered) {
        // The last axis as two, one row or column of it each.
        Value* folded =
            g.Add("Reshape", {o.x, interleaved ? g.Ints({0, kHeads, kLength, kHalf, 2})
                                               : g.Ints({0, kHeads, kLength, 2, kHalf})});
        const int64_t axis = interleaved ? -1 : -2;
        Value* zero = g.Add("Squeeze", {g.Ints({0})});
        Value* one = g.Add("Squeeze", {g.Ints({1})});
        first = g.Add("Gather", {folded, zero}, {{"axis", axis}});
        second = g.Add("Gather", {folded, one}, {{"axis", axis}});
      } else {
        first = SliceOf(g, o.x, 0, interleaved ? kWidth : kHalf, interleaved ? 2 : 1);
        second = SliceOf(g, o.x, interleaved ? 1 : kHalf, kWidth, interleaved ? 2 : 1);
      }
      Value* a = g.Add("Sub", {g.Add("Mul", {first, o.cos}), g.Add("Mul", {second, o.sin})});
      Value* b = g.Add("Add", {g.Add("Mul", {first, o.sin}), g.Add("Mul", {second, o.cos})});
      Value* y = nullptr;
      if (interleaved) {
        Value* pairs =
            g.Add("Concat",
                  {g.Add("Unsqueeze", {a, g.Ints({-1})}), g.Add("Unsqueeze", {b, g.Ints({-1})})},
                  {{"axis", int64_t{-1}}});
        y = g.Add("Reshape", {pairs, g.Ints({0, kHeads, kLength, kWidth})});
      } else {
        y = g.Add("Concat", {a, b}, {{"axis", int64_t{-1}}});
      }
      ExpectFused(g, y,
                  std::string(interleaved ? "neighbours" : "halves") +
                      (gathered ? ", gathered" : ", sliced"));
    }
  }
}

TEST(RecognizeRotaryTest, OnnxsOwnOpBecomesTheKernelInAllItsForms) {
  constexpr int64_t kRows = 30;
  for (int form = 0; form < 6; ++form) {
    const bool flat = form % 2 == 1;     // [B, length, heads * width]
    const bool partial = form / 2 == 1;  // the first half of a head
    const bool interleaved = form / 2 == 2;
    TestGraph g;
    Value* x = flat ? g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(kHeads * kWidth)})
                    : g.Input("x", {g.Symbol("B"), Dim(kHeads), g.Symbol("S"), Dim(kWidth)});
    Value* ids = g.Input("ids", {g.Symbol("B"), g.Symbol("S")}, DType::kI64);
    const int64_t columns = partial ? kHalf / 2 : kHalf;
    Value* y =
        g.Add("RotaryEmbedding", {x, g.Weights({kRows, columns}), g.Weights({kRows, columns}), ids},
              {{"num_heads", flat ? kHeads : int64_t{0}},
               {"rotary_embedding_dim", partial ? kHalf : int64_t{0}},
               {"interleaved", int64_t{interleaved}}},
              23);
    g.Output("y", y);
    const Shape shape =
        flat ? Shape({3, kLength, kHeads * kWidth}) : Shape({3, kHeads, kLength, kWidth});
    const auto model =
        CompileAndCompare(g, {RandomFloats(shape, 6), RandomIds({3, kLength}, kRows, 7)});
    EXPECT_EQ(CountOps(*model, "sluice.FusedRotary"), 1) << form;
    EXPECT_EQ(CountOps(*model, "RotaryEmbedding"), 0) << form;
  }
}

TEST(RecognizeRotaryTest, HalvesInTheWrongOrderAreNone) {
  for (int form = 0; form < 2; ++form) {
    TestGraph g;
    const Operands o = MakeOperands(g, kWidth);
    Value* first = SliceOf(g, o.x, 0, kHalf);
    Value* second = SliceOf(g, o.x, kHalf, INT64_MAX);
    if (form == 1) std::swap(first, second);  // [-x1, x2] instead of [-x2, x1]
    Value* turned = g.Add("Concat", {form == 0 ? second : g.Add("Neg", {second}), first},
                          {{"axis", int64_t{-1}}});
    g.Output("y", g.Add("Add", {g.Add("Mul", {o.x, o.cos}), g.Add("Mul", {turned, o.sin})}));
    const auto model = CompileAndCompare(g, {RandomFloats({3, kHeads, kLength, kWidth}, 5)});
    EXPECT_EQ(CountOps(*model, "sluice.FusedRotary"), 0) << form;
  }
}

// Keys and values of fewer heads, each repeated for a group of queries.
TEST(RecognizeAttentionTest, RepeatedKeysAndValuesAreReadAsTheyAre) {
  constexpr int64_t kGroups = 3, kAll = kHeads * kGroups;
  for (const bool transposed_first : {false, true}) {
    TestGraph g;
    const Dim batch = g.Symbol("B");
    Value* q = g.Input("q", {batch, Dim(kAll), Dim(kLength), Dim(kWidth)});
    Value* k = g.Input("k", {batch, Dim(kHeads), Dim(kLength), Dim(kWidth)});
    Value* v = g.Input("v", {batch, Dim(kHeads), Dim(kLength), Dim(kWidth)});
    const auto repeat = [&](Value* x) {
      const std::vector<int64_t> spread = {1, 1, kGroups, 1, 1};
      Value* alone = g.Add("Unsqueeze", {x, g.Ints({2})});
      Value* many = g.Add("Expand", {alone, g.Ints(spread)});
      const Dim rows = (*x->shape)[2], columns = (*x->shape)[3];
      return g.Add("Reshape", {many, g.Ints({0, kAll, rows.constant(), columns.constant()})});
    };
    const std::vector<int64_t> perm = {0, 1, 3, 2};
    Value* keys = transposed_first ? repeat(g.Add("Transpose", {k}, {{"perm", perm}}))
                                   : g.Add("Transpose", {repeat(k)}, {{"perm", perm}});
    Value* scores = g.Add("Mul", {g.Add("MatMul", {q, keys}), g.Scalar(0.35F)});
    Value* weights = g.Add("Softmax", {scores}, {{"axis", int64_t{-1}}});
    g.Output("y", g.Add("MatMul", {weights, repeat(v)}));
    const Shape few({2, kHeads, kLength, kWidth});
    const auto model = CompileAndCompare(g, {RandomFloats({2, kAll, kLength, kWidth}, 8),
                                             RandomFloats(few, 9), RandomFloats(few, 10)});
    EXPECT_EQ(CountOps(*model, "sluice.FusedAttention"), 1) << transposed_first;
    EXPECT_EQ(CountOps(*model, "Expand"), 0) << transposed_first;
    EXPECT_EQ(model->PlanFor(std::vector<Shape>{{2, kAll, kLength, kWidth}, few, few})
                  .value()
                  ->steps.size(),
              1U)
        << transposed_first;
  }
}

}  // namespace
}  // namespace sluice::graph
