// ONNX's own operators that are sums of others, most of them by ONNX's definition, and old forms
// that newer operators say.
#include <algorithm>
#include <array>

#include "graph/onnx/contrib.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

std::string Axis0(ContribBody& body, const std::vector<std::string>& parts) {
  return body.MakeFrom("Concat", parts, {{"axis", int64_t{0}}});
}

// ---- Losses ----

struct Loss {
  std::string log_probabilities;  // [N, C, …]
  size_t target = 1;              // input [N, …]
  size_t weight = 2;              // input [C], optional
};

std::string Reduced(ContribBody& body, const std::string& loss, const std::string& weights,
                    const std::string& reduction) {
  const int64_t drop = 0;
  if (reduction == "sum") return body.Make("ReduceSum", {loss}, {{"keepdims", drop}});
  if (weights.empty()) return body.Make("ReduceMean", {loss}, {{"keepdims", drop}});
  return body.Make("Div", {body.Make("ReduceSum", {loss}, {{"keepdims", drop}}),
                           body.Make("ReduceSum", {weights}, {{"keepdims", drop}})});
}

Status ExpandLoss(ContribBody& body, const Loss& in) {
  const std::string reduction = body.String("reduction", "mean");
  if (reduction != "mean" && reduction != "sum" && reduction != "none")
    return body.Refuse("reduction '" + reduction + "' is not known");
  const bool ignores = body.HasAttribute("ignore_index");
  std::string target = body.CastTo(body.In(in.target), DType::kI64);
  std::string ignored;
  if (ignores) {
    ignored = body.Make("Equal", {target, body.IntScalar(body.Int("ignore_index", 0))});
    target = body.Make("Where", {ignored, body.IntScalar(0), target});
  }
  const std::string one = body.IntList({1});
  const std::string picked =
      body.Make("GatherElements", {in.log_probabilities, body.Make("Unsqueeze", {target, one})},
                {{"axis", int64_t{1}}});
  std::string loss = body.Make("Neg", {body.Make("Squeeze", {picked, one})});
  std::string weights;
  if (body.has(in.weight)) weights = body.Make("Gather", {body.In(in.weight), target});
  if (ignores) {
    const std::string zero = body.Number(0, 0);
    weights = body.Make("Where", {ignored, zero, weights.empty() ? body.Number(1, 0) : weights});
  }
  if (!weights.empty()) loss = body.Make("Mul", {loss, weights});
  body.Output(0, reduction == "none" ? loss : Reduced(body, loss, weights, reduction));
  return Ok();
}

Status ExpandNegativeLogLikelihood(ContribBody& body) {
  return ExpandLoss(body, {body.In(0), 1, 2});
}

Status ExpandCrossEntropy(ContribBody& body) {
  const std::string log = body.Make("LogSoftmax", {body.In(0)}, {{"axis", int64_t{1}}});
  body.Output(1, log);
  return ExpandLoss(body, {log, 1, 2});
}

// ---- Quantised convolution ----

// In f32, whose kernels are the fast ones: sums of products of bytes are exact there up to 2^24.
Status ExpandQLinearConv(ContribBody& body) {
  enum : size_t { kX, kXScale, kXZero, kW, kWScale, kWZero, kYScale, kYZero, kBias };
  const std::string x =
      body.Make("DequantizeLinear", {body.In(kX), body.In(kXScale), body.In(kXZero)});
  const std::string w = body.Make(
      "DequantizeLinear", {body.In(kW), body.In(kWScale), body.In(kWZero)}, {{"axis", int64_t{0}}});
  std::string bias;
  if (body.has(kBias)) {
    const std::string scale = body.Make("Mul", {body.In(kXScale), body.In(kWScale)});
    bias = body.Make("Mul", {body.CastTo(body.In(kBias), DType::kF32), scale});
  }
  const std::string y = body.Make("Conv", {x, w, bias});
  body.PassOn({"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"});
  body.Output(0, body.Make("QuantizeLinear", {y, body.In(kYScale), body.In(kYZero)}));
  return Ok();
}

// ---- Movement ----

// Writes update [B, …, L, …] into the cache [B, …, S, …] from write_indices [B] on.
Status ExpandTensorScatter(ContribBody& body) {
  const std::optional<int> rank = body.Rank(0);
  if (!rank.has_value() || *rank < 2) return body.Refuse("the rank of the cache must be known");
  int64_t axis = body.Int("axis", -2);
  if (axis < 0) axis += *rank;
  if (axis < 1 || axis >= *rank) return base::InvalidArgument("its axis is out of range");
  const std::string mode = body.String("mode", "linear");
  if (mode != "linear" && mode != "circular") return body.Refuse("mode '" + mode + "'");
  const std::string shape = body.Make("Shape", {body.In(1)});
  const std::string length =
      body.Make("Squeeze", {body.Dimension(body.In(1), axis), body.IntList({0})});
  std::string at = body.Make("Range", {body.IntScalar(0), length, body.IntScalar(1)});
  std::vector<int64_t> along(static_cast<size_t>(*rank), 1);
  along[static_cast<size_t>(axis)] = -1;
  at = body.Make("Reshape", {at, body.IntList(along)});
  if (body.has(2)) {
    std::vector<int64_t> rows(static_cast<size_t>(*rank), 1);
    rows[0] = -1;
    at = body.Make("Add", {at, body.Make("Reshape", {body.In(2), body.IntList(rows)})});
  }
  if (mode == "circular") at = body.Make("Mod", {at, body.Dimension(body.In(0), axis)});
  at = body.Make("Expand", {at, shape});
  body.Output(0, body.Make("ScatterElements", {body.In(0), at, body.In(1)}, {{"axis", axis}}));
  return Ok();
}

