// Unary, binary and variadic elementwise ops.
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/elementwise.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Status;
using kernels::ref::BinaryOp;
using kernels::ref::UnaryOp;
using kernels::ref::VariadicOp;

// ---- Unary ----

template <TypeSet types>
Status InferUnary(InferContext& context) {
  TRY(ExpectType(context, 0, types));
  return InferSame(context);
}

template <TypeSet types>
Status InferTest(InferContext& context) {
  TRY(ExpectType(context, 0, types));
  context.SetOutput(0, DType::kBool, ShapeOf(context, 0));
  return Ok();
}

Status RunUnaryWith(RunContext& context, UnaryOp op, double alpha, double beta) {
  const tensor::ConstView& x = context.input(0);
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::Unary({op, x, y, alpha, beta});
  return Ok();
}

template <UnaryOp op>
Status RunUnary(RunContext& context) {
  return RunUnaryWith(context, op, 0, 0);
}

template <UnaryOp op>
Status RunTest(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  const tensor::View y = TRY(context.Output(0, DType::kBool, x.shape));
  double negative = 1;
  double positive = 1;
  if (op == UnaryOp::kIsInf) {
    negative = static_cast<double>(context.node().Int("detect_negative", 1));
    positive = static_cast<double>(context.node().Int("detect_positive", 1));
  }
  kernels::ref::Unary({op, x, y, negative, positive});
  return Ok();
}

// The attribute defaults of the ONNX specification, op by op.
Status RunLeakyRelu(RunContext& context) {
  return RunUnaryWith(context, UnaryOp::kLeakyRelu,
                      static_cast<double>(context.node().Float("alpha", 0.01F)), 0);
}
Status RunElu(RunContext& context) {
  return RunUnaryWith(context, UnaryOp::kElu, static_cast<double>(context.node().Float("alpha", 1)),
                      0);
}
Status RunCelu(RunContext& context) {
  return RunUnaryWith(context, UnaryOp::kCelu,
                      static_cast<double>(context.node().Float("alpha", 1)), 0);
}
Status RunThresholdedRelu(RunContext& context) {
  return RunUnaryWith(context, UnaryOp::kThresholdedRelu,
                      static_cast<double>(context.node().Float("alpha", 1)), 0);
}
Status RunSelu(RunContext& context) {
  return RunUnaryWith(
      context, UnaryOp::kSelu,
      static_cast<double>(context.node().Float("alpha", 1.67326319217681884765625F)),
      static_cast<double>(context.node().Float("gamma", 1.05070102214813232421875F)));
}
Status RunHardSigmoid(RunContext& context) {
  return RunUnaryWith(context, UnaryOp::kHardSigmoid,
                      static_cast<double>(context.node().Float("alpha", 0.2F)),
                      static_cast<double>(context.node().Float("beta", 0.5F)));
}
Status RunSwish(RunContext& context) {
  return RunUnaryWith(context, UnaryOp::kSwish,
                      static_cast<double>(context.node().Float("alpha", 1)), 0);
}
Status RunShrink(RunContext& context) {
  return RunUnaryWith(context, UnaryOp::kShrink,
                      static_cast<double>(context.node().Float("lambd", 0.5F)),
                      static_cast<double>(context.node().Float("bias", 0)));
}

Status InferGelu(InferContext& context) {
  const std::string_view form = context.node().String("approximate", "none");
  if (form != "none" && form != "tanh") return context.Fail("approximate must be 'none' or 'tanh'");
  return InferUnary<kFloatTypes>(context);
}
Status RunGelu(RunContext& context) {
  const bool tanh = context.node().String("approximate", "none") == "tanh";
  return RunUnaryWith(context, tanh ? UnaryOp::kGeluTanh : UnaryOp::kGelu, 0, 0);
}

// Neg and the like keep what is known of shape arithmetic.
Status InferNeg(InferContext& context) {
  TRY(InferUnary<kFloatTypes | kSignedTypes>(context));
  std::optional<std::vector<Dim>> elements = context.elements(0);
  if (!elements.has_value()) return Ok();
  for (Dim& element : *elements) element = context.symbols().Mul(element, Dim(-1));
  context.SetElements(0, *std::move(elements));
  return Ok();
}

