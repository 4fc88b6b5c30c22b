// The composition root: finds the verb and runs it.
#include <cstdio>
#include <string>
#include <string_view>

#include "base/machine.h"
#include "bin/verbs.h"

namespace sluice::bin {
namespace {

struct Verb {
  std::string_view name;
  std::string_view summary;
  int (*run)(const Arguments&);
};

constexpr Verb kVerbs[] = {
    {"serve", "serve a repository, a folder or a model of a hub over HTTP and gRPC", RunServe},
    {"check", "load every model of a repository without serving it", RunCheck},
    {"explain", "say what a model was compiled to, what was fused, what was not and why",
     RunExplain},
    {"profile", "measure a model step by step against the machine's roof", RunProfile},
    {"quantize", "keep a model's weights in 8 or 16 bits if its answers stay the same",
     RunQuantize},
    {"chat", "talk with a language model in the terminal", RunChat},
    {"eval", "measure what forms of a language model's weights cost on a text", RunEval},
    {"pull", "bring a model of Hugging Face's hub into its cache", RunPull},
    {"infer", "send one request to a running server", RunInfer},
    {"bench", "load a running server and tell latencies and goodput", RunBench},
    {"bench-tokens", "load a server of language models and tell tokens a second", RunBenchTokens},
    {"version", "tell the version and the machine", RunVersion},
};

int PrintHelp(std::FILE* to) {
  std::fprintf(to,
               "sluice: serves click prediction, relevance and other models under one deadline "
               "scheduler\n\nusage: sluice VERB [flags]\n\n");
  for (const Verb& verb : kVerbs) {
    std::fprintf(to, "  %-12s %s\n", verb.name.data(), verb.summary.data());
  }
  std::fprintf(to,
               "\n`sluice VERB --help` has the flags and an example. Exit codes: 0 done, 1 failed, "
               "2 wrong usage.\n");
  return to == stdout ? kExitOk : kExitUsage;
}

int Main(int argc, char** argv) {
  const Arguments arguments(argv + 1, argv + argc);
  if (arguments.empty()) return PrintHelp(stderr);
  if (arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    return PrintHelp(stdout);
  }
  for (const Verb& verb : kVerbs) {
    if (verb.name != arguments[0]) continue;
    const base::Status supported = base::CheckSupported();
    if (!supported.ok()) {
      std::fprintf(stderr, "sluice: this machine cannot run it: %s\n",
                   supported.error().message.c_str());
      return kExitFailure;
    }
    return verb.run(Arguments(arguments.begin() + 1, arguments.end()));
  }
  std::fprintf(stderr, "sluice: unknown verb '%s'\n\n", arguments[0].c_str());
  return PrintHelp(stderr);
}

}  // namespace
}  // namespace sluice::bin

int main(int argc, char** argv) {
  return sluice::bin::Main(argc, argv);
}
