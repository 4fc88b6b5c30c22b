// Measures kernels and, between their rounds, the roofs of the same core.
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/check.h"
#include "conformance/kernel_table.h"
#include "kernels/target.h"

namespace sluice::conformance {
namespace {

// Seconds that this thread has run: what other processes take is not the kernel's.
double Now() {
  timespec t = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Twelve independent chains cover latency 4 x 2 units with a margin. Assembly with named registers:
// a compiler that spilled one of them would show half the roof.
#define CHAIN(r, i) "vfmadd231ps %%" r "15, %%" r "15, %%" r #i "\n\t"
#define CHAINS(r)                                                                                  \
  CHAIN(r, 0)                                                                                      \
  CHAIN(r, 1)                                                                                      \
  CHAIN(r, 2)                                                                                      \
  CHAIN(r, 3) CHAIN(r, 4) CHAIN(r, 5) CHAIN(r, 6) CHAIN(r, 7) CHAIN(r, 8) CHAIN(r, 9) CHAIN(r, 10) \
      CHAIN(r, 11)
#define LOOP_OF(r)                                                                               \
  asm volatile(                                                                                  \
      "vpxor %%xmm15, %%xmm15, %%xmm15\n\t"                                                      \
      "1:\n\t" CHAINS(r) CHAINS(r) "dec %0\n\tjnz 1b\n\tvzeroupper\n\t"                          \
      : "+r"(rounds)                                                                             \
      :                                                                                          \
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm15", "cc")

// GFLOP/s of the active target's multiply-adds, over about a millisecond.
double MultiplyAddRoof() {
  constexpr int64_t kRounds = 150'000;
  const bool wide = kernels::ActiveTarget() == kernels::Target::kAvx512;
  int64_t rounds = kRounds;
  const double start = Now();
  if (wide)
    LOOP_OF("zmm");
  else
    LOOP_OF("ymm");
  return static_cast<double>(kRounds) * 24 * (wide ? 32 : 16) / (Now() - start) / 1e9;
}

// GB/s of reading `bytes` over and over.
double ReadRoof(int64_t bytes) {
  static std::byte* memory = nullptr;
  static int64_t mapped = 0;
  if (mapped < bytes) {
    constexpr int64_t kPage = 2 << 20;
    mapped = (bytes + kPage - 1) / kPage * kPage;
    memory =
        static_cast<std::byte*>(mmap(nullptr, static_cast<size_t>(mapped), PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(memory != MAP_FAILED);
    madvise(memory, static_cast<size_t>(mapped), MADV_HUGEPAGE);
    std::fill(memory, memory + mapped, std::byte{1});
  }
  constexpr int64_t kStep = 256;
  const int64_t steps = bytes / kStep;
  if (steps == 0) return 0;
  const int64_t passes = std::max<int64_t>(1, (int64_t{32} << 20) / bytes);
  const auto pass = [&] {
    const std::byte* at = memory;
    int64_t left = steps;
    asm volatile(
        "1:\n\t"
        "vmovups (%0), %%ymm0\n\tvmovups 32(%0), %%ymm1\n\t"
        "vmovups 64(%0), %%ymm2\n\tvmovups 96(%0), %%ymm3\n\t"
        "vmovups 128(%0), %%ymm4\n\tvmovups 160(%0), %%ymm5\n\t"
        "vmovups 192(%0), %%ymm6\n\tvmovups 224(%0), %%ymm7\n\t"
        "prefetcht0 2048(%0)\n\tprefetcht0 2112(%0)\n\tprefetcht0 2176(%0)\n\tprefetcht0 "
        "2240(%0)\n\t"
        "add $256, %0\n\tdec %1\n\tjnz 1b\n\tvzeroupper\n\t"
        : "+r"(at), "+r"(left)
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "cc", "memory");
  };
  pass();
  const double start = Now();
  for (int64_t i = 0; i < passes; ++i) pass();
  return static_cast<double>(passes * steps * kStep) / (Now() - start) / 1e9;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size()) / 2,
                   values.end());
  return values[values.size() / 2];
}

}  // namespace

void Perf::Measure(const std::string& shape, const kernels::Work& work, const Roof& roof,
                   const std::function<void()>& run) {
  constexpr int kRounds = 21;
  constexpr double kRoundSeconds = 4e-3;
  run();
  double start = Now();
  run();
  const double once = std::max(Now() - start, 1e-7);
  const auto repeats = static_cast<int64_t>(std::max(1.0, kRoundSeconds / once));
  const bool flops = roof.kind == Roof::Kind::kMultiplyAdd;
  const double amount = static_cast<double>(flops ? work.flops : work.bytes) / 1e9;
  std::vector<double> rates, roofs, shares;
  for (int round = 0; round < kRounds; ++round) {
    const double limit = flops ? MultiplyAddRoof() : ReadRoof(roof.bytes);
    start = Now();
    for (int64_t i = 0; i < repeats; ++i) run();
    const double rate = amount * static_cast<double>(repeats) / (Now() - start);
    rates.push_back(rate);
    roofs.push_back(limit);
    shares.push_back(rate / limit);
  }
  const double best = *std::max_element(rates.begin(), rates.end());
  const double best_roof = *std::max_element(roofs.begin(), roofs.end());
  std::printf(
      "  %-36s %8.1f %s (best %8.1f)  roof %7.1f  %5.1f %% of roof (best/best %5.1f %%)"
      "  %9.2f us\n",
      shape.c_str(), Median(rates), flops ? "GFLOP/s" : "GB/s   ", best, Median(roofs),
      100 * Median(shares), 100 * best / best_roof, 1e6 * amount / best);
  std::fflush(stdout);
}

}  // namespace sluice::conformance
