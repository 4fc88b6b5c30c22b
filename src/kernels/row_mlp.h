// A small network over rows, all layers of a strip of rows while it is in L1: the activation unit
// that scores a user's history against an item (G. Zhou et al., Deep Interest Network, 2018). What
// its input repeats for all rows of a group is multiplied once a group, and where rows meet the
// group's gate element by element, the first layer's weights take the gate in, once a group too.
//
// A row's bits depend on the row and its group's gate alone.
#pragma once

#include <cstdint>

#include "kernels/gemm.h"

namespace sluice::kernels {

inline constexpr int kRowMlpLayers = 4;
inline constexpr int64_t kRowMlpWidth = 512;  // of every layer, in and out

// An activation with numbers for each column. kPRelu: x where it is above 0, else slope x. kDice:
// (p + slope (1 - p)) x with p = sigmoid(scale x + shift) (Deep Interest Network, section 5.3).
enum class RowGate : uint8_t { kNone, kPRelu, kDice };

struct RowMlpLayer {
  PackedMatrix b;
  const float* bias = nullptr;  // [n], or null
  Activation activation = Activation::kNone;
  RowGate gate = RowGate::kNone;  // behind the activation
  const float* slope = nullptr;   // [n], of both gates
  const float* scale = nullptr;   // [n], of kDice
  const float* shift = nullptr;   // [n], of kDice
};

// y[g, r] = the layers, one after the other, of x[g, r] or, where `crosses`, of x[g, r] and behind
// it x[g, r] * gate[g]; gate[g] times gate_weight is added to the first layer's product.
struct RowMlpArgs {
  int64_t groups = 0;
  int64_t rows = 0;  // of a group
  int64_t columns = 0;
  const float* x = nullptr;  // [groups, rows, columns]
  int64_t x_group = 0;
  int64_t x_row = 0;
  const float* gate = nullptr;  // [groups, columns of gate_weight's k], or null
  int64_t gate_group = 0;
  PackedMatrix gate_weight;  // [k, n of the first layer]
  bool crosses = false;      // the gate has as many columns as x
  int32_t layer_count = 0;
  RowMlpLayer layers[kRowMlpLayers];
  float* y = nullptr;  // [groups, rows, n of the last layer]
};

// Tiles are ranges of groups.
int64_t RowMlpTiles(const RowMlpArgs& args);
void RowMlp(const RowMlpArgs& args, Tiles tiles);
Work RowMlpWork(const RowMlpArgs& args);

}  // namespace sluice::kernels
