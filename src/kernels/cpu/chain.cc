// Compiled once per target: one trip runs every step of the program over a tile that stays in L1.
#include "kernels/cpu/chain.h"

#include "kernels/cpu/log.h"
#include "kernels/cpu/widen.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

using tensor::DType;

// What a step reads: data[i * step], step 0 (one vector of copies) or 1.
struct Operand {
  const float* data = nullptr;
  int64_t step = 1;
};

template <class F>
HWY_INLINE void Map1(const Operand& a, int64_t n, float* y, F f) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(hn::LoadU(d, a.data + i * a.step)), d, y + i);
  if (i == n) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(n - i));
  hn::BlendedStore(f(hn::MaskedLoad(rest, d, a.data + i * a.step)), rest, d, y + i);
}

template <class F>
HWY_INLINE void Map2(const Operand& a, const Operand& b, int64_t n, float* y, F f) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(f(hn::LoadU(d, a.data + i * a.step), hn::LoadU(d, b.data + i * b.step)), d, y + i);
  }
  if (i == n) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(n - i));
  hn::BlendedStore(
      f(hn::MaskedLoad(rest, d, a.data + i * a.step), hn::MaskedLoad(rest, d, b.data + i * b.step)),
      rest, d, y + i);
}

template <class F>
HWY_INLINE void Map3(const Operand& a, const Operand& b, const Operand& c, int64_t n, float* y,
                     F f) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(f(hn::LoadU(d, a.data + i * a.step), hn::LoadU(d, b.data + i * b.step),
                 hn::LoadU(d, c.data + i * c.step)),
               d, y + i);
  }
  if (i == n) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(n - i));
  hn::BlendedStore(
      f(hn::MaskedLoad(rest, d, a.data + i * a.step), hn::MaskedLoad(rest, d, b.data + i * b.step),
        hn::MaskedLoad(rest, d, c.data + i * c.step)),
      rest, d, y + i);
}

HWY_INLINE VF One() {
  return hn::Set(F32(), 1.0f);
}
template <class M>
HWY_INLINE VF Truth(M mask) {
  return hn::IfThenElseZero(mask, One());
}
// NaN is true, as it is in C.
HWY_INLINE auto IsTrue(VF x) {
  return hn::Not(hn::Eq(x, hn::Zero(F32())));
}
// NaN of either side, which x86's own min and max lose on the left.
HWY_INLINE VF MinNan(VF a, VF b) {
  return hn::IfThenElse(hn::IsNaN(a), a, hn::Min(a, b));
}
HWY_INLINE VF MaxNan(VF a, VF b) {
  return hn::IfThenElse(hn::IsNaN(a), a, hn::Max(a, b));
}

// log(1 + e^x) as max(x, 0) + log(1 + e) with e = e^-|x|. What 1 + e loses of a small e the factor
// e / ((1 + e) - 1) gives back (W. Kahan's log1p).
HWY_INLINE VF Softplus(VF x) {
  const F32 d;
  const VF e = Exp(hn::Neg(hn::Abs(x)));
  const VF u = hn::Add(One(), e);
  const VF rest = hn::Sub(u, One());
  const VF log1p = hn::IfThenElse(hn::Eq(rest, hn::Zero(d)), e, hn::Div(hn::Mul(Log(u), e), rest));
  return hn::Add(MaxNan(x, hn::Zero(d)), log1p);
}

