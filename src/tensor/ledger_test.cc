#include "tensor/ledger.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sluice::tensor {
namespace {

TEST(Ledger, HoldsBytesUntilTheReservationGoes) {
  Ledger ledger("host", 100);
  {
    const Reservation weights = ledger.Reserve("weights", 60).value();
    EXPECT_EQ(weights.bytes(), 60);
    EXPECT_EQ(ledger.used_bytes(), 60);
  }
  EXPECT_EQ(ledger.used_bytes(), 0);
  EXPECT_EQ(ledger.peak_bytes(), 60);
}

TEST(Ledger, RefusesWhatDoesNotFitAndNamesWhoWhatAndHowMuch) {
  Ledger ledger("host", 100);
  const Reservation held = ledger.Reserve("a", 60).value();
  const auto refused = ledger.Reserve("model b weights", 41);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, base::Code::kResourceExhausted);
  EXPECT_EQ(refused.error().message,
            "host memory: model b weights needs 41 bytes, 40 of the limit of 100 are free");
  EXPECT_TRUE(ledger.Reserve("b", 40).ok());
  EXPECT_FALSE(ledger.Reserve("b", std::numeric_limits<int64_t>::max()).ok());
  EXPECT_EQ(ledger.Reserve("b", -1).error().code, base::Code::kInvalidArgument);
}

TEST(Ledger, ListsWhatEachOwnerHolds) {
  Ledger ledger("host", 100);
  const Reservation b1 = ledger.Reserve("b", 5).value();
  const Reservation a = ledger.Reserve("a", 7).value();
  Reservation b2 = ledger.Reserve("b", 6).value();
  const Reservation nothing = ledger.Reserve("c", 0).value();
  ASSERT_EQ(ledger.List().size(), 2u);
  EXPECT_EQ(ledger.List()[0].owner, "a");
  EXPECT_EQ(ledger.List()[0].bytes, 7);
  EXPECT_EQ(ledger.List()[1].bytes, 11);
  b2.Release();
  b2.Release();
  EXPECT_EQ(ledger.List()[1].bytes, 5);
  EXPECT_EQ(b2.bytes(), 0);
}

TEST(Reservation, ResizesInPlaceOrStaysAsItWas) {
  Ledger ledger("host", 100);
  Reservation held = ledger.Reserve("a", 40).value();
  EXPECT_TRUE(held.Resize(100).ok());
  EXPECT_EQ(ledger.used_bytes(), 100);
  EXPECT_FALSE(held.Resize(101).ok());
  EXPECT_FALSE(held.Resize(-1).ok());
  EXPECT_EQ(held.bytes(), 100);
  EXPECT_TRUE(held.Resize(0).ok());
  EXPECT_EQ(ledger.used_bytes(), 0);
  EXPECT_TRUE(held.Resize(1).ok());
  EXPECT_EQ(ledger.used_bytes(), 1);
}

TEST(Reservation, MovesAndOutlivesTheLedger) {
  auto ledger = std::make_unique<Ledger>("host", 100);
  Reservation first = ledger->Reserve("a", 40).value();
  Reservation second = std::move(first);
  EXPECT_EQ(first.bytes(), 0);
  first = ledger->Reserve("b", 10).value();
  second = std::move(first);
  EXPECT_EQ(second.bytes(), 10);
  ledger.reset();
  second.Release();
}

TEST(Ledger, ThreadsNeverHoldMoreThanTheLimitTogether) {
  Ledger ledger("host", 50);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&ledger, t] {
      for (int i = 0; i < 3000; ++i) {
        const auto held = ledger.Reserve("owner " + std::to_string(t), 20);
        EXPECT_LE(ledger.used_bytes(), 50);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ledger.used_bytes(), 0);
  EXPECT_LE(ledger.peak_bytes(), 50);
  EXPECT_TRUE(ledger.List().empty());
}

}  // namespace
}  // namespace sluice::tensor
