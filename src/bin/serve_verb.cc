// `sluice serve`: loads a repository and answers until SIGTERM or SIGINT, then drains and exits
// with 0.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>

#include "base/json.h"
#include "base/log.h"
#include "bin/command.h"
#include "bin/serve_flags.h"
#include "bin/verbs.h"
#include "serve/server.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"serve", "", "Serve a model repository over HTTP, gRPC and metrics.",
                          "sluice serve --models models/ --http-port 8000"};

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
  std::vector<Flag> flags = ServeFlags(settings);
  AddSwitch("json", &json, "tell the ports as one JSON line on standard output", flags);
  int exit_code = kExitOk;
  if (!ParseCommand(kUsage, flags, arguments, 0, 0, exit_code)) return exit_code;
  if (const base::Status logging = ApplyLogging(settings); !logging.ok()) {
    return Fail(kUsage, logging.error());
  }
  if (settings.server.models.empty()) {
    return Fail(kUsage, base::InvalidArgument("--models is missing: the repository's folder"));
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
