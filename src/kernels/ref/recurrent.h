// Reference recurrent cells: RNN, GRU and LSTM over a padded batch of sequences, in double. Step by
// step and plain.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "tensor/view.h"

namespace sluice::kernels::ref {

using tensor::ConstView;
using tensor::View;

// What a gate applies. kAffine: alpha x + beta; kScaledTanh: alpha tanh(beta x); the others as
// UnaryOp says.
enum class GateFunction : uint8_t {
  kSigmoid,
  kTanh,
  kRelu,
  kAffine,
  kLeakyRelu,
  kThresholdedRelu,
  kScaledTanh,
  kHardSigmoid,
  kElu,
  kSoftsign,
  kSoftplus,
};
struct Gate {
  GateFunction function = GateFunction::kSigmoid;
  double alpha = 0;
  double beta = 0;
};

// Gates in ONNX's order: RNN {i}, GRU {z, r, h}, LSTM {i, o, f, c}. All tensors share a float
// dtype; the optional ones have no data. Where `batch_first`, the axes `length` and `batch` of x
// and y, and `directions` and `batch` of the states, change places: x [batch, length, input], y
// [batch, length, directions, hidden], states [batch, directions, hidden].
enum class CellKind : uint8_t { kRnn, kGru, kLstm };
enum class Direction : uint8_t { kForward, kReverse, kBoth };
struct RecurrentArgs {
  CellKind kind = CellKind::kRnn;
  Direction direction = Direction::kForward;
  ConstView x;               // [length, batch, input]
  ConstView w;               // [directions, gates * hidden, input]
  ConstView r;               // [directions, gates * hidden, hidden]
  ConstView bias = {};       // [directions, 2 * gates * hidden], optional: of w, then of r
  ConstView lengths = {};    // int32 [batch], optional: steps of each sequence; y is 0 behind them
  ConstView initial_h = {};  // [directions, batch, hidden], optional: 0
  ConstView initial_c = {};  // LSTM: the same
  ConstView peephole = {};   // LSTM: [directions, 3 * hidden], optional: of i, o, f
  View y = {};               // [length, directions, batch, hidden], optional
  View last_h = {};          // [directions, batch, hidden], optional
  View last_c = {};          // LSTM: the same
  // For each direction: RNN {f}; GRU {f, g}; LSTM {f, g, h}.
  Gate gates[2][3] = {};
  double clip = 0;                   // 0: none; bounds what goes into a gate's function
  bool linear_before_reset = false;  // GRU
  bool input_forget = false;         // LSTM: f = 1 - i
  bool batch_first = false;
  double* scratch = nullptr;  // RecurrentScratch elements
};
int64_t RecurrentScratch(const RecurrentArgs& args);
// kInvalidArgument when a length is below 0 or above x's.
base::Status Recurrent(const RecurrentArgs& args);

}  // namespace sluice::kernels::ref
