// Where, Clip and the conversions between types; Dropout as inference sees it.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/elementwise.h"
#include "kernels/ref/movement.h"
#include "tensor/float16.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;

// ---- Where ----

Status InferWhere(InferContext& context) {
  TRY(ExpectType(context, 0, kBoolType));
  TRY(ExpectSameType(context, 1, 2));
  context.SetOutput(0, context.dtype(1), TRY(BroadcastInputs(context, 0, 3)));
  // Exporters write Where(shape == -1, 1, shape) into the target of an Expand.
  const std::optional<std::vector<int64_t>> condition = context.ints(0);
  const std::optional<std::vector<Dim>> a = context.elements(1);
  const std::optional<std::vector<Dim>> b = context.elements(2);
  if (context.dtype(1) != DType::kI64 || !condition.has_value() || !a.has_value() || !b.has_value())
    return Ok();
  const size_t count = std::max({condition->size(), a->size(), b->size()});
  const auto fits = [count](size_t size) { return size == count || size == 1; };
  if (!fits(condition->size()) || !fits(a->size()) || !fits(b->size())) return Ok();
  std::vector<Dim> elements;
  for (size_t i = 0; i < count; ++i) {
    const bool first = (*condition)[condition->size() == 1 ? 0 : i] != 0;
    elements.push_back(first ? (*a)[a->size() == 1 ? 0 : i] : (*b)[b->size() == 1 ? 0 : i]);
  }
  context.SetElements(0, std::move(elements));
  return Ok();
}

Status RunWhere(RunContext& context) {
  const tensor::ConstView& condition = context.input(0);
  const tensor::ConstView& a = context.input(1);
  const tensor::ConstView& b = context.input(2);
  const Shape branches = TRY(Broadcast(context, a.shape, b.shape));
  const Shape shape = TRY(Broadcast(context, condition.shape, branches));
  const tensor::View y = TRY(context.Output(0, a.dtype, shape));
  kernels::ref::Where({condition, a, b, y});
  return Ok();
}

// ---- Clip ----

Status InferClip(InferContext& context) {
  TRY(ExpectType(context, 0, kNumericTypes));
  TRY(ExpectSameType(context, 0, 1));
  TRY(ExpectSameType(context, 0, 2));
  return InferSame(context);
}

Status RunClip(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  for (size_t i = 1; i < 3; ++i) {
    if (context.has_input(i) && context.input(i).shape.elements() != 1) {
      return context.Fail("min and max must be one element each");
    }
  }
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::Clip({x, context.input(1), context.input(2), y});
  return Ok();
}

// Before opset 11 the bounds are attributes.
Status InferOldClip(InferContext& context) {
  TRY(ExpectType(context, 0, Types({DType::kF32})));
  return InferSame(context);
}

Status RunOldClip(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const float low = context.node().Float("min", -INFINITY);
  const float high = context.node().Float("max", INFINITY);
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::Clip({x, {DType::kF32, Shape(), &low}, {DType::kF32, Shape(), &high}, y});
  return Ok();
}

// ---- Cast ----

Result<tensor::NarrowOptions> NarrowOptionsOf(const Node& node) {
  tensor::NarrowOptions options;
  options.saturate = node.Int("saturate", 1) != 0;
  const std::string_view mode = node.String("round_mode", "up");
  if (mode == "up") {
    options.e8m0 = tensor::NarrowRounding::kUp;
  } else if (mode == "down") {
    options.e8m0 = tensor::NarrowRounding::kDown;
  } else if (mode == "nearest") {
    options.e8m0 = tensor::NarrowRounding::kNearest;
  } else {
    return base::InvalidArgument("round_mode '" + std::string(mode) + "' is not known");
  }
  return options;
}

Status InferCastTo(InferContext& context, DType to) {
  if (Result<tensor::NarrowOptions> options = NarrowOptionsOf(context.node()); !options.ok())
    return context.Fail(options.error().message);
  context.SetOutput(0, to, ShapeOf(context, 0));
  const DType from = context.dtype(0);
  const bool exact = (from == DType::kI64 || from == DType::kI32 || from == DType::kBool) &&
                     (to == DType::kI64 || to == from);
  // A narrower type may wrap, but an extent that does not fit 31 bits fails elsewhere long before.
  const bool narrowed = from == DType::kI64 && to == DType::kI32;
  if (std::optional<std::vector<Dim>> elements = context.elements(0)) {
    if (exact) context.SetElements(0, *std::move(elements));
    if (narrowed) {
      for (const Dim& element : *elements) {
        if (!element.is_constant() || element.constant() < INT32_MIN ||
            element.constant() > INT32_MAX)
          return Ok();
      }
      context.SetElements(0, *std::move(elements));
    }
  }
  return Ok();
}

Status InferCast(InferContext& context) {
  const int64_t code = context.node().Int("to", 0);
  const std::optional<DType> to = DTypeFromOnnx(code);
  if (!to.has_value())
    return context.Fail("the type " + std::to_string(code) + " is not supported");
  return InferCastTo(context, *to);
}

Status InferCastLike(InferContext& context) {
  return InferCastTo(context, context.dtype(1));
}

template <class T>
Result<T> ParseNumber(const RunContext& context, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return context.Fail("a string is not a number of the wanted type");
  }
  return value;
}

// "NaN" and "INF" in any case, with a sign, besides what from_chars takes.
Result<double> ParseFloat(const RunContext& context, std::string_view text) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  return ParseNumber<double>(context, text);
}

