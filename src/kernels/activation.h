// Activation functions that kernels apply to what they have just computed.
#pragma once

#include <cstdint>

namespace sluice::kernels {

// kGeluErf: x/2 (1 + erf(x/sqrt 2)). kGeluTanh: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
// kSilu: x sigmoid(x). kRelu6: x within [0, 6]. kHardSigmoid: x/6 + 1/2 within [0, 1].
// kHardSwish: x times that.
enum class Activation : uint8_t {
  kNone,
  kRelu,
  kGeluErf,
  kGeluTanh,
  kSigmoid,
  kTanh,
  kSilu,
  kRelu6,
  kHardSigmoid,
  kHardSwish,
};
inline constexpr int kActivationCount = 10;

const char* ActivationName(Activation activation);

}  // namespace sluice::kernels
