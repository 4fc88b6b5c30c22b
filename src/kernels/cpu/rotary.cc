// Compiled once per target: pairs of elements turned by their angles.
#include "kernels/cpu/rotary.h"

#include "kernels/cpu/math.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

// One row's operands.
struct Row {
  const float* x;
  const float* cos;
  const float* sin;
  float* y;
};

// Elements `i` and `i + half`; `b` is where the tables have those of the second.
void TurnHalves(const Row& row, int64_t half, int64_t b) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const VF first = hn::LoadU(d, row.x + i);
    const VF second = hn::LoadU(d, row.x + half + i);
    const VF turned = hn::Mul(second, hn::LoadU(d, row.sin + i));
    const VF kept = hn::Mul(first, hn::LoadU(d, row.sin + b + i));
    hn::StoreU(hn::MulSub(first, hn::LoadU(d, row.cos + i), turned), d, row.y + i);
    hn::StoreU(hn::MulAdd(second, hn::LoadU(d, row.cos + b + i), kept), d, row.y + half + i);
  }
  if (i == half) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(half - i));
  const auto part = [&](const float* at) HWY_ATTR { return hn::MaskedLoad(rest, d, at); };
  const VF first = part(row.x + i);
  const VF second = part(row.x + half + i);
  const VF turned = hn::Mul(second, part(row.sin + i));
  const VF kept = hn::Mul(first, part(row.sin + b + i));
  hn::BlendedStore(hn::MulSub(first, part(row.cos + i), turned), rest, d, row.y + i);
  hn::BlendedStore(hn::MulAdd(second, part(row.cos + b + i), kept), rest, d, row.y + half + i);
}

// Elements 2 i and 2 i + 1.
template <bool by_pair>
void TurnNeighbours(const Row& row, int64_t pairs) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= pairs; i += lanes) {
    VF first, second, cos_a, cos_b, sin_a, sin_b;
    hn::LoadInterleaved2(d, row.x + 2 * i, first, second);
    if (by_pair) {
      cos_a = cos_b = hn::LoadU(d, row.cos + i);
      sin_a = sin_b = hn::LoadU(d, row.sin + i);
    } else {
      hn::LoadInterleaved2(d, row.cos + 2 * i, cos_a, cos_b);
      hn::LoadInterleaved2(d, row.sin + 2 * i, sin_a, sin_b);
    }
    const VF a = hn::MulSub(first, cos_a, hn::Mul(second, sin_a));
    const VF b = hn::MulAdd(second, cos_b, hn::Mul(first, sin_b));
    hn::StoreInterleaved2(a, b, d, row.y + 2 * i);
  }
  for (; i < pairs; ++i) {
    const float first = row.x[2 * i], second = row.x[2 * i + 1];
    const int64_t a = by_pair ? i : 2 * i, b = by_pair ? i : 2 * i + 1;
    row.y[2 * i] = __builtin_fmaf(first, row.cos[a], -(second * row.sin[a]));
    row.y[2 * i + 1] = __builtin_fmaf(second, row.cos[b], first * row.sin[b]);
  }
}

}  // namespace

void RunRotary(const RotaryArgs& args, int64_t begin, int64_t end) {
  const int64_t half = args.turned / 2;
  for (int64_t at = begin; at < end; ++at) {
    const int64_t index[kRotaryAxes] = {at / args.extents[2] / args.extents[1],
                                        at / args.extents[2] % args.extents[1],
                                        at % args.extents[2]};
    const auto offset = [&](const int64_t* strides) {
      return index[0] * strides[0] + index[1] * strides[1] + index[2] * strides[2];
    };
    const Row row = {args.x.data + offset(args.x.strides), args.cos.data + offset(args.cos.strides),
                     args.sin.data + offset(args.sin.strides), args.y + offset(args.y_strides)};
    if (!args.interleaved) {
      TurnHalves(row, half, args.by_pair ? 0 : half);
    } else if (args.by_pair) {
      TurnNeighbours<true>(row, half);
    } else {
      TurnNeighbours<false>(row, half);
    }
    for (int64_t i = args.turned; i < args.width; ++i) row.y[i] = row.x[i];
  }
}

}  // namespace sluice::kernels::SLUICE_ISA