// Not keeps what is known of comparisons of extents.
Status InferNot(InferContext& context) {
  TRY(InferUnary<kBoolType>(context));
  std::optional<std::vector<Dim>> elements = context.elements(0);
  if (!elements.has_value()) return Ok();
  for (Dim& element : *elements) {
    if (!element.is_constant()) return Ok();
    element = Dim(element.Is(0) ? 1 : 0);
  }
  context.SetElements(0, *std::move(elements));
  return Ok();
}

// ---- Binary ----

// The result on known elements, or nullopt where nothing is known of it.
using ElementRule = std::optional<Dim> (*)(SymbolTable&, Dim, Dim);

std::optional<Dim> AddElements(SymbolTable& symbols, Dim a, Dim b) {
  return symbols.Add(a, b);
}
std::optional<Dim> SubElements(SymbolTable& symbols, Dim a, Dim b) {
  return symbols.Sub(a, b);
}
std::optional<Dim> MulElements(SymbolTable& symbols, Dim a, Dim b) {
  return symbols.Mul(a, b);
}
std::optional<Dim> DivElements(SymbolTable& symbols, Dim a, Dim b) {
  // Integer Div truncates, FloorDiv floors: the same where neither is negative.
  if (symbols.LowerBound(a) >= 0 && symbols.LowerBound(b) > 0) return symbols.FloorDiv(a, b);
  if (a.is_constant() && b.is_constant() && !b.Is(0) && !b.Is(-1))
    return Dim(a.constant() / b.constant());
  return std::nullopt;
}
std::optional<Dim> ModElements(SymbolTable& symbols, Dim a, Dim b) {
  if (symbols.LowerBound(a) >= 0 && symbols.LowerBound(b) > 0) return symbols.Mod(a, b);
  return std::nullopt;
}
std::optional<Dim> EqualElements(SymbolTable& symbols, Dim a, Dim b) {
  const Dim difference = symbols.Sub(a, b);
  if (difference.is_constant()) return Dim(difference.Is(0) ? 1 : 0);
  if (symbols.LowerBound(difference) > 0 || symbols.UpperBound(difference) < 0) return Dim(0);
  return std::nullopt;
}
std::optional<Dim> GreaterElements(SymbolTable& symbols, Dim a, Dim b) {
  const Dim difference = symbols.Sub(a, b);
  if (symbols.LowerBound(difference) > 0) return Dim(1);
  if (symbols.UpperBound(difference) <= 0) return Dim(0);
  return std::nullopt;
}
std::optional<Dim> GreaterOrEqualElements(SymbolTable& symbols, Dim a, Dim b) {
  const Dim difference = symbols.Sub(a, b);
  if (symbols.LowerBound(difference) >= 0) return Dim(1);
  if (symbols.UpperBound(difference) < 0) return Dim(0);
  return std::nullopt;
}
std::optional<Dim> LessElements(SymbolTable& symbols, Dim a, Dim b) {
  return GreaterElements(symbols, b, a);
}
std::optional<Dim> LessOrEqualElements(SymbolTable& symbols, Dim a, Dim b) {
  return GreaterOrEqualElements(symbols, b, a);
}
std::optional<Dim> MaxElements(SymbolTable& symbols, Dim a, Dim b) {
  return symbols.Max(a, b);
}
std::optional<Dim> MinElements(SymbolTable& symbols, Dim a, Dim b) {
  return symbols.Min(a, b);
}
std::optional<Dim> AndElements(SymbolTable&, Dim a, Dim b) {
  if (a.Is(0) || b.Is(0)) return Dim(0);
  return a.is_constant() ? b : a;
}
std::optional<Dim> OrElements(SymbolTable&, Dim a, Dim b) {
  if (a.is_constant()) return a.Is(0) ? b : Dim(1);
  return b.Is(0) ? a : Dim(1);
}

