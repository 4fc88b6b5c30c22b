// A language model's engine under more load than it can bear, in virtual time: what is in time, and
// what was refused although it could have been.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>

#include "engine/device_loop.h"
#include "lm/checkpoint/test_checkpoint.h"
#include "lm/lm_engine.h"

namespace sluice::sim {
namespace {

using base::Duration;
using base::Time;

constexpr int64_t kRowsMax = 64;
constexpr int32_t kRunningMax = 16;
constexpr Time kBegin = Time{} + Duration::Seconds(10);
constexpr Time kEnd = kBegin + Duration::Seconds(60);

// What a step truly takes.
Duration TruthOf(int64_t rows) {
  return Duration::Millis(18) + Duration::Micros(500) * rows;
}

struct Order {
  Time arrival;
  Time deadline;
  int64_t prompt = 0;
  int64_t tokens = 0;
};

enum class Fate { kInTime, kRefused, kLate };

std::vector<Order> Orders(double per_second, uint32_t seed) {
  std::mt19937 random(seed);
  std::exponential_distribution<double> gap(per_second);
  std::vector<Order> orders;
  for (Time at = kBegin;;) {
    at = at + Duration{static_cast<int64_t>(gap(random) * 1e9)};
    if (at > kEnd) return orders;
    Order order;
    order.arrival = at;
    order.prompt = 16 + static_cast<int64_t>(random() % 80);
    order.tokens = 8 + static_cast<int64_t>(random() % 40);
    const Duration alone = TruthOf(order.prompt) + TruthOf(1) * (order.tokens - 1);
    order.deadline = at + alone * std::array{2, 4, 10}[random() % 3];
    orders.push_back(order);
  }
}

class Sink : public engine::ReplySink {
 public:
  Sink(const Order& order, const base::Clock& clock, Fate& fate)
      : order_(order), clock_(clock), fate_(fate) {}
  void Post(engine::Reply reply) override {
    if (reply.status.ok()) {
      fate_ = clock_.Now() <= order_.deadline ? Fate::kInTime : Fate::kLate;
    } else {
      fate_ = reply.reason == std::string(engine::reason::kDeadlineAdmission) ? Fate::kRefused
                                                                              : Fate::kLate;
    }
  }

 private:
  const Order& order_;
  const base::Clock& clock_;
  Fate& fate_;
};

// Orders through a real engine and loop; a step takes what it truly takes, and clients go on
// asking meanwhile.
class Server {
 public:
  explicit Server(const std::vector<Order>& orders) : orders_(orders), fates_(orders.size()) {}

  std::vector<Fate> Run() {
    engine::DeviceLoop::Options options;
    options.clock = &clock_;
    options.threaded = false;
    options.inline_below = {};
    engine::DeviceLoop loop(options, std::make_unique<Device>(*this));
    lm::DecoderConfig config = lm::SmallConfig();
    config.vocabulary = 64;
    config.hidden = 32;
    config.layers = 1;
    config.feed_forward = 32;
    lm::LanguageModel::Options serving;
    serving.cache_bytes = int64_t{1} << 20;
    serving.step_rows_max = kRowsMax;
    serving.running_max = kRunningMax;
    auto decoder = lm::Decoder::Load(lm::RandomCheckpoint(config), config, {});
    auto model = lm::MakeLanguageModel(*std::move(decoder), nullptr, {}, serving);
    std::vector<std::unique_ptr<engine::EngineVersion>> retired;
    pin_ = engine::EngineVersion::Create(
               std::make_unique<lm::LmEngine>(
                   std::make_shared<const lm::LanguageModel>(*std::move(model))),
               loop, [&](auto version) { retired.push_back(std::move(version)); })
               .value();
    WarmUp(loop);
    while (next_ < orders_.size() || loop.unanswered() > 0) {
      SubmitUntil(clock_.Now());
      if (loop.RunOnce()) continue;
      const Time arrival = next_ < orders_.size() ? orders_[next_].arrival : Time::Never();
      clock_.Set(std::max(std::min(arrival, loop.next_wake()), clock_.Now() + Duration{1}));
    }
    pin_.reset();
    retired.clear();
    return fates_;
  }

