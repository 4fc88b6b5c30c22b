#include "engine/inbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/version.h"

namespace sluice::engine {
namespace {

std::unique_ptr<Request> Numbered(int64_t number, int64_t bytes = 0) {
  auto request = std::make_unique<Request>();
  request->rows = number;
  request->bytes = bytes;
  return request;
}

TEST(Inbox, GivesBackInTheOrderOfArrival) {
  Inbox inbox({});
  for (int64_t i = 0; i < 5; ++i) {
    std::unique_ptr<Request> request = Numbered(i);
    ASSERT_TRUE(inbox.TryPush(request));
  }
  int64_t expected = 0;
  for (InboxNode* node = inbox.TakeAll(); node != nullptr;) {
    const std::unique_ptr<Request> request(static_cast<Request*>(node));
    node = node->inbox_next;
    EXPECT_EQ(request->rows, expected++);
  }
  EXPECT_EQ(expected, 5);
  EXPECT_TRUE(inbox.empty());
}

TEST(Inbox, RefusesBeyondCountAndBytesUntilReleased) {
  Inbox::Limits limits;
  limits.requests_max = 2;
  limits.bytes_max = 100;
  Inbox inbox(limits);
  std::unique_ptr<Request> large = Numbered(0, 101);
  EXPECT_FALSE(inbox.TryPush(large));
  ASSERT_NE(large, nullptr);
  std::unique_ptr<Request> a = Numbered(1, 60);
  std::unique_ptr<Request> b = Numbered(2, 60);
  std::unique_ptr<Request> c = Numbered(3, 0);
  std::unique_ptr<Request> d = Numbered(4, 0);
  EXPECT_TRUE(inbox.TryPush(a));
  EXPECT_FALSE(inbox.TryPush(b));
  EXPECT_TRUE(inbox.TryPush(c));
  EXPECT_FALSE(inbox.TryPush(d));
  for (InboxNode* node = inbox.TakeAll(); node != nullptr;) {
    const std::unique_ptr<Request> request(static_cast<Request*>(node));
    node = node->inbox_next;
    inbox.CountTaken();
    if (request->bytes > 0) {
      EXPECT_FALSE(inbox.TryPush(b)) << "a payload counts until its request is answered";
    }
    inbox.ReleaseBytes(request->bytes);
  }
  EXPECT_TRUE(inbox.TryPush(b));
  for (InboxNode* node = inbox.TakeAll(); node != nullptr;) {
    const std::unique_ptr<Request> request(static_cast<Request*>(node));
    node = node->inbox_next;
  }
}

TEST(Inbox, ReservesPayloadsInTheLedgerAndRefusesWhatDoesNotFit) {
  tensor::Ledger ledger("host", 3 * Inbox::kPayloadStep);
  Inbox::Limits limits;
  limits.ledger = &ledger;
  limits.owner = "loop cpu0 request payloads";
  Inbox inbox(limits);
  const auto push = [&](int64_t bytes) {
    std::unique_ptr<Request> request = Numbered(0, bytes);
    return inbox.TryPush(request);
  };
  const auto answer_all = [&] {
    for (InboxNode* node = inbox.TakeAll(); node != nullptr;) {
      const std::unique_ptr<Request> request(static_cast<Request*>(node));
      node = node->inbox_next;
      inbox.CountTaken();
      inbox.ReleaseBytes(request->bytes);
    }
  };
  EXPECT_TRUE(push(1000));
  EXPECT_EQ(ledger.List()[0].owner, "loop cpu0 request payloads");
  EXPECT_EQ(ledger.used_bytes(), Inbox::kPayloadStep);
  EXPECT_TRUE(push(2 * Inbox::kPayloadStep));
  EXPECT_EQ(ledger.used_bytes(), 3 * Inbox::kPayloadStep);
  EXPECT_FALSE(push(Inbox::kPayloadStep)) << "the ledger is full";
  EXPECT_EQ(inbox.bytes(), 1000 + 2 * Inbox::kPayloadStep);
  answer_all();
  inbox.Trim();
  EXPECT_EQ(ledger.used_bytes(), Inbox::kPayloadStep);
  EXPECT_TRUE(push(Inbox::kPayloadStep));
  answer_all();
}

TEST(Inbox, LosesNothingAmongThreads) {
  constexpr int kThreads = 3;
  constexpr int64_t kEach = 5000;
  Inbox inbox({});
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = 0; i < kEach; ++i) {
        std::unique_ptr<Request> request = Numbered(t * kEach + i);
        while (!inbox.TryPush(request)) std::this_thread::yield();
      }
      running.fetch_sub(1);
    });
  }
  std::vector<int64_t> next(kThreads);
  int64_t taken = 0;
  while (running.load() > 0 || !inbox.empty()) {
    for (InboxNode* node = inbox.TakeAll(); node != nullptr;) {
      const std::unique_ptr<Request> request(static_cast<Request*>(node));
      node = node->inbox_next;
      inbox.CountTaken();
      inbox.ReleaseBytes(request->bytes);
      const int64_t thread = request->rows / kEach;
      ASSERT_EQ(request->rows % kEach, next[static_cast<size_t>(thread)]++);
      ++taken;
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, kThreads * kEach);
  EXPECT_EQ(inbox.requests(), 0);
}

}  // namespace
}  // namespace sluice::engine
