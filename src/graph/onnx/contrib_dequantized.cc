// Operators of com.microsoft that quantisers and ONNX Runtime's optimisers write over 8-bit
// constants, run on real numbers: the constants are made real as they are read, so the sums are
// those of f32.
#include <array>

#include "graph/onnx/contrib.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

// ---- Plain quantisation ----

// ONNX's of the same name but for the axis, whose absence means one scale for all.
Status ExpandQuantize(ContribBody& body) {
  body.Output(0, body.Make("QuantizeLinear", {body.In(0), body.In(1), body.In(2)}));
  body.PassOn({"axis"});
  return Ok();
}
Status ExpandDequantize(ContribBody& body) {
  body.Output(0, body.Make("DequantizeLinear", {body.In(0), body.In(1), body.In(2)}));
  body.PassOn({"axis"});
  return Ok();
}

// Inputs x, scale and zero point that begin at i, i + 1 and i + 2.
std::string Real(ContribBody& body, size_t i) {
  return body.Make("DequantizeLinear", {body.In(i), body.In(i + 1), body.In(i + 2)});
}

std::string Quantised(ContribBody& body, const std::string& value, size_t scale, size_t like) {
  const int64_t code = ContribCode(body.Type(like));
  return body.Make("QuantizeLinear", {value, body.In(scale), body.In(scale + 1)},
                   {{"output_dtype", code}});
}

Status ExpandQWhere(ContribBody& body) {
  enum : size_t { kCondition, kX, kY = 4, kYScale = 7 };
  const std::string y = body.Make("Where", {body.In(kCondition), Real(body, kX), Real(body, kY)});
  body.Output(0, Quantised(body, y, kYScale, kX));
  return Ok();
}

Status ExpandQReduceMean(ContribBody& body) {
  std::vector<int64_t> axes = body.Ints("axes");
  const std::string x = Real(body, 0);
  const int64_t keep = body.Int("keepdims", 1);
  const std::string y =
      axes.empty() ? body.Make("ReduceMean", {x}, {{"keepdims", keep}})
                   : body.Make("ReduceMean", {x, body.IntList(axes)}, {{"keepdims", keep}});
  body.Output(0, Quantised(body, y, 3, 0));
  return Ok();
}

// ---- DynamicQuantizeLSTM ----

// Weights [directions, inputs, 4 * hidden] of 8 bits as ONNX has them, [directions, 4 * hidden,
// inputs] in f32. Scales and zero points: one a direction, or one a column.
Result<std::string> RecurrentWeights(ContribBody& body, size_t weights, size_t scale, size_t zero) {
  const std::optional<int> rank = body.Rank(scale);
  if (rank != 1 && rank != 2) return body.Refuse("scales must be one a direction or one a column");
  const std::string axes =
      body.IntList(rank == 1 ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{1});
  std::string real = body.CastTo(body.In(weights), DType::kF32);
  if (body.has(zero)) {
    const std::string zeros =
        body.Make("Unsqueeze", {body.CastTo(body.In(zero), DType::kF32), axes});
    real = body.Make("Sub", {real, zeros});
  }
  real = body.Make("Mul", {real, body.Make("Unsqueeze", {body.In(scale), axes})});
  return body.Make("Transpose", {real}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
}

// ONNX Runtime also rounds the activations to 8 bits, a tensor a step; here they stay what they
// are, which is nearer to the layer that was quantised.
Status ExpandQLstm(ContribBody& body) {
  enum : size_t { kX, kW, kR, kB, kLengths, kH, kC, kP, kWScale, kWZero, kRScale, kRZero };
  const std::string w = TRY(RecurrentWeights(body, kW, kWScale, kWZero));
  const std::string r = TRY(RecurrentWeights(body, kR, kRScale, kRZero));
  const std::vector<std::string> made = body.MakeMany(
      "LSTM",
      {body.In(kX), w, r, body.In(kB), body.In(kLengths), body.In(kH), body.In(kC), body.In(kP)},
      3);
  body.PassOn({"activation_alpha", "activation_beta", "activations", "clip", "direction",
               "hidden_size", "input_forget"});
  for (int i = 0; i < 3; ++i) body.Output(i, made[static_cast<size_t>(i)]);
  return Ok();
}

// ---- QEmbedLayerNormalization ----

Status ExpandQEmbed(ContribBody& body) {
  enum : size_t {
    kIds,
    kSegmentIds,
    kWords,
    kPositions,
    kSegments,
    kGamma,
    kBeta,
    kMask,
    kWordScale,
    kPositionScale,
    kSegmentScale,
    kGammaScale,
    kBetaScale,
    kWordZero,
    kPositionZero,
    kSegmentZero,
    kGammaZero,
    kBetaZero
  };
  // Rows are made real when they have been looked up, so that the tables stay in 8 bits.
  const auto rows = [&](size_t table, size_t scale, size_t zero, const std::string& at) {
    const std::string found = body.Make("Gather", {body.In(table), at});
    return body.Make("DequantizeLinear", {found, body.In(scale), body.In(zero)});
  };
  const std::string length =
      body.Make("Squeeze", {body.Dimension(body.In(kIds), 1), body.IntList({0})});
  const std::string at = body.Make("Range", {body.IntScalar(0), length, body.IntScalar(1)});
  std::string sum = rows(kWords, kWordScale, kWordZero, body.In(kIds));
  sum = body.Make("Add", {sum, rows(kPositions, kPositionScale, kPositionZero, at)});
  if (body.has(kSegments)) {
    if (!body.has(kSegmentIds)) return body.Refuse("a segment table without segment ids");
    sum =
        body.Make("Add", {sum, rows(kSegments, kSegmentScale, kSegmentZero, body.In(kSegmentIds))});
  }
  const auto row = [&](size_t x, size_t scale, size_t zero) {
    return body.Make("DequantizeLinear", {body.In(x), body.In(scale), body.In(zero)});
  };
  body.Output(
      0, body.Make("LayerNormalization",
                   {sum, row(kGamma, kGammaScale, kGammaZero), row(kBeta, kBetaScale, kBetaZero)},
                   {{"axis", int64_t{-1}}, {"epsilon", body.Float("epsilon", 1e-12F)}}));
  if (!body.wants(1)) return Ok();
  std::string count;
  if (body.has(kMask)) {
    const std::string ones = body.CastTo(body.In(kMask), DType::kI32);
    count = body.Make("ReduceSum", {ones, body.IntList({1})}, {{"keepdims", int64_t{0}}});
  } else {
    count =
        body.CastTo(body.Make("ConstantOfShape", {body.Dimension(body.In(kIds), 0)}), DType::kI32);
  }
  body.Output(1, count);
  return Ok();
}

constexpr auto kOps = std::to_array<ContribOp>({
    {"DequantizeLinear", ExpandDequantize},
    {"DynamicQuantizeLSTM", ExpandQLstm},
    {"QEmbedLayerNormalization", ExpandQEmbed},
    {"QLinearReduceMean", ExpandQReduceMean},
    {"QLinearWhere", ExpandQWhere},
    {"QuantizeLinear", ExpandQuantize},
});

}  // namespace

std::span<const ContribOp> ContribDequantizedOps() {
  return kOps;
}

}  // namespace sluice::graph