// Shape arithmetic is int64 throughout; a narrower type may wrap, which symbols do not.
void PropagateElements(InferContext& context, ElementRule rule) {
  if (rule == nullptr) return;
  const DType dtype = context.dtype(0);
  if (dtype != DType::kI64 && dtype != DType::kBool) return;
  const std::optional<std::vector<Dim>> a = context.elements(0);
  const std::optional<std::vector<Dim>> b = context.elements(1);
  if (!a.has_value() || !b.has_value()) return;
  if (a->size() != b->size() && a->size() != 1 && b->size() != 1) return;
  const size_t count = a->size() == 1 ? b->size() : a->size();
  std::vector<Dim> elements;
  for (size_t i = 0; i < count; ++i) {
    const std::optional<Dim> element =
        rule(context.symbols(), (*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
    if (!element.has_value()) return;
    elements.push_back(*element);
  }
  context.SetElements(0, std::move(elements));
}

template <TypeSet types, ElementRule rule>
Status InferArithmetic(InferContext& context) {
  TRY(ExpectType(context, 0, types));
  TRY(ExpectSameType(context, 0, 1));
  context.SetOutput(0, context.dtype(0), TRY(BroadcastInputs(context, 0, 2)));
  PropagateElements(context, rule);
  return Ok();
}

template <TypeSet types, ElementRule rule>
Status InferComparison(InferContext& context) {
  TRY(ExpectType(context, 0, types));
  TRY(ExpectSameType(context, 0, 1));
  context.SetOutput(0, DType::kBool, TRY(BroadcastInputs(context, 0, 2)));
  PropagateElements(context, rule);
  return Ok();
}

Status RunBinaryWith(RunContext& context, BinaryOp op, DType dtype) {
  const tensor::ConstView& a = context.input(0);
  const tensor::ConstView& b = context.input(1);
  const Shape shape = TRY(Broadcast(context, a.shape, b.shape));
  const tensor::View y = TRY(context.Output(0, dtype, shape));
  kernels::ref::Binary({op, a, b, y});
  return Ok();
}

template <BinaryOp op>
Status RunArithmetic(RunContext& context) {
  return RunBinaryWith(context, op, context.input(0).dtype);
}
template <BinaryOp op>
Status RunComparison(RunContext& context) {
  return RunBinaryWith(context, op, DType::kBool);
}

Status InferMod(InferContext& context) {
  if (tensor::IsFloat(context.dtype(0)) && context.node().Int("fmod", 0) == 0) {
    return context.Fail("fmod must be 1 for floating point");
  }
  return InferArithmetic<kNumericTypes, ModElements>(context);
}
Status RunMod(RunContext& context) {
  return RunBinaryWith(context,
                       context.node().Int("fmod", 0) != 0 ? BinaryOp::kFmod : BinaryOp::kMod,
                       context.input(0).dtype);
}

Status InferPow(InferContext& context) {
  TRY(ExpectType(context, 0, kNumericTypes));
  TRY(ExpectType(context, 1, kNumericTypes));
  context.SetOutput(0, context.dtype(0), TRY(BroadcastInputs(context, 0, 2)));
  return Ok();
}

Status InferBitShift(InferContext& context) {
  const std::string_view direction = context.node().String("direction", "");
  if (direction != "LEFT" && direction != "RIGHT")
    return context.Fail("direction must be LEFT or RIGHT");
  return InferArithmetic<kUnsignedTypes, nullptr>(context);
}
Status RunBitShift(RunContext& context) {
  const bool left = context.node().String("direction", "") == "LEFT";
  return RunBinaryWith(context, left ? BinaryOp::kShiftLeft : BinaryOp::kShiftRight,
                       context.input(0).dtype);
}

Status InferPRelu(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes | kSignedTypes | kUnsignedTypes));
  TRY(ExpectSameType(context, 0, 1));
  return InferSame(context);
}
Status RunPRelu(RunContext& context) {
  const tensor::ConstView& x = context.input(0);
  if (!BroadcastsTo(context.input(1).shape, x.shape)) {
    return context.Fail("slope " + context.input(1).shape.ToString() + " does not broadcast to " +
                        x.shape.ToString());
  }
  const tensor::View y = TRY(context.Output(0, x.dtype, x.shape));
  kernels::ref::Binary({BinaryOp::kPRelu, x, context.input(1), y});
  return Ok();
}

