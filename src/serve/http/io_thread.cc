#include "serve/http/io_thread.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "base/thread_slice.h"

namespace sluice::serve {

namespace {
thread_local const IoThread* current_thread = nullptr;
}  // namespace

IoThread::IoThread() : context_(1), work_(boost::asio::make_work_guard(context_)) {}

IoThread::~IoThread() {
  Stop();
}

void IoThread::Start() {
  thread_ = std::thread([this] {
    current_thread = this;
    base::AskForSlice(base::kBriefSlice);
    context_.run();
    current_thread = nullptr;
  });
}

void IoThread::Stop() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  // Everything that lives on this thread was closed by its owner: the loop ends when it has seen
  // that.
  work_.reset();
  if (thread_.joinable()) thread_.join();
}

void IoThread::Deliver(std::shared_ptr<Delivery> delivery) {
  if (current_thread == this) {
    local_.push_back(std::move(delivery));
    if (!handling_) {
      handling_ = true;
      boost::asio::post(context_, [this] { EndHandling(); });
    }
    return;
  }
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    first = mail_.empty();
    mail_.push_back(std::move(delivery));
  }
  if (first) boost::asio::post(context_, [this] { TakeMail(); });
}

void IoThread::EndHandling() {
  // An arrival may bring further ones: the list grows while it is walked.
  for (size_t i = 0; i < local_.size(); ++i) {
    std::shared_ptr<Delivery> delivery = std::move(local_[i]);
    delivery->Arrive();
  }
  local_.clear();
  handling_ = false;
}

void IoThread::TakeMail() {
  {
    std::lock_guard lock(mutex_);
    opened_.swap(mail_);
  }
  BeginHandling();
  for (std::shared_ptr<Delivery>& delivery : opened_) delivery->Arrive();
  opened_.clear();
  EndHandling();
}

}  // namespace sluice::serve
