// GELU by the error function, for the files that are compiled once per target.
//
// GELU(x) = max(x, 0) - T(|x|) with the tail T(u) = u erfc(u / sqrt 2) / 2, which is smooth, at
// most 0.17 and gone at 5.6. T is a polynomial for each of as many intervals as a register has room
// for coefficients, looked up in registers. An epilogue competes with its product for the two ports
// that multiply: 14 instructions with AVX-512 (22 with AVX2, 8 of them on the port that the product
// leaves idle) cost it half of what an error function without intervals costs. Error: 2.6e-7 |x|
// (AVX2: 1.1e-7 |x|), measured over [-10, 10] at steps of 1e-5 against double; for x > -3 also 8e-7
// of the result.
//
// Coefficients: our own minimax fits in double (Lawson's iteration on 400 Chebyshev nodes of each
// interval, relative to u in the first), rounded to f32.
#pragma once

#include <hwy/highway.h>

namespace sluice::kernels::SLUICE_ISA {
namespace {  // one copy for each target: no linker may merge them

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET <= HWY_AVX3  // and its successors

// Coefficient k of interval i, which is centred on i / 4 and an eighth to both sides.
alignas(64) constexpr float kGeluTail[5][32] = {
    {0,
     0x1.9aecbap-4f,
     0x1.3bf144p-3f,
     0x1.5c198p-3f,
     0x1.44ed0cp-3f,
     0x1.0e76a2p-3f,
     0x1.9a76a4p-4f,
     0x1.1f24ep-4f,
     0x1.74bcf8p-5f,
     0x1.c2a498p-6f,
     0x1.fcb21ep-7f,
     0x1.0c832ep-7f,
     0x1.096698p-8f,
     0x1.eb9b5ap-10f,
     0x1.aae05p-11f,
     0x1.5babc4p-12f,
     0x1.09ad7ep-13f,
     0x1.7d1026p-15f,
     0x1.008418p-16f,
     0x1.443694p-18f,
     0x1.80bcf6p-20f,
     0x1.acb442p-22f,
     0x1.c0946cp-24f,
     0x1.b8cba2p-26f,
     0x1.96ca64p-28f,
     0x1.6094a8p-30f,
     0x1.1f057ap-32f,
     0x1.b6ea3p-35f,
     0x1.3b36f6p-37f,
     0x1.a9444cp-40f,
     0x1.0d757ep-42f,
     0},
    {0x1p-1f,          0x1.37f054p-2f,   0x1.0f5f9cp-3f,   0x1.96daeep-11f,
     -0x1.55415p-4f,   -0x1.f66b8p-4f,   -0x1.050eacp-3f,  -0x1.c65b22p-4f,
     -0x1.5d1cbep-4f,  -0x1.e4e30ap-5f,  -0x1.341cd8p-5f,  -0x1.68e6b6p-6f,
     -0x1.876f5ap-7f,  -0x1.8a59f8p-8f,  -0x1.71d866p-9f,  -0x1.436c96p-10f,
     -0x1.080a3cp-11f, -0x1.92db38p-13f, -0x1.1f6482p-14f, -0x1.7facd4p-16f,
     -0x1.df8188p-18f, -0x1.189d3cp-19f, -0x1.33b0e2p-21f, -0x1.3c27d4p-23f,
     -0x1.307d26p-25f, -0x1.12ecfp-27f,  -0x1.d18524p-30f, -0x1.719d1ep-32f,
     -0x1.1340d2p-34f, -0x1.809144p-37f, -0x1.f80fd6p-40f, 0},
    {-0x1.9884bp-2f,  -0x1.7f92bap-2f, -0x1.3b732ep-2f, -0x1.bb4678p-3f,
     -0x1.ef8f9ap-4f, -0x1.47516ap-5f, 0x1.093c7ep-6f,  0x1.7779c2p-5f,
     0x1.ba4b72p-5f,  0x1.8e2522p-5f,  0x1.3122c4p-5f,  0x1.9e6152p-6f,
     0x1.fc489ap-7f,  0x1.1ca716p-7f,  0x1.251be8p-8f,  0x1.16bb96p-9f,
     0x1.eb24c8p-11f, 0x1.91d5b8p-12f, 0x1.31d8f8p-13f, 0x1.b1b836p-15f,
     0x1.1ecc12p-16f, 0x1.62090cp-18f, 0x1.983c1cp-20f, 0x1.b7f984p-22f,
     0x1.bb6cf6p-24f, 0x1.a218f2p-26f, 0x1.70f16ep-28f, 0x1.30cb34p-30f,
     0x1.d7986p-33f,  0x1.55bd7ep-35f, 0x1.d0061ep-38f, 0},
    {0x1.8d105ap-15f,  0x1.02ba7p-4f,    0x1.c0d9ep-4f,    0x1.0816fap-3f,
     0x1.ee4474p-4f,   0x1.7b6a28p-4f,   0x1.d09f7ep-5f,   0x1.850da4p-6f,
     0x1.6fcb36p-13f,  -0x1.99cdfep-7f,  -0x1.0bde4ep-6f,  -0x1.e578d4p-7f,
     -0x1.6b0df2p-7f,  -0x1.d99f7p-8f,   -0x1.1451f4p-8f,  -0x1.245f9p-9f,
     -0x1.1ae6f6p-10f, -0x1.f7757p-12f,  -0x1.9d956ep-13f, -0x1.3a913cp-14f,
     -0x1.bc0248p-16f, -0x1.2341c2p-17f, -0x1.63a4ecp-19f, -0x1.94a17p-21f,
     -0x1.ad569ap-23f, -0x1.a92cf8p-25f, -0x1.893a54p-27f, -0x1.53d552p-29f,
     -0x1.128facp-31f, -0x1.9eeda2p-34f, -0x1.2555ccp-36f, 0},
    {0x1.0e83dp-4f,   0x1.d4eb52p-5f,  0x1.1537p-5f,     0x1.3be7c2p-8f,
     -0x1.47ab48p-6f, -0x1.16cea4p-5f, -0x1.268e4ap-5f,  -0x1.d9bc24p-6f,
     -0x1.270fa2p-6f, -0x1.fa974p-8f,  -0x1.2326e6p-11f, 0x1.94b7ep-9f,
     0x1.090174p-8f,  0x1.cc6e08p-9f,  0x1.45c3e8p-9f,   0x1.8f0182p-10f,
     0x1.b2cfb2p-11f, 0x1.abec88p-12f, 0x1.7fd94cp-13f,  0x1.3bbd94p-14f,
     0x1.de6194p-16f, 0x1.4ed10ap-17f, 0x1.b20c34p-19f,  0x1.050d54p-20f,
     0x1.23ce56p-22f, 0x1.2f7db6p-24f, 0x1.25fc8ep-26f,  0x1.0977fp-28f,
     0x1.bf4p-31f,    0x1.5faf0cp-33f, 0x1.0246d6p-35f,  0},
};

HWY_INLINE hn::Vec<hn::ScalableTag<float>> GeluErf(hn::Vec<hn::ScalableTag<float>> x) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  // min(|x|, 7.75); a NaN gives 7.75 here and comes back with max(0, x).
  const __m512 u = _mm512_range_ps(x.raw, _mm512_set1_ps(7.75f), 0x0a);
  // The sum's last bits count quarters.
  const __m512i interval = _mm512_castps_si512(_mm512_add_ps(u, _mm512_set1_ps(0x1.8p21f)));
  const __m512 r = _mm512_reduce_ps(u, 0x20);  // u less the nearest quarter
  const auto coefficient = [interval](int k) HWY_ATTR {
    return _mm512_permutex2var_ps(_mm512_load_ps(kGeluTail[k]), interval,
                                  _mm512_load_ps(kGeluTail[k] + 16));
  };
  __m512 p = coefficient(4);
  p = _mm512_fmadd_ps(p, r, coefficient(3));
  p = _mm512_fmadd_ps(p, r, coefficient(2));
  p = _mm512_fmadd_ps(p, r, coefficient(1));
  // The operand that may be NaN comes second: x86 min and max return it.
  const __m512 ramp = _mm512_max_ps(_mm512_setzero_ps(), x.raw);
  return V{_mm512_fnmadd_ps(p, r, _mm512_sub_ps(ramp, coefficient(0)))};
}

// Phi(u) of the normal distribution in 30 intervals of 0.28 that are centred on its multiples;
// coefficient k of interval i at [k][i mod 32]. 0 and 1 beyond 4.06. Our own fits in double, at the
// Chebyshev nodes of each interval.
alignas(64) constexpr float kNormalCoarse[3][32] = {
    {0x1p-1f,
     0x1.fedf24p-2f,
     0x1.f78c92p-2f,
     0x1.eceed4p-2f,
     0x1.ec095ep-2f,
     0x1.020848p-1f,
     0x1.1e1754p-1f,
     0x1.4761f4p-1f,
     0x1.765abcp-1f,
     0x1.a2a1b2p-1f,
     0x1.c6684cp-1f,
     0x1.dfad1p-1f,
     0x1.ef798ep-1f,
     0x1.f84b88p-1f,
     0x1.fcb832p-1f,
     0x1p0f,
     0,
     0,
     0x1.a3e6ccp-8f,
     0x1.ed1e18p-7f,
     0x1.086722p-5f,
     0x1.029782p-4f,
     0x1.ccbd9ap-4f,
     0x1.75793ap-3f,
     0x1.134a88p-2f,
     0x1.713c16p-2f,
     0x1.c3d15ap-2f,
     0x1.fbef7p-2f,
     0x1.09fb5p-1f,
     0x1.098896p-1f,
     0x1.0439b6p-1f,
     0x1.00906ep-1f},
    {0x1.9784aap-2f,
     0x1.a69d4p-2f,
     0x1.c9cdb4p-2f,
     0x1.e8dab8p-2f,
     0x1.eb6becp-2f,
     0x1.c5ce64p-2f,
     0x1.7d2868p-2f,
     0x1.2263eap-2f,
     0x1.9184bp-3f,
     0x1.f8905cp-4f,
     0x1.20a8aap-4f,
     0x1.2d442cp-5f,
     0x1.1f44a4p-6f,
     0x1.f53c4ep-8f,
     0x1.9093a2p-9f,
     0,
     0,
     0,
     0x1.9093a2p-9f,
     0x1.f53c4ep-8f,
     0x1.1f44a4p-6f,
     0x1.2d442cp-5f,
     0x1.20a8aap-4f,
     0x1.f8905cp-4f,
     0x1.9184bp-3f,
     0x1.2263eap-2f,
     0x1.7d2868p-2f,
     0x1.c5ce64p-2f,
     0x1.eb6becp-2f,
     0x1.e8dab8p-2f,
     0x1.c9cdb4p-2f,
     0x1.a69d4p-2f},
    {0x1.48c928p-48f,
     -0x1.b6612cp-5f,
     -0x1.85daaep-4f,
     -0x1.e0ed9p-4f,
     -0x1.e7af82p-4f,
     -0x1.acc06p-4f,
     -0x1.4ea3bp-4f,
     -0x1.d5a78ep-5f,
     -0x1.2a8efcp-5f,
     -0x1.598baep-6f,
     -0x1.6d4684p-7f,
     -0x1.61833cp-8f,
     -0x1.39c694p-9f,
     -0x1.ff87b4p-11f,
     -0x1.7f4f34p-12f,
     0,
     0,
     0,
     0x1.7f4f34p-12f,
     0x1.ff87b4p-11f,
     0x1.39c694p-9f,
     0x1.61833cp-8f,
     0x1.6d4684p-7f,
     0x1.598baep-6f,
     0x1.2a8efcp-5f,
     0x1.d5a78ep-5f,
     0x1.4ea3bp-4f,
     0x1.acc06p-4f,
     0x1.e7af82p-4f,
     0x1.e0ed9p-4f,
     0x1.85daaep-4f,
     0x1.b6612cp-5f},
};

// x Phi(x) to 1e-4 of anything and 9e-5 of a positive result: for what is rounded to 16 or 8 bits
// next. 5 instructions of arithmetic and 3 of looking up, in place of 10 and 5: beside AMX's
// products only one of the two ports that multiply is left. NaN for -inf, as the formula has it.
HWY_INLINE hn::Vec<hn::ScalableTag<float>> GeluCoarse(hn::Vec<hn::ScalableTag<float>> x) {
  using V = hn::Vec<hn::ScalableTag<float>>;
  // x within 4.312 of 0, which is in an outermost interval.
  const __m512 u = _mm512_range_ps(x.raw, _mm512_set1_ps(4.312f), 0x02);
  // The sum's last bits count intervals.
  const __m512i interval =
      _mm512_castps_si512(_mm512_fmadd_ps(u, _mm512_set1_ps(1 / 0.28f), _mm512_set1_ps(0x1.8p23f)));
  const auto coefficient = [interval](int k) HWY_ATTR {
    return _mm512_permutex2var_ps(_mm512_load_ps(kNormalCoarse[k]), interval,
                                  _mm512_load_ps(kNormalCoarse[k] + 16));
  };
  __m512 p = coefficient(2);
  p = _mm512_fmadd_ps(p, u, coefficient(1));
  p = _mm512_fmadd_ps(p, u, coefficient(0));
  return V{_mm512_mul_ps(x.raw, p)};
}

#else

// Coefficient k of interval i in units of 0.8, centred on i and a half to both sides.
alignas(64) constexpr float kGeluTail[8][8] = {
    {0, 0x1.5b1a98p-3f, 0x1.6721f4p-4f, 0x1.425718p-6f, 0x1.2034e2p-9f, 0x1.09ad8p-13f,
     0x1.ff186ap-19f, 0},
    {0x1.99999ap-2f, -0x1.04ce0ep-6f, -0x1.91fa74p-4f, -0x1.2a831ap-5f, -0x1.6bf532p-8f,
     -0x1.a67ep-12f, -0x1.e91cfap-17f, 0},
    {-0x1.05736ap-2f, -0x1.02332ep-3f, 0x1.45a9fp-6f, 0x1.b978a2p-6f, 0x1.9bfafp-8f,
     0x1.3a5696p-11f, 0x1.bf7f56p-16f, 0},
    {0x1.179e2cp-20f, 0x1.102bc6p-4f, 0x1.654e32p-6f, -0x1.088228p-7f, -0x1.0a3ac2p-8f,
     -0x1.1f649cp-11f, -0x1.03288p-15f, 0},
    {0x1.be0092p-6f, -0x1.6427bep-12f, -0x1.c8e676p-7f, -0x1.3bb81cp-10f, 0x1.8cc734p-10f,
     0x1.6299a8p-12f, 0x1.a6f0bap-16f, 0},
    {0x1.336652p-14f, -0x1.d74cf6p-8f, 0x1.c94474p-10f, 0x1.d50066p-10f, -0x1.be3ab6p-13f,
     -0x1.2caf3p-13f, -0x1.012ac6p-16f, 0},
    {-0x1.736ep-9f, 0x1.b1256ap-11f, 0x1.00b1ccp-10f, -0x1.0639f6p-11f, -0x1.83413ap-14f,
     0x1.3ef7eep-15f, 0x1.ed72f2p-18f, 0},
    {0x1.58ef36p-12f, 0x1.0db4f2p-11f, -0x1.5adeacp-12f, -0x1.c5addep-17f, 0x1.d067bap-15f,
     -0x1.d8931ap-19f, -0x1.4d3fc8p-19f, 0},
};

HWY_INLINE hn::Vec<hn::ScalableTag<float>> GeluErf(hn::Vec<hn::ScalableTag<float>> x) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  // Operands that may be NaN come second: x86 min and max return them. A NaN picks any interval.
  const auto u = hn::Min(hn::Set(d, 5.6f), hn::Abs(x));
  // The sum's last bits count intervals.
  const auto shifter = hn::Set(d, 0x1.8p23f);
  const auto shifted = hn::MulAdd(u, hn::Set(d, 1.25f), shifter);
  const auto r = hn::MulSub(u, hn::Set(d, 1.25f), hn::Sub(shifted, shifter));
  const hn::Indices256<float> interval{hn::BitCast(di, shifted).raw};
  const auto coefficient = [&](int k) HWY_ATTR {
    return hn::TableLookupLanes(hn::Load(d, kGeluTail[k]), interval);
  };
  auto p = coefficient(7);
  p = hn::MulAdd(p, r, coefficient(6));
  p = hn::MulAdd(p, r, coefficient(5));
  p = hn::MulAdd(p, r, coefficient(4));
  p = hn::MulAdd(p, r, coefficient(3));
  p = hn::MulAdd(p, r, coefficient(2));
  p = hn::MulAdd(p, r, coefficient(1));
  return hn::NegMulAdd(p, r, hn::Sub(hn::Max(hn::Zero(d), x), coefficient(0)));
}

// As good: nothing is scarce here.
HWY_INLINE hn::Vec<hn::ScalableTag<float>> GeluCoarse(hn::Vec<hn::ScalableTag<float>> x) {
  return GeluErf(x);
}

#endif

}  // namespace
}  // namespace sluice::kernels::SLUICE_ISA
