// Vector functions of f32 for the files that are compiled once per target: exponential, error
// function, tanh, sigmoid and the activations built on them. Only for those files: everything is
// internal to each of their copies.
//
// Errors were measured over all of [-100, 100] at steps of 1e-5 against double; kernel_conformance
// holds the bounds.
#pragma once

#include <hwy/highway.h>

#include "kernels/activation.h"
#include "kernels/cpu/gelu.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using VF = hn::Vec<F32>;

// e^x for x in [-86.6, 88.8], exact in the exponent's arithmetic only up to 88.72; NaN for NaN.
// Range reduction and coefficients: S. Moshier, Cephes, expf.
HWY_INLINE VF ExpInRange(VF x) {
  const F32 d;
  const I32 di;
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits; the conversion would
  // cost five instructions more for its overflow.
  const VF shifter = hn::Set(d, 12582912.0f);
  const VF shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), shifter);
  const VF n = hn::Sub(shifted, shifter);
  VF r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  VF p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
  const auto power = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), power));
}

// e^x for x <= 0, as softmax needs it, to 2 units in the last place; 0 below -86.6 (there is no
// denormal tail).
HWY_INLINE VF ExpNegative(VF x) {
  const F32 d;
  const VF low = hn::Set(d, -86.6f);
  // The operand that may be NaN comes second: x86 min and max return it.
  return hn::IfThenElse(hn::Lt(x, low), hn::Zero(d), ExpInRange(hn::Max(low, x)));
}

// e^x for any x: as ExpNegative, and inf above 88.72.
HWY_INLINE VF Exp(VF x) {
  const F32 d;
  const VF high = hn::Set(d, 88.722839f);
  const VF y = ExpNegative(hn::Min(high, x));
  return hn::IfThenElse(hn::Gt(x, high), hn::Set(d, __builtin_inff()), y);
}

// erf(x) to 2e-7 absolute. x P(x^2) with P of degree 14 in x^2 mapped to [-1, 1]: our own minimax
// fit (Lawson's iteration on Chebyshev nodes). The end, 3.8, is a point where the rounded value is
// exactly 1 and nothing before it is more, so that clamping saturates. No division and no
// exponential: cheap beside a product.
HWY_INLINE VF Erf(VF x) {
  const F32 d;
  constexpr float kEnd = 3.8f;
  // The operand that may be NaN comes second: x86 min and max return it.
  const VF y = hn::Min(hn::Set(d, kEnd), hn::Max(hn::Set(d, -kEnd), x));
  const VF t = hn::MulAdd(hn::Mul(y, y), hn::Set(d, 2.0f / (kEnd * kEnd)), hn::Set(d, -1.0f));
  VF p = hn::Set(d, 0x1.0beda6p-10f);
  p = hn::MulAdd(p, t, hn::Set(d, -0x1.615660p-9f));
  p = hn::MulAdd(p, t, hn::Set(d, 0x1.364af2p-9f));
  p = hn::MulAdd(p, t, hn::Set(d, -0x1.b078a0p-9f));
  p = hn::MulAdd(p, t, hn::Set(d, 0x1.4605dep-7f));
  p = hn::MulAdd(p, t, hn::Set(d, -0x1.2c5f34p-6f));
  p = hn::MulAdd(p, t, hn::Set(d, 0x1.b556e6p-6f));
  p = hn::MulAdd(p, t, hn::Set(d, -0x1.3efe66p-5f));
  p = hn::MulAdd(p, t, hn::Set(d, 0x1.c305f0p-5f));
  p = hn::MulAdd(p, t, hn::Set(d, -0x1.290602p-4f));
  p = hn::MulAdd(p, t, hn::Set(d, 0x1.740d00p-4f));
  p = hn::MulAdd(p, t, hn::Set(d, -0x1.c76a88p-4f));
  p = hn::MulAdd(p, t, hn::Set(d, 0x1.1a172ep-3f));
  p = hn::MulAdd(p, t, hn::Set(d, -0x1.7c3174p-3f));
  p = hn::MulAdd(p, t, hn::Set(d, 0x1.7d09c8p-2f));
  return hn::Mul(y, p);
}

