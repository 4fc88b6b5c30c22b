#include "serve/client/http_fetch.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "serve/http/message.h"

namespace sluice::serve {
namespace {

base::Error NoHttp(const char* what) {
  return base::Internal(std::string("the server's answer is no HTTP: ") + what);
}

base::Status ParseHead(std::string_view head, HttpReply& reply) {
  size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  if (!line.starts_with("HTTP/1.") || line.size() < 12) return NoHttp("its first line");
  const auto [at, error] = std::from_chars(line.data() + 9, line.data() + 12, reply.status);
  if (error != std::errc() || at != line.data() + 12 || reply.status < 100) {
    return NoHttp("its status");
  }
  while (end != std::string_view::npos) {
    head.remove_prefix(end + 2);
    end = head.find("\r\n");
    const std::string_view field = head.substr(0, end);
    if (field.empty()) continue;
    const size_t colon = field.find(':');
    if (colon == std::string_view::npos) return NoHttp("a header without a colon");
    std::string_view value = field.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) {
      value.remove_prefix(1);
    }
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    reply.headers.emplace_back(field.substr(0, colon), value);
  }
  return base::Ok();
}

}  // namespace

base::Result<HttpFetch> HttpFetch::Begin(const FetchRequest& request) {
  const Url& url = request.url;
  const bool relayed = request.connection.proxy.has_value() && !url.tls;
  std::string text(request.method);
  text += " " + (relayed ? url.text() : url.target) + " HTTP/1.1\r\n";
  text += "Host: " + url.origin().substr(url.tls ? 8 : 7) + "\r\n";
  text += "Accept-Encoding: identity\r\nConnection: close\r\nUser-Agent: sluice\r\n";
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\r\n";
  if (!request.body.empty()) {
    text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  text.append("\r\n").append(request.body);
  HttpFetch fetch(TRY(ByteStream::Connect(url, request.connection)));
  TRY(fetch.stream_.Write(text));
  do {
    TRY(fetch.ReadHead());
  } while (fetch.head_.status < 200);  // interim answers
  TRY(fetch.ReadBodyKind(request.method));
  return fetch;
}

base::Status HttpFetch::ReadHead() {
  head_ = {};
  buffer_.erase(0, consumed_);
  consumed_ = 0;
  size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (buffer_.size() > kHeadBytesMax) return NoHttp("its head has no end");
    char bytes[4096];
    const size_t got = TRY(stream_.Read(bytes, sizeof bytes));
    if (got == 0) return base::Unavailable("the server closed the connection without an answer");
    buffer_.append(bytes, got);
  }
  consumed_ = end + 4;
  return ParseHead(std::string_view(buffer_).substr(0, end), head_);
}

base::Status HttpFetch::ReadBodyKind(std::string_view method) {
  const std::string_view length = header("Content-Length");
  if (!length.empty()) {
    const auto [at, error] = std::from_chars(length.data(), length.data() + length.size(), length_);
    if (error != std::errc() || at != length.data() + length.size() || length_ < 0) {
      return NoHttp("its Content-Length");
    }
  }
  chunked_ = EqualsIgnoringCase(header("Transfer-Encoding"), "chunked");
  if (chunked_) length_ = -1;
  left_ = chunked_ ? 0 : length_;
  ended_ = method == "HEAD" || status() == 204 || status() == 304 || (!chunked_ && length_ == 0);
  return base::Ok();
}

base::Result<size_t> HttpFetch::Receive(char* out, size_t size) {
  if (consumed_ == buffer_.size()) return stream_.Read(out, size);
  const size_t take = std::min(size, buffer_.size() - consumed_);
  std::memcpy(out, buffer_.data() + consumed_, take);
  consumed_ += take;
  return take;
}

base::Result<std::string> HttpFetch::ReadLine() {
  std::string line;
  while (!line.ends_with("\r\n")) {
    char c = 0;
    if (line.size() > 1024) return NoHttp("a chunk's line has no end");
    const size_t got = TRY(Receive(&c, 1));
    if (got == 0) return base::Unavailable("the connection ended inside the answer");
    line += c;
  }
  line.resize(line.size() - 2);
  return line;
}

base::Status HttpFetch::NextChunk() {
  const std::string line = TRY(ReadLine());
  const auto [at, error] = std::from_chars(line.data(), line.data() + line.size(), left_, 16);
  if (error != std::errc() || left_ < 0) return NoHttp("a chunk's size");
  if (left_ > 0) return base::Ok();
  ended_ = true;  // trailers matter to nobody here
  return base::Ok();
}

base::Result<size_t> HttpFetch::Read(char* out, size_t size) {
  if (!ended_ && chunked_ && left_ == 0) TRY(NextChunk());
  if (ended_) return size_t{0};
  const size_t want = left_ < 0 ? size : std::min(size, static_cast<size_t>(left_));
  const size_t got = TRY(Receive(out, want));
  if (got == 0) {
    ended_ = true;
    if (left_ < 0) return got;
    return base::Unavailable("the connection ended " + std::to_string(left_) +
                             " bytes before the answer's end");
  }
  if (left_ < 0) return got;
  left_ -= static_cast<int64_t>(got);
  if (left_ > 0) return got;
  if (chunked_) {
    TRY(ReadLine());  // behind a chunk's bytes
  } else {
    ended_ = true;
  }
  return got;
}

base::Result<std::string> HttpFetch::ReadAll(size_t bytes_max) {
  std::string body;
  char bytes[16 << 10];
  for (;;) {
    const size_t got = TRY(Read(bytes, sizeof bytes));
    if (got == 0) return body;
    if (got > bytes_max - body.size()) {
      return base::ResourceExhausted("the server's answer is longer than " +
                                     std::to_string(bytes_max) + " bytes");
    }
    body.append(bytes, got);
  }
}

}  // namespace sluice::serve