// The middle of each axis, cut or padded with zeros to the shape of input 1.
Status ExpandCenterCropPad(ContribBody& body) {
  const std::optional<int> rank = body.Rank(0);
  if (!rank.has_value()) return body.Refuse("the rank of its input must be known");
  std::vector<int64_t> axes = body.Ints("axes");
  if (axes.empty()) {
    for (int i = 0; i < *rank; ++i) axes.push_back(i);
  }
  for (int64_t& axis : axes) {
    if (axis < 0) axis += *rank;
    if (axis < 0 || axis >= *rank) return base::InvalidArgument("an axis is out of range");
  }
  const std::string list = body.IntList(axes);
  const std::string zero = body.IntList({0}), two = body.IntList({2});
  const std::string wanted = body.CastTo(body.In(1), DType::kI64);
  const auto half = [&](const std::string& a, const std::string& b) {
    const std::string room = body.Make("Max", {body.Make("Sub", {a, b}), zero});
    return body.Make("Div", {room, two});
  };
  const std::string extents = body.Make("Gather", {body.Make("Shape", {body.In(0)}), list});
  const std::string begin = half(extents, wanted);
  const std::string kept = body.Make("Min", {extents, wanted});
  const std::string cut =
      body.Make("Slice", {body.In(0), begin, body.Make("Add", {begin, kept}), list});
  const std::string before = half(wanted, kept);
  const std::string after = body.Make("Sub", {body.Make("Sub", {wanted, kept}), before});
  body.Output(0, body.Make("Pad", {cut, Axis0(body, {before, after}), "", list}));
  return Ok();
}

// Maxima back to where MaxPool found them: positions count in the shape that the pool had, which an
// output_shape pads.
Status ExpandMaxUnpool(ContribBody& body) {
  const std::vector<int64_t> kernel = body.Ints("kernel_shape");
  const size_t spatial = kernel.size();
  std::vector<int64_t> strides = body.Ints("strides");
  std::vector<int64_t> pads = body.Ints("pads");
  if (strides.empty()) strides.assign(spatial, 1);
  if (pads.empty()) pads.assign(2 * spatial, 0);
  if (body.Rank(0) != static_cast<int>(spatial) + 2 || strides.size() != spatial ||
      pads.size() != 2 * spatial) {
    return base::InvalidArgument("kernel_shape, strides or pads do not fit its input");
  }
  std::vector<int64_t> rest;
  for (size_t i = 0; i < spatial; ++i) {
    constexpr int64_t kMax = int64_t{1} << 30;
    for (const int64_t value : {kernel[i], strides[i], pads[i], pads[spatial + i]}) {
      if (value < 0 || value > kMax) return base::InvalidArgument("a window is out of range");
    }
    rest.push_back(kernel[i] - strides[i] - pads[i] - pads[spatial + i]);
  }
  const std::string shape = body.Make("Shape", {body.In(0)});
  const std::string places = body.Make("Shape", {body.In(0)}, {{"start", int64_t{2}}});
  const std::string grown =
      body.Make("Add", {body.Make("Mul", {places, body.IntList(strides)}), body.IntList(rest)});
  const std::string pooled =
      Axis0(body, {body.Make("Slice", {shape, body.IntList({0}), body.IntList({2})}), grown});
  const std::string count = body.Make("ReduceProd", {pooled}, {{"keepdims", int64_t{1}}});
  const std::string empty = body.Make("Expand", {body.Number(0, 0), count});
  const std::string flat = body.IntList({-1});
  const std::string filled = body.Make(
      "ScatterElements",
      {empty, body.Make("Reshape", {body.In(1), flat}), body.Make("Reshape", {body.In(0), flat})});
  std::string y = body.Make("Reshape", {filled, pooled});
  if (body.has(2)) {
    const std::string more = body.Make("Sub", {body.In(2), pooled});
    const std::string none = body.Make("Sub", {pooled, pooled});
    y = body.Make("Pad", {y, Axis0(body, {none, more})});
  }
  body.Output(0, y);
  return Ok();
}

// Before opset 9 the scales were an attribute.
Status ExpandOldUpsample(ContribBody& body) {
  const std::string scales = body.FloatList(body.Floats("scales"));
  const std::string y = body.Make("Upsample", {body.In(0), scales});
  body.PassOn({"mode"});
  body.Output(0, y);
  return Ok();
}

// ---- Windows of signals ----

