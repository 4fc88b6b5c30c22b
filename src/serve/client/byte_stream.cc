#include "serve/client/byte_stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>

#include "base/files.h"

namespace sluice::serve {
namespace {

struct ContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct SslDeleter {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
struct AddressDeleter {
  void operator()(addrinfo* addresses) const { freeaddrinfo(addresses); }
};

base::Error Late(const Url& to, const char* what) {
  return base::DeadlineExceeded(to.origin() + ": " + what + " took too long");
}

base::Error Broken(const Url& to, const char* what) {
  return base::Unavailable(to.origin() + ": " + what + ": " + std::strerror(errno));
}

// Waits until the socket takes or has bytes. False: not within `timeout`.
bool Await(int fd, short events, base::Duration timeout) {
  pollfd one{fd, events, 0};
  const int64_t ms = std::clamp<int64_t>(timeout.ns / 1'000'000, 1, INT_MAX);
  int ready = 0;
  do {
    ready = poll(&one, 1, static_cast<int>(ms));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

base::Result<base::FileHandle> ConnectTo(const addrinfo& address, const Url& to,
                                         base::Duration timeout) {
  base::FileHandle socket(::socket(
      address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address.ai_protocol));
  if (!socket) return Broken(to, "socket");
  const int on = 1;
  setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(socket.fd(), address.ai_addr, address.ai_addrlen) == 0) return socket;
  if (errno != EINPROGRESS) return Broken(to, "connect");
  if (!Await(socket.fd(), POLLOUT, timeout)) return Late(to, "connecting");
  int reason = 0;
  socklen_t size = sizeof reason;
  getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &reason, &size);
  errno = reason;
  if (reason != 0) return Broken(to, "connect");
  return socket;
}

base::Result<base::FileHandle> ConnectSocket(const Url& to, base::Duration timeout) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found);
  if (failed != 0) {
    return base::Unavailable(to.origin() + ": the host cannot be found: " + gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, AddressDeleter> addresses(found);
  base::Error last = base::Unavailable(to.origin() + ": the host has no address");
  for (const addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    base::Result<base::FileHandle> socket = ConnectTo(*at, to, timeout);
    if (socket.ok()) return socket;
    last = std::move(socket).error();
  }
  return last;
}

std::string SslReason() {
  const unsigned long code = ERR_get_error();
  if (code == 0) return "the connection ended";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

}  // namespace

struct ByteStream::State {
  Url to;
  base::Duration timeout;
  base::FileHandle socket;
  std::unique_ptr<SSL_CTX, ContextDeleter> context;
  std::unique_ptr<SSL, SslDeleter> ssl;  // null: plain

  // After a call of OpenSSL that gave `result`: waits for what it needs. True: call it again.
  base::Result<bool> AwaitSsl(int result, const char* what) {
    const int why = SSL_get_error(ssl.get(), result);
    if (why == SSL_ERROR_ZERO_RETURN) return false;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
      const short events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
      if (!Await(socket.fd(), events, timeout)) return Late(to, what);
      return true;
    }
    return base::Unavailable(to.origin() + ": " + what + ": " + SslReason());
  }
  base::Status StartTls();
  base::Status OpenTunnel();
};

base::Status ByteStream::State::StartTls() {
  context.reset(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr || SSL_CTX_set_default_verify_paths(context.get()) != 1) {
    return base::Internal("OpenSSL cannot be set up: " + SslReason());
  }
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  ssl.reset(SSL_new(context.get()));
  if (ssl == nullptr) return base::Internal("OpenSSL cannot be set up: " + SslReason());
  unsigned char raw[16];
  const bool is_ip = inet_pton(AF_INET, to.host.c_str(), raw) == 1 ||
                     inet_pton(AF_INET6, to.host.c_str(), raw) == 1;
  if (is_ip) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), to.host.c_str());
  } else {
    SSL_set1_host(ssl.get(), to.host.c_str());
    SSL_set_tlsext_host_name(ssl.get(), to.host.c_str());
  }
  SSL_set_fd(ssl.get(), socket.fd());
  for (;;) {
    ERR_clear_error();
    const int result = SSL_connect(ssl.get());
    if (result == 1) return base::Ok();
    const long verified = SSL_get_verify_result(ssl.get());
    if (verified != X509_V_OK) {
      return base::PermissionDenied(to.origin() + ": its certificate is not trusted: " +
                                    X509_verify_cert_error_string(verified));
    }
    const bool again = TRY(AwaitSsl(result, "the TLS handshake"));
    if (!again) return base::Unavailable(to.origin() + ": it ended the TLS handshake");
  }
}

