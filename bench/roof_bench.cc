// roof_bench SECONDS: what this core reads from memory and how fast it multiplies integers, as one
// JSON object of medians: GB/s over 256 MiB, GOP/s of the dots that int8 weights run on, and of
// those that run without tile registers. One process a core, at the same time, gives the machine's.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/clock.h"
#include "kernels/roof.h"

int main(int count, char** words) {
  using namespace sluice;
  const double seconds = count > 1 ? std::atof(words[1]) : 1;
  const base::Time start = base::SystemClock::Get().Now();
  const auto passed = [&] {
    return static_cast<double>((base::SystemClock::Get().Now() - start).ns) / 1e9;
  };
  std::vector<double> reads, dots, vector_dots;
  kernels::ReadRoof(int64_t{256} << 20);  // maps its memory
  do {
    reads.push_back(kernels::ReadRoof(int64_t{256} << 20));
  } while (passed() < seconds / 2);
  do {
    dots.push_back(kernels::LowPathRoof(kernels::PathFor(kernels::WeightForm::kInt8)));
    kernels::LimitLowFeaturesForTesting(~kernels::kHasInt8Tiles);
    vector_dots.push_back(kernels::LowPathRoof(kernels::PathFor(kernels::WeightForm::kInt8)));
    kernels::LimitLowFeaturesForTesting(~uint32_t{0});
  } while (passed() < seconds);
  const auto median = [](std::vector<double>& values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  std::printf("{\"read\": %.1f, \"int8\": %.1f, \"int8_vector\": %.1f}\n", median(reads),
              median(dots), median(vector_dots));
  return 0;
}
