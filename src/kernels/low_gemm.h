// Products of f32 activations with weights of 8 or 16 bits, and the preparation of activations for
// them.
//
// An output's bits depend on its row and on the machine, never on M, the tile or the company of
// other rows: kInt8 sums integers exactly; kBF16 sums in the order of the machine's dot
// instruction over k = 0, 1, …, the same instruction for every M; the storage forms are
// kernels/gemm.h's chain of multiply-adds over the widened weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/low_path.h"
#include "kernels/target.h"
#include "kernels/work.h"

namespace sluice::kernels {

// B [k, n] packed for a path: panels of `width` columns, each [groups, width] groups of four bytes
// that lie along k (four s8, two bf16 or two s16), or [k, width] single elements for kWiden; padded
// with zeros. A view; kernels/weight_store.h owns such memory.
struct LowMatrix {
  const std::byte* data = nullptr;  // aligned to 64 bytes
  const float* scales = nullptr;    // [n padded] of kInt8 and kInt8Storage
  const float* sums = nullptr;      // [n padded] of kInt8: each column's sum of quantised weights
  int64_t k = 0;
  int64_t n = 0;
  int64_t groups = 0;  // of four bytes that a row of activations has, padded; unused with kWiden
  WeightForm form = WeightForm::kInt8;
  LowPath path = LowPath::kWords;
  Target target = Target::kAvx2;  // of the epilogue; with kWiden of the product as well
};

// As those of kernels/gemm.h.
int64_t PanelColumns(const LowMatrix& b);
LowMatrix PanelOf(const LowMatrix& b, int64_t index);

// Rows of activations as a path takes them: u8, s16 or bf16, padded with zeros to whole groups.
struct LowRows {
  std::byte* data = nullptr;  // rows `stride` bytes apart
  int64_t stride = 0;         // LowRowBytes(k, path)
  float* scales = nullptr;    // [m] of kInt8
  float* zeros = nullptr;     // [m] of kInt8: the code of 0, an integer
};
LowRows RowsFrom(const LowRows& rows, int64_t row);

// Columns of a panel; groups of four bytes along k, padded to whole 64 bytes; and bytes from one
// prepared row to the next, an odd number of cache lines so that rows fall into different sets.
int64_t LowPanelColumns(LowPath path, Target target);
int64_t LowGroups(int64_t k, LowPath path);
int64_t LowRowBytes(int64_t k, LowPath path);

// Activations [m, k] f32 into `rows`. A row of kInt8 is x = scale (code - zero) with codes 0 … 255
// that cover its smallest and largest element and 0. A row that holds NaN or inf gets the scale
// NaN, and so does everything computed from it.
struct PrepareRowsArgs {
  int64_t m = 0;
  int64_t k = 0;
  const float* a = nullptr;  // rows `a_stride` elements apart
  int64_t a_stride = 0;
  LowRows rows;
  LowPath path = LowPath::kWords;  // not kWiden
  Target target = Target::kAvx2;
  // Of kInt8: above 0 every row has this scale and zero, and a code is round(x / scale) + zero
  // within 0 … 255, halves to even: ONNX's QuantizeLinear.
  float fixed_scale = 0;
  float fixed_zero = 0;
};
int64_t PrepareRowsTiles(const PrepareRowsArgs& args);
void PrepareRows(const PrepareRowsArgs& args, Tiles tiles);
Work PrepareRowsWork(const PrepareRowsArgs& args);

// C [m, n] = act(A [m, k] B [k, n] + bias [n] + residual [m, n]) or, with a factor, act(A B + bias)
// * factor [m, n] + residual, as kernels/gemm.h.
struct LowGemmArgs {
  int64_t m = 0;
  LowRows rows;              // A prepared for b.path; with kWiden unused
  const float* a = nullptr;  // with kWiden: [m, k], rows `a_stride` elements apart
  int64_t a_stride = 0;
  LowMatrix b;
  const float* bias = nullptr;      // [n], or null
  const float* residual = nullptr;  // rows `residual_stride` apart, or null; does not overlap C
  int64_t residual_stride = 0;
  const float* factor = nullptr;  // as the residual
  int64_t factor_stride = 0;
  float* c = nullptr;  // rows `c_stride` apart
  int64_t c_stride = 0;
  Activation activation = Activation::kNone;
  // GELU by the error function to 1e-4 only: what 16 or 8 bits keep of it.
  bool coarse_gelu = false;
  // C goes into these rows, prepared for a product of out_path, in place of `c`: the same bits as
  // by PrepareRows from a C with coarse_gelu. Needs LowGemmPrepares(b, out_path).
  LowRows out;
  LowPath out_path = LowPath::kWords;
};
// Whether a product with this matrix may prepare its result for `out_path`. Rows of bf16 are
// rounded element by element. For rows of int8 a strip of whole rows waits on the stack: it must
// fit there, and the matrix stay in L2 while strips pass over all of it. Not with kWiden on either
// side.
bool LowGemmPrepares(const LowMatrix& b, LowPath out_path);
int64_t LowGemmTiles(const LowGemmArgs& args);
void LowGemm(const LowGemmArgs& args, Tiles tiles);
Work LowGemmWork(const LowGemmArgs& args);
// How many times the rate of f32 multiply-adds a path has here, about: for predictions.
double LowPathSpeedup(LowPath path);

}  // namespace sluice::kernels
