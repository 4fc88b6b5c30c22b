// Recurrent layers in f32: RNN, GRU and LSTM cells over a batch of sequences, one direction. What
// comes of the inputs is one product for all steps, made before; here the state goes through.
//
// Each gate's sum starts from its input's part and adds the state's as one chain of fused
// multiply-adds over k = 0, 1, …; neither the batch nor the tile nor how the steps are cut into
// runs changes any bit.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "kernels/work.h"

namespace sluice::kernels {

enum class RecurrentCell : uint8_t { kRnn, kGru, kLstm };
// Gates in ONNX's order: RNN {i}, GRU {z, r, h}, LSTM {i, o, f, c}.
constexpr int64_t RecurrentGates(RecurrentCell cell) {
  return cell == RecurrentCell::kRnn ? 1 : cell == RecurrentCell::kGru ? 3 : 4;
}

// Strides are in elements. The state h and c [batch, hidden] is kept between runs of steps [begin,
// end); the run that begins at 0 sets it, the one that ends at `length` delivers it.
struct RecurrentArgs {
  RecurrentCell cell = RecurrentCell::kLstm;
  bool reverse = false;
  bool reset_after = false;  // GRU: the reset gate multiplies the state's product, not the state
  Activation activation = Activation::kTanh;  // of an RNN: kTanh or kRelu
  int64_t length = 0;
  int64_t batch = 0;
  int64_t hidden = 0;
  int64_t begin = 0;
  int64_t end = 0;
  const float* inputs = nullptr;  // rows of gates * hidden: products of the inputs, with all biases
                                  // but candidate_bias
  int64_t inputs_time = 0;
  int64_t inputs_row = 0;
  PackedMatrix weight;                    // [hidden, gates * hidden]; GRU: z and r, 2 * hidden
  PackedMatrix candidate;                 // GRU: h, [hidden, hidden]
  const float* candidate_bias = nullptr;  // GRU with reset_after: [hidden], or null
  const int32_t* lengths =
      nullptr;  // [batch], each within [0, length], or null: all; y is 0 behind
  const float* initial_h = nullptr;  // [batch, hidden], or null: 0
  int64_t initial_h_row = 0;
  const float* initial_c = nullptr;
  int64_t initial_c_row = 0;
  float* h = nullptr;        // [batch, hidden]
  float* c = nullptr;        // LSTM: [batch, hidden]
  float* scratch = nullptr;  // RecurrentScratchFloats
  float* y = nullptr;        // or null
  int64_t y_time = 0;
  int64_t y_row = 0;
  float* last_h = nullptr;  // [batch, hidden], or null
  int64_t last_h_row = 0;
  float* last_c = nullptr;
  int64_t last_c_row = 0;
};
// Tiles are blocks of sequences.
int64_t RecurrentTiles(const RecurrentArgs& args);
void Recurrent(const RecurrentArgs& args, Tiles tiles);
Work RecurrentWork(const RecurrentArgs& args);
int64_t RecurrentScratchFloats(const RecurrentArgs& args);

}  // namespace sluice::kernels