base::Result<ByteStream> ByteStream::Connect(const Url& to, const Options& options) {
  auto state = std::make_unique<State>();
  state->to = to;
  state->timeout = options.timeout;
  state->socket = TRY(ConnectSocket(options.proxy.value_or(to), options.connect_timeout));
  ByteStream stream(std::move(state));
  if (!to.tls) return stream;
  if (options.proxy.has_value()) TRY(stream.state_->OpenTunnel());
  TRY(stream.state_->StartTls());
  return stream;
}

base::Status ByteStream::State::OpenTunnel() {
  const std::string brackets =
      to.host.find(':') != std::string::npos ? "[" + to.host + "]" : to.host;
  const std::string place = brackets + ":" + std::to_string(to.port);
  std::string_view request;
  const std::string text = "CONNECT " + place + " HTTP/1.1\r\nHost: " + place + "\r\n\r\n";
  for (request = text; !request.empty();) {
    const ssize_t n = send(socket.fd(), request.data(), request.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN && Await(socket.fd(), POLLOUT, timeout)) continue;
    if (n < 0) return Broken(to, "asking the proxy");
    request.remove_prefix(static_cast<size_t>(n));
  }
  // Byte by byte: what follows the answer belongs to TLS.
  std::string answer;
  while (answer.find("\r\n\r\n") == std::string::npos) {
    char byte = 0;
    if (answer.size() > 8192) return base::Unavailable("the proxy's answer has no end");
    const ssize_t n = recv(socket.fd(), &byte, 1, 0);
    if (n < 0 && errno == EAGAIN) {
      if (!Await(socket.fd(), POLLIN, timeout)) return Late(to, "the proxy's answer");
      continue;
    }
    if (n <= 0) return base::Unavailable(to.origin() + ": the proxy closed the connection");
    answer += byte;
  }
  if (answer.size() > 12 && answer.starts_with("HTTP/1.") && answer.substr(9, 3) == "200") {
    return base::Ok();
  }
  return base::Unavailable(to.origin() + ": the proxy answers '" +
                           answer.substr(0, answer.find('\r')) + "'");
}

base::Result<size_t> ByteStream::Read(char* out, size_t size) {
  State& state = *state_;
  for (;;) {
    if (state.ssl != nullptr) {
      ERR_clear_error();
      const int n =
          SSL_read(state.ssl.get(), out, static_cast<int>(std::min<size_t>(size, 1 << 30)));
      if (n > 0) return static_cast<size_t>(n);
      const bool again = TRY(state.AwaitSsl(n, "reading"));
      if (!again) return size_t{0};
      continue;
    }
    const ssize_t n = recv(state.socket.fd(), out, size, 0);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return Broken(state.to, "reading");
    if (!Await(state.socket.fd(), POLLIN, state.timeout)) return Late(state.to, "reading");
  }
}

base::Status ByteStream::Write(std::string_view bytes) {
  State& state = *state_;
  while (!bytes.empty()) {
    if (state.ssl != nullptr) {
      ERR_clear_error();
      const int n = SSL_write(state.ssl.get(), bytes.data(),
                              static_cast<int>(std::min<size_t>(bytes.size(), 1 << 30)));
      if (n > 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      const bool again = TRY(state.AwaitSsl(n, "writing"));
      if (!again) return base::Unavailable(state.to.origin() + ": it ended the connection");
      continue;
    }
    const ssize_t n = send(state.socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!Await(state.socket.fd(), POLLOUT, state.timeout)) return Late(state.to, "writing");
    } else if (errno != EINTR) {
      return Broken(state.to, "writing");
    }
  }
  return base::Ok();
}

ByteStream::ByteStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
ByteStream::ByteStream(ByteStream&&) noexcept = default;
ByteStream& ByteStream::operator=(ByteStream&&) noexcept = default;
ByteStream::~ByteStream() = default;

}  // namespace sluice::serve
