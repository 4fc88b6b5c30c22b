// A sink that counts what it was sent, for tests of the loop.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/check.h"
#include "engine/version.h"
#include "sim/fake_engine.h"

namespace sluice::sim {

class RecordingSink : public engine::ReplySink {
 public:
  void Post(engine::Reply reply) override {
    CHECK_EQ(terminals_.load(), 0) << "a reply behind the terminal one";
    if (!reply.terminal) return;
    reply_ = std::move(reply);
    terminals_.fetch_add(1);
  }
  bool answered() const { return terminals_.load() == 1; }
  const engine::Reply& reply() const { return reply_; }  // once answered
  std::string reason() const { return reply_.reason; }

 private:
  engine::Reply reply_;
  std::atomic<int> terminals_{0};
};

// A request of a fake engine with its call and its sink.
struct Sent {
  std::shared_ptr<engine::Call> call;
  std::shared_ptr<RecordingSink> sink;
};

// What to send; the fields of engine::Request and engine::Call that matter to the loop.
struct Wish {
  base::Time deadline = base::Time::Never();
  int priority = 0;
  int64_t rows = 1;
  uint64_t shape = 0;
  uint64_t park_token = 0;
  bool fails = false;
};

inline Sent Send(std::shared_ptr<const engine::EngineVersion> pin, const Wish& wish) {
  Sent sent{std::make_shared<engine::Call>(
                engine::Call::Options{wish.deadline, wish.priority, "", "", nullptr}),
            std::make_shared<RecordingSink>()};
  auto work = std::make_unique<FakeWork>();
  work->shape = wish.shape;
  work->park_token = wish.park_token;
  work->fails = wish.fails;
  auto request = std::make_unique<engine::Request>();
  request->call = sent.call;
  request->sink = sent.sink;
  request->rows = wish.rows;
  request->prepared = std::move(work);
  engine::Submit(std::move(pin), std::move(request));
  return sent;
}

}  // namespace sluice::sim
