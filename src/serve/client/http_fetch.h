// One request to a server somewhere and its answer, whose body is read piece by piece: for
// downloads of any size. http_client.h is for our own server.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "serve/client/byte_stream.h"
#include "serve/client/http_client.h"

namespace sluice::serve {

struct FetchRequest {
  std::string_view method = "GET";
  Url url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string_view body = {};
  ByteStream::Options connection;
};

// A connection of its own, closed with the object. One thread at a time.
class HttpFetch {
 public:
  // Sends the request and reads the answer's head. Errors as ByteStream's; kInternal when what
  // comes is no HTTP.
  static base::Result<HttpFetch> Begin(const FetchRequest& request);

  int status() const { return head_.status; }
  std::string_view header(std::string_view name) const { return head_.header(name); }
  // Bytes of the body as the head says; -1: not said.
  int64_t length() const { return length_; }

  // The next bytes of the body; 0 behind its end. kUnavailable when the connection ends before it.
  base::Result<size_t> Read(char* out, size_t size);
  // The rest of the body. kResourceExhausted when it is longer.
  base::Result<std::string> ReadAll(size_t bytes_max);

  static constexpr size_t kHeadBytesMax = 64 << 10;

 private:
  explicit HttpFetch(ByteStream stream) : stream_(std::move(stream)) {}
  base::Status ReadHead();
  base::Status ReadBodyKind(std::string_view method);
  base::Result<size_t> Receive(char* out, size_t size);
  base::Result<std::string> ReadLine();
  base::Status NextChunk();

  ByteStream stream_;
  HttpReply head_;
  std::string buffer_;  // read and not consumed
  size_t consumed_ = 0;
  int64_t length_ = -1;
  int64_t left_ = -1;  // of the body or of this chunk; -1: until the connection ends
  bool chunked_ = false;
  bool ended_ = false;
};

}  // namespace sluice::serve