Status CastFromStrings(RunContext& context, const tensor::ConstView& x, const tensor::View& y) {
  const std::span<const std::string_view> strings = x.span<std::string_view>();
  for (size_t i = 0; i < strings.size(); ++i) {
    switch (y.dtype) {
      case DType::kF32:
        y.as<float>()[i] = static_cast<float>(TRY(ParseFloat(context, strings[i])));
        break;
      case DType::kF64:
        y.as<double>()[i] = TRY(ParseFloat(context, strings[i]));
        break;
      case DType::kF16:
        y.as<tensor::F16>()[i] =
            tensor::ToF16(static_cast<float>(TRY(ParseFloat(context, strings[i]))));
        break;
      case DType::kBF16:
        y.as<tensor::BF16>()[i] =
            tensor::ToBF16(static_cast<float>(TRY(ParseFloat(context, strings[i]))));
        break;
      case DType::kI32:
        y.as<int32_t>()[i] = TRY(ParseNumber<int32_t>(context, strings[i]));
        break;
      case DType::kI64:
        y.as<int64_t>()[i] = TRY(ParseNumber<int64_t>(context, strings[i]));
        break;
      default:
        return context.Fail("strings are not cast to this type");
    }
  }
  return Ok();
}

// The shortest text that reads back as the same number, as numpy prints it.
size_t FormatNumber(const tensor::ConstView& x, int64_t i, char* to, size_t size) {
  std::to_chars_result end{};
  switch (x.dtype) {
    case DType::kF32:
      end = std::to_chars(to, to + size, x.as<float>()[i]);
      break;
    case DType::kF64:
      end = std::to_chars(to, to + size, x.as<double>()[i]);
      break;
    case DType::kF16:
      end = std::to_chars(to, to + size, tensor::ToFloat(x.as<tensor::F16>()[i]));
      break;
    case DType::kBF16:
      end = std::to_chars(to, to + size, tensor::ToFloat(x.as<tensor::BF16>()[i]));
      break;
    case DType::kI32:
      end = std::to_chars(to, to + size, x.as<int32_t>()[i]);
      break;
    case DType::kI64:
      end = std::to_chars(to, to + size, x.as<int64_t>()[i]);
      break;
    default:
      return 0;
  }
  auto length = static_cast<size_t>(end.ptr - to);
  std::string_view text(to, length);
  if (tensor::IsFloat(x.dtype)) {
    if (text == "nan" || text == "-nan") return static_cast<size_t>(std::snprintf(to, size, "NaN"));
    if (text == "inf") return static_cast<size_t>(std::snprintf(to, size, "INF"));
    if (text == "-inf") return static_cast<size_t>(std::snprintf(to, size, "-INF"));
  }
  return length;
}

Status CastToStrings(RunContext& context, const tensor::ConstView& x, const tensor::View& y) {
  constexpr size_t kLength = 32;
  const auto count = static_cast<size_t>(x.shape.elements());
  auto* text = reinterpret_cast<char*>(TRY(context.Scratch(static_cast<int64_t>(count * kLength))));
  for (size_t i = 0; i < count; ++i, text += kLength) {
    const size_t length = FormatNumber(x, static_cast<int64_t>(i), text, kLength);
    if (length == 0) return context.Fail("this type is not cast to strings");
    y.as<std::string_view>()[i] = std::string_view(text, length);
  }
  return Ok();
}

Status RunCast(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const DType to = context.node().outputs[0]->dtype;
  if (to == x.dtype) return context.Forward(0, 0, x.shape);
  const tensor::View y = TRY(context.Output(0, to, x.shape));
  if (x.dtype == DType::kBytes) return CastFromStrings(context, x, y);
  if (to == DType::kBytes) return CastToStrings(context, x, y);
  kernels::ref::Cast({x, y, TRY(NarrowOptionsOf(context.node()))});
  return Ok();
}

// ---- Dropout: the identity, and a mask of ones ----

Status InferDropout(InferContext& context) {
  TRY(ExpectType(context, 1, kFloatTypes));
  TRY(ExpectType(context, 2, kBoolType));
  const tensor::Tensor* training = context.constant(2);
  const bool trains = training != nullptr
                          ? training->shape.elements() != 1 || training->view().as<bool>()[0]
                          : context.has_input(2);
  if (trains) return context.Fail("training is not supported");
  context.SetOutput(1, DType::kBool, ShapeOf(context, 0));
  return InferSame(context);
}

Status RunDropout(RunContext& context) {
  if (context.has_output(0)) TRY(context.Forward(0, 0, context.input(0).shape));
  if (!context.has_output(1)) return Ok();
  const tensor::View mask = TRY(context.Output(1, DType::kBool, context.input(0).shape));
  const bool kept = true;
  kernels::ref::Fill({mask, &kept});
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"Where", 9, 3, 3, 1, 1, kElementwise, InferWhere, RunWhere},
    {"Clip", 6, 1, 1, 1, 1, kElementwise, InferOldClip, RunOldClip},
    {"Clip", 11, 1, 3, 1, 1, kElementwise, InferClip, RunClip},
    {"Cast", 6, 1, 1, 1, 1, kElementwise | kTakesStorage, InferCast, RunCast},
    {"CastLike", 15, 2, 2, 1, 1, kElementwise | kTakesStorage, InferCastLike, RunCast},
    {"Dropout", 7, 1, 3, 1, 2, kNoTraits, InferDropout, RunDropout},
});

}  // namespace

std::span<const OpDef> SelectionOps() {
  return kOps;
}

}  // namespace sluice::graph
