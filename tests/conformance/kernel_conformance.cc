// kernel_conformance [--perf] [--kernel=NAME] [--target=avx2|avx512]: checks every kernel on every
// target that this machine can run against kernels/ref; with --perf measures them instead. Exits 1
// when a comparison failed.
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "conformance/kernel_table.h"
#include "kernels/target.h"

namespace sluice::conformance {
namespace {

int Run(bool perf, std::string_view only_kernel, std::string_view only_target) {
  if (const base::Status cpu = kernels::CheckCpu(); !cpu.ok()) {
    std::printf("%s\n", cpu.error().message.c_str());
    return 1;
  }
  std::vector<Kernel> kernels;
  for (std::span<const Kernel> family :
       {GemmKernels(), LowKernels(), BlockKernels(), LowAttentionKernels(), AttentionKernels(),
        CachedAttentionKernels(), RowKernels(), ChainKernels(), MoveKernels(), RankingKernels(),
        ConvKernels(), RecurrentKernels()}) {
    kernels.insert(kernels.end(), family.begin(), family.end());
  }
  int64_t comparisons = 0, failures = 0;
  for (kernels::Target target : kernels::AvailableTargets()) {
    if (!only_target.empty() && only_target != TargetName(target)) continue;
    kernels::SetTargetForTesting(target);
    for (const Kernel& kernel : kernels) {
      if (!only_kernel.empty() && only_kernel != kernel.name) continue;
      if (perf) {
        if (kernel.measure == nullptr) continue;
        std::printf("%s %s\n", kernel.name, TargetName(target));
        Perf measured;
        kernel.measure(measured);
        continue;
      }
      Report report(kernel.name);
      kernel.check(report);
      std::printf("%-20s %-7s %6lld comparisons, %lld failed, worst error %.0f %% of allowed\n",
                  kernel.name, TargetName(target), static_cast<long long>(report.comparisons()),
                  static_cast<long long>(report.failures()), 100 * report.worst());
      comparisons += report.comparisons();
      failures += report.failures();
    }
  }
  if (perf) return 0;
  std::printf("kernel conformance: %lld comparisons, %lld failed\n",
              static_cast<long long>(comparisons), static_cast<long long>(failures));
  return failures == 0 && comparisons > 0 ? 0 : 1;
}

}  // namespace
}  // namespace sluice::conformance

int main(int count, char** words) {
  bool perf = false;
  std::string_view kernel, target;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--perf") {
      perf = true;
    } else if (word.starts_with("--kernel=")) {
      kernel = word.substr(std::strlen("--kernel="));
    } else if (word.starts_with("--target=")) {
      target = word.substr(std::strlen("--target="));
    } else {
      std::fprintf(stderr,
                   "usage: kernel_conformance [--perf] [--kernel=NAME] [--target=avx2|avx512]\n");
      return 2;
    }
  }
  return sluice::conformance::Run(perf, kernel, target);
}
