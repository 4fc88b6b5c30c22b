#include "kernels/ref/ranking.h"

namespace sluice::kernels::ref {

void PairDots(const PairDotsArgs& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    const float* const x = args.x + b * args.x_batch;
    for (int64_t r = 0; r < args.run_count; ++r) {
      const PairRun& run = args.runs[r];
      for (int32_t i = 0; i < run.count; ++i) {
        double sum = 0;
        for (int64_t c = 0; c < args.columns; ++c) {
          sum += static_cast<double>(x[run.row * args.x_row + c]) *
                 static_cast<double>(x[(run.first + i) * args.x_row + c]);
        }
        args.y[b * args.y_stride + run.at + i] = static_cast<float>(sum);
      }
    }
  }
}

void SecondOrder(const SecondOrderArgs& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    double total = 0;
    for (int64_t c = 0; c < args.columns; ++c) {
      double sum = 0, squares = 0;
      for (int64_t f = 0; f < args.features; ++f) {
        const auto v = static_cast<double>(args.x[b * args.x_batch + f * args.x_row + c]);
        sum += v;
        squares += v * v;
      }
      const double term = static_cast<double>(args.scale) * (sum * sum - squares);
      total += term;
      if (!args.reduces) args.y[b * args.y_stride + c] = static_cast<float>(term);
    }
    if (args.reduces) args.y[b * args.y_stride] = static_cast<float>(total);
  }
}

void VectorCross(const VectorCrossArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* const x = args.x + r * args.x_row;
    double dot = 0;
    for (int64_t c = 0; c < args.columns; ++c)
      dot += static_cast<double>(x[c]) * static_cast<double>(args.weight[c]);
    for (int64_t c = 0; c < args.columns; ++c) {
      const double bias = args.bias == nullptr ? 0.0 : static_cast<double>(args.bias[c]);
      args.y[r * args.y_row + c] =
          static_cast<float>(static_cast<double>(args.x0[r * args.x0_row + c]) * dot + bias + x[c]);
    }
  }
}

}  // namespace sluice::kernels::ref
