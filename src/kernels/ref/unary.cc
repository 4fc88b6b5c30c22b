// Unary reference arithmetic and cast.
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/ref/elementwise.h"
#include "kernels/ref/lanes.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

double Sigmoid(double x) {
  const double e = std::exp(-std::fabs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
double Softplus(double x) {
  return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}
double ClampUnit(double x) {
  return x < 0 ? 0 : x > 1 ? 1 : x;
}

// Integers: what ONNX defines for them, in 64 bits.
template <class W>
W UnaryInteger(UnaryOp op, W x) {
  const uint64_t bits = static_cast<uint64_t>(x);
  switch (op) {
    case UnaryOp::kIdentity:
      return x;
    case UnaryOp::kAbs:
      return x < 0 ? static_cast<W>(0 - bits) : x;
    case UnaryOp::kNeg:
      return static_cast<W>(0 - bits);
    case UnaryOp::kSign:
      return static_cast<W>((x > 0 ? 1 : 0) - (std::is_signed_v<W> && x < 0 ? 1 : 0));
    case UnaryOp::kRelu:
      return x < 0 ? W(0) : x;
    case UnaryOp::kNot:
      return x == 0 ? W(1) : W(0);
    case UnaryOp::kBitwiseNot:
      return static_cast<W>(~bits);
    default:
      break;
  }
  CHECK(false) << "unary op " << static_cast<int>(op) << " is not defined for integers";
  return x;
}

double UnaryFloat(UnaryOp op, double x, double alpha, double beta) {
  using enum UnaryOp;
  switch (op) {
    case kIdentity:
      return x;
    case kAbs:
      return std::fabs(x);
    case kNeg:
      return -x;
    case kSign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case kFloor:
      return std::floor(x);
    case kCeil:
      return std::ceil(x);
    case kRound:
      return std::nearbyint(x);
    case kSqrt:
      return std::sqrt(x);
    case kReciprocal:
      return 1 / x;
    case kExp:
      return std::exp(x);
    case kLog:
      return std::log(x);
    case kSin:
      return std::sin(x);
    case kCos:
      return std::cos(x);
    case kTan:
      return std::tan(x);
    case kAsin:
      return std::asin(x);
    case kAcos:
      return std::acos(x);
    case kAtan:
      return std::atan(x);
    case kSinh:
      return std::sinh(x);
    case kCosh:
      return std::cosh(x);
    case kTanh:
      return std::tanh(x);
    case kAsinh:
      return std::asinh(x);
    case kAcosh:
      return std::acosh(x);
    case kAtanh:
      return std::atanh(x);
    case kErf:
      return std::erf(x);
    case kRelu:
      return x < 0 ? 0 : x;
    case kLeakyRelu:
      return x < 0 ? alpha * x : x;
    case kElu:
      return x < 0 ? alpha * std::expm1(x) : x;
    case kSelu:
      return beta * (x < 0 ? alpha * std::expm1(x) : x);
    case kCelu:
      return x < 0 ? alpha * std::expm1(x / alpha) : x;
    case kThresholdedRelu:
      return x <= alpha ? 0 : x;
    case kSigmoid:
      return Sigmoid(x);
    case kHardSigmoid:
      return ClampUnit(alpha * x + beta);
    case kHardSwish:
      return x * ClampUnit(x / 6 + 0.5);
    case kSoftplus:
      return Softplus(x);
    case kSoftsign:
      return x / (1 + std::fabs(x));
    case kMish:
      return x * std::tanh(Softplus(x));
    case kGelu:  // the limit at -inf, where the product would be NaN
      return std::isinf(x) && x < 0 ? 0 : 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case kGeluTanh:
      return x * Sigmoid(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    case kSwish:
      return x * Sigmoid(alpha * x);
    case kShrink:
      return x < -alpha ? x + beta : x > alpha ? x - beta : std::isnan(x) ? x : 0;
    case kIsNaN:
      return std::isnan(x) ? 1 : 0;
    case kIsInf:
      return std::isinf(x) && (x < 0 ? alpha != 0 : beta != 0) ? 1 : 0;
    case kNot:
    case kBitwiseNot:
      break;
  }
  CHECK(false) << "unary op " << static_cast<int>(op) << " is not defined for floats";
  return x;
}

}  // namespace

double UnaryValue(UnaryOp op, double x, double alpha, double beta) {
  return UnaryFloat(op, x, alpha, beta);
}

bool UnarySupports(UnaryOp op, DType dtype) {
  if (dtype == DType::kBytes) return false;
  const bool integer_only = op == UnaryOp::kBitwiseNot;
  if (op == UnaryOp::kNot) return dtype == DType::kBool;
  if (tensor::IsFloat(dtype)) return !integer_only;
  switch (op) {
    case UnaryOp::kIdentity:
    case UnaryOp::kAbs:
    case UnaryOp::kNeg:
    case UnaryOp::kSign:
    case UnaryOp::kRelu:
    case UnaryOp::kBitwiseNot:
    case UnaryOp::kShrink:
      return dtype != DType::kBool || op == UnaryOp::kIdentity;
    default:
      return false;
  }
}

void Unary(const UnaryArgs& args) {
  const int64_t count = args.x.shape.elements();
  CHECK_EQ(count, args.y.shape.elements());
  // Shrink subtracts a fractional bias from integers too.
  const DType compute = args.op == UnaryOp::kShrink ? DType::kF64 : args.x.dtype;
  WithWide(compute, [&](auto tag) {
    using W = decltype(tag);
    W lanes[kLanes];
    for (int64_t at = 0; at < count; at += kLanes) {
      const int64_t n = count - at < kLanes ? count - at : kLanes;
      LoadLanes(args.x.dtype, args.x.data, at, 1, n, lanes);
      for (int64_t i = 0; i < n; ++i) {
        if constexpr (std::is_same_v<W, double>) {
          lanes[i] = UnaryFloat(args.op, lanes[i], args.alpha, args.beta);
        } else {
          lanes[i] = UnaryInteger(args.op, lanes[i]);
        }
      }
      StoreLanes(args.y.dtype, args.y.data, at, 1, n, lanes);
    }
  });
}

void Clip(const ClipArgs& args) {
  const int64_t count = args.x.shape.elements();
  CHECK_EQ(count, args.y.shape.elements());
  WithWide(args.x.dtype, [&](auto tag) {
    using W = decltype(tag);
    const bool has_lo = args.lo.data != nullptr;
    const bool has_hi = args.hi.data != nullptr;
    const W lo = has_lo ? LoadOne<W>(args.lo.dtype, args.lo.data, 0) : W(0);
    const W hi = has_hi ? LoadOne<W>(args.hi.dtype, args.hi.data, 0) : W(0);
    W lanes[kLanes];
    for (int64_t at = 0; at < count; at += kLanes) {
      const int64_t n = count - at < kLanes ? count - at : kLanes;
      LoadLanes(args.x.dtype, args.x.data, at, 1, n, lanes);
      for (int64_t i = 0; i < n; ++i) {
        if (has_lo && lanes[i] < lo) lanes[i] = lo;
        if (has_hi && lanes[i] > hi) lanes[i] = hi;
      }
      StoreLanes(args.y.dtype, args.y.data, at, 1, n, lanes);
    }
  });
}

void Cast(const CastArgs& args) {
  const int64_t count = args.x.shape.elements();
  CHECK_EQ(count, args.y.shape.elements());
  const bool special = tensor::IsStorage(args.y.dtype) && !tensor::IsNarrowInteger(args.y.dtype);
  WithWide(args.x.dtype, [&](auto tag) {
    using W = decltype(tag);
    W lanes[kLanes];
    for (int64_t at = 0; at < count; at += kLanes) {
      const int64_t n = count - at < kLanes ? count - at : kLanes;
      LoadLanes(args.x.dtype, args.x.data, at, 1, n, lanes);
      if (special) {
        for (int64_t i = 0; i < n; ++i) {
          static_cast<uint8_t*>(args.y.data)[at + i] =
              tensor::EncodeNarrow(args.y.dtype, static_cast<double>(lanes[i]), args.narrow);
        }
      } else {
        StoreLanes(args.y.dtype, args.y.data, at, 1, n, lanes);
      }
    }
  });
}

}  // namespace sluice::kernels::ref
