#include "serve/openai/request_context.h"

#include <gtest/gtest.h>

namespace sluice::serve {
namespace {

HttpRequest With(std::vector<HttpHeader> headers) {
  HttpRequest request;
  request.headers = std::move(headers);
  return request;
}

TEST(RequestContext, ReadsWhatIsExpectedOfAnAnswer) {
  const CallContext context = ContextOf(With({{"X-SLO-TTFT-ms", "250"},
                                              {"x-slo-tpot-ms", "40"},
                                              {"x-envoy-expected-rq-timeout-ms", "1500"},
                                              {"traceparent", "00-ab-cd-01"}}));
  EXPECT_EQ(context.ttft, base::Duration::Millis(250));
  EXPECT_EQ(context.tpot, base::Duration::Millis(40));
  EXPECT_EQ(context.transport_timeout, base::Duration::Millis(1500));
  EXPECT_EQ(context.trace_parent, "00-ab-cd-01");
}

TEST(RequestContext, ExpectsNothingWhereNothingOrNonsenseIsSaid) {
  for (const char* nonsense : {"", "-1", "soon", "1e3", "99999999999999999999"}) {
    const CallContext context =
        ContextOf(With({{"x-slo-ttft-ms", nonsense}, {"x-slo-tpot-ms", nonsense}}));
    EXPECT_EQ(context.ttft, base::Duration::Max()) << nonsense;
    EXPECT_EQ(context.tpot, base::Duration::Max()) << nonsense;
  }
}

TEST(RequestContext, EchoesTheNameOfARequestUnlessItCouldBreakAHead) {
  EXPECT_EQ(EchoedHeaders(With({{"X-Request-Id", "a-1"}})), "x-request-id: a-1\r\n");
  EXPECT_EQ(EchoedHeaders(With({})), "");
  EXPECT_EQ(EchoedHeaders(With({{"x-request-id", "a\r\nSet-Cookie: b"}})), "");
  EXPECT_EQ(EchoedHeaders(With({{"x-request-id", std::string(129, 'x')}})), "");
}

}  // namespace
}  // namespace sluice::serve