void RunUnary(ChainOp op, const Operand& a, int64_t n, float* y) {
  const F32 d;
  switch (op) {
    case ChainOp::kCopy:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return x; });
    case ChainOp::kNeg:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Neg(x); });
    case ChainOp::kAbs:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Abs(x); });
    case ChainOp::kSquare:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Mul(x, x); });
    case ChainOp::kSqrt:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Sqrt(x); });
    case ChainOp::kReciprocal:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Div(One(), x); });
    case ChainOp::kReciprocalSqrt:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Div(One(), hn::Sqrt(x)); });
    case ChainOp::kExp:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Exp(x); });
    case ChainOp::kLog:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Log(x); });
    case ChainOp::kErf:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Erf(x); });
    case ChainOp::kTanh:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Tanh(x); });
    case ChainOp::kSigmoid:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Sigmoid(x); });
    case ChainOp::kRelu:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Relu(x); });
    case ChainOp::kGeluErf:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return GeluErf(x); });
    case ChainOp::kGeluTanh:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return GeluTanh(x); });
    case ChainOp::kSilu:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Silu(x); });
    case ChainOp::kSoftplus:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Softplus(x); });
    case ChainOp::kFloor:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Floor(x); });
    case ChainOp::kCeil:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Ceil(x); });
    case ChainOp::kRound:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return hn::Round(x); });
    case ChainOp::kSign:
      return Map1(a, n, y, [d](VF x) HWY_ATTR {
        const VF sign = hn::CopySign(One(), x);
        return hn::IfThenElse(hn::Or(hn::Gt(x, hn::Zero(d)), hn::Lt(x, hn::Zero(d))), sign, x);
      });
    case ChainOp::kNot:
      return Map1(a, n, y, [d](VF x) HWY_ATTR { return Truth(hn::Eq(x, hn::Zero(d))); });
    default:
      return Map1(a, n, y, [](VF x) HWY_ATTR { return Truth(hn::IsNaN(x)); });
  }
}

void RunBinary(ChainOp op, const Operand& a, const Operand& b, int64_t n, float* y) {
  const F32 d;
  switch (op) {
    case ChainOp::kAdd:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return hn::Add(p, q); });
    case ChainOp::kSub:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return hn::Sub(p, q); });
    case ChainOp::kMul:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return hn::Mul(p, q); });
    case ChainOp::kDiv:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return hn::Div(p, q); });
    case ChainOp::kMin:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return MinNan(p, q); });
    case ChainOp::kMax:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return MaxNan(p, q); });
    case ChainOp::kEqual:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return Truth(hn::Eq(p, q)); });
    case ChainOp::kLess:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return Truth(hn::Lt(p, q)); });
    case ChainOp::kLessOrEqual:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return Truth(hn::Le(p, q)); });
    case ChainOp::kGreater:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return Truth(hn::Gt(p, q)); });
    case ChainOp::kGreaterOrEqual:
      return Map2(a, b, n, y, [](VF p, VF q) HWY_ATTR { return Truth(hn::Ge(p, q)); });
    case ChainOp::kAnd:
      return Map2(a, b, n, y,
                  [](VF p, VF q) HWY_ATTR { return Truth(hn::And(IsTrue(p), IsTrue(q))); });
    case ChainOp::kOr:
      return Map2(a, b, n, y,
                  [](VF p, VF q) HWY_ATTR { return Truth(hn::Or(IsTrue(p), IsTrue(q))); });
    default:  // kLeakyRelu
      return Map2(a, b, n, y, [d](VF p, VF q) HWY_ATTR {
        return hn::IfThenElse(hn::Lt(p, hn::Zero(d)), hn::Mul(p, q), p);
      });
  }
}

void RunTernary(ChainOp op, const Operand& a, const Operand& b, const Operand& c, int64_t n,
                float* y) {
  if (op == ChainOp::kMulAdd) {
    return Map3(a, b, c, n, y, [](VF p, VF q, VF r) HWY_ATTR { return hn::MulAdd(p, q, r); });
  }
  return Map3(a, b, c, n, y,
              [](VF p, VF q, VF r) HWY_ATTR { return hn::IfThenElse(IsTrue(p), q, r); });
}

constexpr int kLanesMax = 16;

