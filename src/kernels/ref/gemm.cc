#include "kernels/ref/gemm.h"

#include <cmath>
#include <numbers>

#include "base/check.h"
#include "tensor/float16.h"

namespace sluice::kernels::ref {
namespace {

double Element(const MatrixSource& b, int64_t k, int64_t n) {
  const int64_t at = k * b.k_stride + n * b.n_stride;
  switch (b.dtype) {
    case tensor::DType::kF32:
      return static_cast<const float*>(b.data)[at];
    case tensor::DType::kF16:
      return ToFloat(static_cast<const tensor::F16*>(b.data)[at]);
    case tensor::DType::kBF16:
      return ToFloat(static_cast<const tensor::BF16*>(b.data)[at]);
    default:
      break;
  }
  CHECK(false) << tensor::DTypeName(b.dtype);
  return 0;
}

}  // namespace

double Activate(double x, Activation activation) {
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const auto hard_sigmoid = [](double v) {
    const double y = v / 6 + 0.5;
    return y < 0 ? 0 : y > 1 ? 1 : y;
  };
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x < 0 ? 0 : x;
    case Activation::kGeluErf:
      return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
    case Activation::kGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kRelu6:
      return x < 0 ? 0 : x > 6 ? 6 : x;
    case Activation::kHardSigmoid:
      return hard_sigmoid(x);
    case Activation::kHardSwish:
      return x * hard_sigmoid(x);
  }
  return x;
}

void PackedGemm(const kernels::GemmArgs& args, const MatrixSource& b) {
  for (int64_t i = 0; i < args.m; ++i) {
    for (int64_t j = 0; j < b.n; ++j) {
      double sum = args.accumulate ? args.c[i * args.c_stride + j] : 0.0;
      for (int64_t k = 0; k < b.k; ++k) sum += args.a[i * args.a_stride + k] * Element(b, k, j);
      if (args.bias != nullptr) sum += args.bias[j];
      const double residual =
          args.residual == nullptr ? 0.0 : args.residual[i * args.residual_stride + j];
      if (args.factor != nullptr) {
        sum = Activate(sum, args.activation) * args.factor[i * args.factor_stride + j] + residual;
      } else {
        sum = Activate(sum + residual, args.activation);
      }
      args.c[i * args.c_stride + j] = static_cast<float>(sum);
    }
  }
}

void StridedMatMul(const kernels::MatMulArgs& args) {
  for (int64_t o = 0; o < args.outer; ++o) {
    for (int64_t n = 0; n < args.inner; ++n) {
      const float* const a = args.a + o * args.a_outer + n * args.a_inner;
      const float* const b = args.b + o * args.b_outer + n * args.b_inner;
      float* const c = args.c + o * args.c_outer + n * args.c_inner;
      for (int64_t i = 0; i < args.m; ++i) {
        for (int64_t j = 0; j < args.n; ++j) {
          double sum = 0;
          for (int64_t k = 0; k < args.k; ++k) {
            sum += static_cast<double>(a[i * args.a_row + k * args.a_column]) *
                   b[k * args.b_row + j * args.b_column];
          }
          c[i * args.c_row + j] = static_cast<float>(args.alpha * sum);
        }
      }
    }
  }
}

}  // namespace sluice::kernels::ref
