// Elementwise chains against their interpreter, on the active target: each step alone over awkward
// values, then random programs of exactly rounded steps over every kind of operand, bit for bit.
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "conformance/invariance.h"
#include "conformance/kernel_table.h"
#include "kernels/ref/rows.h"
#include "tensor/float16.h"

namespace sluice::conformance {
namespace {

using namespace kernels;
using tensor::DType;
using Kind = ChainRef::Kind;

constexpr float kInf = std::numeric_limits<float>::infinity();

// y = op(x) over values spread over the exponents that matter, with specials, at an odd length.
void CheckUnary(Report& report, ChainOp op, float low, float high, double scale = 1.0) {
  std::vector<float> x = RandomFloats(20011, 41, low, high);
  for (size_t i = 0; i < 2000; ++i) x[i] *= std::ldexp(1.0f, -static_cast<int>(i % 30));
  const std::array specials = {0.0f, -0.0f,  1.0f,   -1.0f,  kInf,  -kInf,
                               NAN,  1e-39f, 0.625f, -88.0f, 89.0f, -104.0f};
  std::copy(specials.begin(), specials.end(), x.begin() + 5000);
  ChainProgram program;
  program.step_count = program.input_count = program.output_count = 1;
  program.steps[0] = {op, {Kind::kInput, 0}};
  program.outputs[0] = {Kind::kStep, 0};
  const Chain chain = CompileChain(program);
  Guarded got(20011), want(20011);
  ChainArgs args;
  args.chain = &chain;
  args.columns = 20011;
  args.inputs[0] = {x.data(), 0, 0, 1};
  args.outputs[0] = got.data();
  RunWhole(ChainTiles, RunChain, args);
  args.outputs[0] = want.data();
  ref::RunChain(args);
  report.Compare("op " + std::to_string(static_cast<int>(op)), got.values(), want.values(), scale);
  report.Expect("stays inside", got.intact());
}

void CheckExp(Report& report) {
  CheckUnary(report, ChainOp::kExp, -86, 88);
}
void CheckLog(Report& report) {
  CheckUnary(report, ChainOp::kLog, 0, 3);
  CheckUnary(report, ChainOp::kLog, 0, 3e38f);
}
void CheckErf(Report& report) {
  CheckUnary(report, ChainOp::kErf, -5, 5);
}
void CheckTanh(Report& report) {
  CheckUnary(report, ChainOp::kTanh, -10, 10);
}
void CheckSigmoid(Report& report) {
  CheckUnary(report, ChainOp::kSigmoid, -30, 30);
}
void CheckGelu(Report& report) {
  CheckUnary(report, ChainOp::kGeluErf, -6, 6);
  CheckUnary(report, ChainOp::kGeluTanh, -6, 6);
}
void CheckSilu(Report& report) {
  CheckUnary(report, ChainOp::kSilu, -10, 10);
}
void CheckSoftplus(Report& report) {
  CheckUnary(report, ChainOp::kSoftplus, -80, 80);
}
void CheckReciprocalSqrt(Report& report) {
  CheckUnary(report, ChainOp::kReciprocalSqrt, 0, 100);
}

constexpr std::array kExactUnary = {
    ChainOp::kCopy,       ChainOp::kNeg,  ChainOp::kAbs,   ChainOp::kSquare, ChainOp::kSqrt,
    ChainOp::kReciprocal, ChainOp::kRelu, ChainOp::kFloor, ChainOp::kCeil,   ChainOp::kRound,
    ChainOp::kSign,       ChainOp::kNot,  ChainOp::kIsNaN};
constexpr std::array kExactMany = {ChainOp::kAdd,
                                   ChainOp::kSub,
                                   ChainOp::kMul,
                                   ChainOp::kDiv,
                                   ChainOp::kMin,
                                   ChainOp::kMax,
                                   ChainOp::kEqual,
                                   ChainOp::kLess,
                                   ChainOp::kLessOrEqual,
                                   ChainOp::kGreater,
                                   ChainOp::kGreaterOrEqual,
                                   ChainOp::kAnd,
                                   ChainOp::kOr,
                                   ChainOp::kLeakyRelu,
                                   ChainOp::kMulAdd,
                                   ChainOp::kSelect};

// Overwrites what an earlier run has left on the stack, so that a buffer read before it is written
// shows.
void ScribbleStack() {
  volatile float scribble[40000];
  for (volatile float& f : scribble) f = 6.66e22f;
}

// Inputs of every type and broadcast for an index space, and a random program over them.
class RandomChain {
 public:
  RandomChain(uint32_t seed, int64_t outer, int64_t rows, int64_t columns) : random_(seed) {
    args_.outer = outer, args_.rows = rows, args_.columns = columns;
    if (seed % 3 == 0) {  // within wider rows
      args_.output_row = columns + 5;
      args_.output_outer = rows * args_.output_row + (seed % 2 == 0 ? 0 : 7);
    }
    FillInputs(outer * rows * columns);
    program_.constant_count = 3;
    program_.constants[0] = 0.5f, program_.constants[1] = -2.0f, program_.constants[2] = 0.0f;
    program_.step_count = 1 + static_cast<int>(random_() % kChainSteps);
    for (int s = 0; s < program_.step_count; ++s) {
      ChainStep& step = program_.steps[s];
      const bool unary = random_() % 3 == 0;
      step.op = unary ? kExactUnary[random_() % kExactUnary.size()]
                      : kExactMany[random_() % kExactMany.size()];
      step.a = AnyRef(s), step.b = AnyRef(s), step.c = AnyRef(s);
    }
    program_.output_count = 1 + static_cast<int>(random_() % 3);
    for (int i = 0; i < program_.output_count; ++i) {
      const auto last = static_cast<uint32_t>(program_.step_count - 1);
      program_.outputs[i] = {Kind::kStep,
                             static_cast<uint8_t>(i == 0 ? last : random_() % (last + 1))};
      program_.output_types[i] = i == 2 ? DType::kBool : DType::kF32;
    }
    chain_ = CompileChain(program_);
    args_.chain = &chain_;
  }

