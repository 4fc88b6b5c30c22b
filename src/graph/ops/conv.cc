// Windows over space: convolutions and pools.
#include <algorithm>
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "graph/ops/windows.h"
#include "kernels/ref/reduce.h"
#include "kernels/ref/window.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using kernels::ref::kMaxSpatial;
using kernels::ref::PoolOp;
using kernels::ref::Window;

// Extents, strides and pads beyond this are refused, so that no position overflows.
constexpr int64_t kWindowMax = int64_t{1} << 30;

enum class AutoPad { kNotSet, kValid, kSameUpper, kSameLower };

std::optional<AutoPad> AutoPadOf(const Node& node) {
  const std::string_view name = node.String("auto_pad", "NOTSET");
  if (name == "NOTSET" || name.empty()) return AutoPad::kNotSet;
  if (name == "VALID") return AutoPad::kValid;
  if (name == "SAME_UPPER") return AutoPad::kSameUpper;
  if (name == "SAME_LOWER") return AutoPad::kSameLower;
  return std::nullopt;
}

// The attributes of a window over `spatial` axes; pads are those of the attribute, before auto_pad.
struct WindowAttributes {
  int spatial = 0;
  Window window;
  int64_t pad_end[kMaxSpatial] = {};
  AutoPad auto_pad = AutoPad::kNotSet;
  bool ceil = false;
};

bool ReadList(std::span<const int64_t> list, int count, int64_t low, int64_t* to) {
  if (list.empty()) return true;
  if (list.size() != static_cast<size_t>(count)) return false;
  for (int i = 0; i < count; ++i) {
    const int64_t value = list[static_cast<size_t>(i)];
    if (value < low || value > kWindowMax) return false;
    to[i] = value;
  }
  return true;
}

template <class Context>
Result<WindowAttributes> ReadWindow(const Context& context, int spatial) {
  const Node& node = context.node();
  WindowAttributes attributes;
  attributes.spatial = spatial;
  if (spatial < 1 || spatial > kMaxSpatial) return context.Fail("needs one to six spatial axes");
  const std::optional<AutoPad> auto_pad = AutoPadOf(node);
  if (!auto_pad.has_value()) return context.Fail("auto_pad is not known");
  attributes.auto_pad = *auto_pad;
  attributes.ceil = node.Int("ceil_mode", 0) != 0;
  const std::span<const int64_t> pads = node.Ints("pads");
  const auto count = static_cast<size_t>(spatial);
  if (!pads.empty() && pads.size() != 2 * count)
    return context.Fail("pads must list a beginning and an end per axis");
  if (!ReadList(node.Ints("kernel_shape"), spatial, 1, attributes.window.kernel) ||
      !ReadList(node.Ints("strides"), spatial, 1, attributes.window.stride) ||
      !ReadList(node.Ints("dilations"), spatial, 1, attributes.window.dilation) ||
      (!pads.empty() && (!ReadList(pads.first(count), spatial, 0, attributes.window.pad) ||
                         !ReadList(pads.subspan(count), spatial, 0, attributes.pad_end)))) {
    return context.Fail(
        "kernel_shape, strides, dilations or pads have a wrong length or are out of range");
  }
  return attributes;
}

// The extent of axis i for an input of extent `x`; fills in the pads of SAME. -1 when the window
// does not fit.
int64_t WindowedExtent(WindowAttributes& attributes, int i, int64_t x) {
  Window& window = attributes.window;
  const int64_t stride = window.stride[i];
  if (x > kWindowMax || window.kernel[i] > kWindowMax / window.dilation[i]) return -1;
  const int64_t reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
  if (attributes.auto_pad == AutoPad::kSameUpper || attributes.auto_pad == AutoPad::kSameLower) {
    const int64_t extent = (x + stride - 1) / stride;
    const int64_t total = std::max<int64_t>(0, (extent - 1) * stride + reach - x);
    const int64_t small = total / 2;
    window.pad[i] = attributes.auto_pad == AutoPad::kSameUpper ? small : total - small;
    attributes.pad_end[i] = total - window.pad[i];
    return extent;
  }
  if (attributes.auto_pad == AutoPad::kValid) window.pad[i] = attributes.pad_end[i] = 0;
  const int64_t room = x + window.pad[i] + attributes.pad_end[i] - reach;
  if (room < 0) return -1;
  if (!attributes.ceil) return room / stride + 1;
  int64_t extent = (room + stride - 1) / stride + 1;
  // A window that would begin in the end pad is left out.
  if ((extent - 1) * stride >= x + window.pad[i]) --extent;
  return extent;
}

