// `sluice pull`: brings a model of Hugging Face's hub into its cache and tells where it lies.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/json.h"
#include "bin/command.h"
#include "bin/hub/pull.h"
#include "bin/verbs.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"pull", "ORG/NAME[@REVISION]",
                          "Bring a model of Hugging Face's hub into its cache (HF_HOME) and print "
                          "its folder.",
                          "sluice pull Qwen/Qwen2.5-0.5B-Instruct"};

void PrintJson(const RepoName& repo, const PulledModel& pulled) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("model").String(repo.id()).Key("revision").String(repo.revision);
  json.Key("folder").String(pulled.folder);
  if (!pulled.file.empty()) json.Key("file").String(pulled.file);
  json.EndObject();
  std::printf("%s\n", out.c_str());
}

}  // namespace

int RunPull(const Arguments& arguments) {
  PullOptions options;
  bool json = false;
  bool quiet = false;
  const std::vector<Flag> flags = {
      {"file", &options.file, "NAME.gguf", "this GGUF file instead of safetensors"},
      {"attempts", &options.attempts, "N", "at a request, without a byte in between"},
      {"bytes-max", &options.bytes_max, "N", "a larger model is refused"},
      {"quiet", &quiet, "", "nothing about the progress on standard error"},
      {"json", &json, "", "one JSON object instead of the folder's path"},
  };
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  if (options.attempts < 1 || options.bytes_max < 1) {
    return Fail(kUsage, base::InvalidArgument("--attempts and --bytes-max: expected at least 1"));
  }
  PullProgress progress(quiet ? nullptr : stderr, isatty(STDERR_FILENO) == 1);
  const auto run = [&]() -> base::Status {
    const RepoName repo = TRY(ParseRepoName(positional->front()));
    const HubSettings settings =
        TRY(ReadHubSettings([](const char* name) -> const char* { return std::getenv(name); }));
    const PulledModel pulled = TRY(Pull(repo, options, settings, progress));
    progress.Clear();
    if (json) {
      PrintJson(repo, pulled);
    } else {
      std::printf("%s\n", pulled.folder.c_str());
    }
    return base::Ok();
  };
  const base::Status done = run();
  if (done.ok()) return kExitOk;
  progress.Clear();
  return Fail(kUsage, done.error());
}

}  // namespace sluice::bin
