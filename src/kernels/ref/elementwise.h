// Reference elementwise arithmetic: unary, binary with numpy broadcasting, variadic, where, clip
// and cast. Plain loops: floats are computed in double and rounded once, integers in 64 bits and
// wrapped to their width. Attribute defaults, type checks and output shapes belong to the caller
// (graph); shapes that do not fit are CHECKed here.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/narrow.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// y = op(x), y.shape holds as many elements as x.shape; y may be x when the dtypes are equal. y has
// x's dtype, except for kIsNaN, kIsInf and kNot, which write bool (kNot also reads bool).
// Parameters: kLeakyRelu, kElu, kCelu, kThresholdedRelu: alpha; kSelu: alpha, beta = gamma;
// kHardSigmoid: alpha, beta; kSwish: x * sigmoid(alpha x); kShrink: alpha = lambd, beta = bias;
// kIsInf: alpha != 0 detects -inf, beta != 0 +inf.
enum class UnaryOp : uint8_t {
  kAbs,
  kNeg,
  kSign,
  kFloor,
  kCeil,
  kRound,
  kSqrt,
  kReciprocal,
  kExp,
  kLog,
  kSin,
  kCos,
  kTan,
  kAsin,
  kAcos,
  kAtan,
  kSinh,
  kCosh,
  kTanh,
  kAsinh,
  kAcosh,
  kAtanh,
  kErf,
  kNot,
  kBitwiseNot,
  kRelu,
  kLeakyRelu,
  kElu,
  kSelu,
  kCelu,
  kThresholdedRelu,
  kSigmoid,
  kHardSigmoid,
  kHardSwish,
  kSoftplus,
  kSoftsign,
  kMish,
  kGelu,
  kGeluTanh,
  kSwish,
  kShrink,
  kIsNaN,
  kIsInf,
  kIdentity,
};
struct UnaryArgs {
  UnaryOp op = UnaryOp::kIdentity;
  ConstView x;
  View y;
  double alpha = 0;
  double beta = 0;
};
void Unary(const UnaryArgs& args);
// Whether `op` is defined for x's dtype; anything else is CHECKed.
bool UnarySupports(UnaryOp op, tensor::DType dtype);
// The double arithmetic of one element of a float tensor: what conformance tests compare with.
double UnaryValue(UnaryOp op, double x, double alpha, double beta);

// y = op(a, b), a and b broadcast to y.shape from the right as numpy does. a, b and y share a
// dtype, except: comparisons write bool; kPow's exponent b may have any numeric dtype. kEqual also
// compares kBytes; kAnd, kOr, kXor read bool. Integers: kDiv truncates towards zero, anything / 0
// is 0 and min / -1 wraps; kMod has the divisor's sign (python), kFmod the dividend's (C), both 0
// for a zero divisor. kMin and kMax propagate NaN. Shifts by the width or more give 0. kPRelu: a <
// 0 ? a * b : a.
enum class BinaryOp : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kFmod,
  kPow,
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor,
  kEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kBitwiseAnd,
  kBitwiseOr,
  kBitwiseXor,
  kShiftLeft,
  kShiftRight,
  kPRelu,
};
struct BinaryArgs {
  BinaryOp op = BinaryOp::kAdd;
  ConstView a;
  ConstView b;
  View y;
};
void Binary(const BinaryArgs& args);
// Whether `op` is defined for operands of this dtype; anything else is CHECKed.
bool BinarySupports(BinaryOp op, tensor::DType dtype);

// y = op over all inputs, each broadcast to y.shape; all of y's dtype.
enum class VariadicOp : uint8_t { kSum, kMean, kMax, kMin };
struct VariadicArgs {
  VariadicOp op = VariadicOp::kSum;
  std::span<const ConstView> inputs;
  View y;
};
void Variadic(const VariadicArgs& args);

// y = condition ? a : b; condition is bool; a, b and y share any dtype; all broadcast to y.shape.
struct WhereArgs {
  ConstView condition;
  ConstView a;
  ConstView b;
  View y;
};
void Where(const WhereArgs& args);

// y = min(max(x, lo), hi). lo and hi hold one element of x's dtype, or no data for "unbounded". NaN
// stays NaN.
struct ClipArgs {
  ConstView x;
  ConstView lo;
  ConstView hi;
  View y;
};
void Clip(const ClipArgs& args);

// y = x converted to y.dtype; both numeric or bool. Float to integer truncates and saturates, NaN
// gives 0; integer to a narrower integer keeps the low bits; anything non-zero (NaN too) is true;
// overflow to a narrower float is infinity. `narrow`: of a y of a storage type.
struct CastArgs {
  ConstView x;
  View y;
  tensor::NarrowOptions narrow = {};
};
void Cast(const CastArgs& args);

}  // namespace sluice::kernels::ref
