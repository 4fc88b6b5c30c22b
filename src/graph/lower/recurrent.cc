// Recurrent layers: one product for the inputs of all steps, then the state, a run of steps at a
// time.
#include <algorithm>
#include <cstddef>

#include "graph/lower/lowering_rules.h"
#include "graph/op.h"
#include "kernels/gemm.h"
#include "kernels/recurrent.h"

namespace sluice::graph {
namespace {

using kernels::GemmArgs;
using kernels::RecurrentArgs;
using kernels::RecurrentCell;
using tensor::Shape;

enum RecurrentInput : size_t {
  kX,
  kInputWeight,
  kInputBias,
  kLengths,
  kInitialH,
  kInitialC,
  kCandidateBias,
  kStateWeights,
};

// The kernel's arguments and where it tells of bad lengths.
struct Block {
  RecurrentArgs args;
  RunState* state = nullptr;
};

void RunProduct(const void* args, kernels::Tiles tiles) {
  kernels::Gemm(*static_cast<const GemmArgs*>(args), tiles);
}

void RunSteps(const void* data, kernels::Tiles tiles) {
  const Block& block = *static_cast<const Block*>(data);
  const RecurrentArgs& args = block.args;
  for (int64_t b = 0; b < args.batch && args.lengths != nullptr; ++b) {
    if (args.lengths[b] >= 0 && args.lengths[b] <= args.length) continue;
    if (block.state->Claim()) {
      block.state->position = b;
      block.state->value = args.lengths[b];
      block.state->extent = args.length + 1;
      block.state->what = "sequence length";
    }
    return;
  }
  kernels::Recurrent(args, tiles);
}

struct Layer {
  RecurrentCell cell = RecurrentCell::kRnn;
  bool batch_first = false;  // the layout of the operands
  bool batch_major = false;  // how rows lie in memory
  int64_t directions = 1;
  int64_t length = 0;
  int64_t batch = 0;
  int64_t hidden = 0;
  int64_t gates = 0;  // gates * hidden
};

Layer LayerOf(Lowering& lowering, const Node& node) {
  Layer layer;
  const std::string_view cell = node.String("cell", "");
  layer.cell = cell == "RNN"   ? RecurrentCell::kRnn
               : cell == "GRU" ? RecurrentCell::kGru
                               : RecurrentCell::kLstm;
  layer.batch_first = node.Int("layout", 0) != 0;
  layer.directions = node.String("direction", "forward") == "bidirectional" ? 2 : 1;
  const Shape& x = lowering.shape(node.input(kX));
  layer.length = x[layer.batch_first ? 1 : 0];
  layer.batch = x[layer.batch_first ? 0 : 1];
  layer.hidden = node.Int("hidden", 1);
  layer.gates = kernels::RecurrentGates(layer.cell) * layer.hidden;
  return layer;
}

// The inputs as rows, in whichever order they lie; row_stride in elements.
Ref InputRows(Lowering& lowering, const Node& node, Layer& layer, int64_t& row_stride) {
  const Value* x = node.input(kX);
  const Shape& shape = lowering.shape(x);
  const Place& place = lowering.place(x);
  const int64_t time = place.strides[layer.batch_first ? 1 : 0];
  const int64_t row = place.strides[layer.batch_first ? 0 : 1];
  const bool side_by_side = shape[2] == 1 || place.strides[2] == 1;
  const auto fits = [&](int64_t outer, int64_t outer_count, int64_t inner, int64_t inner_count) {
    return side_by_side && (outer_count == 1 || inner_count == 1 || outer == inner * inner_count) &&
           (inner_count == 1 ? outer : inner) >= shape[2];
  };
  layer.batch_major = true;
  row_stride = layer.length == 1 ? row : time;
  if (fits(row, layer.batch, time, layer.length)) return place.ref;
  layer.batch_major = false;
  row_stride = layer.batch == 1 ? time : row;
  if (fits(time, layer.length, row, layer.batch)) return place.ref;
  layer.batch_major = layer.batch_first;
  row_stride = shape[2];
  return lowering.Packed(x);
}

// One product for all steps and directions: rows of directions * gates.
Ref AddInputProduct(Lowering& lowering, const Node& node, Layer& layer) {
  const kernels::PackedWeight* weight = lowering.weight(node.input(kInputWeight), false);
  CHECK(weight != nullptr) << node.name;
  GemmArgs args;
  const Ref a = InputRows(lowering, node, layer, args.a_stride);
  args.m = layer.length * layer.batch;
  args.b = weight->matrix();
  args.c_stride = layer.directions * layer.gates;
  Ref bias;
  if (node.input(kInputBias) != nullptr) bias = lowering.Packed(node.input(kInputBias));
  const Ref c{lowering.builder().NewBuffer(args.m * args.c_stride * 4), 0};
  StepInfo info = lowering.Info(node, "linear");
  info.detail = std::to_string(args.m) + "x" + std::to_string(args.b.n) + "x" +
                std::to_string(args.b.k) + " inputs of all steps";
  lowering.builder().Add(
      {.run = RunProduct,
       .tiles = kernels::GemmTiles(args),
       .work = kernels::GemmWork(args),
       .info = std::move(info)},
      args,
      {{offsetof(GemmArgs, a), a}, {offsetof(GemmArgs, bias), bias}, {offsetof(GemmArgs, c), c}});
  return c;
}

// Memory that one direction reads and writes.
struct Memory {
  Ref inputs, h, c, scratch, y, last_h, last_c, initial_h, initial_c, candidate_bias, lengths;
};

Ref Shifted(Ref ref, int64_t elements) {
  if (ref.buffer >= 0) ref.offset += elements * 4;
  return ref;
}

// Steps of a run: about so much predicted work, so that there are safepoints between.
int64_t StepsPerRun(const Lowering& lowering, const RecurrentArgs& args) {
  constexpr double kRunNs = 150'000;
  constexpr int64_t kRunsMax = 256;
  RecurrentArgs one = args;
  one.begin = 0;
  one.end = 1;
  const kernels::Work work = kernels::RecurrentWork(one);
  const MachineRates& rates = lowering.rates();
  const double step_ns = 200 + std::max(static_cast<double>(work.flops) / rates.flops_per_ns,
                                        static_cast<double>(work.bytes) / rates.bytes_per_ns);
  const auto steps = static_cast<int64_t>(std::max(1.0, kRunNs / step_ns));
  return std::max(steps, (args.length + kRunsMax - 1) / kRunsMax);
}

void AddRuns(Lowering& lowering, const Node& node, const RecurrentArgs& args,
             const Memory& memory) {
  Block block{args, nullptr};
  const int64_t steps = StepsPerRun(lowering, args);
  StepInfo info = lowering.Info(node, "recurrent");
  // Without steps there is still a state to deliver.
  int64_t begin = 0;
  do {
    block.args.begin = begin;
    block.args.end = std::min(args.length, begin + steps);
    info.detail = std::string(node.String("cell", "")) + " steps " + std::to_string(begin) +
                  " to " + std::to_string(block.args.end) + " of " + std::to_string(args.batch) +
                  "x" + std::to_string(args.hidden) + (args.reverse ? " reverse" : "");
    lowering.builder().Add({.run = RunSteps,
                            .tiles = kernels::RecurrentTiles(block.args),
                            .work = kernels::RecurrentWork(block.args),
                            .checks_data = args.lengths != nullptr || memory.lengths.buffer >= 0,
                            .floor_ns = 200.0 * static_cast<double>(block.args.end - begin),
                            .info = info},
                           block,
                           {{offsetof(Block, args.inputs), memory.inputs},
                            {offsetof(Block, args.candidate_bias), memory.candidate_bias},
                            {offsetof(Block, args.lengths), memory.lengths},
                            {offsetof(Block, args.initial_h), memory.initial_h},
                            {offsetof(Block, args.initial_c), memory.initial_c},
                            {offsetof(Block, args.h), memory.h},
                            {offsetof(Block, args.c), memory.c},
                            {offsetof(Block, args.scratch), memory.scratch},
                            {offsetof(Block, args.y), memory.y},
                            {offsetof(Block, args.last_h), memory.last_h},
                            {offsetof(Block, args.last_c), memory.last_c},
                            {offsetof(Block, state), {lowering.builder().state_buffer(), 0}}});
    begin = block.args.end;
  } while (begin < args.length);
}

// Memory for y in the order in which the inputs lie: what follows a layer puts its axes there.
Ref DefineY(Lowering& lowering, const Value* y, const Layer& layer, RecurrentArgs& args) {
  const int64_t pixel = layer.directions * layer.hidden;
  args.y_time = layer.batch_major ? pixel : layer.batch * pixel;
  args.y_row = layer.batch_major ? layer.length * pixel : pixel;
  const int64_t first[] = {args.y_row, args.y_time, layer.hidden, 1};
  const int64_t other[] = {args.y_time, layer.hidden, args.y_row, 1};
  return lowering.DefineAt(y, layer.batch_first ? first : other);
}

base::Status CheckOperands(const Lowering& lowering, const Node& node, const Layer& layer) {
  const Shape state = layer.batch_first ? Shape({layer.batch, layer.directions, layer.hidden})
                                        : Shape({layer.directions, layer.batch, layer.hidden});
  const auto check = [&](size_t input, const char* name, const Shape& wanted) -> base::Status {
    if (node.input(input) == nullptr || lowering.shape(node.input(input)) == wanted)
      return base::Ok();
    return base::InvalidArgument("node '" + node.name + "': " + name + " must have shape " +
                                 wanted.ToString() + ", has " +
                                 lowering.shape(node.input(input)).ToString());
  };
  TRY(check(kLengths, "sequence_lens", Shape({layer.batch})));
  TRY(check(kInitialH, "initial_h", state));
  TRY(check(kInitialC, "initial_c", state));
  const int64_t width = lowering.shape(node.input(kInputWeight))[0];
  const Shape& x = lowering.shape(node.input(kX));
  if (x[2] == width) return base::Ok();
  return base::InvalidArgument("node '" + node.name + "': the input's rows have " +
                               std::to_string(x[2]) + " elements, the weight takes " +
                               std::to_string(width));
}

base::Result<bool> LowerRecurrent(Lowering& lowering, const Node& node) {
  Layer layer = LayerOf(lowering, node);
  TRY(CheckOperands(lowering, node, layer));
  Memory whole;
  whole.inputs = AddInputProduct(lowering, node, layer);
  RecurrentArgs args;
  args.cell = layer.cell;
  args.reset_after = node.Int("reset_after", 0) != 0;
  if (node.String("activation", "tanh") == "relu") args.activation = kernels::Activation::kRelu;
  args.length = layer.length;
  args.batch = layer.batch;
  args.hidden = layer.hidden;
  const int64_t row = layer.directions * layer.gates;
  args.inputs_time = layer.batch_major ? row : layer.batch * row;
  args.inputs_row = layer.batch_major ? layer.length * row : row;
  const auto packed = [&](size_t input) {
    return node.input(input) == nullptr ? Ref() : lowering.Packed(node.input(input));
  };
  whole.lengths = packed(kLengths);
  whole.initial_h = packed(kInitialH);
  whole.initial_c = packed(kInitialC);
  whole.candidate_bias = packed(kCandidateBias);
  const int64_t state_row = layer.batch_first ? layer.directions * layer.hidden : layer.hidden;
  const int64_t state_next = layer.batch_first ? layer.hidden : layer.batch * layer.hidden;
  args.initial_h_row = args.initial_c_row = args.last_h_row = args.last_c_row = state_row;
  if (node.output(0) != nullptr) whole.y = DefineY(lowering, node.output(0), layer, args);
  if (node.output(1) != nullptr) whole.last_h = lowering.Define(node.output(1));
  if (node.output(2) != nullptr) whole.last_c = lowering.Define(node.output(2));
  const size_t weights = layer.cell == RecurrentCell::kGru ? 2 : 1;
  for (int64_t d = 0; d < layer.directions; ++d) {
    const size_t first = kStateWeights + static_cast<size_t>(d) * weights;
    args.reverse = d == 1 || node.String("direction", "forward") == "reverse";
    args.weight = lowering.weight(node.input(first), false)->matrix();
    if (weights == 2) args.candidate = lowering.weight(node.input(first + 1), false)->matrix();
    Memory own = whole;
    const auto make = [&](int64_t floats) {
      return Ref{lowering.builder().NewBuffer(floats * 4), 0};
    };
    own.h = make(layer.batch * layer.hidden);
    if (layer.cell == RecurrentCell::kLstm) own.c = make(layer.batch * layer.hidden);
    own.scratch = make(kernels::RecurrentScratchFloats(args));
    own.inputs = Shifted(whole.inputs, d * layer.gates);
    own.y = Shifted(whole.y, d * layer.hidden);
    own.candidate_bias = Shifted(whole.candidate_bias, d * layer.hidden);
    for (Ref* state : {&own.initial_h, &own.initial_c, &own.last_h, &own.last_c})
      *state = Shifted(*state, d * state_next);
    AddRuns(lowering, node, args, own);
  }
  return true;
}

}  // namespace

std::span<const LoweringRule> RecurrentRules() {
  static constexpr LoweringRule kRules[] = {{"FusedRecurrent", ~0u, LowerRecurrent}};
  return kRules;
}

}  // namespace sluice::graph
