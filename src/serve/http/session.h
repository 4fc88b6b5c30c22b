// One HTTP connection: reads requests one after another, hands each to the routes, writes its
// response in one system call or, where it comes in parts, as they come.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/call.h"
#include "serve/config.h"
#include "serve/http/answer_parts.h"
#include "serve/http/io_thread.h"
#include "serve/http/message.h"
#include "serve/http/request_parser.h"

namespace sluice::serve {

class HttpSession;

// The right to answer one request, once. Copies are cheap and refer to the same request; only the
// first answer counts.
class HttpExchange {
 public:
  HttpExchange(std::shared_ptr<HttpSession> session, uint64_t number)
      : session_(std::move(session)), number_(number) {}

  // Any thread.
  void Respond(HttpResponse response) const;
  // The session's io thread only: without a further hop.
  void RespondHere(HttpResponse&& response) const;
  // An answer in parts: its head, whose body is the first part, then parts, then the end. All on
  // the session's io thread. Whenever everything so far has left for the client `left` is called,
  // on that thread, possibly from within these calls; it must not call them. What is sent faster
  // than that waits, up to HttpLimits::stream_bytes_max. A client that takes nothing for
  // stall_timeout is cut off.
  void RespondInParts(HttpResponse&& head, std::function<void()> left) const;
  // False: nobody takes it any more.
  bool SendPart(std::string_view part) const;
  void EndParts(std::string_view last_part = {}) const;
  // The session's io thread only: cancelled when the client goes away before it is answered. Any
  // number of calls of one request.
  void Watch(std::shared_ptr<engine::Call> call) const;
  IoThread& io() const;

 private:
  std::shared_ptr<HttpSession> session_;
  uint64_t number_;
};

// The routes. Called on any io thread; must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Answers `exchange` now or later, exactly once. `request` is gone when this returns.
  virtual void Handle(const HttpRequest& request, const HttpExchange& exchange) = 0;
};

struct HttpCounters {
  std::atomic<int64_t> connections{0};
  std::atomic<int64_t> connections_refused{0};
  std::atomic<int64_t> accept_failures{0};  // out of descriptors or memory; tried again
  std::atomic<int64_t> requests_in_flight{0};
  std::atomic<int64_t> faults{0};   // requests refused before a route saw them
  std::atomic<int64_t> streams{0};  // answers in parts that are not at their end
  std::atomic<int64_t> stalled{0};  // of them cut off: nobody took them
};

// Owner: its io thread's list; everything runs on that thread. Lives until the connection is closed
// and answered.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  struct Environment {
    const HttpLimits* limits = nullptr;
    HttpHandler* handler = nullptr;
    HttpCounters* counters = nullptr;
    const std::atomic<bool>* draining = nullptr;
  };
  HttpSession(std::shared_ptr<IoThread> io, int socket, const Environment& environment);
  ~HttpSession();

  void Start();
  // Closes when a timeout has passed, or when the server drains and nothing is in flight. False:
  // closed.
  bool Tick(base::Time now);
  void Close();

 private:
  friend class HttpExchange;

  void AwaitReadable();
  void OnReadable();
  void ReadAndProcess();
  bool HandleOne();  // false: more bytes are needed
  bool TakeHead();
  void KeepHead(std::string_view head);
  bool TakeBody();
  bool TakeChunks();
  void Dispatch(std::string_view body);
  void Refuse(const HttpFault& fault);
  void Respond(uint64_t number, HttpResponse&& response);
  void RespondInParts(uint64_t number, HttpResponse&& head, std::function<void()> left);
  bool SendPart(uint64_t number, std::string_view part, bool last);
  void Answered();
  bool PartsGoOn();
  void Process();
  void Write();
  void AwaitWritable();
  void Written();
  bool PeerGone();
  void Discard();
  std::string_view unread() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void MakeRoom(size_t bytes);

  enum class Reading { kHead, kBody, kChunks };

  const std::shared_ptr<IoThread> io_;
  boost::asio::ip::tcp::socket socket_;
  const Environment environment_;
  RequestParser parser_;
  HttpRequest request_;

  std::vector<char> buffer_;  // [begin_, end_) is unread; kBodyPadding spare bytes at the end
  size_t begin_ = 0;
  size_t end_ = 0;
  Reading reading_ = Reading::kHead;
  size_t head_searched_ = 0;
  std::string head_;       // of a request whose body is still on its way
  tensor::Buffer body_;    // a large body's own memory
  size_t body_start_ = 0;  // where in body_ it begins, so that what follows the JSON is aligned
  size_t body_bytes_ = 0;
  size_t body_have_ = 0;

  uint64_t number_ = 0;                               // of the request in flight
  std::vector<std::shared_ptr<engine::Call>> calls_;  // of the request in flight
  std::unique_ptr<AnswerParts> parts_;                // its answer is being written part by part
  bool in_flight_ = false;
  bool processing_ = false;
  bool awaiting_ = false;  // a wait for readability is under way
  bool readable_ = false;  // bytes may be waiting in the kernel
  bool keep_alive_ = true;
  bool head_only_ = false;  // the request was a HEAD: its answer has no body
  bool lingering_ = false;  // the last answer is written; what still comes is thrown away
  int64_t discarded_bytes_ = 0;
  bool closed_ = false;

  std::string out_;
  std::vector<tensor::Buffer> out_blobs_;
  size_t out_sent_ = 0;
  bool writing_ = false;  // a response is only partly sent
  base::Time since_;      // the last change of what is waited for
};

}  // namespace sluice::serve
