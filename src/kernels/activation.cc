#include "kernels/activation.h"

namespace sluice::kernels {

const char* ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return "none";
    case Activation::kRelu:
      return "relu";
    case Activation::kGeluErf:
      return "gelu_erf";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kTanh:
      return "tanh";
    case Activation::kSilu:
      return "silu";
    case Activation::kRelu6:
      return "relu6";
    case Activation::kHardSigmoid:
      return "hard_sigmoid";
    case Activation::kHardSwish:
      return "hard_swish";
  }
  return "unknown";
}

}  // namespace sluice::kernels
