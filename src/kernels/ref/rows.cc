#include "kernels/ref/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/ref/elementwise.h"
#include "kernels/ref/gemm.h"
#include "kernels/ref/lanes.h"

namespace sluice::kernels::ref {
namespace {

double StepValue(ChainOp op, double a, double b, double c) {
  switch (op) {
    case ChainOp::kCopy:
      return a;
    case ChainOp::kNeg:
      return -a;
    case ChainOp::kAbs:
      return std::fabs(a);
    case ChainOp::kSquare:
      return a * a;
    case ChainOp::kSqrt:
      return std::sqrt(a);
    case ChainOp::kReciprocal:
      return 1 / a;
    case ChainOp::kReciprocalSqrt:
      return 1 / std::sqrt(a);
    case ChainOp::kExp:
      return std::exp(a);
    case ChainOp::kLog:
      return std::log(a);
    case ChainOp::kErf:
      return std::erf(a);
    case ChainOp::kTanh:
      return std::tanh(a);
    case ChainOp::kSigmoid:
      return UnaryValue(UnaryOp::kSigmoid, a, 0, 0);
    case ChainOp::kRelu:
      return UnaryValue(UnaryOp::kRelu, a, 0, 0);
    case ChainOp::kGeluErf:
      return UnaryValue(UnaryOp::kGelu, a, 0, 0);
    case ChainOp::kGeluTanh:
      return UnaryValue(UnaryOp::kGeluTanh, a, 0, 0);
    case ChainOp::kSilu:
      return UnaryValue(UnaryOp::kSwish, a, 1, 0);
    case ChainOp::kSoftplus:
      return UnaryValue(UnaryOp::kSoftplus, a, 0, 0);
    case ChainOp::kFloor:
      return std::floor(a);
    case ChainOp::kCeil:
      return std::ceil(a);
    case ChainOp::kRound:
      return std::nearbyint(a);
    case ChainOp::kSign:
      return UnaryValue(UnaryOp::kSign, a, 0, 0);
    case ChainOp::kNot:
      return a == 0 ? 1 : 0;
    case ChainOp::kIsNaN:
      return std::isnan(a) ? 1 : 0;
    case ChainOp::kAdd:
      return a + b;
    case ChainOp::kSub:
      return a - b;
    case ChainOp::kMul:
      return a * b;
    case ChainOp::kDiv:
      return a / b;
    case ChainOp::kMin:
      return std::isnan(a) || std::isnan(b) ? a + b : std::min(a, b);
    case ChainOp::kMax:
      return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b);
    case ChainOp::kEqual:
      return a == b ? 1 : 0;
    case ChainOp::kLess:
      return a < b ? 1 : 0;
    case ChainOp::kLessOrEqual:
      return a <= b ? 1 : 0;
    case ChainOp::kGreater:
      return a > b ? 1 : 0;
    case ChainOp::kGreaterOrEqual:
      return a >= b ? 1 : 0;
    case ChainOp::kAnd:
      return a != 0 && b != 0 ? 1 : 0;
    case ChainOp::kOr:
      return a != 0 || b != 0 ? 1 : 0;
    case ChainOp::kLeakyRelu:
      return a < 0 ? a * b : a;
    case ChainOp::kMulAdd:
      return static_cast<double>(
          std::fma(static_cast<float>(a), static_cast<float>(b), static_cast<float>(c)));
    case ChainOp::kSelect:
      return a != 0 ? b : c;
  }
  return 0;
}

}  // namespace

