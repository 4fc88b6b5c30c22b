// `sluice bench`: loads a running server and tells latencies and goodput.
#include <cstdio>

#include "base/json.h"
#include "bin/command.h"
#include "bin/load.h"
#include "bin/server_address.h"
#include "bin/synthetic_request.h"
#include "bin/verbs.h"
#include "serve/client/grpc_client.h"
#include "serve/client/http_client.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {
    "bench", "MODEL", "Load a running server and tell latencies and goodput.",
    "sluice bench click --protocol binary --connections 16 --rate 2000 --bound-ms 5"};

struct Settings {
  std::string url = "127.0.0.1:8000";
  std::string grpc_url = "127.0.0.1:8001";
  std::string protocol = "json";
  double seconds = 5;
  double warm_up_seconds = 0.5;
  double bound_ms = 50;
  int64_t timeout_us = 0;
  int64_t seed = 1;
  bool json = false;
  LoadOptions load;
  RequestSizes sizes;
};

std::vector<Flag> Flags(Settings& s) {
  return {
      {"url", &s.url, "HOST:PORT", "the server's HTTP address"},
      {"grpc-url", &s.grpc_url, "HOST:PORT", "its gRPC address, with --protocol grpc"},
      {"protocol", &s.protocol, "json|binary|grpc", "HTTP with JSON or binary tensors, or gRPC"},
      {"connections", &s.load.connections, "N", "connections, one request at a time on each"},
      {"rate", &s.load.rate, "N", "requests a second in all, Poisson arrivals; 0: closed loop"},
      {"seconds", &s.seconds, "N", "how long to measure"},
      {"warm-up-seconds", &s.warm_up_seconds, "N", "how long to load before that"},
      {"bound-ms", &s.bound_ms, "N", "goodput counts answers within it"},
      {"timeout-us", &s.timeout_us, "N", "the deadline that each request carries; 0: none"},
      {"batch", &s.sizes.batch, "N", "rows of a request"},
      {"length", &s.sizes.length, "N", "size of other open dimensions"},
      {"integer-max", &s.sizes.integer_max, "N", "integers are drawn from 0 to N"},
      {"seed", &s.seed, "N", "of values and arrivals"},
      {"json", &s.json, "", "one JSON object"},
  };
}

base::Error StatusError(const serve::HttpReply& reply) {
  const base::Code code = reply.status == 400   ? base::Code::kInvalidArgument
                          : reply.status == 404 ? base::Code::kNotFound
                          : reply.status == 504 ? base::Code::kDeadlineExceeded
                                                : base::Code::kUnavailable;
  return {code, "status " + std::to_string(reply.status) + ": " + reply.body.substr(0, 200)};
}

class HttpCaller : public Caller {
 public:
  HttpCaller(serve::HttpClient client, std::string request)
      : client_(std::move(client)), request_(std::move(request)) {}
  base::Status Call() override {
    TRY(client_.Write(request_));
    const serve::HttpReply reply = TRY(client_.Read());
    if (reply.status == 200) return base::Ok();
    return StatusError(reply);
  }

 private:
  serve::HttpClient client_;
  const std::string request_;
};

class GrpcCaller : public Caller {
 public:
  GrpcCaller(const ServerAddress& address, inference::ModelInferRequest request,
             base::Duration timeout)
      : client_(address.host, address.port), request_(std::move(request)), timeout_(timeout) {}
  base::Status Call() override { return client_.Infer(request_, response_, timeout_); }

 private:
  serve::GrpcClient client_;
  const inference::ModelInferRequest request_;
  inference::ModelInferResponse response_;
  const base::Duration timeout_;
};