// The buffers of one run and what of them is already filled.
class Trip {
 public:
  Trip(const ChainArgs& args, const ChainPlan& plan)
      : args_(args), plan_(plan), program_(args.chain->program) {
    for (int i = 0; i < program_.constant_count; ++i)
      FillLanes(constants_[i], program_.constants[i]);
    for (int i = 0; i < program_.input_count; ++i) {
      const ChainInput& in = plan.inputs[i];
      // One value for the whole run is read once.
      if (in.column == 0 && (in.row == 0 || plan.rows == 1) && (in.outer == 0 || plan.outer == 1)) {
        FillLanes(scalars_[i], WidenOne(program_.input_types[i], in.data, 0));
        inputs_[i] = {scalars_[i], 0};
        fixed_[i] = true;
      }
    }
  }

  // Rows [row, row + rows) of index `outer`, or with rows == 1 its columns [column, column +
  // columns).
  void Run(int64_t outer, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const int64_t n = rows * columns;
    for (int i = 0; i < program_.input_count; ++i) {
      if (!fixed_[i]) ReadInput(i, outer, row, rows, column, columns);
    }
    const ChainInput& out = plan_.output;
    const int64_t at = outer * out.outer + row * out.row + column;
    const bool dense = rows == 1 || out.row == columns;
    const int last = program_.step_count - 1;
    bool last_written[kChainOutputs] = {};
    float* last_to = buffers_[args_.chain->buffers[last]];
    for (int i = 0; i < program_.output_count; ++i) {
      // The last step may write straight to memory: no step reads an input after it.
      if (!dense || program_.outputs[i].index != last || program_.output_types[i] != DType::kF32)
        continue;
      last_to = static_cast<float*>(args_.outputs[i]) + at;
      last_written[i] = true;
      break;
    }
    for (int s = 0; s <= last; ++s) {
      const ChainStep& step = program_.steps[s];
      float* to = s == last ? last_to : buffers_[args_.chain->buffers[s]];
      if (step.op >= ChainOp::kMulAdd) {
        RunTernary(step.op, Get(step.a), Get(step.b), Get(step.c), n, to);
      } else if (step.op >= ChainOp::kAdd) {
        RunBinary(step.op, Get(step.a), Get(step.b), n, to);
      } else {
        RunUnary(step.op, Get(step.a), n, to);
      }
    }
    for (int i = 0; i < program_.output_count; ++i) {
      if (last_written[i]) continue;
      const int step = program_.outputs[i].index;
      const float* from = step == last ? last_to : buffers_[args_.chain->buffers[step]];
      if (dense) {
        WriteOutput(i, at, n, from);
        continue;
      }
      for (int64_t r = 0; r < rows; ++r)
        WriteOutput(i, at + r * out.row, columns, from + r * columns);
    }
  }

 private:
  static void FillLanes(float* to, float value) {
    for (int i = 0; i < kLanesMax; ++i) to[i] = value;
  }

  Operand Get(const ChainRef& ref) const {
    switch (ref.kind) {
      case ChainRef::Kind::kInput:
        return inputs_[ref.index];
      case ChainRef::Kind::kConstant:
        return {constants_[ref.index], 0};
      default:
        return {buffers_[args_.chain->buffers[ref.index]], 1};
    }
  }

