// Sizes that keep what follows them aligned.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace sluice::tensor {

// `bytes`, at least 0, rounded up to a multiple of kAlignment.
constexpr int64_t AlignUp(int64_t bytes) {
  constexpr auto kAlign = static_cast<int64_t>(kAlignment);
  return (bytes + kAlign - 1) / kAlign * kAlign;
}

}  // namespace sluice::tensor
