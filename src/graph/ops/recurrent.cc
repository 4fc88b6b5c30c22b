// Recurrent layers: RNN, GRU, LSTM.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/recurrent.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using kernels::ref::CellKind;
using kernels::ref::Direction;
using kernels::ref::Gate;
using kernels::ref::GateFunction;
using kernels::ref::RecurrentArgs;

constexpr int64_t GateCount(CellKind kind) {
  return kind == CellKind::kRnn ? 1 : kind == CellKind::kGru ? 3 : 4;
}
constexpr size_t FunctionCount(CellKind kind) {
  return kind == CellKind::kRnn ? 1 : kind == CellKind::kGru ? 2 : 3;
}

template <CellKind kKind>
Status InferRecurrent(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  for (const size_t i : std::array<size_t, 6>{1, 2, 3, 5, 6, 7}) {
    if (context.has_input(i)) TRY(ExpectSameType(context, i, 0));
  }
  TRY(ExpectType(context, 4, Types({DType::kI32})));
  const bool batch_first = context.node().Int("layout", 0) != 0;
  const DType type = context.dtype(0);
  const SymShape* x = context.shape(0);
  const SymShape* r = context.shape(2);
  if (x == nullptr || r == nullptr) {
    for (size_t i = 0; i < 3; ++i) context.SetOutput(i, type, std::nullopt);
    return Ok();
  }
  if (x->size() != 3 || r->size() != 3) return context.Fail("X and R must have three axes");
  const Dim length = (*x)[batch_first ? 1 : 0], batch = (*x)[batch_first ? 0 : 1];
  const Dim directions = (*r)[0], hidden = (*r)[2];
  const SymShape state =
      batch_first ? SymShape{batch, directions, hidden} : SymShape{directions, batch, hidden};
  context.SetOutput(0, type,
                    batch_first ? SymShape{batch, length, directions, hidden}
                                : SymShape{length, directions, batch, hidden});
  context.SetOutput(1, type, state);
  context.SetOutput(2, type, state);
  return Ok();
}

// The function with its default parameters, by its name in any case.
Result<Gate> GateByName(const RunContext& context, std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  static constexpr auto kGates = std::to_array<std::pair<std::string_view, Gate>>({
      {"sigmoid", {GateFunction::kSigmoid, 0, 0}},
      {"tanh", {GateFunction::kTanh, 0, 0}},
      {"relu", {GateFunction::kRelu, 0, 0}},
      {"affine", {GateFunction::kAffine, 1, 0}},
      {"leakyrelu", {GateFunction::kLeakyRelu, 0.01, 0}},
      {"thresholdedrelu", {GateFunction::kThresholdedRelu, 1, 0}},
      {"scaledtanh", {GateFunction::kScaledTanh, 1, 1}},
      {"hardsigmoid", {GateFunction::kHardSigmoid, 0.2, 0.5}},
      {"elu", {GateFunction::kElu, 1, 0}},
      {"softsign", {GateFunction::kSoftsign, 0, 0}},
      {"softplus", {GateFunction::kSoftplus, 0, 0}},
  });
  for (const auto& [known, gate] : kGates) {
    if (known == name) return gate;
  }
  return context.Fail("activation '" + name + "' is not one of ONNX's");
}

Status ReadGates(const RunContext& context, CellKind kind, size_t directions, RecurrentArgs& args) {
  const auto names = context.node().Strings("activations");
  const auto alphas = context.node().Floats("activation_alpha");
  const auto betas = context.node().Floats("activation_beta");
  const size_t functions = FunctionCount(kind);
  if (!names.empty() && names.size() != functions * directions) {
    return context.Fail("needs " + std::to_string(functions * directions) + " activations, has " +
                        std::to_string(names.size()));
  }
  for (size_t i = 0; i < functions * directions; ++i) {
    const bool state_gate = kind != CellKind::kRnn && i % functions == 0;
    Gate gate = TRY(GateByName(context, !names.empty() ? names[i]
                                        : state_gate   ? "Sigmoid"
                                                       : "Tanh"));
    if (i < alphas.size()) gate.alpha = static_cast<double>(alphas[i]);
    if (i < betas.size()) gate.beta = static_cast<double>(betas[i]);
    args.gates[i / functions][i % functions] = gate;
  }
  return Ok();
}

Status ExpectShape(const RunContext& context, size_t i, const char* name, const Shape& shape) {
  if (!context.has_input(i) || context.input(i).shape == shape) return Ok();
  return context.Fail(std::string(name) + " must have shape " + shape.ToString() + ", has " +
                      context.input(i).shape.ToString());
}