  void Check(Report& report, const std::string& name) {
    const int64_t n = args_.output_outer > 0 ? args_.outer * args_.output_outer
                                             : args_.outer * args_.rows * args_.columns;
    std::vector<Guarded> got(kChainOutputs, Guarded(n)), want(kChainOutputs, Guarded(n));
    SetOutputs(got);
    RunWhole(ChainTiles, RunChain, args_);
    SetOutputs(want);
    ref::RunChain(args_);
    for (int i = 0; i < program_.output_count; ++i) {
      const auto k = static_cast<size_t>(i);
      report.Compare(name + " output " + std::to_string(i), got[k].values(), want[k].values());
      report.Expect(name + " stays inside", got[k].intact());
    }
    SetOutputs(want);
    ScribbleStack();
    RunBackwards(ChainTiles, RunChain, args_);
    report.Compare(name + " tile by tile", want[0].values(), got[0].values());
  }

 private:
  void FillInputs(int64_t n) {
    program_.input_count = 1 + static_cast<int>(random_() % kChainInputs);
    const float scale = 4;
    for (int i = 0; i < program_.input_count; ++i) {
      f32_[i] = RandomFloats(n, static_cast<uint32_t>(random_()), -scale, scale);
      if (n > 9) f32_[i][static_cast<size_t>(n / 2)] = NAN, f32_[i][3] = kInf, f32_[i][7] = 0;
      constexpr std::array kTypes = {DType::kF32, DType::kF32, DType::kF16, DType::kBF16,
                                     DType::kI32, DType::kI64, DType::kBool};
      const DType type = kTypes[random_() % kTypes.size()];
      program_.input_types[i] = type;
      ChainInput& in = args_.inputs[i];
      in.data = Store(i, type);
      switch (random_() % 7) {
        case 0:
          in.row = 0, in.column = 1;
          break;  // row vector
        case 1:
          in.outer = args_.rows, in.row = 1;
          break;  // column
        case 2:
          break;  // scalar
        case 3:
          in.outer = args_.columns, in.column = 1;
          break;  // [outer, 1, columns]
        case 4:
          in.row = 1;
          break;  // [1, rows, 1]
        default:
          in.outer = args_.rows * args_.columns, in.row = args_.columns, in.column = 1;
      }
    }
  }