// a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N).
Status ExpandWindow(ContribBody& body, float a0, float a1, float a2) {
  const int64_t type = body.Int("output_datatype", 1);
  const std::string size = body.CastTo(body.In(0), DType::kF32);
  std::string period = size;
  if (body.Int("periodic", 1) == 0) period = body.Make("Sub", {size, body.Number32(1)});
  const std::string n = body.Make("Range", {body.Number32(0), size, body.Number32(1)});
  const std::string turn =
      body.Make("Div", {body.Make("Mul", {n, body.Number32(6.283185307179586F)}), period});
  std::string y = body.Make(
      "Sub", {body.Number32(a0), body.Make("Mul", {body.Number32(a1), body.Make("Cos", {turn})})});
  if (a2 != 0) {
    const std::string twice = body.Make("Cos", {body.Make("Mul", {turn, body.Number32(2)})});
    y = body.Make("Add", {y, body.Make("Mul", {body.Number32(a2), twice})});
  }
  body.Output(0, body.Make("Cast", {y}, {{"to", type}}));
  return Ok();
}
Status ExpandHann(ContribBody& body) {
  return ExpandWindow(body, 0.5F, 0.5F, 0);
}
Status ExpandHamming(ContribBody& body) {
  return ExpandWindow(body, 25.0F / 46.0F, 21.0F / 46.0F, 0);
}
Status ExpandBlackman(ContribBody& body) {
  return ExpandWindow(body, 0.42F, 0.5F, 0.08F);
}

// ---- AffineGrid ----

// Positions of `count` ([1], i64) cells between -1 and 1.
std::string Positions(ContribBody& body, const std::string& count, bool corners) {
  const std::string limit = body.Make("Squeeze", {count, body.IntList({0})});
  const std::string cells =
      body.CastTo(body.Make("Range", {body.IntScalar(0), limit, body.IntScalar(1)}), DType::kF32);
  const std::string size = body.CastTo(count, DType::kF32);
  const std::string doubled = body.Make("Mul", {cells, body.Number32(2)});
  std::string at;
  if (corners) {
    // A single cell lies at -1.
    const std::string steps =
        body.Make("Max", {body.Make("Sub", {size, body.Number32(1)}), body.Number32(1)});
    at = body.Make("Div", {doubled, steps});
  } else {
    at = body.Make("Div", {body.Make("Add", {doubled, body.Number32(1)}), size});
  }
  return body.Make("Sub", {at, body.Number32(1)});
}

// theta [N, d, d + 1] at the cells of an image of `size` [N, C, spatial…] -> [N, spatial…, d].
Status ExpandAffineGrid(ContribBody& body) {
  const std::optional<int64_t> extents = body.Extent(1, 0);
  if (extents != 4 && extents != 5) return body.Refuse("size must list 4 or 5 extents");
  const auto spatial = static_cast<int>(*extents - 2);
  const bool corners = body.Int("align_corners", 0) != 0;
  const auto extent = [&](int64_t i) {
    return body.Make("Slice", {body.In(1), body.IntList({i}), body.IntList({i + 1})});
  };
  const std::string shape =
      body.Make("Slice", {body.In(1), body.IntList({2}), body.IntList({*extents})});
  // x, y, z: the last axis first; and 1.
  std::vector<std::string> columns;
  for (int i = spatial - 1; i >= 0; --i) {
    std::vector<int64_t> along(static_cast<size_t>(spatial), 1);
    along[static_cast<size_t>(i)] = -1;
    const std::string line =
        body.Make("Reshape", {Positions(body, extent(2 + i), corners), body.IntList(along)});
    columns.push_back(
        body.Make("Reshape", {body.Make("Expand", {line, shape}), body.IntList({-1, 1})}));
  }
  const std::string first = columns[0];
  columns.push_back(body.Make("Expand", {body.Number32(1), body.Make("Shape", {first})}));
  std::string cells = body.MakeFrom("Concat", columns, {{"axis", int64_t{1}}});
  if (body.Type(0) != DType::kF32) cells = body.CastTo(cells, body.Type(0));
  const std::string turned =
      body.Make("Transpose", {body.In(0)}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  const std::string grid = body.Make("MatMul", {cells, turned});
  body.Output(
      0, body.Make("Reshape", {grid, Axis0(body, {extent(0), shape, body.IntList({spatial})})}));
  return Ok();
}

constexpr auto kOps = std::to_array<ContribOp>({
    {"AffineGrid", ExpandAffineGrid},
    {"BlackmanWindow", ExpandBlackman},
    {"CenterCropPad", ExpandCenterCropPad},
    {"HammingWindow", ExpandHamming},
    {"HannWindow", ExpandHann},
    {"MaxUnpool", ExpandMaxUnpool},
    {"NegativeLogLikelihoodLoss", ExpandNegativeLogLikelihood},
    {"QLinearConv", ExpandQLinearConv},
    {"SoftmaxCrossEntropyLoss", ExpandCrossEntropy},
    {"TensorScatter", ExpandTensorScatter},
    {"Upsample", ExpandOldUpsample, 8},
});

}  // namespace

std::span<const ContribOp> FunctionOps() {
  return kOps;
}

}  // namespace sluice::graph
