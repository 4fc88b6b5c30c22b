// Compiled once per target: all layers of a small network for a strip of rows at a time, from one
// strip in L1 to the other.
#include "kernels/cpu/row_mlp.h"

#include "kernels/cpu/column.h"
#include "kernels/cpu/finish.h"
#include "kernels/cpu/micro.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

// Floats between a strip's rows: an odd number of cache lines.
constexpr int64_t kRowStride = kRowMlpWidth + 16;
// Of a first layer that takes its group's gate in.
constexpr int64_t kFoldedFloats = 16 << 10;

// x [rows, n] through the layer's gate.
__attribute__((noinline)) void Gate(const RowMlpLayer& layer, float* x, int64_t x_row,
                                    int64_t rows) {
  const F32 d;
  const VF one = hn::Set(d, 1.0F);
  const int64_t n = layer.b.n;
  for (int64_t j = 0; j < n; j += kLanes) {
    const auto here = hn::FirstN(d, static_cast<size_t>(n - j < kLanes ? n - j : kLanes));
    const VF slope = hn::MaskedLoad(here, d, layer.slope + j);
    VF scale = one, shift = one;
    if (layer.gate == RowGate::kDice) {
      scale = hn::MaskedLoad(here, d, layer.scale + j);
      shift = hn::MaskedLoad(here, d, layer.shift + j);
    }
    for (int64_t i = 0; i < rows; ++i) {
      float* const at = x + i * x_row + j;
      const VF v = hn::MaskedLoad(here, d, at);
      VF factor;
      if (layer.gate == RowGate::kDice) {
        const VF p = Sigmoid(hn::Add(hn::Mul(v, scale), shift));
        factor = hn::MulAdd(slope, hn::Sub(one, p), p);
      } else {
        factor = hn::IfThenElse(hn::Gt(v, hn::Zero(d)), one, slope);
      }
      hn::BlendedStore(hn::Mul(v, factor), here, d, at);
    }
  }
}

// c [rows, n] = act(a [rows, k] b + bias).
HWY_INLINE void RunLayer(const float* a, int64_t a_row, int64_t rows, const PackedMatrix& b,
                         const float* bias, Activation activation, float* c, int64_t c_row) {
  if (b.n == 1 && c_row == 1) {
    ColumnProduct(a, a_row, rows, b, c);
    for (int64_t i = 0; i < rows && bias != nullptr; ++i) c[i] = c[i] + bias[0];
    if (activation != Activation::kNone) Finish(c, 0, nullptr, 0, 1, rows, activation);
    return;
  }
  MicroArgs micro = {};
  micro.a = a;
  micro.a_row = a_row;
  micro.b = b.data;
  micro.b_row = kPanel;
  micro.b_panel = b.k * kPanel;
  micro.c = c;
  micro.c_row = c_row;
  micro.depth = b.k;
  micro.bias = bias;
  RunPanels(micro, static_cast<int>(rows), b.n, [](int64_t, int64_t) {});
  if (activation != Activation::kNone) Finish(c, c_row, nullptr, 0, rows, b.n, activation);
}

// x W + (x gate) V is x (W + diag(gate) V): to [k, n] = the upper half of b [2 k, n] plus gate [k]
// times the lower one. A group's rows have half of the product left.
HWY_INLINE PackedMatrix FoldGate(const PackedMatrix& b, const float* gate, float* to) {
  const F32 d;
  const int64_t k = b.k / 2;
  for (int64_t n = 0; n < b.n; n += kPanel) {
    const float* const upper = b.data + n * b.k;
    const float* const lower = upper + k * kPanel;
    float* const panel = to + n * k;
    for (int64_t i = 0; i < k; ++i) {
      const VF factor = hn::Set(d, gate[i]);
      for (int64_t j = i * kPanel; j < (i + 1) * kPanel; j += kLanes)
        hn::Store(hn::MulAdd(factor, hn::Load(d, lower + j), hn::Load(d, upper + j)), d, panel + j);
    }
  }
  return {to, k, b.n, b.target};
}

// to [rows, 2 * columns] = x and x times gate.
HWY_INLINE void Cross(const float* x, int64_t x_row, int64_t rows, int64_t columns,
                      const float* gate, float* to) {
  const F32 d;
  for (int64_t i = 0; i < rows; ++i) {
    const float* const from = x + i * x_row;
    float* const row = to + i * kRowStride;
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) {
      const VF v = hn::LoadU(d, from + c);
      hn::StoreU(v, d, row + c);
      hn::StoreU(hn::Mul(v, hn::LoadU(d, gate + c)), d, row + columns + c);
    }
    for (; c < columns; ++c) {
      row[c] = from[c];
      row[columns + c] = from[c] * gate[c];
    }
  }
}

}  // namespace

void RunRowMlp(const RowMlpArgs& args, int64_t begin, int64_t end) {
  alignas(64) float strips[2][kStripRows * kRowStride];
  alignas(64) float first_bias[kRowMlpWidth];
  alignas(64) float folded[kFoldedFloats];
  const RowMlpLayer& last = args.layers[args.layer_count - 1];
  // By sizes of the model alone, so that a group has the same bits in any company. A single column
  // has a layout of its own.
  PackedMatrix first = args.layers[0].b;
  const bool folds = args.crosses && first.n > 1 &&
                     args.columns * ((first.n + kPanel - 1) / kPanel * kPanel) <= kFoldedFloats;
  for (int64_t g = begin; g < end; ++g) {
    const float* const gate = args.gate == nullptr ? nullptr : args.gate + g * args.gate_group;
    const float* bias = args.layers[0].bias;
    if (gate != nullptr) {
      RunLayer(gate, 0, 1, args.gate_weight, bias, Activation::kNone, first_bias, kRowMlpWidth);
      bias = first_bias;
    }
    if (folds) first = FoldGate(args.layers[0].b, gate, folded);
    ForStrips(0, args.rows, [&](int64_t row, int64_t rows) {
      const float* from = args.x + g * args.x_group + row * args.x_row;
      int64_t from_row = args.x_row;
      if (args.crosses && !folds) {
        Cross(from, from_row, rows, args.columns, gate, strips[1]);
        from = strips[1];
        from_row = kRowStride;
      }
      for (int32_t i = 0; i < args.layer_count; ++i) {
        const RowMlpLayer& layer = args.layers[i];
        const bool ends = i + 1 == args.layer_count;
        float* const to = ends ? args.y + (g * args.rows + row) * last.b.n : strips[i % 2];
        const int64_t to_row = ends ? last.b.n : kRowStride;
        RunLayer(from, from_row, rows, i == 0 ? first : layer.b, i == 0 ? bias : layer.bias,
                 layer.activation, to, to_row);
        if (layer.gate != RowGate::kNone) Gate(layer, to, to_row, rows);
        from = to;
        from_row = to_row;
      }
    });
  }
}

}  // namespace sluice::kernels::SLUICE_ISA
