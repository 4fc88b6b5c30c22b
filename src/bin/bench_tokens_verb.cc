// `sluice bench-tokens`: streamed completions of a running server, by OpenAI's API.
#include <cstdio>

#include "base/json.h"
#include "bin/command.h"
#include "bin/token_load.h"
#include "bin/verbs.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {
    "bench-tokens", "MODEL",
    "Load a server that speaks OpenAI's API with streams and tell tokens a second and waits.",
    "sluice bench-tokens writer --clients 16 --prompt-tokens 530 --shared-tokens 500"};

struct Row {
  const char* name;
  const LatencyHistogram& times;
};

std::vector<Row> Rows(const TokenLoadReport& report) {
  return {{"first token", report.first},
          {"between pieces", report.between},
          {"a token behind it", report.token},
          {"whole answer", report.whole}};
}

double Ms(base::Duration d) {
  return d.us() / 1e3;
}

void PrintText(const TokenLoadReport& report) {
  const double seconds = report.took.seconds();
  std::printf("answered  %lld in %.2f s; failed %lld\n", static_cast<long long>(report.answered),
              seconds, static_cast<long long>(report.failed));
  std::printf("tokens    %.1f a second of answers, %.1f of prompts\n",
              static_cast<double>(report.answer_tokens) / seconds,
              static_cast<double>(report.prompt_tokens) / seconds);
  std::printf("%-18s %9s %9s %9s %9s %9s  ms\n", "", "mean", "p50", "p90", "p99", "max");
  for (const Row& row : Rows(report)) {
    std::printf("%-18s %9.2f %9.2f %9.2f %9.2f %9.2f\n", row.name, Ms(row.times.mean()),
                Ms(row.times.Quantile(0.5)), Ms(row.times.Quantile(0.9)),
                Ms(row.times.Quantile(0.99)), Ms(row.times.max()));
  }
  if (report.failed > 0) std::printf("first failure: %s\n", report.first_failure.c_str());
}

void PrintJson(const TokenLoadReport& report) {
  std::string out;
  base::JsonWriter json(out);
  const double seconds = report.took.seconds();
  json.BeginObject().Key("answered").Int(report.answered).Key("failed").Int(report.failed);
  json.Key("seconds").Double(seconds);
  json.Key("answer_tokens").Int(report.answer_tokens);
  json.Key("prompt_tokens").Int(report.prompt_tokens);
  json.Key("answer_tokens_a_second").Double(static_cast<double>(report.answer_tokens) / seconds);
  constexpr const char* kKeys[] = {"ttft_ms", "itl_ms", "tpot_ms", "latency_ms"};
  size_t key = 0;
  for (const Row& row : Rows(report)) {
    json.Key(kKeys[key++]).BeginObject().Key("mean").Double(Ms(row.times.mean()));
    json.Key("p50").Double(Ms(row.times.Quantile(0.5)));
    json.Key("p90").Double(Ms(row.times.Quantile(0.9)));
    json.Key("p99").Double(Ms(row.times.Quantile(0.99)));
    json.Key("max").Double(Ms(row.times.max())).EndObject();
  }
  json.Key("first_failure").String(report.first_failure).EndObject();
  std::printf("%s\n", out.c_str());
}

}  // namespace

int RunBenchTokens(const Arguments& arguments) {
  TokenLoadOptions options;
  std::string url = "http://127.0.0.1:8000";
  int64_t seed = 1;
  bool json = false;
  const std::vector<Flag> flags = {
      {"url", &url, "URL", "the server; another one that speaks OpenAI's API will do"},
      {"clients", &options.clients, "N", "each asks again when its answer is whole"},
      {"requests", &options.requests, "N", "in all"},
      {"prompt-tokens", &options.prompt_tokens, "N", "drawn at random"},
      {"shared-tokens", &options.shared_tokens, "N", "of them, the same in every prompt"},
      {"answer-tokens", &options.answer_tokens, "N", "of each answer"},
      {"id-max", &options.id_max, "N", "the highest token that is drawn"},
      {"seed", &seed, "N", "of the prompts"},
      {"json", &json, "", "one JSON object"},
  };
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  options.model = positional->front();
  options.seed = static_cast<uint64_t>(seed);
  const auto run = [&]() -> base::Result<TokenLoadReport> {
    const bool has_scheme = url.find("://") != std::string::npos;
    options.server = TRY(serve::ParseUrl(has_scheme ? url : "http://" + url));
    return RunTokenLoad(options);
  };
  const auto report = run();
  if (!report.ok()) return Fail(kUsage, report.error());
  json ? PrintJson(*report) : PrintText(*report);
  return report->answered > 0 ? kExitOk : kExitFailure;
}

}  // namespace sluice::bin
