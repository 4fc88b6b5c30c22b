// Natural logarithm of f32 vectors, for the files that are compiled once per target; beside math.h.
#pragma once

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

// log(x) to 2 units in the last place, denormals included; -inf for 0, NaN below, inf for inf.
// Reduction to [sqrt(1/2), sqrt(2)) and coefficients: S. Moshier, Cephes, logf.
HWY_INLINE VF Log(VF x) {
  const F32 d;
  const I32 di;
  const VF one = hn::Set(d, 1.0f);
  const auto tiny = hn::Lt(x, hn::Set(d, 1.17549435e-38f));
  const VF normal = hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 0x1p23f)), x);
  const auto bits = hn::BitCast(di, normal);
  // m in [0.5, 1) and its exponent.
  const auto raw = hn::Sub(hn::ShiftRight<23>(bits), hn::Set(di, 126));
  VF e = hn::Sub(hn::ConvertTo(d, raw), hn::IfThenElseZero(tiny, hn::Set(d, 23.0f)));
  VF m = hn::BitCast(d, hn::Or(hn::And(bits, hn::Set(di, 0x007fffff)), hn::Set(di, 0x3f000000)));
  const auto low = hn::Lt(m, hn::Set(d, 0.707106781186547524f));
  e = hn::Sub(e, hn::IfThenElseZero(low, one));
  const VF z = hn::Sub(hn::Add(m, hn::IfThenElseZero(low, m)), one);
  const VF z2 = hn::Mul(z, z);
  VF p = hn::Set(d, 7.0376836292e-2f);
  p = hn::MulAdd(p, z, hn::Set(d, -1.1514610310e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.1676998740e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, -1.2420140846e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.4249322787e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, -1.6668057665e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, 2.0000714765e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, -2.4999993993e-1f));
  p = hn::MulAdd(p, z, hn::Set(d, 3.3333331174e-1f));
  VF y = hn::Mul(hn::Mul(p, z), z2);
  y = hn::MulAdd(e, hn::Set(d, -2.12194440e-4f), y);
  y = hn::NegMulAdd(z2, hn::Set(d, 0.5f), y);
  y = hn::MulAdd(e, hn::Set(d, 0.693359375f), hn::Add(z, y));
  const VF inf = hn::Inf(d);
  y = hn::IfThenElse(hn::Eq(x, inf), inf, y);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(inf), y);
  return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), y, hn::NaN(d));
}

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