 private:
  struct Device : engine::InlineDevice {
    explicit Device(Server& s) : server(s) {}
    void Start(engine::Engine& engine, engine::Step& step, engine::Exec& exec,
               engine::Safepoint& safepoint) override {
      engine.Launch(step, exec, safepoint);
      const Time end = server.clock_.Now() + TruthOf(step.rows);
      server.SubmitUntil(end);
      server.clock_.Set(end);
    }
    Server& server;
  };

  void Submit(const Order& order, Fate& fate) {
    auto request = std::make_unique<engine::Request>();
    engine::Call::Options call;
    call.deadline = order.deadline;
    request->call = std::make_shared<engine::Call>(call);
    tensor::Tensor ids =
        *tensor::Tensor::Allocate(tensor::DType::kI32, tensor::Shape({order.prompt}), 1 << 20);
    for (int32_t& id : ids.mutable_view().span<int32_t>()) {
      id = static_cast<int32_t>(random_() % 64);
    }
    request->inputs.push_back({lm::kInputIds, std::move(ids)});
    request->parameters = {
        {"max_tokens", order.tokens}, {"temperature", 0.0}, {"ignore_eos", true}};
    request->sink = std::make_shared<Sink>(order, clock_, fate);
    CHECK(pin_->engine().Prepare(*request).ok());
    engine::Submit(pin_, std::move(request));
  }
  void SubmitUntil(Time end) {
    for (; next_ < orders_.size() && orders_[next_].arrival <= end; ++next_) {
      clock_.Set(std::max(clock_.Now(), orders_[next_].arrival));
      Submit(orders_[next_], fates_[next_]);
    }
  }
  // Costs of all sizes become known, as they are a while after a start.
  void WarmUp(engine::DeviceLoop& loop) {
    next_ = orders_.size();
    Fate fate{};
    for (int64_t i = 0; i < 60; ++i) {
      const Order order{clock_.Now(), Time::Never(), 1 + (i * 37) % 90, 1 + i % 9};
      Submit(order, fate);
      if (i % 12 < 11 && i > 12) continue;
      while (loop.unanswered() > 0) loop.RunOnce();
    }
    while (loop.unanswered() > 0) loop.RunOnce();
    CHECK(clock_.Now() < kBegin);
    next_ = 0;
  }

