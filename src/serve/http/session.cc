#include "serve/http/session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>

#include "base/json.h"
#include "serve/status_codes.h"

namespace sluice::serve {

namespace {

// Bodies up to this size are read beside their head; larger ones get memory of their own that
// tensors may keep.
constexpr int64_t kSmallBody = 32 << 10;
constexpr size_t kFirstRead = 8 << 10;
// What a refused client may still send before it is cut off.
constexpr int64_t kDiscardMax = 4 << 20;
constexpr base::Duration kLinger = base::Duration::Seconds(2);

// Decimal digits of a header that counts bytes, or -1. Never throws, never wraps.
int64_t ParseCount(std::string_view text) {
  if (text.empty() || text.size() > 18) return -1;
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

void AppendHead(const HttpResponse& response, bool keep_alive, Framing framing, size_t length,
                std::string& out) {
  out += "HTTP/1.1 ";
  out += std::to_string(response.status);
  out += ' ';
  out += HttpReasonPhrase(response.status);
  out += "\r\n";
  if (!response.content_type.empty()) {
    out += "Content-Type: ";
    out += response.content_type;
    out += "\r\n";
  }
  out += response.headers;
  if (!keep_alive) out += "Connection: close\r\n";
  if (framing == Framing::kLength) {
    out += "Content-Length: ";
    out += std::to_string(length);
    out += "\r\n";
  } else if (framing == Framing::kChunks) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  out += "\r\n";
}

}  // namespace

void HttpExchange::Respond(HttpResponse response) const {
  struct Late : Delivery {
    Late(HttpExchange e, HttpResponse r) : exchange(std::move(e)), response(std::move(r)) {}
    void Arrive() override { exchange.RespondHere(std::move(response)); }
    HttpExchange exchange;
    HttpResponse response;
  };
  session_->io_->Deliver(std::make_shared<Late>(*this, std::move(response)));
}

void HttpExchange::RespondHere(HttpResponse&& response) const {
  session_->Respond(number_, std::move(response));
}

void HttpExchange::RespondInParts(HttpResponse&& head, std::function<void()> left) const {
  session_->RespondInParts(number_, std::move(head), std::move(left));
}

bool HttpExchange::SendPart(std::string_view part) const {
  return session_->SendPart(number_, part, false);
}

void HttpExchange::EndParts(std::string_view last_part) const {
  session_->SendPart(number_, last_part, true);
}

void HttpExchange::Watch(std::shared_ptr<engine::Call> call) const {
  if (session_->number_ != number_) return;
  // The client may have gone before its request was submitted.
  if (session_->in_flight_) {
    session_->calls_.push_back(std::move(call));
  } else {
    call->Cancel();
  }
}

IoThread& HttpExchange::io() const {
  return *session_->io_;
}

HttpSession::HttpSession(std::shared_ptr<IoThread> io, int socket, const Environment& environment)
    : io_(std::move(io)),
      socket_(io_->context()),
      environment_(environment),
      parser_(*environment.limits) {
  boost::system::error_code ignored;
  socket_.assign(boost::asio::ip::tcp::v4(), socket, ignored);
  int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  environment_.counters->connections.fetch_add(1, std::memory_order_relaxed);
  since_ = base::SystemClock::Get().Now();
}

// The server may be gone by now: whoever holds an exchange keeps its session. Close has run before.
HttpSession::~HttpSession() = default;

void HttpSession::Start() {
  AwaitReadable();
}

void HttpSession::AwaitReadable() {
  if (awaiting_ || closed_) return;
  awaiting_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& ec) {
                       self->awaiting_ = false;
                       if (ec || self->closed_) return;
                       self->OnReadable();
                     });
}

void HttpSession::OnReadable() {
  if (lingering_) return Discard();
  if (in_flight_ || writing_) {
    // The next request waits in the kernel until this one is answered; an end of file means nobody
    // waits for it.
    readable_ = true;
    if (PeerGone()) Close();
    return;
  }
  ReadAndProcess();
}

bool HttpSession::PeerGone() {
  char byte;
  ssize_t n = recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void HttpSession::MakeRoom(size_t bytes) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() >= end_ + bytes + kBodyPadding) return;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() < end_ + bytes + kBodyPadding) {
    buffer_.resize(std::max(buffer_.size() * 2, end_ + bytes + kBodyPadding));
  }
}

