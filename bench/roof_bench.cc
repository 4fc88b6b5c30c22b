// roof_bench SECONDS: what this core reads from memory and how fast it multiplies integers, as one
// JSON object of medians: GB/s over 256 MiB, GOP/s of the dots that int8 weights run on. One
// process a core, at the same time, gives the machine's.
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
  std::vector<double> reads, dots;
  kernels::ReadRoof(int64_t{256} << 20);  // maps its memory
  do {
    reads.push_back(kernels::ReadRoof(int64_t{256} << 20));
  } while (passed() < seconds / 2);
  do {
    dots.push_back(kernels::LowPathRoof(kernels::PathFor(kernels::WeightForm::kInt8)));
  } while (passed() < seconds);
  for (std::vector<double>* values : {&reads, &dots}) std::sort(values->begin(), values->end());
  std::printf("{\"read\": %.1f, \"int8\": %.1f}\n", reads[reads.size() / 2], dots[dots.size() / 2]);
  return 0;
}
