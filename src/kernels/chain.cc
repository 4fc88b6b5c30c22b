#include "kernels/chain.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/chain.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

bool IsInputType(DType type) {
  switch (type) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
    case DType::kBool:
      return true;
    default:
      return false;
  }
}

void CheckRef(const ChainProgram& program, const ChainRef& ref, int before_step) {
  switch (ref.kind) {
    case ChainRef::Kind::kInput:
      CHECK_LT(ref.index, program.input_count);
      break;
    case ChainRef::Kind::kConstant:
      CHECK_LT(ref.index, program.constant_count);
      break;
    case ChainRef::Kind::kStep:
      CHECK_LT(ref.index, before_step);
      break;
  }
}

void CheckProgram(const ChainProgram& program) {
  CHECK(program.step_count >= 1 && program.step_count <= kChainSteps);
  CHECK(program.input_count >= 0 && program.input_count <= kChainInputs);
  CHECK(program.constant_count >= 0 && program.constant_count <= kChainConstants);
  CHECK(program.output_count >= 1 && program.output_count <= kChainOutputs);
  for (int i = 0; i < program.input_count; ++i) CHECK(IsInputType(program.input_types[i]));
  for (int s = 0; s < program.step_count; ++s) {
    const ChainStep& step = program.steps[s];
    const int operands = ChainOperands(step.op);
    CheckRef(program, step.a, s);
    if (operands > 1) CheckRef(program, step.b, s);
    if (operands > 2) CheckRef(program, step.c, s);
  }
  for (int i = 0; i < program.output_count; ++i) {
    CHECK(program.outputs[i].kind == ChainRef::Kind::kStep);
    CheckRef(program, program.outputs[i], program.step_count);
    CHECK(program.output_types[i] == DType::kF32 || program.output_types[i] == DType::kBool);
  }
}

// Whether `test` holds for the strides of every input and of the outputs.
template <class Test>
bool EveryOperand(const ChainPlan& plan, int inputs, const Test& test) {
  return test(plan.output) && std::all_of(plan.inputs, plan.inputs + inputs, test);
}
template <class Change>
void ChangeOperands(ChainPlan& plan, int inputs, const Change& change) {
  change(plan.output);
  std::for_each(plan.inputs, plan.inputs + inputs, change);
}

// True when no stride forbids treating the inner two dimensions as one.
bool RowsAreContiguous(const ChainPlan& plan, int inputs) {
  return EveryOperand(plan, inputs, [&](const ChainInput& operand) {
    return operand.row == plan.columns * operand.column;
  });
}

// A single column whose rows are 0 or 1 elements apart is a single row.
void TurnColumnIntoRow(ChainPlan& plan, int inputs) {
  if (plan.columns != 1 || plan.rows == 1) return;
  if (!EveryOperand(plan, inputs,
                    [](const ChainInput& operand) { return operand.row == 0 || operand.row == 1; }))
    return;
  ChangeOperands(plan, inputs, [](ChainInput& operand) {
    operand.column = operand.row;
    operand.row = 0;
  });
  plan.columns = plan.rows;
  plan.rows = 1;
}

// Drops `rows` where it is 1, so that `outer` takes its place.
void DropSingleRow(ChainPlan& plan, int inputs) {
  if (plan.rows != 1 || plan.outer == 1) return;
  plan.rows = plan.outer;
  plan.outer = 1;
  ChangeOperands(plan, inputs, [](ChainInput& operand) {
    operand.row = operand.outer;
    operand.outer = 0;
  });
}

void MergeOuterIntoRows(ChainPlan& plan, int inputs) {
  if (plan.outer == 1) return;
  if (!EveryOperand(plan, inputs, [&](const ChainInput& operand) {
        return operand.outer == plan.rows * operand.row;
      }))
    return;
  plan.rows *= plan.outer;
  plan.outer = 1;
}