void HttpSession::ReadAndProcess() {
  while (!closed_) {
    readable_ = false;
    char* to = nullptr;
    size_t room = 0;
    if (body_) {
      to = reinterpret_cast<char*>(body_.mutable_data()) + body_start_ + body_have_;
      room = body_bytes_ - body_have_;
    } else {
      MakeRoom(kFirstRead);
      to = buffer_.data() + end_;
      room = buffer_.size() - kBodyPadding - end_;
    }
    ssize_t n = recv(socket_.native_handle(), to, room, MSG_DONTWAIT);
    if (n == 0) return Close();
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return Close();
      return AwaitReadable();
    }
    if (reading_ == Reading::kHead && begin_ == end_) since_ = base::SystemClock::Get().Now();
    (body_ ? body_have_ : end_) += static_cast<size_t>(n);
    readable_ = static_cast<size_t>(n) == room;
    Process();
    if (closed_ || lingering_) return;
    if (!readable_) return AwaitReadable();
    // What else is readable meanwhile may be the end.
    if (in_flight_ || writing_) return AwaitReadable();
  }
}

void HttpSession::Process() {
  if (processing_) return;
  processing_ = true;
  while (!closed_ && !lingering_ && !in_flight_ && !writing_) {
    if (!HandleOne()) break;
  }
  processing_ = false;
}

bool HttpSession::HandleOne() {
  if (reading_ == Reading::kHead) {
    if (!TakeHead()) return false;
  }
  return reading_ == Reading::kChunks ? TakeChunks() : TakeBody();
}