// ---- Variadic ----

template <TypeSet types, ElementRule rule>
Status InferVariadic(InferContext& context) {
  for (size_t i = 0; i < context.input_count(); ++i) {
    if (!context.has_input(i)) return context.Fail("lacks input " + std::to_string(i));
    TRY(ExpectType(context, i, types));
    TRY(ExpectSameType(context, 0, i));
  }
  context.SetOutput(0, context.dtype(0), TRY(BroadcastInputs(context, 0, context.input_count())));
  if (context.input_count() == 2) PropagateElements(context, rule);
  return Ok();
}

template <VariadicOp op>
Status RunVariadic(RunContext& context) {
  Shape shape = context.input(0).shape;
  for (size_t i = 1; i < context.input_count(); ++i)
    shape = TRY(Broadcast(context, shape, context.input(i).shape));
  const tensor::View y = TRY(context.Output(0, context.input(0).dtype, shape));
  kernels::ref::Variadic({op, context.inputs(), y});
  return Ok();
}

constexpr OpDef Unary(std::string_view name, Status (*infer)(InferContext&),
                      Status (*run)(RunContext&)) {
  return {name, 1, 1, 1, 1, 1, kElementwise, infer, run};
}
constexpr OpDef Binary(std::string_view name, int since, Status (*infer)(InferContext&),
                       Status (*run)(RunContext&)) {
  return {name, since, 2, 2, 1, 1, kElementwise, infer, run};
}
constexpr OpDef Variadic(std::string_view name, Status (*infer)(InferContext&),
                         Status (*run)(RunContext&)) {
  return {name, 8, 1, -1, 1, 1, kElementwise, infer, run};
}

constexpr TypeSet kOrderedTypes = kNumericTypes;
constexpr TypeSet kEqualTypes = kNumericTypes | kBoolType | Types({DType::kBytes});

