// One HTTP request and one response as the routes see them. No sockets here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "tensor/tensor.h"

namespace sluice::serve {

struct HttpHeader {
  std::string_view name;
  std::string_view value;
};

// Views into the session's buffer: valid only while HttpHandler::Handle runs.
struct HttpRequest {
  std::string_view method;
  std::string_view target;  // as sent, with its query
  std::vector<HttpHeader> headers;
  // Readable kBodyPadding bytes past its end, whatever they hold, as the JSON parser wants.
  std::string_view body;
  tensor::Buffer
      body_buffer;  // set when the body has a buffer of its own, which then may outlive the request
  base::Time arrival;  // first byte
  bool keep_alive = true;
  bool takes_chunks = true;  // HTTP/1.1: its answer may come in chunks

  // The value of the first header of this name, in any case; empty when absent.
  std::string_view header(std::string_view name) const;
  bool has_header(std::string_view name) const;
};

inline constexpr int64_t kBodyPadding = 64;

struct HttpResponse {
  int status = 200;
  std::string_view content_type = "application/json";  // a literal; empty: no such header
  std::string headers;                                 // further lines, each "Name: value\r\n"
  std::string body;
  std::vector<tensor::Buffer> blobs;  // sent behind the body without a copy
  bool close = false;
};

// ASCII case-insensitive equality, as header names compare.
bool EqualsIgnoringCase(std::string_view a, std::string_view b);

}  // namespace sluice::serve
