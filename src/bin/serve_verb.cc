// `sluice serve`: loads a repository and answers until SIGTERM or SIGINT, then drains and exits
// with 0.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "bin/command.h"
#include "bin/hub/model_place.h"
#include "bin/serve_flags.h"
#include "bin/verbs.h"
#include "serve/server.h"
#include "serve/service.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"serve", "[DIR|ORG/NAME]",
                          "Serve a model repository, a model's folder or a model of Hugging "
                          "Face's hub over HTTP, gRPC and metrics.",
                          "sluice serve --models models/ --http-port 8000"};

// Whether a folder is a model itself: else it is a repository of models.
bool HoldsModel(const std::string& folder) {
  const auto entries = base::ListFolder(folder);
  if (!entries.ok()) return false;
  return std::any_of(entries->begin(), entries->end(), [](const base::FolderEntry& entry) {
    return !entry.is_folder && (entry.name == "config.json" || entry.name.ends_with(".onnx") ||
                                entry.name.ends_with(".gguf"));
  });
}

// What is served that has no repository around it.
struct SingleFlags {
  std::string name;
  std::string file;
  std::vector<std::string> parameters;
};

base::Status ChooseModels(const std::vector<std::string>& given, const SingleFlags& flags,
                          serve::ServerConfig& server) {
  const bool any = !flags.name.empty() || !flags.file.empty() || !flags.parameters.empty();
  if (given.empty()) {
    if (any) return base::InvalidArgument("--name, --file and --set: expected DIR or ORG/NAME");
    if (!server.models.empty()) return base::Ok();
    return base::InvalidArgument("expected DIR, ORG/NAME or --models, the repository's folder");
  }
  if (!server.models.empty()) {
    return base::InvalidArgument("expected '" + given.front() + "' or --models, got both");
  }
  const ModelPlace place = TRY(FindModel(given.front(), flags.file));
  if (place.file.empty() && !HoldsModel(place.folder)) {
    if (any) return base::InvalidArgument("'" + given.front() + "' is a repository, not a model");
    server.models = place.folder;
    return base::Ok();
  }
  serve::SingleModel single{
      flags.name.empty() ? place.name : flags.name, place.folder, place.file, {}};
  if (!serve::IsModelName(single.name)) {
    return base::InvalidArgument("--name: expected 1 to 128 of A-Z a-z 0-9 _ . -, got '" +
                                 single.name + "'");
  }
  for (const std::string& parameter : flags.parameters) {
    const size_t equals = parameter.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return base::InvalidArgument("--set: expected KEY=VALUE, got '" + parameter + "'");
    }
    single.parameters[parameter.substr(0, equals)] = parameter.substr(equals + 1);
  }
  server.single = std::move(single);
  return base::Ok();
}

// Blocks the signals in every thread made after it; they are read from the descriptor.
int BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &set, SFD_CLOEXEC);
}

int AwaitSignal(int descriptor) {
  signalfd_siginfo info{};
  while (read(descriptor, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) {
  }
  return static_cast<int>(info.ssi_signo);
}

}  // namespace

int RunServe(const Arguments& arguments) {
  ServeSettings settings;
  bool json = false;
  SingleFlags single;
  std::vector<Flag> flags = ServeFlags(settings);
  flags.push_back({"name", &single.name, "NAME", "what a model that is given alone is called"});
  flags.push_back({"file", &single.file, "NAME.gguf", "of a folder or repository of GGUF files"});
  flags.push_back({"set", &single.parameters, "KEY=VALUE",
                   "a parameter of config.pbtxt for a model that is given alone; may repeat"});
  AddSwitch("json", &json, "tell the ports as one JSON line on standard output", flags);
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 0, 1, exit_code);
  if (!positional) return exit_code;
  if (const base::Status logging = ApplyLogging(settings); !logging.ok()) {
    return Fail(kUsage, logging.error());
  }
  if (const base::Status chosen = ChooseModels(*positional, single, settings.server);
      !chosen.ok()) {
    return Fail(kUsage, chosen.error());
  }
  const int signals = BlockSignals();
  settings.runtime.prep_bytes_max = settings.server.prep_bytes_max;
  Runtime runtime(settings.runtime);
  base::Log(base::LogLevel::kInfo, "machine")
      .With("machine", base::MachineLine(runtime.machine()))
      .With("compute_threads", runtime.threads());
  serve::Server server(settings.server,
                       {&runtime.loader(), [&runtime] { runtime.loop().BeginDrain(); },
                        [&runtime] { return runtime.MemoryMetrics(); }});
  if (const base::Status started = server.Start(); !started.ok()) {
    return Fail(kUsage, started.error());
  }
  if (json) {
    std::string line;
    base::JsonWriter(line)
        .BeginObject()
        .Key("http_port")
        .Int(server.http_port())
        .Key("grpc_port")
        .Int(server.grpc_port())
        .Key("metrics_port")
        .Int(server.metrics_port())
        .EndObject();
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }
  base::Log(base::LogLevel::kInfo, "listening")
      .With("host", settings.server.host)
      .With("http", server.http_port())
      .With("grpc", server.grpc_port())
      .With("metrics", server.metrics_port());
  const int signal = AwaitSignal(signals);
  base::Log(base::LogLevel::kInfo, "draining").With("signal", signal);
  const bool drained = server.Drain();
  server.Stop();
  close(signals);
  base::Log(base::LogLevel::kInfo, "stopped").With("drained", drained);
  return kExitOk;
}

}  // namespace sluice::bin