  const void* Store(int i, DType type) {
    for (float v : f32_[i]) {
      const bool finite = std::isfinite(v);
      half_[i].push_back(type == DType::kF16 ? tensor::ToF16(v).bits : tensor::ToBF16(v).bits);
      i32_[i].push_back(finite ? static_cast<int32_t>(v * 1e6f) : 0);
      i64_[i].push_back(finite ? static_cast<int64_t>(v) : 1);
      bool_[i].push_back(v > 0 ? 1 : 0);
    }
    switch (type) {
      case DType::kF16:
      case DType::kBF16:
        return half_[i].data();
      case DType::kI32:
        return i32_[i].data();
      case DType::kI64:
        return i64_[i].data();
      case DType::kBool:
        return bool_[i].data();
      default:
        return f32_[i].data();
    }
  }

  ChainRef AnyRef(int step) {
    const uint32_t pick = static_cast<uint32_t>(random_() % 10);
    if (pick == 0) return {Kind::kConstant, static_cast<uint8_t>(random_() % 3)};
    if (step > 0 && pick < 7)
      return {Kind::kStep, static_cast<uint8_t>(random_() % static_cast<uint32_t>(step))};
    return {Kind::kInput,
            static_cast<uint8_t>(random_() % static_cast<uint32_t>(program_.input_count))};
  }

  void SetOutputs(std::vector<Guarded>& to) {
    for (int i = 0; i < program_.output_count; ++i)
      args_.outputs[i] = to[static_cast<size_t>(i)].data();
  }

