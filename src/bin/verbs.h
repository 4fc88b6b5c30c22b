// The verbs of the binary. Each parses its own arguments and returns the process's exit code.
#pragma once

#include <string>
#include <vector>

namespace sluice::bin {

using Arguments = std::vector<std::string>;

int RunServe(const Arguments& arguments);
int RunCheck(const Arguments& arguments);
int RunEval(const Arguments& arguments);
int RunExplain(const Arguments& arguments);
int RunProfile(const Arguments& arguments);
int RunQuantize(const Arguments& arguments);
int RunInfer(const Arguments& arguments);
int RunBench(const Arguments& arguments);
int RunBenchTokens(const Arguments& arguments);
int RunChat(const Arguments& arguments);
int RunPull(const Arguments& arguments);
int RunVersion(const Arguments& arguments);

// Exit codes, as `sluice --help` tells them.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

}  // namespace sluice::bin
