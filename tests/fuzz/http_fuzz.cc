// HTTP heads, chunked bodies, paths, and the small header parsers. One input is a stream of
// requests.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "serve/http/compression.h"
#include "serve/http/request_parser.h"
#include "serve/oip/http_routes.h"
#include "serve/oip/infer_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::serve;
  static const HttpLimits limits = [] {
    HttpLimits l;
    l.body_bytes_max = 1 << 16;
    l.chunk_count_max = 1000;
    return l;
  }();
  static RequestParser parser(limits);
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  while (!bytes.empty()) {
    size_t head_end = FindHeadEnd(bytes, 0);
    if (head_end == std::string_view::npos) return 0;
    HttpRequest request;
    std::string_view head = bytes.substr(0, head_end);
    if (parser.ParseHead(head, request).status != 0) return 0;
    bytes.remove_prefix(head_end);
    CHECK_LE(static_cast<int64_t>(request.headers.size()), limits.header_count_max);
    for (const HttpHeader& header : request.headers) {
      // Every view lies inside of the head.
      CHECK(header.name.data() >= head.data() && header.name.end() <= head.end());
      CHECK(header.value.empty() ||
            (header.value.data() >= head.data() && header.value.end() <= head.end()));
      ParseGrpcTimeout(header.value);
      ParseMillis(header.value);
      PreferredCoding(header.value);
    }
    for (const std::string& part : SplitPath(request.target, "/base"))
      CHECK_LE(part.size(), request.target.size());
    SplitPath(request.target, "");
    if (!parser.chunked()) {
      CHECK_LE(parser.content_length(), limits.body_bytes_max);
      bytes.remove_prefix(std::min(bytes.size(), static_cast<size_t>(parser.content_length())));
      continue;
    }
    // Fed in pieces of a size that the input decides, as a socket would.
    size_t piece = 1 + head.size() % 37;
    size_t ready = 0;
    while (!parser.done()) {
      if (ready == bytes.size()) return 0;
      ready = std::min(bytes.size(), ready + piece);
      size_t consumed = 0;
      if (parser.FeedChunked(bytes.substr(0, ready), consumed).status != 0) return 0;
      CHECK_LE(consumed, ready);
      bytes.remove_prefix(consumed);
      ready -= consumed;
    }
    CHECK_LE(static_cast<int64_t>(parser.body().size()), limits.body_bytes_max);
    sluice::base::Result<std::string> inflated =
        Decompress(ContentCoding::kGzip, parser.body(), 1 << 16);
    if (inflated.ok()) CHECK_LE(inflated->size(), size_t{1} << 16);
  }
  return 0;
}