  void ReadInput(int i, int64_t outer, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const ChainInput& in = plan_.inputs[i];
    const DType type = program_.input_types[i];
    const int64_t first = outer * in.outer + row * in.row + column * in.column;
    if (in.column == 0 && (rows == 1 || in.row == 0)) {
      FillLanes(scalars_[i], WidenOne(type, in.data, first));
      inputs_[i] = {scalars_[i], 0};
      return;
    }
    if (in.column == 1 && (rows == 1 || in.row == columns)) {
      if (type == DType::kF32) {
        inputs_[i] = {static_cast<const float*>(in.data) + first, 1};
        return;
      }
      WidenRun(type, Advance(in.data, type, first), rows * columns, wide_[i]);
      inputs_[i] = {wide_[i], 1};
      return;
    }
    inputs_[i] = {wide_[i], 1};
    // The same row vector under every row is laid out once per index of outer.
    if (in.column == 1 && in.row == 0) {
      if (repeated_[i] == outer * in.outer && repeated_rows_[i] >= rows) return;
      repeated_[i] = outer * in.outer;
      repeated_rows_[i] = rows;
      WidenRun(type, Advance(in.data, type, first), columns, wide_[i]);
      // Doubling: what is laid out is copied behind itself.
      for (int64_t done = columns; done < rows * columns; done *= 2) {
        const int64_t left = rows * columns - done;
        Spread(wide_[i], left < done ? left : done, wide_[i] + done);
      }
      return;
    }
    for (int64_t r = 0; r < rows; ++r) {
      float* to = wide_[i] + r * columns;
      const int64_t from = first + r * in.row;
      if (in.column == 1) {
        WidenRun(type, Advance(in.data, type, from), columns, to);
      } else {
        // Whole vectors: what they write too far the next row overwrites, the last row has slack.
        const VF value = hn::Set(F32(), WidenOne(type, in.data, from));
        for (int64_t c = 0; c < columns; c += kStep) hn::StoreU(value, F32(), to + c);
      }
    }
  }

  static constexpr int64_t kStep = static_cast<int64_t>(HWY_LANES(float));

  // to[i] = from[i] for i < n and up to a vector beyond, which is slack; the two may not overlap in
  // the first n.
  static HWY_INLINE void Spread(const float* from, int64_t n, float* to) {
    for (int64_t i = 0; i < n; i += kStep) hn::StoreU(hn::LoadU(F32(), from + i), F32(), to + i);
  }

  static const void* Advance(const void* data, DType type, int64_t elements) {
    int64_t size = 4;
    if (type == DType::kF16 || type == DType::kBF16) size = 2;
    if (type == DType::kI64) size = 8;
    if (type == DType::kU8 || type == DType::kBool) size = 1;
    return static_cast<const char*>(data) + elements * size;
  }

  void WriteOutput(int i, int64_t at, int64_t n, const float* from) {
    if (program_.output_types[i] == DType::kF32) {
      Map1({from, 1}, n, static_cast<float*>(args_.outputs[i]) + at,
           [](VF x) HWY_ATTR { return x; });
      return;
    }
    auto* to = static_cast<uint8_t*>(args_.outputs[i]) + at;
    for (int64_t j = 0; j < n; ++j) to[j] = from[j] != 0 ? 1 : 0;
  }

  const ChainArgs& args_;
  const ChainPlan& plan_;
  const ChainProgram& program_;
  Operand inputs_[kChainInputs];
  bool fixed_[kChainInputs] = {};
  int64_t repeated_[kChainInputs] = {-1, -1, -1, -1, -1, -1, -1, -1};
  int64_t repeated_rows_[kChainInputs] = {};
  alignas(64) float constants_[kChainConstants][kLanesMax];
  alignas(64) float scalars_[kChainInputs][kLanesMax];
  alignas(64) float wide_[kChainInputs][kChainTile + kLanesMax];
  alignas(64) float buffers_[kChainSteps][kChainTile];
};

}  // namespace

void RunChainTrips(const ChainArgs& args, const ChainPlan& plan, int64_t begin, int64_t end) {
  Trip trip(args, plan);
  for (int64_t t = begin; t < end; ++t) {
    const int64_t outer = t / plan.trips_per_outer;
    const int64_t within = t % plan.trips_per_outer;
    if (plan.trip_rows > 1) {
      const int64_t row = within * plan.trip_rows;
      const int64_t rows = plan.rows - row < plan.trip_rows ? plan.rows - row : plan.trip_rows;
      trip.Run(outer, row, rows, 0, plan.columns);
    } else {
      const int64_t row = within / plan.trips_per_row;
      const int64_t column = within % plan.trips_per_row * kChainTile;
      const int64_t left = plan.columns - column;
      trip.Run(outer, row, 1, column, left < kChainTile ? left : kChainTile);
    }
  }
}

}  // namespace sluice::kernels::SLUICE_ISA
