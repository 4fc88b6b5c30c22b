#include "serve/http/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>

#include "base/log.h"

namespace sluice::serve {

namespace {
constexpr base::Duration kAcceptPauseMin = base::Duration::Millis(10);
constexpr base::Duration kAcceptPauseMax = base::Duration::Seconds(1);
}  // namespace

using boost::asio::ip::tcp;
using ErrorCode = boost::system::error_code;

// An io thread with its sessions; the first lane also accepts.
struct HttpServer::Lane {
  Lane()
      : io(std::make_shared<IoThread>()),
        tick(io->context()),
        accept_again(io->context()),
        acceptor(io->context()) {}

  void Tick(base::Duration interval) {
    tick.expires_after(std::chrono::nanoseconds(interval.ns));
    tick.async_wait([this, interval](const ErrorCode& ec) {
      if (ec || closed) return;
      Sweep();
      Tick(interval);
    });
  }
  void Sweep() {
    base::Time now = base::SystemClock::Get().Now();
    for (size_t i = 0; i < sessions.size();) {
      if (sessions[i]->Tick(now)) {
        ++i;
      } else {
        sessions[i] = std::move(sessions.back());
        sessions.pop_back();
      }
    }
  }
  void CloseAll() {
    closed = true;
    tick.cancel();
    accept_again.cancel();
    for (std::shared_ptr<HttpSession>& session : sessions) session->Close();
    sessions.clear();
  }

  std::shared_ptr<IoThread> io;
  boost::asio::steady_timer tick;
  boost::asio::steady_timer accept_again;
  tcp::acceptor acceptor;
  std::vector<std::shared_ptr<HttpSession>> sessions;  // its io thread only
  bool closed = false;                                 // its io thread only
};

HttpServer::HttpServer(Options options, HttpHandler* handler)
    : options_(std::move(options)), handler_(handler) {}

HttpServer::~HttpServer() {
  Stop();
}

base::Status HttpServer::Start() {
  ErrorCode ec;
  boost::asio::ip::address address = boost::asio::ip::make_address(options_.host, ec);
  if (ec) return base::InvalidArgument("host '" + options_.host + "' is not an IP address");
  if (options_.port < 0 || options_.port > 65535) {
    return base::InvalidArgument("port " + std::to_string(options_.port) +
                                 " is not between 0 and 65535");
  }
  for (int64_t i = 0; i < std::max<int64_t>(1, options_.threads); ++i) {
    lanes_.push_back(std::make_unique<Lane>());
  }
  tcp::endpoint endpoint(address, static_cast<unsigned short>(options_.port));
  tcp::acceptor& acceptor = lanes_[0]->acceptor;
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(4096, ec);
  if (!ec) acceptor.non_blocking(true, ec);
  if (ec) {
    lanes_.clear();
    return base::Unavailable("cannot listen on " + options_.host + ":" +
                             std::to_string(options_.port) + ": " + ec.message());
  }
  port_ = acceptor.local_endpoint(ec).port();
  // A quarter of the shortest timeout, so that none is overshot by much.
  const HttpLimits& limits = options_.limits;
  base::Duration shortest = std::min(
      {limits.idle_timeout, limits.read_timeout, limits.write_timeout, limits.stall_timeout});
  base::Duration interval{
      std::clamp(shortest.ns / 4, base::Duration::Millis(5).ns, base::Duration::Millis(500).ns)};
  running_ = true;
  for (std::unique_ptr<Lane>& lane : lanes_) lane->Tick(interval);
  Accept();
  for (std::unique_ptr<Lane>& lane : lanes_) lane->io->Start();
  return base::Ok();
}

void HttpServer::Accept() {
  tcp::acceptor& acceptor = lanes_[0]->acceptor;
  acceptor.async_wait(tcp::acceptor::wait_read, [this](const ErrorCode& ec) {
    if (ec || draining_.load(std::memory_order_relaxed)) return;
    TakeConnections();
  });
}

// Takes what waits in the backlog, then waits for more; out of descriptors or memory, after a
// while.
void HttpServer::TakeConnections() {
  for (;;) {
    int socket = accept4(lanes_[0]->acceptor.native_handle(), nullptr, nullptr,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        return AcceptLater(errno);
      }
      if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) continue;
      break;
    }
    if (accept_pause_.ns > 0) {
      base::Log(base::LogLevel::kInfo, "accepting_again").With("port", port_);
      accept_pause_ = {};
    }
    if (counters_.connections.load(std::memory_order_relaxed) >= options_.limits.connections_max) {
      counters_.connections_refused.fetch_add(1, std::memory_order_relaxed);
      close(socket);
      continue;
    }
    Lane* lane = lanes_[next_lane_++ % lanes_.size()].get();
    HttpSession::Environment environment{&options_.limits, handler_, &counters_, &draining_};
    auto session = std::make_shared<HttpSession>(lane->io, socket, environment);
    boost::asio::post(lane->io->context(), [lane, session] {
      if (lane->closed) return session->Close();
      lane->sessions.push_back(session);
      session->Start();
    });
  }
  Accept();
}

// The descriptor of the listening socket stays readable without telling so again: it must be asked.
void HttpServer::AcceptLater(int error) {
  counters_.accept_failures.fetch_add(1, std::memory_order_relaxed);
  if (accept_pause_.ns == 0) {
    base::Log(base::LogLevel::kWarning, "cannot_accept_connections")
        .With("port", port_)
        .With("reason", std::strerror(error));
  }
  accept_pause_ = std::clamp(accept_pause_ * 2, kAcceptPauseMin, kAcceptPauseMax);
  Lane& lane = *lanes_[0];
  lane.accept_again.expires_after(std::chrono::nanoseconds(accept_pause_.ns));
  lane.accept_again.async_wait([this, &lane](const ErrorCode& ec) {
    if (ec || lane.closed || draining_.load(std::memory_order_relaxed)) return;
    TakeConnections();
  });
}

void HttpServer::Drain() {
  if (!running_ || draining_.exchange(true)) return;
  boost::asio::post(lanes_[0]->io->context(), [this] {
    ErrorCode ignored;
    lanes_[0]->acceptor.close(ignored);
  });
}

void HttpServer::Stop() {
  if (!running_) return;
  running_ = false;
  draining_ = true;
  for (std::unique_ptr<Lane>& lane : lanes_) {
    std::promise<void> closed;
    boost::asio::post(lane->io->context(), [&] {
      ErrorCode ignored;
      lane->acceptor.close(ignored);
      lane->CloseAll();
      closed.set_value();
    });
    closed.get_future().wait();
  }
  for (std::unique_ptr<Lane>& lane : lanes_) lane->io->Stop();
  lanes_.clear();
}

}  // namespace sluice::serve
