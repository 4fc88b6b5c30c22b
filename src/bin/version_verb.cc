// `sluice version`: the version and the machine it runs on.
#include <cstdio>

#include "base/json.h"
#include "base/machine.h"
#include "bin/command.h"
#include "bin/verbs.h"
#include "kernels/target.h"
#include "serve/service.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"version", "", "Tell the version and the machine.",
                          "sluice version --json"};

}  // namespace

int RunVersion(const Arguments& arguments) {
  bool json = false;
  const std::vector<Flag> flags = {{"json", &json, "", "one JSON object"}};
  int exit_code = kExitOk;
  if (!ParseCommand(kUsage, flags, arguments, 0, 0, exit_code)) return exit_code;
  const base::Machine machine = base::DescribeMachine();
  const bool wide = kernels::ActiveTarget() == kernels::Target::kAvx512;
  if (!json) {
    std::printf("sluice %s, %s kernels on %s\n", std::string(serve::kServerVersion).c_str(),
                wide ? "avx512" : "avx2", base::MachineLine(machine).c_str());
    return kExitOk;
  }
  std::string out;
  base::JsonWriter(out)
      .BeginObject()
      .Key("version")
      .String(serve::kServerVersion)
      .Key("target")
      .String(wide ? "avx512" : "avx2")
      .Key("machine")
      .String(base::MachineLine(machine))
      .Key("cores")
      .Int(machine.cores)
      .Key("memory_bytes")
      .Int(machine.memory_bytes)
      .EndObject();
  std::printf("%s\n", out.c_str());
  return kExitOk;
}

}  // namespace sluice::bin
