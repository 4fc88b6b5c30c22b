// One io thread: an event loop, the sessions that live on it, and a mailbox through which other
// threads reach it.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "serve/delivery.h"

namespace sluice::serve {

// Owner: the HTTP server. Everything except Deliver and Stop happens on its own thread.
class IoThread {
 public:
  IoThread();
  ~IoThread();

  void Start();
  // Waits until nothing is left to do, sockets and timers having been closed, and joins. What is
  // delivered from elsewhere from now on is dropped: its connection is closed.
  void Stop();
  boost::asio::io_context& context() { return context_; }

  // Any thread. On this very thread the delivery waits for EndHandling, so that a reply posted from
  // inside Submit never runs under the caller's feet; from elsewhere the thread is woken once for
  // however many arrive together.
  void Deliver(std::shared_ptr<Delivery> delivery);
  // On this thread, around anything that may call Submit: what is delivered from this thread
  // meanwhile arrives in EndHandling, together with what that brings along.
  void BeginHandling() { handling_ = true; }
  void EndHandling();

 private:
  void TakeMail();

  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::thread thread_;
  std::vector<std::shared_ptr<Delivery>> local_;
  bool handling_ = false;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Delivery>> mail_;  // guarded by mutex_
  bool closed_ = false;                          // guarded by mutex_
  std::vector<std::shared_ptr<Delivery>> opened_;
};

}  // namespace sluice::serve
