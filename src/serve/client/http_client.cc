#include "serve/client/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "serve/http/message.h"

namespace sluice::serve {

namespace {

constexpr size_t kReplyMax = size_t{1} << 30;

base::Error SocketError(const char* what) {
  if (errno == EAGAIN || errno == EWOULDBLOCK)
    return base::DeadlineExceeded(std::string(what) + " took too long");
  return base::Unavailable(std::string(what) + ": " + std::strerror(errno));
}

// Digits only, bounded; -1 for anything else.
int64_t Number(std::string_view text) {
  if (text.empty() || text.size() > 18) return -1;
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

bool ParseHead(std::string_view head, HttpReply& reply) {
  size_t line_end = head.find("\r\n");
  if (!head.starts_with("HTTP/1.1 ") || line_end < 12) return false;
  reply.status = static_cast<int>(Number(head.substr(9, 3)));
  head.remove_prefix(line_end + 2);
  while ((line_end = head.find("\r\n")) != std::string_view::npos && line_end > 0) {
    std::string_view line = head.substr(0, line_end);
    size_t colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    reply.headers.emplace_back(line.substr(0, colon), value);
    head.remove_prefix(line_end + 2);
  }
  return reply.status >= 100;
}

}  // namespace

std::string_view HttpReply::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoringCase(key, name)) return value;
  }
  return {};
}

base::Result<HttpClient> HttpClient::Connect(const std::string& host, int64_t port,
                                             base::Duration timeout) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host.c_str(), &address.sin_addr) !=
      1) {
    return base::InvalidArgument("'" + host + "' is no IPv4 address");
  }
  base::FileHandle socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return SocketError("socket");
  timeval limit{timeout.ns / 1'000'000'000, timeout.ns % 1'000'000'000 / 1000};
  setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int on = 1;
  setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return SocketError("connect");
  }
  return HttpClient(std::move(socket));
}

std::string HttpClient::Format(std::string_view method, std::string_view target,
                               std::string_view body, std::string_view headers) {
  std::string text;
  text.reserve(method.size() + target.size() + headers.size() + body.size() + 96);
  text.append(method)
      .append(" ")
      .append(target)
      .append(" HTTP/1.1\r\nHost: sluice\r\n")
      .append(headers);
  if (!body.empty() || method == "POST")
    text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  text.append("\r\n").append(body);
  return text;
}

base::Result<HttpReply> HttpClient::Send(std::string_view method, std::string_view target,
                                         std::string_view body, std::string_view headers) {
  TRY(Write(Format(method, target, body, headers)));
  return Read();
}

base::Status HttpClient::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SocketError("write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return base::Ok();
}

base::Result<size_t> HttpClient::Receive() {
  char bytes[16 << 10];
  for (;;) {
    ssize_t n = recv(socket_.fd(), bytes, sizeof bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SocketError("read");
    buffer_.append(bytes, static_cast<size_t>(n));
    return static_cast<size_t>(n);
  }
}

base::Result<HttpReply> HttpClient::Read() {
  size_t head_end;
  while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (TRY(Receive()) == 0) return base::Unavailable("the server closed the connection");
  }
  HttpReply reply;
  if (!ParseHead(std::string_view(buffer_).substr(0, head_end + 2), reply)) {
    return base::Internal("the server's answer is no HTTP/1.1");
  }
  size_t begin = head_end + 4;
  if (EqualsIgnoringCase(reply.header("Transfer-Encoding"), "chunked")) {
    const size_t end = TRY(ReadChunks(begin, reply.body));
    buffer_.erase(0, end);
    return reply;
  }
  // Interim answers have neither a length nor a body.
  int64_t length = reply.status == 100 ? 0 : Number(reply.header("Content-Length"));
  if (length < 0 || static_cast<size_t>(length) > kReplyMax)
    return base::Internal("the answer has no usable length");
  while (buffer_.size() < begin + static_cast<size_t>(length)) {
    if (TRY(Receive()) == 0)
      return base::Unavailable("the server closed the connection inside an answer");
  }
  reply.body = buffer_.substr(begin, static_cast<size_t>(length));
  buffer_.erase(0, begin + static_cast<size_t>(length));
  return reply;
}

// Decodes the chunks that begin at `begin` of the buffer. Where they end.
base::Result<size_t> HttpClient::ReadChunks(size_t begin, std::string& body) {
  for (;;) {
    size_t line_end;
    while ((line_end = buffer_.find("\r\n", begin)) == std::string::npos) {
      if (TRY(Receive()) == 0)
        return base::Unavailable("the server closed the connection inside an answer");
    }
    size_t bytes = 0;
    const char* const last = buffer_.data() + line_end;
    const auto [end, error] = std::from_chars(buffer_.data() + begin, last, bytes, 16);
    if (error != std::errc() || end != last || bytes > kReplyMax - body.size())
      return base::Internal("the answer has a malformed chunk");
    begin = line_end + 2;
    while (buffer_.size() < begin + bytes + 2) {
      if (TRY(Receive()) == 0)
        return base::Unavailable("the server closed the connection inside an answer");
    }
    body.append(buffer_, begin, bytes);
    begin += bytes + 2;
    if (bytes == 0) return begin;
  }
}

base::Result<std::string> HttpClient::ReadSome() {
  if (buffer_.empty()) TRY(Receive());
  return std::exchange(buffer_, {});
}

void HttpClient::FinishWriting() {
  shutdown(socket_.fd(), SHUT_WR);
}

bool HttpClient::AwaitClosed() {
  for (;;) {
    base::Result<size_t> got = Receive();
    // A reset is an end as well.
    if (!got.ok()) return got.error().code == base::Code::kUnavailable;
    if (*got == 0) return true;
  }
}

}  // namespace sluice::serve
