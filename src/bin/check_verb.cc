// `sluice check`: loads every model of a repository as `serve` would, without listening.
#include <algorithm>
#include <cstdio>

#include "base/json.h"
#include "base/log.h"
#include "bin/command.h"
#include "bin/serve_flags.h"
#include "bin/verbs.h"
#include "serve/repository/repository.h"
#include "serve/server.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"check", "DIR", "Load every model of a repository without serving it.",
                          "sluice check models/ --json"};

void PrintJson(const std::vector<serve::IndexRow>& rows) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("models").BeginArray();
  for (const serve::IndexRow& row : rows) {
    json.BeginObject().Key("name").String(row.name).Key("version").String(row.version);
    json.Key("ok").Bool(row.state == "READY").Key("state").String(row.state);
    json.Key("reason").String(row.reason).EndObject();
  }
  json.EndArray().EndObject();
  std::printf("%s\n", out.c_str());
}

void PrintTable(const std::vector<serve::IndexRow>& rows) {
  size_t width = 5;
  for (const serve::IndexRow& row : rows) width = std::max(width, row.name.size());
  std::printf("%-*s  %7s  %s\n", static_cast<int>(width), "model", "version", "state");
  for (const serve::IndexRow& row : rows) {
    std::printf("%-*s  %7s  %s%s%s\n", static_cast<int>(width), row.name.c_str(),
                row.version.c_str(), row.state.empty() ? "UNAVAILABLE" : row.state.c_str(),
                row.reason.empty() ? "" : ": ", row.reason.c_str());
  }
}

}  // namespace

int RunCheck(const Arguments& arguments) {
  ServeSettings settings;
  settings.log_level = "warning";
  bool json = false;
  std::vector<Flag> flags = ServeFlags(settings);
  AddSwitch("json", &json, "one JSON object instead of the table", flags);
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  if (const base::Status logging = ApplyLogging(settings); !logging.ok()) {
    return Fail(kUsage, logging.error());
  }
  settings.server.models = positional->front();
  settings.server.http_port = settings.server.grpc_port = settings.server.metrics_port = -1;
  Runtime runtime(settings.runtime);
  serve::Server server(settings.server, {&runtime.loader(), {}, {}});
  if (const base::Status started = server.Start(); !started.ok()) {
    return Fail(kUsage, started.error());
  }
  server.AwaitModels();
  const std::vector<serve::IndexRow> rows = server.repository().Index(false);
  server.Stop();
  json ? PrintJson(rows) : PrintTable(rows);
  const bool all = std::all_of(rows.begin(), rows.end(),
                               [](const serve::IndexRow& row) { return row.state == "READY"; });
  return all ? kExitOk : kExitFailure;
}

}  // namespace sluice::bin