ChainPlan MakePlan(const ChainArgs& args) {
  const int inputs = args.chain->program.input_count;
  ChainPlan plan;
  plan.outer = args.outer;
  plan.rows = args.rows;
  plan.columns = args.columns;
  std::copy(args.inputs, args.inputs + inputs, plan.inputs);
  const bool dense = args.output_row == 0 && args.output_outer == 0;
  plan.output.column = 1;
  plan.output.row = dense ? args.columns : args.output_row;
  plan.output.outer = dense ? args.rows * args.columns : args.output_outer;
  TurnColumnIntoRow(plan, inputs);
  DropSingleRow(plan, inputs);
  for (int pass = 0; pass < 2; ++pass) {
    if (plan.rows > 1 && RowsAreContiguous(plan, inputs)) {
      plan.columns *= plan.rows;
      plan.rows = 1;
    }
    DropSingleRow(plan, inputs);
  }
  MergeOuterIntoRows(plan, inputs);
  if (plan.columns > 0 && plan.rows > 1 && plan.columns <= kChainTile / 4) {
    plan.trip_rows = std::min(kChainTile / plan.columns, plan.rows);
  }
  plan.trips_per_row = plan.trip_rows > 1 ? 1 : (plan.columns + kChainTile - 1) / kChainTile;
  plan.trips_per_outer = plan.trip_rows > 1 ? (plan.rows + plan.trip_rows - 1) / plan.trip_rows
                                            : plan.rows * plan.trips_per_row;
  return plan;
}

}  // namespace

int ChainOperands(ChainOp op) {
  if (op >= ChainOp::kMulAdd) return 3;
  return op >= ChainOp::kAdd ? 2 : 1;
}

Chain CompileChain(const ChainProgram& program) {
  CheckProgram(program);
  int last_use[kChainSteps];
  std::fill(last_use, last_use + kChainSteps, -1);
  const auto use = [&](const ChainRef& ref, int at) {
    if (ref.kind == ChainRef::Kind::kStep) last_use[ref.index] = at;
  };
  for (int s = 0; s < program.step_count; ++s) {
    const int operands = ChainOperands(program.steps[s].op);
    use(program.steps[s].a, s);
    if (operands > 1) use(program.steps[s].b, s);
    if (operands > 2) use(program.steps[s].c, s);
  }
  for (int i = 0; i < program.output_count; ++i) use(program.outputs[i], program.step_count);
  Chain chain;
  chain.program = program;
  int holder[kChainSteps];  // of each buffer: the step whose result it holds, or -1
  std::fill(holder, holder + kChainSteps, -1);
  for (int s = 0; s < program.step_count; ++s) {
    int buffer = 0;
    // A buffer whose value is last read by this very step is free for its result: steps go element
    // by element.
    while (holder[buffer] >= 0 && last_use[holder[buffer]] > s) ++buffer;
    holder[buffer] = s;
    chain.buffers[s] = static_cast<int8_t>(buffer);
    chain.buffer_count = std::max(chain.buffer_count, buffer + 1);
  }
  return chain;
}

int64_t ChainTiles(const ChainArgs& args) {
  if (args.outer * args.rows * args.columns == 0) return 0;
  const ChainPlan plan = MakePlan(args);
  return (plan.outer * plan.trips_per_outer + kChainTrips - 1) / kChainTrips;
}

void RunChain(const ChainArgs& args, Tiles tiles) {
  if (tiles.begin >= tiles.end) return;
  const ChainPlan plan = MakePlan(args);
  const int64_t trips = plan.outer * plan.trips_per_outer;
  SLUICE_PICK_ISA(ActiveTarget(), RunChainTrips)
  (args, plan, tiles.begin * kChainTrips, std::min(trips, tiles.end * kChainTrips));
}

Work ChainWork(const ChainArgs& args) {
  const ChainProgram& program = args.chain->program;
  const int64_t elements = args.outer * args.rows * args.columns;
  Work work;
  work.flops = elements * program.step_count;
  for (int i = 0; i < program.input_count; ++i) {
    const ChainInput& in = args.inputs[i];
    const int64_t read = (in.outer != 0 ? args.outer : 1) * (in.row != 0 ? args.rows : 1) *
                         (in.column != 0 ? args.columns : 1);
    work.bytes += read * tensor::DTypeSize(program.input_types[i]);
  }
  for (int i = 0; i < program.output_count; ++i) {
    work.bytes += elements * tensor::DTypeSize(program.output_types[i]);
  }
  return work;
}

}  // namespace sluice::kernels