void RunChain(const ChainArgs& args) {
  const ChainProgram& program = args.chain->program;
  // Outputs may be inputs, so all is computed before anything is written.
  const int64_t elements = args.outer * args.rows * args.columns;
  std::vector<std::vector<float>> results(kChainOutputs,
                                          std::vector<float>(static_cast<size_t>(elements)));
  for (int64_t i = 0; i < elements; ++i) {
    const int64_t c = i % args.columns;
    const int64_t r = i / args.columns % args.rows;
    const int64_t o = i / args.columns / args.rows;
    float steps[kChainSteps];
    const auto value = [&](const ChainRef& ref) -> double {
      if (ref.kind == ChainRef::Kind::kConstant)
        return static_cast<double>(program.constants[ref.index]);
      if (ref.kind == ChainRef::Kind::kStep) return static_cast<double>(steps[ref.index]);
      const ChainInput& in = args.inputs[ref.index];
      const double wide = LoadOne<double>(program.input_types[ref.index], in.data,
                                          o * in.outer + r * in.row + c * in.column);
      return static_cast<double>(static_cast<float>(wide));
    };
    for (int s = 0; s < program.step_count; ++s) {
      const ChainStep& step = program.steps[s];
      const int operands = ChainOperands(step.op);
      steps[s] =
          static_cast<float>(StepValue(step.op, value(step.a), operands > 1 ? value(step.b) : 0,
                                       operands > 2 ? value(step.c) : 0));
    }
    for (int k = 0; k < program.output_count; ++k) {
      results[static_cast<size_t>(k)][static_cast<size_t>(i)] = steps[program.outputs[k].index];
    }
  }
  const bool dense = args.output_row == 0 && args.output_outer == 0;
  for (int k = 0; k < program.output_count; ++k) {
    for (int64_t i = 0; i < elements; ++i) {
      const auto result =
          static_cast<double>(results[static_cast<size_t>(k)][static_cast<size_t>(i)]);
      const int64_t c = i % args.columns;
      const int64_t r = i / args.columns % args.rows;
      const int64_t o = i / args.columns / args.rows;
      const int64_t at = dense ? i : o * args.output_outer + r * args.output_row + c;
      StoreOne(program.output_types[k], args.outputs[k], at, result);
    }
  }
}

void RowNorm(const RowNormArgs& args) {
  std::vector<double> t(static_cast<size_t>(args.columns));
  const double n = static_cast<double>(args.columns);
  for (int64_t row = 0; row < args.rows; ++row) {
    double mean = 0;
    double square = 0;
    for (int64_t c = 0; c < args.columns; ++c) {
      // The sum is f32, as a separate Add would leave it.
      const float sum =
          args.x[row * args.x_stride + c] +
          (args.residual != nullptr ? args.residual[row * args.residual_stride + c] : 0.0f);
      if (args.sum != nullptr) args.sum[row * args.sum_stride + c] = sum;
      t[static_cast<size_t>(c)] = static_cast<double>(sum);
      mean += static_cast<double>(sum) / n;
    }
    if (args.rms) mean = 0;
    for (double v : t) square += (v - mean) * (v - mean);
    const double inv = 1 / std::sqrt(square / n + static_cast<double>(args.epsilon));
    for (int64_t c = 0; c < args.columns; ++c) {
      const double scale = args.scale != nullptr ? static_cast<double>(args.scale[c]) : 1;
      const double bias = args.bias != nullptr ? static_cast<double>(args.bias[c]) : 0;
      args.y[row * args.y_stride + c] =
          static_cast<float>((t[static_cast<size_t>(c)] - mean) * inv * scale + bias);
    }
  }
}

void RowL2Norm(const RowL2NormArgs& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    double square = 0;
    for (int64_t c = 0; c < args.columns; ++c) {
      const double v = static_cast<double>(args.x[row * args.columns + c]);
      square += v * v;
    }
    const double norm = std::max(std::sqrt(square), static_cast<double>(args.epsilon));
    for (int64_t i = row * args.columns; i < (row + 1) * args.columns; ++i) {
      args.y[i] = static_cast<float>(static_cast<double>(args.x[i]) / norm);
    }
  }
}

void RowSoftmax(const RowSoftmaxArgs& args) {
  std::vector<double> t(static_cast<size_t>(args.columns));
  for (int64_t row = 0; row < args.outer * args.middle * args.inner; ++row) {
    const float* mask = nullptr;
    if (args.mask != nullptr) {
      mask = args.mask + row / args.inner / args.middle * args.mask_outer +
             row / args.inner % args.middle * args.mask_middle + row % args.inner * args.mask_inner;
    }
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t c = 0; c < args.columns; ++c) {
      double v =
          static_cast<double>(args.x[row * args.columns + c]) * static_cast<double>(args.scale);
      if (mask != nullptr) v += static_cast<double>(mask[c]);
      v = static_cast<double>(static_cast<float>(v));
      t[static_cast<size_t>(c)] = v;
      top = v > top || std::isnan(v) ? v : top;
    }
    double sum = 0;
    for (double v : t) sum += std::exp(v - top);
    for (int64_t c = 0; c < args.columns; ++c) {
      const double v = t[static_cast<size_t>(c)] - top;
      args.y[row * args.columns + c] =
          static_cast<float>(args.log ? v - std::log(sum) : std::exp(v) / sum);
    }
  }
}

