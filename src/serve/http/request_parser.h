// The head of an HTTP/1.1 request and the chunked coding, bounded. Bytes in, views and bytes out;
// no sockets.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/config.h"
#include "serve/http/message.h"

namespace sluice::serve {

// Why a request was refused before any route saw it: the HTTP status and a text for the client.
struct HttpFault {
  int status = 0;  // 0: no fault
  std::string message;
};

// Position just behind the empty line that ends a head, or npos. Looks from `from` on (what was
// searched before).
size_t FindHeadEnd(std::string_view bytes, size_t from);

// Parses one request after another. Owner: one session. After ParseHead the framing accessors tell
// how the body comes; for a chunked body FeedChunked decodes it.
class RequestParser {
 public:
  explicit RequestParser(const HttpLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // `head` is everything up to and with the empty line. Fills method, target, headers and
  // keep_alive of `request` with views into `head`.
  HttpFault ParseHead(std::string_view head, HttpRequest& request);

  bool chunked() const;
  int64_t content_length() const;  // 0 when none was given; at most body_bytes_max
  bool expects_continue() const;

  // Decodes what `bytes` holds of a chunked body into body(); `consumed` of them are done with.
  // done() tells the end.
  HttpFault FeedChunked(std::string_view bytes, size_t& consumed);
  bool done() const;
  std::string& body();

 private:
  class Beast;
  const HttpLimits limits_;
  std::unique_ptr<Beast> beast_;
};

}  // namespace sluice::serve
