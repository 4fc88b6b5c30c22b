// Recurrent reference cells against their equations written out for one hidden unit, and against
// themselves: padding, direction and layout change nothing but places.
#include "kernels/ref/recurrent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace sluice::kernels::ref {
namespace {

using tensor::DType;
using tensor::Shape;
using Floats = std::vector<float>;

ConstView In(const Floats& data, const Shape& shape) {
  return {DType::kF32, shape, data.data()};
}

float Sigmoid(float x) {
  return 1 / (1 + std::exp(-x));
}

Floats Ramp(size_t n, float step) {
  Floats v(n);
  for (size_t i = 0; i < n; ++i) v[i] = step * static_cast<float>(static_cast<int>(i * 5 % 11) - 5);
  return v;
}

// The outputs of one run with all its memory.
struct Outcome {
  Floats y, h, c;
  bool ok = false;
};

Outcome RunCell(RecurrentArgs args) {
  const int64_t directions = args.direction == Direction::kBoth ? 2 : 1;
  const int64_t hidden = args.r.shape[2];
  const int64_t steps = args.x.shape[0] * args.x.shape[1];
  const int64_t batch = args.x.shape[args.batch_first ? 0 : 1];
  Outcome out;
  out.y.assign(static_cast<size_t>(steps * directions * hidden), 99);
  out.h.assign(static_cast<size_t>(batch * directions * hidden), 99);
  out.c = out.h;
  args.y = {DType::kF32, {steps * directions * hidden}, out.y.data()};
  args.last_h = {DType::kF32, {batch * directions * hidden}, out.h.data()};
  if (args.kind == CellKind::kLstm) args.last_c = {DType::kF32, args.last_h.shape, out.c.data()};
  for (auto& gates : args.gates) {
    gates[0].function = args.kind == CellKind::kRnn ? GateFunction::kTanh : GateFunction::kSigmoid;
    gates[1].function = gates[2].function = GateFunction::kTanh;
  }
  std::vector<double> scratch(static_cast<size_t>(RecurrentScratch(args)));
  args.scratch = scratch.data();
  out.ok = Recurrent(args).ok();
  return out;
}

TEST(RefRecurrent, LstmOfOneUnitFollowsItsEquations) {
  const Floats x = {0.5f, -1.0f}, w = {0.1f, 0.2f, 0.3f, 0.4f}, r = {0.5f, 0.6f, 0.7f, 0.8f};
  const Floats bias = {0.01f, 0.02f, 0.03f, 0.04f, 0.05f, 0.06f, 0.07f, 0.08f},
               peephole = {0.9f, -0.9f, 0.4f};
  RecurrentArgs args;
  args.kind = CellKind::kLstm;
  args.x = In(x, {2, 1, 1});
  args.w = In(w, {1, 4, 1});
  args.r = In(r, {1, 4, 1});
  args.bias = In(bias, {1, 8});
  args.peephole = In(peephole, {1, 3});
  const Outcome out = RunCell(args);
  float h = 0, c = 0;
  for (size_t t = 0; t < 2; ++t) {
    const auto gate = [&](size_t g) { return w[g] * x[t] + r[g] * h + bias[g] + bias[4 + g]; };
    const float i = Sigmoid(gate(0) + peephole[0] * c), f = Sigmoid(gate(2) + peephole[2] * c);
    const float candidate = std::tanh(gate(3)), o_in = gate(1);
    c = f * c + i * candidate;
    h = Sigmoid(o_in + peephole[1] * c) * std::tanh(c);
    EXPECT_NEAR(out.y[t], h, 1e-6f);
  }
  EXPECT_NEAR(out.c[0], c, 1e-6f);
}

TEST(RefRecurrent, GruResetsBeforeOrAfterTheProduct) {
  const Floats x = {0.5f, -1.0f}, w = {0.1f, 0.2f, 0.3f}, r = {0.5f, 0.6f, 0.7f};
  const Floats bias = {0.01f, 0.02f, 0.03f, 0.04f, 0.05f, 0.6f}, start = {0.25f};
  for (const bool after : {false, true}) {
    RecurrentArgs args;
    args.kind = CellKind::kGru;
    args.x = In(x, {2, 1, 1});
    args.w = In(w, {1, 3, 1});
    args.r = In(r, {1, 3, 1});
    args.bias = In(bias, {1, 6});
    args.initial_h = In(start, {1, 1, 1});
    args.linear_before_reset = after;
    const Outcome out = RunCell(args);
    float h = start[0];
    for (size_t t = 0; t < 2; ++t) {
      const float z = Sigmoid(w[0] * x[t] + r[0] * h + bias[0] + bias[3]);
      const float reset = Sigmoid(w[1] * x[t] + r[1] * h + bias[1] + bias[4]);
      const float inner = after ? reset * (r[2] * h + bias[5]) : r[2] * reset * h + bias[5];
      h = (1 - z) * std::tanh(w[2] * x[t] + bias[2] + inner) + z * h;
      EXPECT_NEAR(out.y[t], h, 1e-6f) << after;
    }
  }
}

class EveryCell : public testing::TestWithParam<CellKind> {
 protected:
  static constexpr int64_t kLength = 4, kBatch = 3, kInput = 2, kHidden = 5;
  int64_t gates_ = GetParam() == CellKind::kRnn ? 1 : GetParam() == CellKind::kGru ? 3 : 4;
  Floats x_ = Ramp(kLength * kBatch * kInput, 0.2f);
  Floats w_ = Ramp(static_cast<size_t>(2 * gates_ * kHidden * kInput), 0.1f);
  Floats r_ = Ramp(static_cast<size_t>(2 * gates_ * kHidden * kHidden), 0.05f);

