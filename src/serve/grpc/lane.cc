#include "serve/grpc/lane.h"

#include "base/thread_slice.h"

namespace sluice::serve {

namespace {
thread_local const GrpcLane* current_lane = nullptr;
}  // namespace

GrpcLane::GrpcLane(std::unique_ptr<grpc::ServerCompletionQueue> queue) : queue_(std::move(queue)) {}

GrpcLane::~GrpcLane() {
  Join();
}

void GrpcLane::Start() {
  thread_ = std::thread([this] { Run(); });
}

void GrpcLane::Run() {
  current_lane = this;
  base::AskForSlice(base::kBriefSlice);
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    static_cast<GrpcTag*>(tag)->Done(ok);
    DeliverLocal();
  }
  current_lane = nullptr;
}

void GrpcLane::Join() {
  if (!thread_.joinable()) return;
  for (int calls = calls_.load(); calls != 0; calls = calls_.load()) calls_.wait(calls);
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  queue_->Shutdown();
  thread_.join();
}

void GrpcLane::Deliver(std::shared_ptr<Delivery> delivery) {
  if (current_lane == this) {
    local_.push_back(std::move(delivery));
    return;
  }
  std::lock_guard lock(mutex_);
  if (closed_) return;
  mail_.push_back(std::move(delivery));
  if (mail_.size() > 1) return;
  // One alarm for however many replies arrive before the thread has woken.
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(queue_.get(), gpr_inf_past(GPR_CLOCK_REALTIME), &mail_tag_);
}

void GrpcLane::MailArrived(bool) {
  {
    std::lock_guard lock(mutex_);
    opened_.swap(mail_);
  }
  for (std::shared_ptr<Delivery>& delivery : opened_) delivery->Arrive();
  opened_.clear();
}

void GrpcLane::DeliverLocal() {
  for (size_t i = 0; i < local_.size(); ++i) {
    std::shared_ptr<Delivery> delivery = std::move(local_[i]);
    delivery->Arrive();
  }
  local_.clear();
}

}  // namespace sluice::serve
