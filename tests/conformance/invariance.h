// Runs kernels whole or tile by tile, and buffers that notice a write behind their end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/work.h"

namespace sluice::conformance {

// One range of all tiles.
template <class Args, class Count, class Run>
auto RunWhole(Count count, Run run, const Args& args) {
  return run(args, kernels::Tiles{0, count(args)});
}

// The tiles one by one, the last first.
template <class Args, class Count, class Run>
void RunBackwards(Count count, Run run, const Args& args) {
  for (int64_t tile = count(args) - 1; tile >= 0; --tile)
    (void)run(args, kernels::Tiles{tile, tile + 1});
}
// `count` floats, preset, with a vector's worth of sentinels behind them.
class Guarded {
 public:
  explicit Guarded(int64_t count)
      : count_(static_cast<size_t>(count)), memory_(count_ + kGuard, kSentinel) {}
  float* data() { return memory_.data(); }
  std::span<const float> values() const { return std::span(memory_).first(count_); }
  bool intact() const {
    for (size_t i = count_; i < memory_.size(); ++i) {
      if (memory_[i] != kSentinel) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr float kSentinel = -12345.0f;
  size_t count_;
  std::vector<float> memory_;
};

}  // namespace sluice::conformance