  RecurrentArgs Args(Direction direction) {
    const int64_t directions = direction == Direction::kBoth ? 2 : 1;
    RecurrentArgs args;
    args.kind = GetParam();
    args.direction = direction;
    args.x = In(x_, {kLength, kBatch, kInput});
    args.w = In(w_, {directions, gates_ * kHidden, kInput});
    args.r = In(r_, {directions, gates_ * kHidden, kHidden});
    return args;
  }
};

TEST_P(EveryCell, PaddingIsNotReadAndWrittenAsZero) {
  const std::vector<int32_t> lengths = {4, 2, 0};
  RecurrentArgs args = Args(Direction::kReverse);
  args.lengths = {DType::kI32, {kBatch}, lengths.data()};
  const Outcome before = RunCell(args);
  for (size_t t = 2; t < kLength; ++t) x_[(t * kBatch + 1) * kInput] = NAN;
  const Outcome after = RunCell(args);
  EXPECT_EQ(before.y, after.y);
  for (size_t t = 2; t < kLength; ++t) EXPECT_EQ(after.y[(t * kBatch + 1) * kHidden], 0);
  EXPECT_EQ(after.h[1 * kHidden + 2],
            after.y[(0 * kBatch + 1) * kHidden + 2]);  // the reverse ends at step 0
  EXPECT_EQ(after.h[2 * kHidden], 0);
}

TEST_P(EveryCell, BothDirectionsAreTheForwardAndTheReverse) {
  // The second direction gets the first one's weights, so that both can be compared with a single
  // one.
  std::copy_n(w_.begin(), w_.size() / 2, w_.begin() + static_cast<int64_t>(w_.size() / 2));
  std::copy_n(r_.begin(), r_.size() / 2, r_.begin() + static_cast<int64_t>(r_.size() / 2));
  const Outcome both = RunCell(Args(Direction::kBoth)),
                forward = RunCell(Args(Direction::kForward)),
                reverse = RunCell(Args(Direction::kReverse));
  constexpr size_t kStep = kBatch * kHidden;
  for (size_t i = 0; i < kLength * kStep; ++i) {
    const size_t t = i / kStep;
    EXPECT_EQ(both.y[t * 2 * kStep + i % kStep], forward.y[i]);
    EXPECT_EQ(both.y[t * 2 * kStep + kStep + i % kStep], reverse.y[i]);
  }
  EXPECT_NE(forward.y, reverse.y);
}

TEST_P(EveryCell, BatchFirstOnlyMovesPlaces) {
  RecurrentArgs args = Args(Direction::kForward);
  const Outcome time_first = RunCell(args);
  Floats turned(x_.size());
  for (size_t t = 0; t < kLength; ++t) {
    for (size_t b = 0; b < kBatch; ++b) {
      std::copy_n(&x_[(t * kBatch + b) * kInput], kInput, &turned[(b * kLength + t) * kInput]);
    }
  }
  args.x = In(turned, {kBatch, kLength, kInput});
  args.batch_first = true;
  const Outcome batch_first = RunCell(args);
  EXPECT_EQ(batch_first.y[(2 * kLength + 1) * kHidden + 3],
            time_first.y[(1 * kBatch + 2) * kHidden + 3]);
  EXPECT_EQ(batch_first.h, time_first.h);
}

TEST_P(EveryCell, RefusesLengthsOutsideTheInput) {
  for (const int32_t bad : {-1, 5}) {
    const std::vector<int32_t> lengths = {4, bad, 1};
    RecurrentArgs args = Args(Direction::kForward);
    args.lengths = {DType::kI32, {kBatch}, lengths.data()};
    EXPECT_FALSE(RunCell(args).ok);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryCell,
                         testing::Values(CellKind::kRnn, CellKind::kGru, CellKind::kLstm));

}  // namespace
}  // namespace sluice::kernels::ref
