// Bodies that arrive in the smallest pieces a socket can deliver.
#include "serve/http/request_parser.h"

#include <gtest/gtest.h>

namespace sluice::serve {
namespace {

constexpr std::string_view kHead = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

// The body that `bytes` carry when `piece` of them arrive at a time; "fault" or "unfinished" else.
std::string Feed(std::string_view bytes, size_t piece) {
  HttpLimits limits;
  RequestParser parser(limits);
  HttpRequest request;
  if (parser.ParseHead(kHead, request).status != 0) return "fault";
  size_t begin = 0;
  for (size_t end = 0; !parser.done();) {
    if (end == bytes.size()) return "unfinished";
    end = std::min(bytes.size(), end + piece);
    size_t consumed = 0;
    if (parser.FeedChunked(bytes.substr(begin, end - begin), consumed).status != 0) return "fault";
    begin += consumed;
  }
  return parser.body();
}

TEST(RequestParserTest, AChunkedBodyMayArriveInPiecesOfAnySize) {
  for (size_t piece = 1; piece <= 24; ++piece) {
    EXPECT_EQ(Feed("0\r\n\r\n", piece), "") << piece;
    EXPECT_EQ(Feed("000;last\r\nX: y\r\n\r\n", piece), "") << piece;
    EXPECT_EQ(Feed("3\r\n0ab\r\n1\r\n0\r\n0\r\n\r\n", piece), "0ab0") << piece;
    EXPECT_EQ(Feed("0\r\nX", piece), "unfinished") << piece;
    EXPECT_EQ(Feed("zz\r\n", piece), "fault") << piece;
  }
}

}  // namespace
}  // namespace sluice::serve