  std::mt19937 random_;
  ChainProgram program_;
  Chain chain_;
  ChainArgs args_;
  std::vector<float> f32_[kChainInputs];
  std::vector<uint16_t> half_[kChainInputs];
  std::vector<int32_t> i32_[kChainInputs];
  std::vector<int64_t> i64_[kChainInputs];
  std::vector<uint8_t> bool_[kChainInputs];
};

void CheckExact(Report& report) {
  for (const ChainOp op : kExactUnary) CheckUnary(report, op, -9, 9);
  uint32_t seed = 0;
  for (const auto& [outer, rows, columns] : {std::array<int64_t, 3>{1, 1, 1},
                                             {1, 1, 5000},
                                             {1, 700, 1},
                                             {1, 50, 17},
                                             {3, 40, 64},
                                             {2, 5, 1300},
                                             {7, 1, 33},
                                             {1, 129, 128},
                                             {4, 100, 3},
                                             {2, 1, 1},
                                             {2, 600, 1},
                                             {1, 3, 512},
                                             {5, 5, 129},
                                             {14, 35, 64}}) {
    // Where tiles begin in the middle of an index of `outer` many programs are needed to meet the
    // case.
    for (int k = 0; k < (outer == 14 ? 60 : 12); ++k) {
      RandomChain chain(++seed, outer, rows, columns);
      chain.Check(report, "program " + std::to_string(seed) + " over " + std::to_string(outer) +
                              "x" + std::to_string(rows) + "x" + std::to_string(columns));
    }
  }
  // In place, through an input that is read by the first and the last step.
  std::vector<float> x = RandomFloats(3000, 42), want = x;
  ChainProgram program;
  program.step_count = 2, program.input_count = 1, program.output_count = 1;
  program.steps[0] = {ChainOp::kSquare, {Kind::kInput, 0}};
  program.steps[1] = {ChainOp::kMulAdd, {Kind::kStep, 0}, {Kind::kInput, 0}, {Kind::kInput, 0}};
  program.outputs[0] = {Kind::kStep, 1};
  const Chain chain = CompileChain(program);
  ChainArgs args;
  args.chain = &chain;
  args.columns = 3000;
  args.inputs[0] = {x.data(), 0, 0, 1};
  args.outputs[0] = want.data();
  ref::RunChain(args);
  args.outputs[0] = x.data();
  RunWhole(ChainTiles, RunChain, args);
  report.Compare("in place", x, want);
}

// x * scale[row vector] + bias[row vector], relu, + residual: a folded batch norm's tail.
void MeasureExact(Perf& perf) {
  constexpr int64_t kRows = 2048, kColumns = 384;
  const std::vector<float> x = RandomFloats(kRows * kColumns, 43),
                           scale = RandomFloats(kColumns, 44);
  std::vector<float> y(x.size());
  ChainProgram program;
  program.step_count = 3, program.input_count = 4, program.output_count = 1;
  program.steps[0] = {ChainOp::kMulAdd, {Kind::kInput, 0}, {Kind::kInput, 1}, {Kind::kInput, 2}};
  program.steps[1] = {ChainOp::kRelu, {Kind::kStep, 0}};
  program.steps[2] = {ChainOp::kAdd, {Kind::kStep, 1}, {Kind::kInput, 3}};
  program.outputs[0] = {Kind::kStep, 2};
  const Chain chain = CompileChain(program);
  ChainArgs args;
  args.chain = &chain;
  args.columns = kColumns;
  const std::vector<float> residual = RandomFloats(kRows * kColumns, 46);
  args.inputs[0] = {x.data(), 0, kColumns, 1};
  args.inputs[3] = {residual.data(), 0, kColumns, 1};
  args.inputs[1] = args.inputs[2] = {scale.data(), 0, 0, 1};
  args.outputs[0] = y.data();
  for (int64_t rows : {int64_t{16}, kRows}) {
    args.rows = rows;
    const Work work = ChainWork(args);
    perf.Measure("relu(x*s+b)+r " + std::to_string(rows) + "x384", work,
                 {Roof::Kind::kRead, work.bytes}, [&] { RunWhole(ChainTiles, RunChain, args); });
  }
}

void MeasureUnary(Perf& perf, ChainOp op, const char* name) {
  const std::vector<float> x = RandomFloats(65536, 45, -4, 4);
  std::vector<float> y(x.size());
  ChainProgram program;
  program.step_count = program.input_count = program.output_count = 1;
  program.steps[0] = {op, {Kind::kInput, 0}};
  program.outputs[0] = {Kind::kStep, 0};
  const Chain chain = CompileChain(program);
  ChainArgs args;
  args.chain = &chain;
  args.columns = 65536;
  args.inputs[0] = {x.data(), 0, 0, 1};
  args.outputs[0] = y.data();
  const Work work = ChainWork(args);
  perf.Measure(std::string(name) + " 65536", work, {Roof::Kind::kRead, work.bytes},
               [&] { RunWhole(ChainTiles, RunChain, args); });
}
void MeasureExp(Perf& perf) {
  MeasureUnary(perf, ChainOp::kExp, "exp");
}
void MeasureLog(Perf& perf) {
  MeasureUnary(perf, ChainOp::kLog, "log");
}
void MeasureTanh(Perf& perf) {
  MeasureUnary(perf, ChainOp::kTanh, "tanh");
}
void MeasureSigmoid(Perf& perf) {
  MeasureUnary(perf, ChainOp::kSigmoid, "sigmoid");
}
void MeasureGelu(Perf& perf) {
  MeasureUnary(perf, ChainOp::kGeluErf, "gelu (erf)");
}

}  // namespace

std::span<const Kernel> ChainKernels() {
  static constexpr std::array kKernels = {
      Kernel{"chain_exact", CheckExact, MeasureExact},
      Kernel{"chain_exp", CheckExp, MeasureExp},
      Kernel{"chain_log", CheckLog, MeasureLog},
      Kernel{"chain_erf", CheckErf, nullptr},
      Kernel{"chain_tanh", CheckTanh, MeasureTanh},
      Kernel{"chain_sigmoid", CheckSigmoid, MeasureSigmoid},
      Kernel{"chain_gelu", CheckGelu, MeasureGelu},
      Kernel{"chain_silu", CheckSilu, nullptr},
      Kernel{"chain_softplus", CheckSoftplus, nullptr},
      Kernel{"chain_rsqrt", CheckReciprocalSqrt, nullptr},
  };
  return kKernels;
}

}  // namespace sluice::conformance