// 1 / (1 + e^-x) to 2e-7 absolute.
HWY_INLINE VF Sigmoid(VF x) {
  const F32 d;
  const VF one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(hn::Neg(x))));
}

// tanh(x) to 3e-7 relative. Below 0.625 the odd polynomial of Cephes' tanhf, above 1 - 2 / (e^2|x|
// + 1).
HWY_INLINE VF Tanh(VF x) {
  const F32 d;
  const VF one = hn::Set(d, 1.0f);
  const VF magnitude = hn::Abs(x);
  const VF z = hn::Mul(x, x);
  VF p = hn::Set(d, -5.70498872745e-3f);
  p = hn::MulAdd(p, z, hn::Set(d, 2.06390887954e-2f));
  p = hn::MulAdd(p, z, hn::Set(d, -5.37397155531e-2f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.33314422036e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, -3.33332819422e-1f));
  const VF small = hn::MulAdd(hn::Mul(p, z), x, x);
  const VF e = Exp(hn::Add(magnitude, magnitude));
  const VF large = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(e, one)));
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625f)), small, hn::CopySign(large, x));
}

HWY_INLINE VF Relu(VF x) {
  return hn::Max(hn::Zero(F32()), x);
}

// x/2 (1 + tanh(y)) is x sigmoid(2y).
HWY_INLINE VF GeluTanh(VF x) {
  const F32 d;
  const VF cubic = hn::Mul(hn::Mul(x, x), hn::Set(d, 0.044715f));
  const VF y = hn::Mul(hn::MulAdd(cubic, x, x), hn::Set(d, 1.59576912160573071f));
  return hn::Mul(x, Sigmoid(y));
}

HWY_INLINE VF Silu(VF x) {
  return hn::Mul(x, Sigmoid(x));
}

// The operand that may be NaN comes second: x86 min and max return it.
HWY_INLINE VF Relu6(VF x) {
  const F32 d;
  return hn::Min(hn::Set(d, 6.0f), hn::Max(hn::Zero(d), x));
}

HWY_INLINE VF HardSigmoid(VF x) {
  const F32 d;
  const VF y = hn::MulAdd(x, hn::Set(d, 1.0f / 6), hn::Set(d, 0.5f));
  return hn::Min(hn::Set(d, 1.0f), hn::Max(hn::Zero(d), y));
}

// f(x) for the function that `activation` names: WithActivation(a, [](auto f) { loop over f(VF) })
// hoists the choice out of the loop.
template <class Loop>
HWY_INLINE void WithActivation(Activation activation, Loop loop) {
  switch (activation) {
    case Activation::kNone:
      return loop([](VF x) HWY_ATTR { return x; });
    case Activation::kRelu:
      return loop([](VF x) HWY_ATTR { return Relu(x); });
    case Activation::kGeluErf:
      return loop([](VF x) HWY_ATTR { return GeluErf(x); });
    case Activation::kGeluTanh:
      return loop([](VF x) HWY_ATTR { return GeluTanh(x); });
    case Activation::kSigmoid:
      return loop([](VF x) HWY_ATTR { return Sigmoid(x); });
    case Activation::kTanh:
      return loop([](VF x) HWY_ATTR { return Tanh(x); });
    case Activation::kSilu:
      return loop([](VF x) HWY_ATTR { return Silu(x); });
    case Activation::kRelu6:
      return loop([](VF x) HWY_ATTR { return Relu6(x); });
    case Activation::kHardSigmoid:
      return loop([](VF x) HWY_ATTR { return HardSigmoid(x); });
    case Activation::kHardSwish:
      return loop([](VF x) HWY_ATTR { return hn::Mul(x, HardSigmoid(x)); });
  }
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
