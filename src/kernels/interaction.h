// How the vectors of features meet: dot products of pairs (DLRM) and the second-order term of a
// factorisation machine.
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

}  // namespace sluice::kernels
