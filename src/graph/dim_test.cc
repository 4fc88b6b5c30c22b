#include "graph/dim.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice::graph {
namespace {

class DimTest : public testing::Test {
 protected:
  SymbolTable table;
  Dim b = table.Symbol("B");
  Dim s = table.Symbol("S");

  int64_t At(Dim dim, int64_t b_value, int64_t s_value) {
    Bindings bindings(table.symbol_count(), kUnbound);
    bindings[static_cast<size_t>(*table.SymbolIndex(b))] = b_value;
    bindings[static_cast<size_t>(*table.SymbolIndex(s))] = s_value;
    return *table.Evaluate(dim, bindings);
  }
};

TEST_F(DimTest, EqualExpressionsAreIdenticalHoweverTheyWereBuilt) {
  // (B + 2) * S == S * 2 + B * S
  const Dim left = table.Mul(table.Add(b, 2), s);
  const Dim right = table.Add(table.Mul(s, 2), table.Mul(b, s));
  EXPECT_EQ(left, right);
  EXPECT_EQ(table.Sub(left, right), Dim(0));
}

TEST_F(DimTest, TheSameNameIsTheSameSymbolAndFreshOnesNeverAre) {
  EXPECT_EQ(table.Symbol("B"), b);
  EXPECT_NE(table.Fresh("n"), table.Fresh("n"));
}

TEST_F(DimTest, AFreshNameAvoidsNamesFromTheModel) {
  const Dim taken = table.Symbol("n#0");
  EXPECT_NE(table.Fresh("n"), taken);
}

TEST_F(DimTest, DividesProductsExactly) {
  const Dim total = table.Mul(table.Mul(b, s), 384);
  EXPECT_EQ(table.FloorDiv(total, table.Mul(b, s)), Dim(384));
  EXPECT_EQ(table.FloorDiv(total, 12), table.Mul(table.Mul(b, s), 32));
  EXPECT_EQ(table.DivideExact(table.Add(total, 1), 12), std::nullopt);
}

TEST_F(DimTest, InexactDivisionIsOpaqueButEqualToItself) {
  const Dim half = table.FloorDiv(s, 2);
  EXPECT_EQ(half, table.FloorDiv(s, 2));
  EXPECT_EQ(At(half, 1, 7), 3);
  EXPECT_EQ(At(table.CeilDiv(s, 2), 1, 7), 4);
  EXPECT_EQ(At(table.Mod(s, 4), 1, 7), 3);
}

TEST_F(DimTest, MaximumAndMinimumAreDecidedWhereBoundsAllow) {
  EXPECT_EQ(table.Max(table.Add(s, 3), s), table.Add(s, 3));
  EXPECT_EQ(table.Min(table.Add(s, 3), s), s);
  EXPECT_EQ(table.Max(s, 0), s);
  EXPECT_EQ(table.Max(b, s), table.Max(s, b));
  EXPECT_EQ(At(table.Max(b, s), 5, 3), 5);
}

TEST_F(DimTest, BoundsFollowFromTheFactsOfSymbols) {
  table.SetBounds(s, 1, 512);
  EXPECT_EQ(table.LowerBound(table.Add(table.Mul(s, 2), 1)), 3);
  EXPECT_EQ(table.UpperBound(table.Add(table.Mul(s, 2), 1)), 1025);
  EXPECT_EQ(table.UpperBound(table.Sub(0, s)), -1);
  EXPECT_EQ(table.UpperBound(b), INT64_MAX);
}

TEST_F(DimTest, DivisibilityFollowsFromCoefficientsAndFacts) {
  table.SetMultiple(s, 8);
  EXPECT_TRUE(table.IsMultipleOf(table.Mul(s, 3), 24));
  EXPECT_TRUE(table.IsMultipleOf(table.Mul(b, 6), 3));
  EXPECT_FALSE(table.IsMultipleOf(table.Add(s, 4), 8));
  EXPECT_EQ(table.Mod(s, 8), Dim(0));
}

TEST_F(DimTest, ARaggedExtentKnowsItsSplitsAndCountsAsTheirTotal) {
  const Dim tokens = table.Ragged("row_splits");
  EXPECT_TRUE(table.IsRagged(tokens));
  EXPECT_FALSE(table.IsRagged(s));
  EXPECT_EQ(table.SplitsOf(tokens), "row_splits");
  EXPECT_EQ(table.Ragged("row_splits"), tokens);
}

TEST_F(DimTest, WhatOnlyARunKnowsIsMarked) {
  const Dim fresh = table.Fresh("nonzero");
  EXPECT_TRUE(table.IsDataDependent(table.Add(fresh, b)));
  EXPECT_TRUE(table.IsDataDependent(table.FloorDiv(fresh, 2)));
  EXPECT_FALSE(table.IsDataDependent(table.Mul(b, s)));
}

TEST_F(DimTest, EvaluationReportsUnboundSymbolsOverflowAndDivisionByZero) {
  Bindings bindings(table.symbol_count(), kUnbound);
  EXPECT_EQ(table.Evaluate(b, bindings).error().code, base::Code::kInvalidArgument);
  bindings[0] = INT64_MAX;
  bindings[1] = 2;
  EXPECT_FALSE(table.Evaluate(table.Mul(b, s), bindings).ok());
  EXPECT_FALSE(table.Evaluate(table.Add(b, s), bindings).ok());
  bindings[1] = 0;
  EXPECT_FALSE(table.Evaluate(table.FloorDiv(b, s), bindings).ok());
}

TEST_F(DimTest, OverflowAndGrowthEndInAFreshSymbol) {
  const Dim large = table.Mul(b, INT64_MAX);
  EXPECT_TRUE(table.IsDataDependent(table.Mul(large, 2)));
  Dim sum = 0;
  for (size_t i = 0; i <= SymbolTable::kTermsMax; ++i) {
    sum = table.Add(sum, table.Symbol("s" + std::to_string(i)));
  }
  EXPECT_TRUE(table.IsDataDependent(sum));
}

TEST_F(DimTest, NestedOpaqueOperationsStayBounded) {
  Dim nested = s;
  for (int i = 0; i < 1000; ++i)
    nested = table.Max(table.FloorDiv(nested, 3), table.Mod(nested, 7));
  EXPECT_LT(table.ToString(nested).size(), 10'000u);
}

// The reference computes the same tree of operations on numbers.
TEST_F(DimTest, RandomExpressionsEvaluateAsPlainArithmetic) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const int64_t b_value = 1 + static_cast<int64_t>(random() % 9);
    const int64_t s_value = 1 + static_cast<int64_t>(random() % 9);
    Dim dim = b;
    int64_t plain = b_value;
    for (int step = 0; step < 6; ++step) {
      const bool symbol = random() % 2 == 0;
      const int64_t number = symbol ? s_value : 1 + static_cast<int64_t>(random() % 5);
      const Dim operand = symbol ? s : Dim(number);
      switch (random() % 6) {
        case 0:
          dim = table.Add(dim, operand), plain += number;
          break;
        case 1:
          dim = table.Sub(dim, operand), plain -= number;
          break;
        case 2:
          dim = table.Mul(dim, operand), plain *= number;
          break;
        case 3:
          dim = table.Max(dim, operand), plain = std::max(plain, number);
          break;
        case 4:
          dim = table.Min(dim, operand), plain = std::min(plain, number);
          break;
        default:
          dim = table.FloorDiv(dim, operand);
          plain = plain / number - (plain % number < 0 ? 1 : 0);
      }
    }
    EXPECT_EQ(At(dim, b_value, s_value), plain) << table.ToString(dim);
  }
}

}  // namespace
}  // namespace sluice::graph