// The same with symbols.
Result<Dim> SymbolicExtent(InferContext& context, WindowAttributes& attributes, int i, Dim x) {
  if (x.is_constant()) {
    const int64_t extent = WindowedExtent(attributes, i, x.constant());
    if (extent < 0) return context.Fail("the window does not fit the input");
    return Dim(extent);
  }
  SymbolTable& symbols = context.symbols();
  const Dim stride(attributes.window.stride[i]);
  if (attributes.auto_pad == AutoPad::kSameUpper || attributes.auto_pad == AutoPad::kSameLower) {
    return symbols.CeilDiv(x, stride);
  }
  if (attributes.ceil) return context.Fresh("windows");
  const bool padded = attributes.auto_pad == AutoPad::kNotSet;
  const int64_t pads = padded ? attributes.window.pad[i] + attributes.pad_end[i] : 0;
  if (attributes.window.kernel[i] > kWindowMax / attributes.window.dilation[i]) {
    return context.Fail("the window is too large");
  }
  const int64_t reach = (attributes.window.kernel[i] - 1) * attributes.window.dilation[i] + 1;
  return symbols.Add(symbols.FloorDiv(symbols.Add(x, Dim(pads - reach)), stride), Dim(1));
}

// Output extents behind batch and channels for x; false through Fail.
Status SetWindowedShape(RunContext& context, WindowAttributes& attributes, const Shape& x,
                        Shape& y) {
  for (int i = 0; i < attributes.spatial; ++i) {
    const int64_t extent = WindowedExtent(attributes, i, x[2 + i]);
    if (extent < 0) return context.Fail("the window does not fit the input " + x.ToString());
    y.Append(extent);
  }
  y = TRY(Shape::FromDims(y.dims()));
  return Ok();
}

// ---- FusedConv ----