base::Result<LoadReport> Run(const std::string& model, Settings& s) {
  const ServerAddress address = TRY(ParseServerAddress(s.url));
  const ServerAddress grpc = TRY(ParseServerAddress(s.grpc_url));
  if (s.protocol != "json" && s.protocol != "binary" && s.protocol != "grpc") {
    return base::InvalidArgument("--protocol expects json, binary or grpc, got '" + s.protocol +
                                 "'");
  }
  if (s.load.connections < 1 || s.load.connections > 1024) {
    return base::InvalidArgument("--connections expects 1 to 1024");
  }
  if (!(s.seconds > 0) || s.warm_up_seconds < 0 || s.load.rate < 0 || s.sizes.integer_max < 0) {
    return base::InvalidArgument(
        "--seconds, --warm-up-seconds, --rate and --integer-max must not "
        "be negative, --seconds not zero");
  }
  s.sizes.seed = s.load.seed = static_cast<uint64_t>(s.seed);
  s.load.duration = {static_cast<int64_t>(s.seconds * 1e9)};
  s.load.warm_up = {static_cast<int64_t>(s.warm_up_seconds * 1e9)};
  s.load.bound = {static_cast<int64_t>(s.bound_ms * 1e6)};
  serve::HttpClient first = TRY(serve::HttpClient::Connect(address.host, address.port));
  const std::vector<SyntheticTensor> tensors = TRY(MakeTensors(first, model, s.sizes));
  const std::string parameters =
      s.timeout_us > 0 ? "{\"timeout\":" + std::to_string(s.timeout_us) + "}" : "";
  const base::Duration timeout =
      s.timeout_us > 0 ? base::Duration::Micros(s.timeout_us) : base::Duration::Seconds(30);
  return RunLoad(s.load, [&]() -> base::Result<std::unique_ptr<Caller>> {
    if (s.protocol == "grpc") {
      return std::unique_ptr<Caller>(
          std::make_unique<GrpcCaller>(grpc, GrpcRequest(model, tensors), timeout));
    }
    return std::unique_ptr<Caller>(std::make_unique<HttpCaller>(
        TRY(serve::HttpClient::Connect(address.host, address.port)),
        s.protocol == "json" ? HttpJsonRequest(model, tensors, parameters)
                             : HttpBinaryRequest(model, tensors, parameters)));
  });
}

void PrintText(const LoadReport& report, const Settings& s) {
  std::printf("answered  %lld in %.2f s, %.0f a second; failed %lld",
              static_cast<long long>(report.succeeded), report.took.seconds(), report.rate(),
              static_cast<long long>(report.failed));
  if (report.unsent > 0) std::printf("; not sent %lld", static_cast<long long>(report.unsent));
  std::printf("\ngoodput   %.0f a second within %.3g ms\n", report.goodput(s.load.bound),
              s.bound_ms);
  std::printf("latency   mean %.1f us", report.latency.mean().us());
  for (const double q : {0.5, 0.9, 0.99, 0.999}) {
    std::printf(", p%g %.1f", q * 100, report.latency.Quantile(q).us());
  }
  std::printf(", max %.1f\n", report.latency.max().us());
  if (report.failed > 0) std::printf("first failure: %s\n", report.first_failure.c_str());
}

void PrintJson(const LoadReport& report, const Settings& s) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("succeeded").Int(report.succeeded).Key("failed").Int(report.failed);
  json.Key("unsent").Int(report.unsent).Key("seconds").Double(report.took.seconds());
  json.Key("rate").Double(report.rate()).Key("bound_ms").Double(s.bound_ms);
  json.Key("goodput").Double(report.goodput(s.load.bound)).Key("latency_us").BeginObject();
  json.Key("mean").Double(report.latency.mean().us());
  json.Key("p50").Double(report.latency.Quantile(0.5).us());
  json.Key("p90").Double(report.latency.Quantile(0.9).us());
  json.Key("p99").Double(report.latency.Quantile(0.99).us());
  json.Key("p999").Double(report.latency.Quantile(0.999).us());
  json.Key("max").Double(report.latency.max().us()).EndObject();
  json.Key("first_failure").String(report.first_failure).EndObject();
  std::printf("%s\n", out.c_str());
}

}  // namespace

int RunBench(const Arguments& arguments) {
  Settings settings;
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, Flags(settings), arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  const auto report = Run(positional->front(), settings);
  if (!report.ok()) return Fail(kUsage, report.error());
  settings.json ? PrintJson(*report, settings) : PrintText(*report, settings);
  return report->succeeded > 0 ? kExitOk : kExitFailure;
}

}  // namespace sluice::bin
