#include <bit>
#include <cmath>
#include <cstdio>
#include <random>
#include <string_view>

#include "base/check.h"
#include "conformance/kernel_table.h"

namespace sluice::conformance {
namespace {

const Tolerance& ToleranceOf(std::string_view kernel) {
  for (const Tolerance& t : TolerancesTable()) {
    if (t.kernel == kernel) return t;
  }
  CHECK(false) << "no tolerance for " << kernel;
  return TolerancesTable().front();
}

}  // namespace

void Report::Fail(const std::string& text) {
  constexpr int64_t kShown = 20;
  if (failures_++ < kShown) std::printf("  FAILED %s %s\n", kernel_.c_str(), text.c_str());
}

void Report::Compare(const std::string& shape, std::span<const float> got,
                     std::span<const float> want, double scale) {
  ++comparisons_;
  if (got.size() != want.size()) return Fail(shape + ": sizes differ");
  const Tolerance& tolerance = ToleranceOf(kernel_);
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i]) && std::isnan(got[i])) continue;
    if (got[i] == want[i]) continue;
    const double allowed =
        tolerance.absolute * scale + tolerance.relative * std::abs(static_cast<double>(want[i]));
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    if (error <= allowed) {
      worst_ = std::max(worst_, error / allowed);
      continue;
    }
    return Fail(shape + ": element " + std::to_string(i) + " is " + std::to_string(got[i]) +
                ", the reference " + std::to_string(want[i]) + ", error " + std::to_string(error) +
                ", allowed " + std::to_string(allowed));
  }
}

void Report::SameBits(const std::string& shape, std::span<const float> got,
                      std::span<const float> want) {
  ++comparisons_;
  if (got.size() != want.size()) return Fail(shape + ": sizes differ");
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(want[i])) continue;
    return Fail(shape + ": element " + std::to_string(i) + " is " + std::to_string(got[i]) +
                ", expected the bits of " + std::to_string(want[i]));
  }
}

void Report::Expect(const std::string& what, bool holds) {
  ++comparisons_;
  if (!holds) Fail(what);
}

std::vector<float> RandomFloats(int64_t count, uint32_t seed, float low, float high) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = uniform(random);
  return values;
}

}  // namespace sluice::conformance
