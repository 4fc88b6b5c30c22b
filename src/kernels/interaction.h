// How the vectors of features meet: dot products of pairs (DLRM), the second-order term of a
// factorisation machine, the cross layer of DCN.
//
// Batch rows are independent; each sum runs over its axis in order, whatever surrounds the row.
#pragma once

#include <cstdint>

#include "kernels/work.h"

namespace sluice::kernels {

inline constexpr int64_t kInteractionFeatures = 128;

// Pairs that lie side by side, one run behind the other in y: y[b, at … at + count) = x[b, row, :]
// · x[b, first … first + count,
// :]
struct PairRun {
  int32_t row = 0;
  int32_t first = 0;
  int32_t count = 0;
  int32_t at = 0;
};

struct PairDotsArgs {
  int64_t batch = 0;
  int64_t features = 0;  // at most kInteractionFeatures
  int64_t columns = 0;
  int64_t pairs = 0;
  const PairRun* runs = nullptr;
  int64_t run_count = 0;
  const float* x = nullptr;  // [batch, features, columns]: batch rows x_batch, features x_row apart
  int64_t x_batch = 0;
  int64_t x_row = 0;
  float* y = nullptr;  // [batch, y_stride], the first `pairs` of each row
  int64_t y_stride = 0;
};
int64_t PairDotsTiles(const PairDotsArgs& args);
void PairDots(const PairDotsArgs& args, Tiles tiles);
Work PairDotsWork(const PairDotsArgs& args);

// y[b, c] = scale * ((sum over f of x[b, f, c])^2 - sum over f of x[b, f, c]^2), or, where
// `reduces`, y[b] = the sum of that over c. S. Rendle, Factorization Machines, 2010, lemma 3.1.
struct SecondOrderArgs {
  int64_t batch = 0;
  int64_t features = 0;
  int64_t columns = 0;
  float scale = 0.5F;
  bool reduces = true;
  const float* x = nullptr;  // as above
  int64_t x_batch = 0;
  int64_t x_row = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
};
int64_t SecondOrderTiles(const SecondOrderArgs& args);
void SecondOrder(const SecondOrderArgs& args, Tiles tiles);
Work SecondOrderWork(const SecondOrderArgs& args);

// y[r, :] = x0[r, :] * (x[r, :] . weight) + bias + x[r, :]. R. Wang et al., Deep & Cross Network
// for Ad Click Predictions, 2017, section 2.2.
struct VectorCrossArgs {
  int64_t rows = 0;
  int64_t columns = 0;
  const float* x0 = nullptr;  // [rows, columns], rows x0_row apart
  int64_t x0_row = 0;
  const float* x = nullptr;
  int64_t x_row = 0;
  const float* weight = nullptr;  // [columns]
  const float* bias = nullptr;    // [columns], or null
  float* y = nullptr;             // rows y_row apart
  int64_t y_row = 0;
};
int64_t VectorCrossTiles(const VectorCrossArgs& args);
void VectorCross(const VectorCrossArgs& args, Tiles tiles);
Work VectorCrossWork(const VectorCrossArgs& args);

}  // namespace sluice::kernels