// FusedConv(x [N, C, spatial…], bias [M]?, residual as the output?, weights…) -> [N, M, spatial…]:
// activation(conv + bias + residual). `group` weights of [taps * C / group, M / group], taps
// outermost; with `depthwise` one of [taps, C].
Status InferFusedConv(InferContext& context) {
  const SymShape* x = context.shape(0);
  if (x == nullptr || x->size() < 3) return context.Fail("needs a known rank");
  WindowAttributes attributes = TRY(ReadWindow(context, static_cast<int>(x->size()) - 2));
  SymShape result = {(*x)[0], Dim(context.node().Int("outputs", 0))};
  for (int i = 0; i < attributes.spatial; ++i) {
    result.push_back(TRY(SymbolicExtent(context, attributes, i, (*x)[static_cast<size_t>(2 + i)])));
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

// ---- Conv, ConvInteger ----

Status InferConvWith(InferContext& context, DType dtype) {
  const SymShape* x = context.shape(0);
  const SymShape* weight = context.shape(1);
  if (x == nullptr || weight == nullptr) {
    context.SetOutput(0, dtype, std::nullopt);
    return Ok();
  }
  if (x->size() != weight->size()) return context.Fail("input and weight must have one rank");
  WindowAttributes attributes = TRY(ReadWindow(context, static_cast<int>(x->size()) - 2));
  SymShape result = {(*x)[0], (*weight)[0]};
  for (int i = 0; i < attributes.spatial; ++i) {
    const auto axis = static_cast<size_t>(2 + i);
    const Dim kernel = (*weight)[axis];
    if (!kernel.is_constant()) {
      result.push_back(context.Fresh("windows"));
      continue;
    }
    if (kernel.constant() < 1 || kernel.constant() > kWindowMax)
      return context.Fail("the kernel is out of range");
    attributes.window.kernel[i] = kernel.constant();
    result.push_back(TRY(SymbolicExtent(context, attributes, i, (*x)[axis])));
  }
  context.SetOutput(0, dtype, std::move(result));
  return Ok();
}

Status InferConv(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  TRY(ExpectSameType(context, 0, 1));
  TRY(ExpectSameType(context, 0, 2));
  return InferConvWith(context, context.dtype(0));
}

Status InferConvInteger(InferContext& context) {
  for (size_t i = 0; i < 4; ++i) TRY(ExpectType(context, i, Types({DType::kI8, DType::kU8})));
  TRY(ExpectSameType(context, 0, 2));
  TRY(ExpectSameType(context, 1, 3));
  return InferConvWith(context, DType::kI32);
}

template <bool integer>
Status RunConv(RunContext& context) {
  kernels::ref::ConvArgs args;
  args.x = context.input(0);
  args.weight = context.input(1);
  const Shape& x = args.x.shape;
  const Shape& weight = args.weight.shape;
  args.groups = context.node().Int("group", 1);
  if (x.rank() != weight.rank() || x.rank() < 3 || args.groups < 1 ||
      weight[0] % args.groups != 0 || x[1] % args.groups != 0 || x[1] / args.groups != weight[1]) {
    return context.Fail("weight " + weight.ToString() + " does not fit input " + x.ToString() +
                        " in " + std::to_string(args.groups) + " groups");
  }
  WindowAttributes attributes = TRY(ReadWindow(context, x.rank() - 2));
  for (int i = 0; i < attributes.spatial; ++i) {
    const bool agrees =
        !context.node().Has("kernel_shape") || attributes.window.kernel[i] == weight[2 + i];
    if (!agrees || weight[2 + i] < 1)
      return context.Fail("kernel_shape disagrees with weight " + weight.ToString());
    attributes.window.kernel[i] = weight[2 + i];
  }
  Shape shape({x[0], weight[0]});
  TRY(SetWindowedShape(context, attributes, x, shape));
  args.window = attributes.window;
  if (integer) {
    args.x_zero = context.input(2);
    args.weight_zero = context.input(3);
    if ((context.has_input(2) && args.x_zero.shape.elements() != 1) ||
        (context.has_input(3) && args.weight_zero.shape.elements() != 1 &&
         args.weight_zero.shape != Shape({weight[0]}))) {
      return context.Fail("a zero point has a wrong shape");
    }
  } else {
    args.bias = context.input(2);
    if (context.has_input(2) && args.bias.shape != Shape({weight[0]}))
      return context.Fail("the bias has a wrong shape");
  }
  TRY(context.TakeWork(Operations({shape.elements(), weight.elements(1, weight.rank())})));
  args.y = TRY(context.Output(0, integer ? DType::kI32 : args.x.dtype, shape));
  kernels::ref::Conv(args);
  return Ok();
}

// ---- ConvTranspose ----

// Extent i of the output; fills in the pads that auto_pad or output_shape ask for. -1 when it does
// not fit.
int64_t TransposedExtent(const Node& node, WindowAttributes& attributes, int i, int64_t x) {
  Window& window = attributes.window;
  const std::span<const int64_t> wanted = node.Ints("output_shape");
  const std::span<const int64_t> extra = node.Ints("output_padding");
  const auto axis = static_cast<size_t>(i);
  const int64_t padding = axis < extra.size() ? extra[axis] : 0;
  if (padding < 0 || padding > kWindowMax || x < 1 || x > kWindowMax ||
      window.stride[i] > kWindowMax / x || window.kernel[i] > kWindowMax / window.dilation[i]) {
    return -1;
  }
  const int64_t full =
      window.stride[i] * (x - 1) + padding + (window.kernel[i] - 1) * window.dilation[i] + 1;
  int64_t extent = full - window.pad[i] - attributes.pad_end[i];
  const bool same =
      attributes.auto_pad == AutoPad::kSameUpper || attributes.auto_pad == AutoPad::kSameLower;
  if (!wanted.empty()) {
    if (axis >= wanted.size()) return -1;
    extent = wanted[axis];
  } else if (same) {
    extent = x * window.stride[i];
  } else if (attributes.auto_pad == AutoPad::kValid) {
    window.pad[i] = attributes.pad_end[i] = 0;
    extent = full;
  }
  if (!wanted.empty() || same) {
    if (extent < 0 || extent > kWindowMax) return -1;
    // What lies beyond the full extent is reached by no window and holds the bias alone.
    const int64_t total = std::max<int64_t>(0, full - extent);
    window.pad[i] = attributes.auto_pad == AutoPad::kSameUpper ? total / 2 : total - total / 2;
    attributes.pad_end[i] = total - window.pad[i];
  }
  return extent;
}

Status InferConvTranspose(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  TRY(ExpectSameType(context, 0, 1));
  TRY(ExpectSameType(context, 0, 2));
  const SymShape* x = context.shape(0);
  const SymShape* weight = context.shape(1);
  if (x == nullptr || weight == nullptr) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    return Ok();
  }
  if (x->size() != weight->size() || x->size() < 3)
    return context.Fail("input and weight must have one rank");
  WindowAttributes attributes = TRY(ReadWindow(context, static_cast<int>(x->size()) - 2));
  SymShape result = {(*x)[0],
                     context.symbols().Mul((*weight)[1], Dim(context.node().Int("group", 1)))};
  for (int i = 0; i < attributes.spatial; ++i) {
    const Dim extent = (*x)[static_cast<size_t>(2 + i)];
    const Dim kernel = (*weight)[static_cast<size_t>(2 + i)];
    if (!extent.is_constant() || !kernel.is_constant() || kernel.constant() < 1 ||
        kernel.constant() > kWindowMax) {
      result.push_back(context.Fresh("windows"));
      continue;
    }
    attributes.window.kernel[i] = kernel.constant();
    const int64_t made = TransposedExtent(context.node(), attributes, i, extent.constant());
    if (made < 0) return context.Fail("the output extent is negative or out of range");
    result.emplace_back(made);
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunConvTranspose(RunContext& context) {
  kernels::ref::ConvTransposeArgs args;
  args.x = context.input(0);
  args.weight = context.input(1);
  args.bias = context.input(2);
  args.groups = context.node().Int("group", 1);
  const Shape& x = args.x.shape;
  const Shape& weight = args.weight.shape;
  int64_t channels = 0;
  if (x.rank() != weight.rank() || x.rank() < 3 || args.groups < 1 || x[1] != weight[0] ||
      x[1] % args.groups != 0 || __builtin_mul_overflow(weight[1], args.groups, &channels)) {
    return context.Fail("weight " + weight.ToString() + " does not fit input " + x.ToString());
  }
  WindowAttributes attributes = TRY(ReadWindow(context, x.rank() - 2));
  Shape shape({x[0], channels});
  for (int i = 0; i < attributes.spatial; ++i) {
    const bool agrees =
        !context.node().Has("kernel_shape") || attributes.window.kernel[i] == weight[2 + i];
    if (!agrees || weight[2 + i] < 1 || weight[2 + i] > kWindowMax) {
      return context.Fail("kernel_shape disagrees with weight " + weight.ToString());
    }
    attributes.window.kernel[i] = weight[2 + i];
    const int64_t extent = TransposedExtent(context.node(), attributes, i, x[2 + i]);
    if (extent < 0) return context.Fail("the output extent is negative or out of range");
    shape.Append(extent);
  }
  shape = TRY(Shape::FromDims(shape.dims()));
  if (context.has_input(2) && args.bias.shape != Shape({channels}))
    return context.Fail("the bias has a wrong shape");
  args.window = attributes.window;
  TRY(context.TakeWork(Operations({x.elements(), weight.elements(1, weight.rank())})));
  args.y = TRY(context.Output(0, args.x.dtype, shape));
  kernels::ref::ConvTranspose(args);
  return Ok();
}

// ---- Pools ----

Status InferPool(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes | Types({DType::kI8, DType::kU8})));
  const SymShape* x = context.shape(0);
  if (!context.node().Has("kernel_shape")) return context.Fail("lacks kernel_shape");
  if (x == nullptr) {
    context.SetOutput(0, context.dtype(0), std::nullopt);
    context.SetOutput(1, DType::kI64, std::nullopt);
    return Ok();
  }
  WindowAttributes attributes = TRY(ReadWindow(context, static_cast<int>(x->size()) - 2));
  SymShape result = {(*x)[0], (*x)[1]};
  for (int i = 0; i < attributes.spatial; ++i) {
    result.push_back(TRY(SymbolicExtent(context, attributes, i, (*x)[static_cast<size_t>(2 + i)])));
  }
  context.SetOutput(0, context.dtype(0), result);
  context.SetOutput(1, DType::kI64, std::move(result));
  return Ok();
}

template <PoolOp op>
Status RunPool(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  WindowAttributes attributes = TRY(ReadWindow(context, x.shape.rank() - 2));
  Shape shape({x.shape[0], x.shape[1]});
  TRY(SetWindowedShape(context, attributes, x.shape, shape));
  kernels::ref::PoolArgs args;
  args.op = op;
  args.x = x;
  args.window = attributes.window;
  std::copy_n(attributes.pad_end, kMaxSpatial, args.pad_end);
  args.include_pad = context.node().Int("count_include_pad", 0) != 0;
  args.column_major = context.node().Int("storage_order", 0) != 0;
  args.p = context.node().Int("p", 2);
  if (args.p < 1) return context.Fail("p must be at least 1");
  int64_t work = shape.elements();
  for (const int64_t taps : args.window.kernel) work = Operations({work, taps});
  TRY(context.TakeWork(work));
  args.y = TRY(context.Output(0, x.dtype, shape));
  if (context.has_output(1)) args.indices = TRY(context.Output(1, DType::kI64, shape));
  kernels::ref::Pool(args);
  return Ok();
}

Status InferFloatPool(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  return InferPool(context);
}

Status InferGlobalPool(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes));
  std::optional<SymShape> shape = ShapeOf(context, 0);
  if (shape.has_value()) {
    if (shape->size() < 2) return context.Fail("needs batch and channels");
    for (size_t i = 2; i < shape->size(); ++i) (*shape)[i] = Dim(1);
  }
  context.SetOutput(0, context.dtype(0), std::move(shape));
  return Ok();
}

