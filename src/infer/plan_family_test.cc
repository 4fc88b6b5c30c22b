#include "infer/plan_family.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice::infer {
namespace {

using tensor::Shape;

std::unique_ptr<const graph::Plan> FakePlan(double ns, size_t bytes = 0) {
  auto plan = std::make_unique<graph::Plan>();
  plan->predicted_ns = ns;
  plan->arguments.resize(bytes);
  return plan;
}

std::vector<Shape> Rows(int64_t rows, int64_t columns) {
  return {Shape({rows, columns})};
}

TEST(PlanFamily, SizesAreExactUpToSixtyFourAndWithinASixteenthAbove) {
  for (int64_t rows = 1; rows < 100'000; ++rows) {
    const int64_t size = PlanFamily::SizeFor(rows);
    ASSERT_LE(size, rows);
    ASSERT_EQ(PlanFamily::SizeFor(size), size);
    if (rows <= 64) {
      ASSERT_EQ(size, rows);
    }
    ASSERT_LT((rows - size) * 16, rows) << rows;
  }
  EXPECT_LE(PlanFamily::SizeFor(int64_t{1} << 40), int64_t{1} << 25);
}

TEST(PlanFamily, AnyNumberOfRowsRunsInPartsOfWhatIsPlanned) {
  std::mt19937 random(7);
  std::vector<Part> parts;
  parts.reserve(PlanFamily::kPartsMax);
  for (int round = 0; round < 300; ++round) {
    PlanFamily family(Rows(1, 4), true);
    family.AddPlan(1, FakePlan(1));
    std::vector<int64_t> planned = {1};
    for (uint_fast32_t i = random() % 40; i > 0; --i) {
      planned.push_back(PlanFamily::SizeFor(static_cast<int64_t>(1 + random() % 3000)));
      family.AddPlan(planned.back(), FakePlan(1));
    }
    family.SetReady();
    const auto rows = static_cast<int64_t>(random() % 5000);
    family.Choose(rows, parts);
    int64_t sum = 0;
    int64_t largest = rows;
    for (const Part& part : parts) {
      ASSERT_EQ(family.Find(part.rows), part.plan);
      ASSERT_LE(part.rows, largest);
      largest = part.rows;
      sum += part.rows * part.count;
    }
    ASSERT_EQ(sum, rows);
    ASSERT_LE(parts.size(), PlanFamily::kPartsMax);
    if (rows > 0) {
      int64_t best = 1;
      for (const int64_t size : planned) best = size <= rows ? std::max(best, size) : best;
      ASSERT_EQ(parts[0].rows, best) << "the largest planned size goes first";
    }
  }
}

TEST(PlanFamily, ASizeIsWantedOnceItHasComeTwiceAndAskedForOnce) {
  PlanFamily family(Rows(1, 4), true);
  family.AddPlan(1, FakePlan(1));
  family.SetReady();
  EXPECT_EQ(family.Want(7), 0);
  EXPECT_EQ(family.Want(7), 7);
  EXPECT_EQ(family.Want(7), 0);
  family.Unwant(7);  // nobody took the job
  EXPECT_EQ(family.Want(7), 7);
  family.AddPlan(7, FakePlan(1));
  EXPECT_EQ(family.Want(7), 0);
  // What is left over of a size above 64 counts too.
  EXPECT_EQ(family.Want(501), 0);
  EXPECT_EQ(family.Want(501), 496);
  EXPECT_EQ(family.Want(501), 5);
  family.LimitRows(4);
  EXPECT_EQ(family.Want(3000), 0);
  EXPECT_EQ(family.Want(3000), 4);
}

TEST(PlanFamily, PredictionsFollowTheParts) {
  PlanFamily family(Rows(1, 4), true);
  family.AddPlan(1, FakePlan(10));
  family.AddPlan(8, FakePlan(50));
  family.SetReady();
  EXPECT_DOUBLE_EQ(family.PredictedNs(1), 10);
  EXPECT_DOUBLE_EQ(family.PredictedNs(18), 120);
}

TEST(PlanFamilies, ShapesThatDifferInRowsAloneShareAFamily) {
  PlanFamilies families({});
  const auto a = families.Get(Rows(3, 4), true);
  EXPECT_EQ(families.Get(Rows(9, 4), true), a);
  EXPECT_NE(families.Get(Rows(3, 5), true), a);
  EXPECT_NE(families.Get(Rows(3, 4), false), a);
  EXPECT_NE(families.Get(Rows(4, 4), false), families.Get(Rows(3, 4), false));
  EXPECT_EQ(a->shapes()[0], Shape({1, 4}));
}

TEST(PlanFamilies, TheLeastRecentlyUsedGoAboveTheLimitAndTheLedgerKnows) {
  tensor::Ledger ledger("host", 1 << 20);
  PlanFamilies::Options options;
  options.bytes_max = 100'000;
  options.ledger = &ledger;
  options.owner = "model m/1 plans";
  PlanFamilies families(options);
  std::vector<std::weak_ptr<PlanFamily>> made;
  for (int64_t i = 0; i < 10; ++i) {
    const auto family = families.Get(Rows(1, i), true);
    family->AddPlan(1, FakePlan(1, 20'000));
    ASSERT_TRUE(families.Recount(*family).ok());
    made.push_back(family);
    EXPECT_EQ(families.Get(Rows(1, 0), true), made[0].lock()) << "still in use";
    EXPECT_LE(families.bytes(), options.bytes_max);
    EXPECT_EQ(ledger.used_bytes(), families.bytes());
  }
  EXPECT_EQ(ledger.List()[0].owner, "model m/1 plans");
  EXPECT_FALSE(made[0].expired());
  EXPECT_TRUE(made[1].expired());
  EXPECT_FALSE(made[9].expired());
}

TEST(PlanFamilies, AFullLedgerKeepsTheFamilyThatIsInUse) {
  tensor::Ledger ledger("host", 30'000);
  PlanFamilies families({int64_t{1} << 20, &ledger, "plans"});
  for (int64_t i = 0; i < 4; ++i) {
    const auto family = families.Get(Rows(1, i), true);
    family->AddPlan(1, FakePlan(1, 15'000));
    EXPECT_TRUE(families.Recount(*family).ok());
    EXPECT_EQ(families.size(), 1);
  }
  const auto large = families.Get(Rows(1, 9), true);
  large->AddPlan(1, FakePlan(1, 50'000));
  EXPECT_FALSE(families.Recount(*large).ok());
  EXPECT_EQ(families.Get(Rows(1, 9), true), large);
}

}  // namespace
}  // namespace sluice::infer