bool HttpSession::TakeHead() {
  std::string_view bytes = unread();
  if (bytes.empty()) return false;
  size_t head_end = FindHeadEnd(bytes, head_searched_);
  size_t head_max = static_cast<size_t>(environment_.limits->header_bytes_max);
  if (head_end == std::string_view::npos ? bytes.size() > head_max : head_end > head_max) {
    Refuse({431, "the head is longer than " + std::to_string(head_max) + " bytes"});
    return false;
  }
  if (head_end == std::string_view::npos) {
    head_searched_ = bytes.size();
    return false;
  }
  head_searched_ = 0;
  request_.arrival = since_;
  request_.body_buffer = {};
  std::string_view head = bytes.substr(0, head_end);
  HttpFault fault = parser_.ParseHead(head, request_);
  if (fault.status != 0) {
    Refuse(fault);
    return false;
  }
  begin_ += head_end;
  reading_ = parser_.chunked() ? Reading::kChunks : Reading::kBody;
  body_bytes_ = parser_.chunked() ? 0 : static_cast<size_t>(parser_.content_length());
  body_have_ = 0;
  if (reading_ == Reading::kBody && unread().size() >= body_bytes_) return true;
  KeepHead(head);
  if (parser_.expects_continue() && unread().empty()) {
    static constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (send(socket_.native_handle(), kContinue, sizeof kContinue - 1,
             MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      Close();
      return false;
    }
  }
  return true;
}

// The body is still on its way: reading it may move the buffer, so the head gets a copy and the
// views follow it.
void HttpSession::KeepHead(std::string_view head) {
  head_.assign(head);
  auto follow = [&](std::string_view& view) {
    if (!view.empty())
      view = std::string_view(head_).substr(static_cast<size_t>(view.data() - head.data()),
                                            view.size());
  };
  follow(request_.method);
  follow(request_.target);
  for (HttpHeader& header : request_.headers) {
    follow(header.name);
    follow(header.value);
  }
}

bool HttpSession::TakeBody() {
  std::string_view bytes = unread();
  if (!body_ && bytes.size() >= body_bytes_) {
    begin_ += body_bytes_;
    Dispatch(bytes.substr(0, body_bytes_));
    return true;
  }
  if (!body_ && static_cast<int64_t>(body_bytes_) > kSmallBody) {
    // Placed so that the binary tensors behind the JSON header begin on an aligned address and need
    // no copy.
    int64_t json = ParseCount(request_.header("Inference-Header-Content-Length"));
    size_t align = tensor::kAlignment;
    body_start_ = json > 0 ? (align - static_cast<size_t>(json) % align) % align : 0;
    // Memory is touched as bytes arrive: a client that only claims a large body costs address
    // space.
    body_ =
        tensor::Buffer::Allocate(static_cast<int64_t>(body_start_ + body_bytes_) + kBodyPadding);
    body_have_ = bytes.size();
    std::memcpy(body_.mutable_data() + body_start_, bytes.data(), body_have_);
    begin_ = end_ = 0;
  }
  if (!body_ || body_have_ < body_bytes_) return false;
  request_.body_buffer = std::move(body_);
  body_ = {};
  Dispatch({reinterpret_cast<const char*>(request_.body_buffer.data()) + body_start_, body_bytes_});
  return true;
}

bool HttpSession::TakeChunks() {
  size_t consumed = 0;
  HttpFault fault = parser_.FeedChunked(unread(), consumed);
  if (fault.status != 0) {
    Refuse(fault);
    return false;
  }
  begin_ += consumed;
  if (!parser_.done()) {
    // What cannot be consumed is an unfinished chunk header or trailer: as bounded as a head is.
    if (static_cast<int64_t>(unread().size()) > environment_.limits->header_bytes_max) {
      Refuse({400, "a chunk header or trailer is longer than a head may be"});
    }
    return false;
  }
  parser_.body().append(static_cast<size_t>(kBodyPadding), '\0');
  std::string_view body = parser_.body();
  body.remove_suffix(static_cast<size_t>(kBodyPadding));
  Dispatch(body);
  return true;
}

void HttpSession::Dispatch(std::string_view body) {
  request_.body = body;
  keep_alive_ = request_.keep_alive;
  head_only_ = request_.method == "HEAD";
  ++number_;
  in_flight_ = true;
  environment_.counters->requests_in_flight.fetch_add(1, std::memory_order_relaxed);
  std::shared_ptr<HttpSession> self = shared_from_this();
  io_->BeginHandling();
  environment_.handler->Handle(request_, HttpExchange(self, number_));
  request_.body_buffer = {};
  reading_ = Reading::kHead;
  io_->EndHandling();
}

void HttpSession::Refuse(const HttpFault& fault) {
  environment_.counters->faults.fetch_add(1, std::memory_order_relaxed);
  // What follows in the stream cannot be told apart from the refused request's rest.
  keep_alive_ = false;
  head_only_ = false;
  ++number_;
  in_flight_ = true;
  environment_.counters->requests_in_flight.fetch_add(1, std::memory_order_relaxed);
  HttpResponse response;
  response.status = fault.status;
  base::JsonWriter json(response.body);
  json.BeginObject().Key("error").String(fault.message).EndObject();
  Respond(number_, std::move(response));
}

void HttpSession::Respond(uint64_t number, HttpResponse&& response) {
  if (number != number_ || !in_flight_ || parts_ != nullptr) return;
  Answered();
  if (closed_) return;
  keep_alive_ =
      keep_alive_ && !response.close && !environment_.draining->load(std::memory_order_relaxed);
  size_t length = response.body.size();
  for (const tensor::Buffer& blob : response.blobs) length += static_cast<size_t>(blob.bytes());
  out_.clear();
  AppendHead(response, keep_alive_, Framing::kLength, length, out_);
  if (!head_only_) {
    out_ += response.body;
    out_blobs_ = std::move(response.blobs);
  }
  out_sent_ = 0;
  Write();
}

// The request in flight is answered, or nobody waits for that any more.
void HttpSession::Answered() {
  if (!in_flight_) return;
  in_flight_ = false;
  calls_.clear();
  environment_.counters->requests_in_flight.fetch_sub(1, std::memory_order_relaxed);
  if (parts_ == nullptr) return;
  environment_.counters->streams.fetch_sub(1, std::memory_order_relaxed);
  parts_ = nullptr;
}

void HttpSession::RespondInParts(uint64_t number, HttpResponse&& head, std::function<void()> left) {
  if (number != number_ || !in_flight_ || parts_ != nullptr || closed_) return;
  const Framing framing = request_.takes_chunks ? Framing::kChunks : Framing::kClosing;
  keep_alive_ = keep_alive_ && !head.close && framing == Framing::kChunks &&
                !environment_.draining->load(std::memory_order_relaxed);
  // What does not fit into this much is the client's to take first: a reader that is behind is
  // found out early.
  int unsent_max = 64 << 10;
  setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max,
             sizeof unsent_max);
  parts_ = std::make_unique<AnswerParts>(framing, head_only_, std::move(left));
  environment_.counters->streams.fetch_add(1, std::memory_order_relaxed);
  out_.clear();
  out_sent_ = 0;
  AppendHead(head, keep_alive_, framing, 0, out_);
  parts_->Frame(head.body, out_);
  Write();
}

