#include "kernels/ref/recurrent.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/ref/elementwise.h"
#include "kernels/ref/lanes.h"

namespace sluice::kernels::ref {
namespace {

using base::Status;

double Apply(const Gate& gate, double x) {
  const auto unary = [&](UnaryOp op) { return UnaryValue(op, x, gate.alpha, gate.beta); };
  switch (gate.function) {
    case GateFunction::kSigmoid:
      return unary(UnaryOp::kSigmoid);
    case GateFunction::kTanh:
      return std::tanh(x);
    case GateFunction::kRelu:
      return unary(UnaryOp::kRelu);
    case GateFunction::kAffine:
      return gate.alpha * x + gate.beta;
    case GateFunction::kLeakyRelu:
      return unary(UnaryOp::kLeakyRelu);
    case GateFunction::kThresholdedRelu:
      return unary(UnaryOp::kThresholdedRelu);
    case GateFunction::kScaledTanh:
      return gate.alpha * std::tanh(gate.beta * x);
    case GateFunction::kHardSigmoid:
      return unary(UnaryOp::kHardSigmoid);
    case GateFunction::kElu:
      return unary(UnaryOp::kElu);
    case GateFunction::kSoftsign:
      return unary(UnaryOp::kSoftsign);
    case GateFunction::kSoftplus:
      return unary(UnaryOp::kSoftplus);
  }
  return x;
}

int64_t GateCount(CellKind kind) {
  switch (kind) {
    case CellKind::kRnn:
      return 1;
    case CellKind::kGru:
      return 3;
    case CellKind::kLstm:
      return 4;
  }
  return 1;
}

double At(const ConstView& x, int64_t i) {
  return LoadOne<double>(x.dtype, x.data, i);
}

// Sum over i of row[first + i] * v[i].
double Dot(const ConstView& row, int64_t first, const double* v, int64_t n) {
  double lanes[kLanes];
  double sum = 0;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int64_t m = std::min(n - i, kLanes);
    LoadLanes(row.dtype, row.data, first + i, 1, m, lanes);
    for (int64_t j = 0; j < m; ++j) sum += lanes[j] * v[i + j];
  }
  return sum;
}

// One direction of one sequence, with its state in scratch.
class Cell {
 public:
  Cell(const RecurrentArgs& args, int64_t direction, int64_t directions)
      : args_(args), direction_(direction), directions_(directions), gates_(GateCount(args.kind)) {
    const tensor::Shape& x = args.x.shape;
    length_ = x[args.batch_first ? 1 : 0];
    batch_ = x[args.batch_first ? 0 : 1];
    input_ = x[2];
    hidden_ = args.r.shape[2];
    h_ = args.scratch;
    c_ = h_ + hidden_;
    in_ = c_ + hidden_;
    from_x_ = in_ + input_;
    from_h_ = from_x_ + gates_ * hidden_;
    reset_ = from_h_ + gates_ * hidden_;
  }

  void Run(int64_t b, int64_t steps, bool reverse) {
    for (int64_t k = 0; k < hidden_; ++k) {
      h_[k] = args_.initial_h.data != nullptr ? At(args_.initial_h, StateAt(b) + k) : 0;
      c_[k] = args_.initial_c.data != nullptr ? At(args_.initial_c, StateAt(b) + k) : 0;
    }
    for (int64_t s = 0; s < length_; ++s) {
      const int64_t t = s < steps && reverse ? steps - 1 - s : s;
      if (s < steps) Step(b, t);
      if (args_.y.data == nullptr) continue;
      for (int64_t k = 0; k < hidden_; ++k) {
        StoreOne(args_.y.dtype, args_.y.data, OutAt(b, t) + k, s < steps ? h_[k] : 0.0);
      }
    }
    for (int64_t k = 0; k < hidden_; ++k) {
      if (args_.last_h.data != nullptr)
        StoreOne(args_.last_h.dtype, args_.last_h.data, StateAt(b) + k, h_[k]);
      if (args_.last_c.data != nullptr)
        StoreOne(args_.last_c.dtype, args_.last_c.data, StateAt(b) + k, c_[k]);
    }
  }

 private:
  int64_t StateAt(int64_t b) const {
    return (args_.batch_first ? b * directions_ + direction_ : direction_ * batch_ + b) * hidden_;
  }
  int64_t OutAt(int64_t b, int64_t t) const {
    if (args_.batch_first) return ((b * length_ + t) * directions_ + direction_) * hidden_;
    return ((t * directions_ + direction_) * batch_ + b) * hidden_;
  }
  double Clip(double x) const {
    return args_.clip > 0 ? std::clamp(x, -args_.clip, args_.clip) : x;
  }
  double Function(int which, double x) const {
    return Apply(args_.gates[direction_][which], Clip(x));
  }
  double Peephole(int64_t which, int64_t k) const {
    if (args_.peephole.data == nullptr) return 0;
    return At(args_.peephole, (direction_ * 3 + which) * hidden_ + k);
  }
  double Bias(bool recurrent, int64_t row) const {
    if (args_.bias.data == nullptr) return 0;
    const int64_t rows = gates_ * hidden_;
    return At(args_.bias, direction_ * 2 * rows + (recurrent ? rows : 0) + row);
  }
  double FromState(int64_t row, const double* state) const {
    return Dot(args_.r, (direction_ * gates_ * hidden_ + row) * hidden_, state, hidden_) +
           Bias(true, row);
  }