void RowReduce(const RowReduceArgs& args) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  for (int64_t o = 0; o < args.outer; ++o) {
    for (int64_t i = 0; i < args.inner; ++i) {
      double acc = args.op == RowReduceOp::kMax ? -kInf : args.op == RowReduceOp::kMin ? kInf : 0;
      for (int64_t k = 0; k < args.extent; ++k) {
        const double v = static_cast<double>(args.x[(o * args.extent + k) * args.inner + i]);
        switch (args.op) {
          case RowReduceOp::kSum:
          case RowReduceOp::kMean:
            acc += v;
            break;
          case RowReduceOp::kMax:
            acc = v > acc || std::isnan(v) ? v : acc;
            break;
          case RowReduceOp::kMin:
            acc = v < acc || std::isnan(v) ? v : acc;
            break;
          case RowReduceOp::kSumSquares:
            acc += v * v;
            break;
          case RowReduceOp::kL1:
            acc += std::fabs(v);
            break;
        }
      }
      if (args.op == RowReduceOp::kMean)
        acc /= static_cast<double>(std::max<int64_t>(args.extent, 1));
      args.y[o * args.inner + i] = static_cast<float>(acc);
    }
  }
}

void MaskedMean(const MaskedMeanArgs& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    double weight = 0;
    for (int64_t s = 0; s < args.length; ++s)
      weight += static_cast<double>(args.mask[b * args.length + s]);
    weight = std::max(weight, static_cast<double>(args.epsilon));
    for (int64_t c = 0; c < args.columns; ++c) {
      double sum = 0;
      for (int64_t s = 0; s < args.length; ++s) {
        const float mask = args.mask[b * args.length + s];
        if (mask != 0) {
          sum += static_cast<double>(mask) *
                 static_cast<double>(args.x[(b * args.length + s) * args.columns + c]);
        }
      }
      args.y[b * args.columns + c] = static_cast<float>(sum / weight);
    }
  }
}

namespace {

// The row that position i of `indices` names, or -1.
int64_t RowAt(const IndexView& indices, int64_t i, int64_t rows) {
  const int64_t raw = indices.wide ? static_cast<const int64_t*>(indices.data)[i]
                                   : static_cast<const int32_t*>(indices.data)[i];
  if (raw < -rows || raw >= rows) return -1;
  return raw < 0 ? raw + rows : raw;
}

}  // namespace

int64_t GatherRows(const GatherRowsArgs& args) {
  int64_t bad = kAllInRange;
  for (int64_t i = args.count - 1; i >= 0; --i) {
    const int64_t row = RowAt(args.indices, i, args.table.rows);
    if (row < 0) {
      bad = i;
      continue;
    }
    for (int64_t c = 0; c < args.table.columns; ++c) {
      args.y[i * args.y_stride + c] = static_cast<float>(
          LoadOne<double>(args.table.dtype, args.table.data, row * args.table.columns + c));
    }
  }
  return bad;
}

void Transpose(const kernels::TransposeArgs& args) {
  int64_t stride[kTransposeRank];
  int64_t elements = 1;
  for (int d = args.rank - 1; d >= 0; --d) {
    stride[d] = elements;
    elements *= args.shape[d];
  }
  for (int64_t i = 0; i < elements; ++i) {
    int64_t rest = i;
    int64_t from = 0;
    for (int d = args.rank - 1; d >= 0; --d) {
      const int axis = args.perm[d];
      from += rest % args.shape[axis] * stride[axis];
      rest /= args.shape[axis];
    }
    std::memcpy(static_cast<char*>(args.y) + i * args.element_bytes,
                static_cast<const char*>(args.x) + from * args.element_bytes,
                static_cast<size_t>(args.element_bytes));
  }
}

void GatedRows(const GatedRowsArgs& args) {
  for (int64_t i = 0; i < args.rows; ++i) {
    const float* const x = args.x + i * args.x_stride;
    float* const y = args.y + i * args.y_stride;
    for (int64_t j = 0; j < args.columns; ++j) {
      y[j] = static_cast<float>(Activate(x[j], args.activation) * x[args.columns + j]);
    }
  }
}

}  // namespace sluice::kernels::ref
