// Measures kernels and, between their rounds, the roofs of the same core.

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/check.h"
#include "base/processor_time.h"
#include "conformance/kernel_table.h"
#include "kernels/roof.h"

namespace sluice::conformance {
namespace {

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size()) / 2,
                   values.end());
  return values[values.size() / 2];
}

}  // namespace

void Perf::Measure(const std::string& shape, const kernels::Work& work, const Roof& roof,
                   const std::function<void()>& run) {
  constexpr int kRounds = 31;
  constexpr double kRoundSeconds = 2e-3;
  run();
  double start = base::ProcessorSeconds();
  run();
  const double once = std::max(base::ProcessorSeconds() - start, 1e-7);
  const auto repeats = static_cast<int64_t>(std::max(1.0, kRoundSeconds / once));
  const bool flops = roof.kind != Roof::Kind::kRead;
  const double amount = static_cast<double>(flops ? work.flops : work.bytes) / 1e9;
  const auto measure_roof = [&] {
    if (roof.kind == Roof::Kind::kDots) return kernels::LowPathRoof(roof.path);
    return flops ? kernels::MultiplyAddRoof() : kernels::ReadRoof(roof.bytes);
  };
  std::vector<double> rates, roofs, shares;
  double before = measure_roof();
  for (int round = 0; round < kRounds; ++round) {
    start = base::ProcessorSeconds();
    for (int64_t i = 0; i < repeats; ++i) run();
    const double rate = amount * static_cast<double>(repeats) / (base::ProcessorSeconds() - start);
    // The clock moves with the load: a round is held against what stands on both sides of it.
    const double after = measure_roof();
    const double limit = (before + after) / 2;
    before = after;
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