template <CellKind kKind>
Status RunRecurrent(RunContext& context) {
  RecurrentArgs args;
  args.kind = kKind;
  const std::string_view direction = context.node().String("direction", "forward");
  if (direction == "reverse") {
    args.direction = Direction::kReverse;
  } else if (direction == "bidirectional") {
    args.direction = Direction::kBoth;
  } else if (direction != "forward") {
    return context.Fail("direction must be forward, reverse or bidirectional");
  }
  const int64_t directions = args.direction == Direction::kBoth ? 2 : 1;
  args.batch_first = context.node().Int("layout", 0) != 0;
  args.x = context.input(0);
  args.w = context.input(1);
  args.r = context.input(2);
  if (args.x.shape.rank() != 3 || args.r.shape.rank() != 3) {
    return context.Fail("X and R must have three axes");
  }
  const int64_t length = args.x.shape[args.batch_first ? 1 : 0];
  const int64_t batch = args.x.shape[args.batch_first ? 0 : 1];
  const int64_t hidden = args.r.shape[2];
  const int64_t rows = GateCount(kKind) * hidden;
  const Shape state =
      args.batch_first ? Shape({batch, directions, hidden}) : Shape({directions, batch, hidden});
  TRY(ExpectShape(context, 1, "W", {directions, rows, args.x.shape[2]}));
  TRY(ExpectShape(context, 2, "R", {directions, rows, hidden}));
  TRY(ExpectShape(context, 3, "B", {directions, 2 * rows}));
  TRY(ExpectShape(context, 4, "sequence_lens", {batch}));
  TRY(ExpectShape(context, 5, "initial_h", state));
  TRY(ExpectShape(context, 6, "initial_c", state));
  TRY(ExpectShape(context, 7, "P", {directions, 3 * hidden}));
  args.bias = context.input(3);
  args.lengths = context.input(4);
  args.initial_h = context.input(5);
  args.initial_c = context.input(6);
  args.peephole = context.input(7);
  args.clip = static_cast<double>(context.node().Float("clip", 0));
  args.linear_before_reset = context.node().Int("linear_before_reset", 0) != 0;
  args.input_forget = context.node().Int("input_forget", 0) != 0;
  TRY(ReadGates(context, kKind, static_cast<size_t>(directions), args));
  if (context.has_output(0)) {
    args.y = TRY(context.Output(0, args.x.dtype,
                                args.batch_first ? Shape({batch, length, directions, hidden})
                                                 : Shape({length, directions, batch, hidden})));
  }
  if (context.has_output(1)) args.last_h = TRY(context.Output(1, args.x.dtype, state));
  if (context.has_output(2)) args.last_c = TRY(context.Output(2, args.x.dtype, state));
  TRY(context.TakeWork(Operations({length, batch, directions, rows, args.x.shape[2] + hidden})));
  const auto scratch_bytes = RecurrentScratch(args) * static_cast<int64_t>(sizeof(double));
  args.scratch = reinterpret_cast<double*>(TRY(context.Scratch(scratch_bytes)));
  const Status status = kernels::ref::Recurrent(args);
  return status.ok() ? status : Status(context.Fail(status.error().message));
}

// FusedRecurrent(x, w [input, directions * gates * hidden], bias [directions * gates * hidden]?,
// lengths?, initial_h?, initial_c?, candidate_bias [directions, hidden]?, weights of the state…):
// as RNN, GRU and LSTM. The state's weights are [hidden, gates * hidden] for each direction, a
// GRU's [hidden, 2 * hidden] and [hidden, hidden].
Status InferFusedRecurrent(InferContext& context) {
  const SymShape* x = context.shape(0);
  if (x == nullptr || x->size() != 3) return context.Fail("X must have three axes");
  const bool batch_first = context.node().Int("layout", 0) != 0;
  const Dim length = (*x)[batch_first ? 1 : 0], batch = (*x)[batch_first ? 0 : 1];
  const Dim hidden(context.node().Int("hidden", 1));
  const bool both = context.node().String("direction", "forward") == "bidirectional";
  const Dim directions(both ? 2 : 1);
  const SymShape state =
      batch_first ? SymShape{batch, directions, hidden} : SymShape{directions, batch, hidden};
  context.SetOutput(0, DType::kF32,
                    batch_first ? SymShape{batch, length, directions, hidden}
                                : SymShape{length, directions, batch, hidden});
  context.SetOutput(1, DType::kF32, state);
  context.SetOutput(2, DType::kF32, state);
  return Ok();
}

template <CellKind kKind>
int64_t RecurrentScratchBytes(const RunShapes& at) {
  RecurrentArgs args;
  args.kind = kKind;
  args.x.shape = at.input_shape(0);
  args.r.shape = at.input_shape(2);
  if (args.x.shape.rank() != 3 || args.r.shape.rank() != 3) return 0;
  return ScratchBytes({RecurrentScratch(args) * static_cast<int64_t>(sizeof(double))});
}

constexpr auto kOps = std::to_array<OpDef>({
    {"RNN", 7, 3, 6, 0, 2, kNoTraits, InferRecurrent<CellKind::kRnn>, RunRecurrent<CellKind::kRnn>,
     "", RecurrentScratchBytes<CellKind::kRnn>},
    {"GRU", 7, 3, 6, 0, 2, kNoTraits, InferRecurrent<CellKind::kGru>, RunRecurrent<CellKind::kGru>,
     "", RecurrentScratchBytes<CellKind::kGru>},
    {"LSTM", 7, 3, 8, 0, 3, kNoTraits, InferRecurrent<CellKind::kLstm>,
     RunRecurrent<CellKind::kLstm>, "", RecurrentScratchBytes<CellKind::kLstm>},
    {"FusedRecurrent", 1, 1, -1, 0, 3, kNoTraits, InferFusedRecurrent, nullptr, kOurDomain},
});

}  // namespace

std::span<const OpDef> RecurrentOps() {
  return kOps;
}

}  // namespace sluice::graph