constexpr auto kOps = std::to_array<OpDef>({
    Unary("Abs", InferUnary<kNumericTypes>, RunUnary<UnaryOp::kAbs>),
    Unary("Neg", InferNeg, RunUnary<UnaryOp::kNeg>),
    Unary("Sign", InferUnary<kNumericTypes>, RunUnary<UnaryOp::kSign>),
    Unary("Floor", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kFloor>),
    Unary("Ceil", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kCeil>),
    Unary("Round", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kRound>),
    Unary("Sqrt", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kSqrt>),
    Unary("Reciprocal", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kReciprocal>),
    Unary("Exp", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kExp>),
    Unary("Log", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kLog>),
    Unary("Sin", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kSin>),
    Unary("Cos", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kCos>),
    Unary("Tan", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kTan>),
    Unary("Asin", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kAsin>),
    Unary("Acos", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kAcos>),
    Unary("Atan", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kAtan>),
    Unary("Sinh", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kSinh>),
    Unary("Cosh", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kCosh>),
    Unary("Tanh", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kTanh>),
    Unary("Asinh", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kAsinh>),
    Unary("Acosh", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kAcosh>),
    Unary("Atanh", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kAtanh>),
    Unary("Erf", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kErf>),
    Unary("Not", InferNot, RunUnary<UnaryOp::kNot>),
    Unary("BitwiseNot", InferUnary<kIntTypes>, RunUnary<UnaryOp::kBitwiseNot>),
    Unary("Relu", InferUnary<kFloatTypes | kSignedTypes>, RunUnary<UnaryOp::kRelu>),
    Unary("LeakyRelu", InferUnary<kFloatTypes>, RunLeakyRelu),
    Unary("Elu", InferUnary<kFloatTypes>, RunElu),
    Unary("Selu", InferUnary<kFloatTypes>, RunSelu),
    Unary("Celu", InferUnary<kFloatTypes>, RunCelu),
    Unary("ThresholdedRelu", InferUnary<kFloatTypes>, RunThresholdedRelu),
    Unary("Sigmoid", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kSigmoid>),
    Unary("HardSigmoid", InferUnary<kFloatTypes>, RunHardSigmoid),
    Unary("HardSwish", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kHardSwish>),
    Unary("Softplus", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kSoftplus>),
    Unary("Softsign", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kSoftsign>),
    Unary("Mish", InferUnary<kFloatTypes>, RunUnary<UnaryOp::kMish>),
    Unary("Gelu", InferGelu, RunGelu),
    Unary("Swish", InferUnary<kFloatTypes>, RunSwish),
    Unary("Shrink", InferUnary<kNumericTypes>, RunShrink),
    Unary("IsNaN", InferTest<kFloatTypes>, RunTest<UnaryOp::kIsNaN>),
    Unary("IsInf", InferTest<kFloatTypes>, RunTest<UnaryOp::kIsInf>),

    Binary("Add", 7, InferArithmetic<kNumericTypes, AddElements>, RunArithmetic<BinaryOp::kAdd>),
    Binary("Sub", 7, InferArithmetic<kNumericTypes, SubElements>, RunArithmetic<BinaryOp::kSub>),
    Binary("Mul", 7, InferArithmetic<kNumericTypes, MulElements>, RunArithmetic<BinaryOp::kMul>),
    Binary("Div", 7, InferArithmetic<kNumericTypes, DivElements>, RunArithmetic<BinaryOp::kDiv>),
    Binary("Mod", 10, InferMod, RunMod),
    Binary("Pow", 7, InferPow, RunArithmetic<BinaryOp::kPow>),
    Binary("PRelu", 7, InferPRelu, RunPRelu),
    Binary("And", 7, InferArithmetic<kBoolType, AndElements>, RunArithmetic<BinaryOp::kAnd>),
    Binary("Or", 7, InferArithmetic<kBoolType, OrElements>, RunArithmetic<BinaryOp::kOr>),
    Binary("Xor", 7, InferArithmetic<kBoolType, nullptr>, RunArithmetic<BinaryOp::kXor>),
    Binary("Equal", 7, InferComparison<kEqualTypes, EqualElements>,
           RunComparison<BinaryOp::kEqual>),
    Binary("Less", 7, InferComparison<kOrderedTypes, LessElements>, RunComparison<BinaryOp::kLess>),
    Binary("LessOrEqual", 12, InferComparison<kOrderedTypes, LessOrEqualElements>,
           RunComparison<BinaryOp::kLessOrEqual>),
    Binary("Greater", 7, InferComparison<kOrderedTypes, GreaterElements>,
           RunComparison<BinaryOp::kGreater>),
    Binary("GreaterOrEqual", 12, InferComparison<kOrderedTypes, GreaterOrEqualElements>,
           RunComparison<BinaryOp::kGreaterOrEqual>),
    Binary("BitwiseAnd", 18, InferArithmetic<kIntTypes, nullptr>,
           RunArithmetic<BinaryOp::kBitwiseAnd>),
    Binary("BitwiseOr", 18, InferArithmetic<kIntTypes, nullptr>,
           RunArithmetic<BinaryOp::kBitwiseOr>),
    Binary("BitwiseXor", 18, InferArithmetic<kIntTypes, nullptr>,
           RunArithmetic<BinaryOp::kBitwiseXor>),
    Binary("BitShift", 11, InferBitShift, RunBitShift),

    Variadic("Sum", InferVariadic<kNumericTypes, AddElements>, RunVariadic<VariadicOp::kSum>),
    Variadic("Mean", InferVariadic<kFloatTypes, nullptr>, RunVariadic<VariadicOp::kMean>),
    Variadic("Max", InferVariadic<kNumericTypes, MaxElements>, RunVariadic<VariadicOp::kMax>),
    Variadic("Min", InferVariadic<kNumericTypes, MinElements>, RunVariadic<VariadicOp::kMin>),
});

}  // namespace

std::span<const OpDef> ElementwiseOps() {
  return kOps;
}

}  // namespace sluice::graph
