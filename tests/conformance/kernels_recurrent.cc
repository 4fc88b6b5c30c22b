// Recurrent layers against kernels/ref, on the active target.
#include <array>

#include "conformance/huge_floats.h"
#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
#include "kernels/packing.h"
#include "kernels/recurrent.h"
#include "kernels/ref/gemm.h"
#include "kernels/ref/recurrent.h"

namespace sluice::conformance {
namespace {

using namespace kernels;
using tensor::Shape;

constexpr tensor::DType kF32 = tensor::DType::kF32;

struct Packed {
  HugeFloats memory;
  PackedMatrix matrix;
  // Columns [first, first + n) of the transpose of r [rows, hidden].
  Packed(const float* r, int64_t hidden, int64_t first, int64_t n)
      : memory(PackedMatrixBytes(hidden, n, ActiveTarget()) / 4),
        matrix(PackMatrix({r + first * hidden, kF32, hidden, n, 1, hidden}, ActiveTarget(),
                          memory.data())) {}
};

// One layer with its weights, and what both sides read.
struct Layer {
  RecurrentCell cell;
  int64_t length, batch, hidden, gates;
  std::vector<float> x, r, bias, initial_h, initial_c;
  std::vector<int32_t> lengths;
  Packed weight, candidate;

  Layer(RecurrentCell which, int64_t steps, int64_t rows, int64_t width)
      : cell(which),
        length(steps),
        batch(rows),
        hidden(width),
        gates(RecurrentGates(which) * width),
        x(RandomFloats(length * batch * gates, 81)),
        r(RandomFloats(gates * hidden, 82, -0.3F, 0.3F)),
        bias(RandomFloats(hidden, 83)),
        initial_h(RandomFloats(batch * hidden, 84)),
        initial_c(RandomFloats(batch * hidden, 85)),
        weight(r.data(), hidden, 0, which == RecurrentCell::kGru ? 2 * hidden : gates),
        candidate(r.data(), hidden, which == RecurrentCell::kGru ? 2 * hidden : 0, hidden) {
    for (int64_t b = 0; b < batch; ++b)
      lengths.push_back(static_cast<int32_t>(b * 3 % (length + 1)));
  }
};

struct Outputs {
  Guarded y, h, c;
  explicit Outputs(const Layer& l)
      : y(l.length * l.batch * l.hidden), h(l.batch * l.hidden), c(l.batch * l.hidden) {}
};

struct Variant {
  bool reverse = false;
  bool ragged = false;
  bool initial = false;
  bool reset_after = false;
  int64_t steps_a_run = 1000;
};

void RunOurs(const Layer& l, const Variant& variant, Outputs& out) {
  std::vector<float> h(static_cast<size_t>(l.batch * l.hidden)), c(h.size());
  RecurrentArgs args;
  args.cell = l.cell;
  args.reverse = variant.reverse;
  args.reset_after = variant.reset_after;
  args.length = l.length;
  args.batch = l.batch;
  args.hidden = l.hidden;
  args.inputs = l.x.data();
  args.inputs_time = l.batch * l.gates;
  args.inputs_row = l.gates;
  args.weight = l.weight.matrix;
  args.candidate = l.candidate.matrix;
  if (variant.reset_after) args.candidate_bias = l.bias.data();
  if (variant.ragged) args.lengths = l.lengths.data();
  if (variant.initial) {
    args.initial_h = l.initial_h.data();
    args.initial_c = l.initial_c.data();
  }
  args.initial_h_row = args.initial_c_row = l.hidden;
  args.h = h.data();
  args.c = c.data();
  std::vector<float> scratch(static_cast<size_t>(RecurrentScratchFloats(args)));
  args.scratch = scratch.data();
  args.y = out.y.data();
  args.y_time = l.batch * l.hidden;
  args.y_row = l.hidden;
  args.last_h = out.h.data();
  if (l.cell == RecurrentCell::kLstm) args.last_c = out.c.data();
  args.last_h_row = args.last_c_row = l.hidden;
  for (args.begin = 0; args.begin < l.length; args.begin = args.end) {
    args.end = std::min(l.length, args.begin + variant.steps_a_run);
    RunBackwards(RecurrentTiles, Recurrent, args);
  }
}

// The inputs' products as inputs of their own, by a W of ones on the diagonal.
void RunReference(const Layer& l, const Variant& variant, Outputs& out) {
  std::vector<float> one(static_cast<size_t>(l.gates * l.gates)), biases;
  for (int64_t i = 0; i < l.gates; ++i) one[static_cast<size_t>(i * (l.gates + 1))] = 1;
  biases.resize(static_cast<size_t>(2 * l.gates));
  if (variant.reset_after)
    std::copy(l.bias.begin(), l.bias.end(), biases.end() - static_cast<int64_t>(l.bias.size()));
  ref::RecurrentArgs args;
  args.kind = l.cell == RecurrentCell::kRnn   ? ref::CellKind::kRnn
              : l.cell == RecurrentCell::kGru ? ref::CellKind::kGru
                                              : ref::CellKind::kLstm;
  args.direction = variant.reverse ? ref::Direction::kReverse : ref::Direction::kForward;
  args.linear_before_reset = variant.reset_after;
  args.x = {kF32, Shape({l.length, l.batch, l.gates}), l.x.data()};
  args.w = {kF32, Shape({1, l.gates, l.gates}), one.data()};
  args.r = {kF32, Shape({1, l.gates, l.hidden}), l.r.data()};
  args.bias = {kF32, Shape({1, 2 * l.gates}), biases.data()};
  if (variant.ragged) args.lengths = {tensor::DType::kI32, Shape({l.batch}), l.lengths.data()};
  if (variant.initial) {
    args.initial_h = {kF32, Shape({1, l.batch, l.hidden}), l.initial_h.data()};
    args.initial_c = {kF32, Shape({1, l.batch, l.hidden}), l.initial_c.data()};
  }
  args.y = {kF32, Shape({l.length, 1, l.batch, l.hidden}), out.y.data()};
  args.last_h = {kF32, Shape({1, l.batch, l.hidden}), out.h.data()};
  if (l.cell == RecurrentCell::kLstm)
    args.last_c = {kF32, Shape({1, l.batch, l.hidden}), out.c.data()};
  const ref::Gate sigmoid{ref::GateFunction::kSigmoid, 0, 0}, tanh{ref::GateFunction::kTanh, 0, 0};
  for (auto& gates : args.gates) {
    gates[0] = l.cell == RecurrentCell::kRnn ? tanh : sigmoid;
    gates[1] = gates[2] = tanh;
  }
  std::vector<double> scratch(static_cast<size_t>(ref::RecurrentScratch(args)));
  args.scratch = scratch.data();
  (void)ref::Recurrent(args);
}

void CheckRecurrent(Report& report) {
  for (const RecurrentCell cell :
       {RecurrentCell::kRnn, RecurrentCell::kGru, RecurrentCell::kLstm}) {
    for (const auto& [length, batch, hidden] :
         {std::array<int64_t, 3>{1, 1, 1}, {7, 1, 33}, {9, 5, 64}, {6, 17, 20}, {3, 2, 800}}) {
      const Layer layer(cell, length, batch, hidden);
      for (int v = 0; v < 16; ++v) {
        const Variant variant{(v & 1) != 0, (v & 2) != 0, (v & 4) != 0, (v & 8) != 0};
        if (variant.reset_after && cell != RecurrentCell::kGru) continue;
        Outputs got(layer), want(layer), cut(layer);
        RunOurs(layer, variant, got);
        RunReference(layer, variant, want);
        Variant pieces = variant;
        pieces.steps_a_run = 2;
        RunOurs(layer, pieces, cut);
        const std::string name = std::to_string(static_cast<int>(cell)) + " " +
                                 std::to_string(length) + "x" + std::to_string(batch) + "x" +
                                 std::to_string(hidden) + " variant " + std::to_string(v);
        // Longer sums round more often.
        const double scale = 1 + static_cast<double>(hidden) / 100;
        report.Compare(name + " y", got.y.values(), want.y.values(), scale);
        report.Compare(name + " h", got.h.values(), want.h.values(), scale);
        report.Compare(name + " c", got.c.values(), want.c.values(), scale);
        report.SameBits(name + " in runs of two steps", cut.y.values(), got.y.values());
        report.Expect(name + " stays inside", got.y.intact() && got.h.intact());
      }
    }
  }
}

void MeasureRecurrent(Perf& perf) {
  for (const auto& [batch, hidden] :
       {std::array<int64_t, 2>{1, 64}, {1, 256}, {16, 64}, {16, 256}}) {
    const Layer layer(RecurrentCell::kLstm, 50, batch, hidden);
    Outputs out(layer);
    RecurrentArgs work;
    work.batch = batch;
    work.hidden = hidden;
    work.end = 50;
    perf.Measure("lstm 50x" + std::to_string(batch) + "x" + std::to_string(hidden),
                 RecurrentWork(work), {}, [&] { RunOurs(layer, {}, out); });
  }
}

}  // namespace

std::span<const Kernel> RecurrentKernels() {
  static constexpr std::array kKernels = {
      Kernel{"recurrent", CheckRecurrent, MeasureRecurrent},
  };
  return kKernels;
}

}  // namespace sluice::conformance
