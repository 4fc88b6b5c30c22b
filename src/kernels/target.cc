#include "kernels/target.h"

#include <cpuid.h>

#include <array>
#include <atomic>
#include <string>

namespace sluice::kernels {
namespace {

// clang 14 does not know the name for __builtin_cpu_supports. The vector state that it needs is
// AVX2's.
bool HasF16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2") && HasF16c();
}

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

struct Found {
  std::array<Target, 2> targets = {Target::kAvx2, Target::kAvx512};
  size_t count = 0;
};

const Found& Probe() {
  static const Found found = [] {
    __builtin_cpu_init();
    Found f;
    f.count = HasAvx512() ? 2 : HasAvx2() ? 1 : 0;
    return f;
  }();
  return found;
}

// -1: none forced.
std::atomic<int> forced_target{-1};

}  // namespace

const char* TargetName(Target target) {
  return target == Target::kAvx2 ? "avx2" : "avx512";
}

std::span<const Target> AvailableTargets() {
  return {Probe().targets.data(), Probe().count};
}

base::Status CheckCpu() {
  if (Probe().count > 0) return base::Ok();
  std::string missing;
  if (!__builtin_cpu_supports("avx2")) missing += " avx2";
  if (!__builtin_cpu_supports("fma")) missing += " fma";
  if (!__builtin_cpu_supports("bmi2")) missing += " bmi2";
  if (!HasF16c()) missing += " f16c";
  return base::Unimplemented("this processor lacks" + missing +
                             "; an x86-64 processor with AVX2, FMA, BMI2 and F16C is needed");
}

Target ActiveTarget() {
  const int forced = forced_target.load(std::memory_order_relaxed);
  if (forced >= 0) return static_cast<Target>(forced);
  const std::span<const Target> targets = AvailableTargets();
  CHECK(!targets.empty()) << "CheckCpu() refuses this machine";
  return targets.back();
}

void SetTargetForTesting(Target target) {
  bool available = false;
  for (Target t : AvailableTargets()) available |= t == target;
  CHECK(available) << TargetName(target) << " cannot run here";
  forced_target.store(static_cast<int>(target), std::memory_order_relaxed);
}

}  // namespace sluice::kernels
