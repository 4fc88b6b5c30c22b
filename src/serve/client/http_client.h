// A small blocking HTTP/1.1 client for one server: what `bench`, `infer` and the tests need, and no
// more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/result.h"

namespace sluice::serve {

struct HttpReply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  // Empty when absent; names compare in any case.
  std::string_view header(std::string_view name) const;
};

// One kept-alive connection. One thread at a time.
class HttpClient {
 public:
  // kUnavailable when nobody listens. `timeout` is of each later read or write.
  static base::Result<HttpClient> Connect(const std::string& host, int64_t port,
                                          base::Duration timeout = base::Duration::Seconds(30));

  // `headers` are whole lines, each with its line end. kUnavailable: the connection ended;
  // kDeadlineExceeded: timeout.
  base::Result<HttpReply> Send(std::string_view method, std::string_view target,
                               std::string_view body = {}, std::string_view headers = {});
  // The two halves of Send, for bytes of one's own.
  base::Status Write(std::string_view bytes);
  base::Result<HttpReply> Read();
  // The next bytes as they stand on the wire, at least one; empty: the server has closed.
  base::Result<std::string> ReadSome();
  // Half-closes: nothing more will be written.
  void FinishWriting();
  // Whether the server has closed: waits for it up to the timeout.
  bool AwaitClosed();

  // The bytes that Send writes.
  static std::string Format(std::string_view method, std::string_view target, std::string_view body,
                            std::string_view headers);

 private:
  explicit HttpClient(base::FileHandle socket) : socket_(std::move(socket)) {}
  base::Result<size_t> Receive();  // bytes that came; 0: closed
  base::Result<size_t> ReadChunks(size_t begin, std::string& body);

  base::FileHandle socket_;
  std::string buffer_;  // read and not consumed
};

}  // namespace sluice::serve