  void Step(int64_t b, int64_t t) {
    const int64_t first = (args_.batch_first ? b * length_ + t : t * batch_ + b) * input_;
    for (int64_t i = 0; i < input_; ++i) in_[i] = At(args_.x, first + i);
    // A GRU's last gate sees the state only once it is reset.
    const int64_t state_rows = args_.kind == CellKind::kGru ? 2 * hidden_ : gates_ * hidden_;
    for (int64_t row = 0; row < gates_ * hidden_; ++row) {
      from_x_[row] = Dot(args_.w, (direction_ * gates_ * hidden_ + row) * input_, in_, input_) +
                     Bias(false, row);
      from_h_[row] = row < state_rows ? FromState(row, h_) : 0;
    }
    switch (args_.kind) {
      case CellKind::kRnn:
        return StepRnn();
      case CellKind::kGru:
        return StepGru();
      case CellKind::kLstm:
        return StepLstm();
    }
  }

  void StepRnn() {
    for (int64_t k = 0; k < hidden_; ++k) h_[k] = Function(0, from_x_[k] + from_h_[k]);
  }

  void StepGru() {
    double* candidate = from_h_ + 2 * hidden_;
    for (int64_t k = 0; k < hidden_; ++k) {
      const int64_t r = hidden_ + k;
      from_h_[r] = Function(0, from_x_[r] + from_h_[r]);
      reset_[k] = from_h_[r] * h_[k];
    }
    for (int64_t k = 0; k < hidden_; ++k) {
      const int64_t row = 2 * hidden_ + k;
      candidate[k] = args_.linear_before_reset ? from_h_[hidden_ + k] * FromState(row, h_)
                                               : FromState(row, reset_);
    }
    for (int64_t k = 0; k < hidden_; ++k) {
      const double z = Function(0, from_x_[k] + from_h_[k]);
      h_[k] = (1 - z) * Function(1, from_x_[2 * hidden_ + k] + candidate[k]) + z * h_[k];
    }
  }

  void StepLstm() {
    for (int64_t k = 0; k < hidden_; ++k) {
      const auto gate = [&](int64_t g) {
        return from_x_[g * hidden_ + k] + from_h_[g * hidden_ + k];
      };
      const double i = Function(0, gate(0) + Peephole(0, k) * c_[k]);
      const double f = args_.input_forget ? 1 - i : Function(0, gate(2) + Peephole(2, k) * c_[k]);
      c_[k] = f * c_[k] + i * Function(1, gate(3));
      const double o = Function(0, gate(1) + Peephole(1, k) * c_[k]);
      h_[k] = o * Apply(args_.gates[direction_][2], c_[k]);
    }
  }

  const RecurrentArgs& args_;
  int64_t direction_;
  int64_t directions_;
  int64_t gates_;
  int64_t length_ = 0;
  int64_t batch_ = 0;
  int64_t input_ = 0;
  int64_t hidden_ = 0;
  double* h_;       // [hidden]
  double* c_;       // [hidden]
  double* in_;      // [input]
  double* from_x_;  // [gates * hidden]
  double* from_h_;  // [gates * hidden]
  double* reset_;   // [hidden]
};

}  // namespace

int64_t RecurrentScratch(const RecurrentArgs& args) {
  return args.r.shape[2] * (3 + 2 * GateCount(args.kind)) + args.x.shape[2];
}

Status Recurrent(const RecurrentArgs& args) {
  const int64_t directions = args.direction == Direction::kBoth ? 2 : 1;
  CHECK(args.x.shape.rank() == 3 && args.w.shape.rank() == 3 && args.r.shape.rank() == 3);
  CHECK(args.w.shape[0] == directions && args.r.shape[0] == directions);
  CHECK_EQ(args.w.shape[2], args.x.shape[2]);
  CHECK_EQ(args.r.shape[1], GateCount(args.kind) * args.r.shape[2]);
  CHECK_EQ(args.w.shape[1], args.r.shape[1]);
  const int64_t length = args.x.shape[args.batch_first ? 1 : 0];
  const int64_t batch = args.x.shape[args.batch_first ? 0 : 1];
  for (int64_t b = 0; b < batch && args.lengths.data != nullptr; ++b) {
    const int64_t steps = args.lengths.as<int32_t>()[b];
    if (steps < 0 || steps > length) {
      return base::InvalidArgument("length " + std::to_string(steps) + " of sequence " +
                                   std::to_string(b) + " is not within 0 to " +
                                   std::to_string(length));
    }
  }
  for (int64_t d = 0; d < directions; ++d) {
    Cell cell(args, d, directions);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t steps = args.lengths.data != nullptr ? args.lengths.as<int32_t>()[b] : length;
      cell.Run(b, steps, args.direction == Direction::kReverse || d == 1);
    }
  }
  return base::Ok();
}

}  // namespace sluice::kernels::ref