bool HttpSession::SendPart(uint64_t number, std::string_view part, bool last) {
  if (number != number_ || parts_ == nullptr || parts_->ended()) return false;
  std::string& to = writing_ ? parts_->waiting : out_;
  parts_->Frame(part, to);
  if (last) parts_->FrameEnd(to);
  if (!writing_) {
    Write();
  } else if (static_cast<int64_t>(parts_->waiting.size()) > environment_.limits->stream_bytes_max) {
    environment_.counters->stalled.fetch_add(1, std::memory_order_relaxed);
    Close();
  }
  return !closed_;
}

// What was being written of an answer in parts has left: the next of it begins. False: that was its
// end.
bool HttpSession::PartsGoOn() {
  out_.clear();
  out_sent_ = 0;
  if (!parts_->waiting.empty()) {
    out_.swap(parts_->waiting);
    Write();
    return true;
  }
  if (!parts_->ended()) {
    parts_->Left();
    return true;
  }
  Answered();
  keep_alive_ = keep_alive_ && !environment_.draining->load(std::memory_order_relaxed);
  return false;
}

void HttpSession::Write() {
  constexpr size_t kPieces = 64;
  for (;;) {
    iovec pieces[kPieces];
    size_t count = 0;
    size_t skip = out_sent_;
    auto add = [&](const void* data, size_t bytes) {
      if (skip >= bytes) {
        skip -= bytes;
        return;
      }
      if (count == kPieces) return;
      pieces[count++] = {const_cast<char*>(static_cast<const char*>(data)) + skip, bytes - skip};
      skip = 0;
    };
    add(out_.data(), out_.size());
    for (const tensor::Buffer& blob : out_blobs_)
      add(blob.data(), static_cast<size_t>(blob.bytes()));
    if (count == 0) return Written();
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    ssize_t n = sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return Close();
      return AwaitWritable();
    }
    out_sent_ += static_cast<size_t>(n);
    if (writing_ && parts_ != nullptr) since_ = base::SystemClock::Get().Now();
  }
}

void HttpSession::AwaitWritable() {
  if (!writing_) since_ = base::SystemClock::Get().Now();
  writing_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_write,
                     [self = shared_from_this()](const boost::system::error_code& ec) {
                       if (ec || self->closed_) return;
                       self->Write();
                     });
}

void HttpSession::Written() {
  writing_ = false;
  out_blobs_.clear();
  if (out_.capacity() > (1 << 20)) out_ = {};
  if (parts_ != nullptr && PartsGoOn()) return;
  if (!keep_alive_) {
    // Closing now would reset a client that is still sending, and with it the answer. It is given
    // the end of file and read out for a while.
    shutdown(socket_.native_handle(), SHUT_WR);
    lingering_ = true;
    discarded_bytes_ = 0;
    since_ = base::SystemClock::Get().Now();
    return Discard();
  }
  since_ = base::SystemClock::Get().Now();
  if (processing_) return;
  Process();
  if (!closed_ && !lingering_ && readable_ && !in_flight_ && !writing_) ReadAndProcess();
}

void HttpSession::Discard() {
  char bytes[16 << 10];
  for (;;) {
    ssize_t n = recv(socket_.native_handle(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return AwaitReadable();
    if (n <= 0) return Close();
    discarded_bytes_ += n;
    if (discarded_bytes_ > kDiscardMax) return Close();
  }
}

bool HttpSession::Tick(base::Time now) {
  if (closed_) return false;
  const HttpLimits& limits = *environment_.limits;
  bool reading = reading_ != Reading::kHead || begin_ != end_;
  if (lingering_) {
    if (now - since_ > kLinger) Close();
  } else if (writing_) {
    const bool stalls = parts_ != nullptr;
    if (now - since_ > (stalls ? limits.stall_timeout : limits.write_timeout)) {
      if (stalls) environment_.counters->stalled.fetch_add(1, std::memory_order_relaxed);
      Close();
    }
  } else if (in_flight_) {
    // The deadline of the request itself decides.
  } else if (reading) {
    if (now - since_ > limits.read_timeout) Refuse({408, "the request did not arrive in time"});
  } else if (now - since_ > limits.idle_timeout ||
             environment_.draining->load(std::memory_order_relaxed)) {
    Close();
  }
  return !closed_;
}

void HttpSession::Close() {
  if (closed_) return;
  closed_ = true;
  environment_.counters->connections.fetch_sub(1, std::memory_order_relaxed);
  for (const std::shared_ptr<engine::Call>& call : calls_) call->Cancel();
  Answered();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace sluice::serve
