// A connection to a server somewhere: TCP, or TLS over it with the system's certificates. Blocking,
// every wait bounded.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "serve/client/url.h"

namespace sluice::serve {

// One thread at a time; closes with the object.
class ByteStream {
 public:
  struct Options {
    base::Duration connect_timeout = base::Duration::Seconds(10);  // of each address of the host
    base::Duration timeout = base::Duration::Seconds(30);          // of each wait for bytes
    std::optional<Url> proxy;  // an HTTP proxy; a TLS connection is tunnelled through it
  };
  // Where https is asked for the server's certificate must be of this host and lead to one of the
  // system's roots (or of SSL_CERT_FILE, SSL_CERT_DIR): else kPermissionDenied. kUnavailable: it
  // cannot be reached now; kDeadlineExceeded: it takes too long.
  static base::Result<ByteStream> Connect(const Url& to, const Options& options);

  ByteStream(ByteStream&&) noexcept;
  ByteStream& operator=(ByteStream&&) noexcept;
  ~ByteStream();

  // At least one byte; 0: the other side has ended the connection.
  base::Result<size_t> Read(char* out, size_t size);
  base::Status Write(std::string_view bytes);

 private:
  struct State;
  explicit ByteStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sluice::serve
