#include "bin/command.h"

#include <cstdio>

#include "bin/verbs.h"

namespace sluice::bin {

std::optional<std::vector<std::string>> ParseCommand(const Usage& usage,
                                                     const std::vector<Flag>& flags,
                                                     const std::vector<std::string>& arguments,
                                                     size_t least, size_t most, int& exit_code) {
  if (WantsHelp(arguments)) {
    std::fputs(Help(usage, flags).c_str(), stdout);
    exit_code = kExitOk;
    return std::nullopt;
  }
  exit_code = kExitUsage;
  auto positional = ParseFlags(arguments, flags);
  const std::string verb(usage.verb);
  if (!positional.ok()) {
    std::fprintf(stderr, "sluice %s: %s\n", verb.c_str(), positional.error().message.c_str());
    return std::nullopt;
  }
  if (positional->size() < least || positional->size() > most) {
    std::fprintf(stderr, "sluice %s: expected %s, got %zu arguments; --help has an example\n",
                 verb.c_str(),
                 usage.positional.empty() ? "flags only" : std::string(usage.positional).c_str(),
                 positional->size());
    return std::nullopt;
  }
  return *std::move(positional);
}

int Fail(const Usage& usage, const base::Error& error) {
  std::fprintf(stderr, "sluice %s: %s: %s\n", std::string(usage.verb).c_str(),
               base::CodeName(error.code), error.message.c_str());
  return kExitFailure;
}

}  // namespace sluice::bin