  const std::vector<Order>& orders_;
  std::vector<Fate> fates_;
  base::VirtualClock clock_{Time{1}};
  std::shared_ptr<const engine::EngineVersion> pin_;
  size_t next_ = 0;
  std::mt19937 random_{5};
};

// Whether all of these are in time when nobody is refused: the rules of docs/language_models.md,
// step by step, with what steps truly take.
bool AllInTime(const std::vector<Order>& orders) {
  struct State {
    int64_t rows, tokens;
    bool running = false;
  };
  std::vector<State> states;
  for (const Order& order : orders) states.push_back({order.prompt, order.tokens});
  std::vector<size_t> there;  // by deadline
  Time now;
  size_t next = 0;
  while (next < orders.size() || !there.empty()) {
    if (there.empty()) now = std::max(now, orders[next].arrival);
    for (; next < orders.size() && orders[next].arrival <= now; ++next) {
      const auto before = [&](size_t a, size_t b) {
        return orders[a].deadline < orders[b].deadline;
      };
      there.insert(std::upper_bound(there.begin(), there.end(), next, before), next);
    }
    int64_t rows = 0, running = 0;
    std::vector<std::pair<size_t, int64_t>> parts;
    for (const size_t i : there) running += states[i].running ? 1 : 0;
    for (const bool speaking : {true, false}) {
      for (const size_t i : there) {
        if ((states[i].running && states[i].rows == 1) != speaking) continue;
        if (!states[i].running && running == kRunningMax) continue;
        const int64_t take = std::min(states[i].rows, kRowsMax - rows);
        if (take == 0) continue;
        running += states[i].running ? 0 : 1;
        states[i].running = true;
        rows += take;
        parts.emplace_back(i, take);
      }
    }
    now = now + TruthOf(rows);
    for (const auto& [i, take] : parts) {
      states[i].rows -= take;
      if (states[i].rows > 0) continue;
      states[i].rows = --states[i].tokens > 0 ? 1 : 0;
      if (states[i].rows == 0 && now > orders[i].deadline) return false;
    }
    std::erase_if(there, [&](size_t i) { return states[i].rows == 0; });
  }
  return true;
}

struct Result {
  int64_t tokens_in_time = 0;
  int64_t in_time = 0, refused = 0, late = 0;
};

Result Count(const std::vector<Order>& orders, const std::vector<Fate>& fates) {
  Result result;
  for (size_t i = 0; i < orders.size(); ++i) {
    result.in_time += fates[i] == Fate::kInTime ? 1 : 0;
    result.refused += fates[i] == Fate::kRefused ? 1 : 0;
    result.late += fates[i] == Fate::kLate ? 1 : 0;
    if (fates[i] == Fate::kInTime) result.tokens_in_time += orders[i].tokens;
  }
  return result;
}

TEST(LmOverloadTest, TwiceTheLoadLeavesMostOfThePeakOfWhatIsInTime) {
  int64_t peak = 0;
  double peak_rate = 0;
  for (const double rate : {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0}) {
    const std::vector<Order> orders = Orders(rate, 11);
    const Result result = Count(orders, Server(orders).Run());
    std::printf("%4.1f requests/s: %ld in time, %ld refused, %ld late, %ld tokens in time\n", rate,
                static_cast<long>(result.in_time), static_cast<long>(result.refused),
                static_cast<long>(result.late), static_cast<long>(result.tokens_in_time));
    if (result.tokens_in_time > peak) {
      peak = result.tokens_in_time;
      peak_rate = rate;
    }
  }
  const std::vector<Order> orders = Orders(2 * peak_rate, 12);
  const Result result = Count(orders, Server(orders).Run());
  std::printf("twice %.1f: %ld of %ld tokens in time, %ld requests late\n", peak_rate,
              static_cast<long>(result.tokens_in_time), static_cast<long>(peak),
              static_cast<long>(result.late));
  EXPECT_GE(result.tokens_in_time, peak * 9 / 10);
}

TEST(LmOverloadTest, WhatIsRefusedCouldNotHaveBeenServed) {
  int64_t refused = 0, wrong = 0, late = 0, served = 0;
  for (const double rate : {10.0, 13.0, 17.0}) {
    for (uint32_t seed = 0; seed < 4; ++seed) {
      const std::vector<Order> orders = Orders(rate, seed);
      const std::vector<Fate> fates = Server(orders).Run();
      std::vector<Order> kept;
      for (size_t i = 0; i < orders.size(); ++i) {
        if (fates[i] == Fate::kInTime) kept.push_back(orders[i]);
      }
      late += Count(orders, fates).late;
      served += static_cast<int64_t>(kept.size());
      for (size_t i = 0; i < orders.size(); ++i) {
        if (fates[i] != Fate::kRefused) continue;
        ++refused;
        std::vector<Order> with = kept;
        const auto before = [](const Order& a, const Order& b) { return a.arrival < b.arrival; };
        with.insert(std::upper_bound(with.begin(), with.end(), orders[i], before), orders[i]);
        wrong += AllInTime(with) ? 1 : 0;
      }
    }
  }
  std::printf("%ld served, %ld refused, %ld of them wrongly, %ld admitted and late\n",
              static_cast<long>(served), static_cast<long>(refused), static_cast<long>(wrong),
              static_cast<long>(late));
  EXPECT_GT(refused, 500);
  EXPECT_LE(wrong * 100, refused);
  EXPECT_LE(late * 20, served);
}

}  // namespace
}  // namespace sluice::sim