Result<tensor::View> GlobalOutput(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  if (x.shape.rank() < 2) return context.Fail("needs batch and channels");
  Shape shape = x.shape;
  for (int i = 2; i < shape.rank(); ++i) shape.set_dim(i, 1);
  return context.Output(0, x.dtype, shape);
}

template <kernels::ref::ReduceOp op>
Status RunGlobalPool(RunContext& context) {
  const tensor::View y = TRY(GlobalOutput(context));
  const uint32_t all = (1u << context.input(0).shape.rank()) - 1;
  kernels::ref::Reduce({op, context.input(0), y, all & ~3u});
  return Ok();
}

Status RunGlobalLpPool(RunContext& context) {
  kernels::ref::PoolArgs args;
  args.op = PoolOp::kLp;
  args.x = context.input(0);
  args.p = context.node().Int("p", 2);
  if (args.p < 1) return context.Fail("p must be at least 1");
  if (args.x.shape.rank() < 3) return context.Fail("needs spatial axes");
  for (int i = 2; i < args.x.shape.rank(); ++i) {
    if (args.x.shape[i] < 1) return context.Fail("a spatial axis is empty");
    args.window.kernel[i - 2] = args.x.shape[i];
  }
  args.y = TRY(GlobalOutput(context));
  kernels::ref::Pool(args);
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"Conv", 1, 2, 3, 1, 1, kNoTraits, InferConv, RunConv<false>},
    {"ConvInteger", 10, 2, 4, 1, 1, kNoTraits, InferConvInteger, RunConv<true>},
    {"ConvTranspose", 1, 2, 3, 1, 1, kNoTraits, InferConvTranspose, RunConvTranspose},
    {"MaxPool", 1, 1, 1, 1, 2, kNoTraits, InferPool, RunPool<PoolOp::kMax>},
    {"AveragePool", 7, 1, 1, 1, 1, kNoTraits, InferFloatPool, RunPool<PoolOp::kAverage>},
    {"LpPool", 2, 1, 1, 1, 1, kNoTraits, InferFloatPool, RunPool<PoolOp::kLp>},
    {"GlobalAveragePool", 1, 1, 1, 1, 1, kNoTraits, InferGlobalPool,
     RunGlobalPool<kernels::ref::ReduceOp::kMean>},
    {"GlobalMaxPool", 1, 1, 1, 1, 1, kNoTraits, InferGlobalPool,
     RunGlobalPool<kernels::ref::ReduceOp::kMax>},
    {"GlobalLpPool", 2, 1, 1, 1, 1, kNoTraits, InferGlobalPool, RunGlobalLpPool},
    {"FusedConv", 1, 1, -1, 1, 1, kNoTraits, InferFusedConv, nullptr, kOurDomain},
});

// What ReadWindow wants of a context.
class NodeAlone {
 public:
  explicit NodeAlone(const Node& node) : node_(node) {}
  const Node& node() const { return node_; }
  base::Error Fail(std::string_view text) const { return base::InvalidArgument(std::string(text)); }

 private:
  const Node& node_;
};

}  // namespace

std::optional<WindowAt> FindWindow(const Node& node, const Shape& x) {
  if (x.rank() < 3) return std::nullopt;
  Result<WindowAttributes> attributes = ReadWindow(NodeAlone(node), x.rank() - 2);
  if (!attributes.ok()) return std::nullopt;
  WindowAt at;
  at.spatial = attributes.value().spatial;
  for (int i = 0; i < at.spatial; ++i) {
    at.extent[i] = WindowedExtent(attributes.value(), i, x[2 + i]);
    if (at.extent[i] < 1) return std::nullopt;
  }
  at.window = attributes.value().window;
  std::copy_n(attributes.value().pad_end, kMaxSpatial, at.pad_end);
  return at;
}

std::span<const OpDef> ConvOps() {
  return kOps;
}

}  // namespace sluice::graph
