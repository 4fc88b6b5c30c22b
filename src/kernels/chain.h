// A chain of elementwise steps in one pass: what the graph's fusion pass lowers to. Tiles of a few
// hundred elements go through all steps while they are in L1, so memory is read and written once
// whatever the number of steps.
//
// Every element's bits depend on its own inputs alone: not on its place, the tiles or the batch.
#pragma once

#include <cstdint>

#include "kernels/work.h"
#include "tensor/dtype.h"

namespace sluice::kernels {

inline constexpr int kChainSteps = 32;
inline constexpr int kChainInputs = 8;
inline constexpr int kChainConstants = 16;
inline constexpr int kChainOutputs = 4;

// All arithmetic is f32; truth is 1 and 0. Accuracy of the transcendental ones: kernels/cpu/math.h
// and cpu/chain.cc.
enum class ChainOp : uint8_t {
  // One operand.
  kCopy,
  kNeg,
  kAbs,
  kSquare,
  kSqrt,
  kReciprocal,
  kReciprocalSqrt,
  kExp,
  kLog,
  kErf,
  kTanh,
  kSigmoid,
  kRelu,
  kGeluErf,
  kGeluTanh,
  kSilu,
  kSoftplus,
  kFloor,
  kCeil,
  kRound,
  kSign,
  kNot,
  kIsNaN,
  // Two operands.
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMin,
  kMax,
  kEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kAnd,
  kOr,
  kLeakyRelu,  // a < 0 ? a * b : a, also PRelu
  // Three operands.
  kMulAdd,  // a * b + c, rounded once
  kSelect,  // a != 0 ? b : c
};
int ChainOperands(ChainOp op);

// An operand: an input, a constant, or the result of an earlier step.
struct ChainRef {
  enum class Kind : uint8_t { kInput, kConstant, kStep } kind = Kind::kInput;
  uint8_t index = 0;
};
struct ChainStep {
  ChainOp op = ChainOp::kCopy;
  ChainRef a = {};
  ChainRef b = {};
  ChainRef c = {};
};

// Inputs may be f32, f16, bf16, i32, i64, u8 or bool and are widened to f32 when read (integers
// beyond 2^24 are rounded); outputs are f32, or bool (written as x != 0).
struct ChainProgram {
  int step_count = 0;
  int input_count = 0;
  int constant_count = 0;
  int output_count = 0;
  ChainStep steps[kChainSteps] = {};
  tensor::DType input_types[kChainInputs] = {};
  float constants[kChainConstants] = {};
  ChainRef outputs[kChainOutputs] = {};
  tensor::DType output_types[kChainOutputs] = {};
};

// A program with its temporaries laid out over as few buffers as their lifetimes allow. Immutable;
// made once at load.
struct Chain {
  ChainProgram program;
  int8_t buffers[kChainSteps] = {};  // of each step's result
  int buffer_count = 0;
};
// The program is CHECKed: operands exist, come earlier, types are among those above.
Chain CompileChain(const ChainProgram& program);

// Element (o, r, c) of an input is data[o * outer + r * row + c * column] in elements; column is 0
// or 1. A full operand has strides {rows * columns, columns, 1}, a row vector [columns] {0, 0, 1},
// a column [rows, 1] {rows, 1, 0}, a scalar {0, 0, 0}.
struct ChainInput {
  const void* data = nullptr;
  int64_t outer = 0;
  int64_t row = 0;
  int64_t column = 0;
};
// Element (o, r, c) of every output is at o * output_outer + r * output_row + c. Both 0: outputs
// are dense [outer, rows, columns], and one may be an input of the same size and type.
struct ChainArgs {
  const Chain* chain = nullptr;
  int64_t outer = 1;
  int64_t rows = 1;
  int64_t columns = 0;
  int64_t output_outer = 0;
  int64_t output_row = 0;
  ChainInput inputs[kChainInputs] = {};
  void* outputs[kChainOutputs] = {};
};
int64_t ChainTiles(const ChainArgs& args);
void RunChain(const ChainArgs& args, Tiles tiles);
Work ChainWork(const ChainArgs& args);

}  // namespace sluice::kernels
