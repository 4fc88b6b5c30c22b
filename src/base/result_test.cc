#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/function_ref.h"

namespace sluice::base {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return InvalidArgument(std::to_string(n) + " is odd");
  return n / 2;
}
Result<int> Quarter(int n) {
  const int half = TRY(Half(n));
  return Half(half);
}
Status CheckEven(int n) {
  TRY(Half(n));
  return Ok();
}

TEST(Result, TryGivesTheValueOrReturnsTheError) {
  EXPECT_EQ(Quarter(12).value(), 3);
  const Result<int> failed = Quarter(6);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Code::kInvalidArgument);
  EXPECT_EQ(failed.error().message, "3 is odd");
  EXPECT_TRUE(CheckEven(2).ok());
  EXPECT_FALSE(CheckEven(3).ok());
}

TEST(Result, TryMovesValuesThatCannotBeCopied) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(4); };
  const auto pass = [&]() -> Result<std::unique_ptr<int>> {
    std::unique_ptr<int> value = TRY(make());
    *value += 1;
    return value;
  };
  EXPECT_EQ(*pass().value(), 5);
}

TEST(Result, EveryCodeHasTheNameOfItsGrpcStatus) {
  EXPECT_STREQ(CodeName(Code::kInvalidArgument), "INVALID_ARGUMENT");
  EXPECT_STREQ(CodeName(Code::kDeadlineExceeded), "DEADLINE_EXCEEDED");
  EXPECT_STREQ(CodeName(Code::kInternal), "INTERNAL");
}

TEST(ResultDeath, ReadingTheValueOfAnErrorAborts) {
  EXPECT_DEATH(Half(3).value(), "3 is odd");
  EXPECT_DEATH(CheckEven(3).value(), "3 is odd");
}

TEST(CheckDeath, TellsTheConditionTheOperandsAndTheMessage) {
  EXPECT_DEATH(CHECK_EQ(1 + 1, 3) << "sums", "result_test.cc:.*CHECK failed.*2 == 3.*sums");
}

TEST(Clock, ArithmeticSaturatesAndNeverStaysNever) {
  EXPECT_TRUE((Time::Never() + Duration::Seconds(1)).never());
  EXPECT_TRUE((Time::Never() - Duration::Seconds(1)).never());
  EXPECT_TRUE((Time{5} + Duration::Max()).never());
  EXPECT_EQ(Time::Never() - Time{3}, Duration::Max());
  EXPECT_EQ(Duration::Max() + Duration{1}, Duration::Max());
  EXPECT_EQ(Duration::Seconds(1) * int64_t{10'000'000'000'000}, Duration::Max());
  EXPECT_EQ(Time{7} - Time{3}, Duration{4});
}

TEST(Clock, TheVirtualClockMovesOnlyWhenTold) {
  VirtualClock clock(Time{10});
  EXPECT_EQ(clock.Now(), Time{10});
  clock.Advance(Duration{5});
  EXPECT_EQ(clock.Now(), Time{15});
  clock.Set(Time{1});
  EXPECT_EQ(clock.Now(), Time{1});
}

TEST(FunctionRef, CallsTheCallersObjectAndSeesItsState) {
  int calls = 0;
  const auto twice = [](FunctionRef<int(int)> f) { return f(f(3)); };
  EXPECT_EQ(twice([&](int n) {
              ++calls;
              return n * n;
            }),
            81);
  EXPECT_EQ(calls, 2);
  std::unique_ptr<int> taken;
  const auto give = [](FunctionRef<void(std::unique_ptr<int>)> f) { f(std::make_unique<int>(6)); };
  give([&](std::unique_ptr<int> p) { taken = std::move(p); });
  EXPECT_EQ(*taken, 6);
}

}  // namespace
}  // namespace sluice::base
