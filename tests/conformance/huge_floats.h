// Floats on 2 MiB pages, as the arenas and the weight store have them: what measurements run on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "conformance/kernel_table.h"
#include "tensor/arena.h"

namespace sluice::conformance {

class HugeFloats {
 public:
  explicit HugeFloats(int64_t count)
      : arena_(std::move(tensor::Arena::Create(count * 4).value())), count_(count) {
    data_ = reinterpret_cast<float*>(arena_.Take(count * 4));
  }
  HugeFloats(int64_t count, uint32_t seed) : HugeFloats(count) {
    const std::vector<float> values = RandomFloats(count, seed);
    std::copy(values.begin(), values.end(), data_);
  }
  float* data() { return data_; }
  int64_t bytes() const { return count_ * 4; }

 private:
  tensor::Arena arena_;
  int64_t count_;
  float* data_;
};

}  // namespace sluice::conformance
