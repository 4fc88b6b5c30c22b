// One gRPC thread: its completion queue, and a mailbox through which replies of other threads reach
// it.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "serve/delivery.h"

namespace sluice::serve {

// What a completion means. Tags live inside the calls that wait for them.
class GrpcTag {
 public:
  virtual ~GrpcTag() = default;
  virtual void Done(bool ok) = 0;  // on the lane's thread
};

// A tag that calls a member of its owner.
template <class Owner, void (Owner::*kDone)(bool)>
class MemberTag final : public GrpcTag {
 public:
  explicit MemberTag(Owner* owner) : owner_(owner) {}
  void Done(bool ok) override { (owner_->*kDone)(ok); }

 private:
  Owner* owner_;
};

// Owner: the gRPC server. Everything except Deliver happens on its own thread.
class GrpcLane {
 public:
  explicit GrpcLane(std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~GrpcLane();

  void Start();
  // After the server was shut down, which lets no further call come. Waits until every call that
  // this lane awaited has had its last completion: until then one may start an operation, and a
  // closed queue takes none.
  void Join();
  grpc::ServerCompletionQueue& queue() { return *queue_; }
  // A call of this lane: from the wait for it to its last completion.
  void CallAwaited() { calls_.fetch_add(1, std::memory_order_relaxed); }
  void CallEnded() {
    if (calls_.fetch_sub(1, std::memory_order_acq_rel) == 1) calls_.notify_one();
  }

  // Any thread. On this very thread the delivery waits until the completion at hand is dealt with.
  void Deliver(std::shared_ptr<Delivery> delivery);

 private:
  void Run();
  void DeliverLocal();
  void MailArrived(bool ok);

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
  std::vector<std::shared_ptr<Delivery>> local_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Delivery>> mail_;  // guarded by mutex_
  bool closed_ = false;                          // guarded by mutex_
  std::unique_ptr<grpc::Alarm> alarm_;           // guarded by mutex_; set while mail is on its way
  std::vector<std::shared_ptr<Delivery>> opened_;
  std::atomic<int> calls_{0};
  MemberTag<GrpcLane, &GrpcLane::MailArrived> mail_tag_{this};
};

}  // namespace sluice::serve
