#include "graph/ops/rules.h"

#include <algorithm>

#include "tensor/float16.h"

namespace sluice::graph {

base::Status ExpectType(const InferContext& context, size_t i, TypeSet types) {
  if (!context.has_input(i)) return base::Ok();
  const DType dtype = context.dtype(i);
  if ((types >> static_cast<unsigned>(dtype) & 1u) != 0) return base::Ok();
  return context.Fail("input " + std::to_string(i) + " of type " +
                      std::string(tensor::DTypeName(dtype)) + " is not supported");
}

base::Status ExpectSameType(const InferContext& context, size_t i, size_t j) {
  if (!context.has_input(i) || !context.has_input(j) || context.dtype(i) == context.dtype(j))
    return base::Ok();
  return context.Fail("inputs " + std::to_string(i) + " and " + std::to_string(j) +
                      " must have one type, have " +
                      std::string(tensor::DTypeName(context.dtype(i))) + " and " +
                      std::string(tensor::DTypeName(context.dtype(j))));
}

std::optional<int> NormalAxis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) return std::nullopt;
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

namespace {

template <class Context>
base::Result<int> CheckedAxis(const Context& context, int64_t axis, int rank) {
  const std::optional<int> normal = NormalAxis(axis, rank);
  if (!normal.has_value()) {
    return context.Fail("axis " + std::to_string(axis) + " is outside of rank " +
                        std::to_string(rank));
  }
  return *normal;
}

}  // namespace

base::Result<int> NormalAxis(const InferContext& context, int64_t axis, int rank) {
  return CheckedAxis(context, axis, rank);
}
base::Result<int> NormalAxis(const RunContext& context, int64_t axis, int rank) {
  return CheckedAxis(context, axis, rank);
}

Dim BroadcastDims(SymbolTable& symbols, Dim a, Dim b) {
  if (a == b || b.Is(1)) return a;
  if (a.Is(1)) return b;
  if (a.is_constant()) return a;
  if (b.is_constant()) return b;
  return symbols.Mul(symbols.Max(a, b), symbols.Min(Dim(1), symbols.Min(a, b)));
}

base::Result<std::optional<SymShape>> BroadcastInputs(InferContext& context, size_t first,
                                                      size_t count) {
  SymShape result;
  for (size_t i = first; i < first + count; ++i) {
    if (!context.has_input(i)) continue;
    const SymShape* shape = context.shape(i);
    if (shape == nullptr) return std::optional<SymShape>();
    if (shape->size() > result.size())
      result.insert(result.begin(), shape->size() - result.size(), Dim(1));
    for (size_t k = 0; k < shape->size(); ++k) {
      Dim& dim = result[result.size() - shape->size() + k];
      const Dim other = (*shape)[k];
      if (dim.is_constant() && other.is_constant() && dim != other && !dim.Is(1) && !other.Is(1)) {
        return context.Fail("the shapes do not broadcast: " + context.symbols().ToString(*shape) +
                            " with " + context.symbols().ToString(result));
      }
      dim = BroadcastDims(context.symbols(), dim, other);
    }
  }
  return std::optional<SymShape>(std::move(result));
}

base::Result<Shape> Broadcast(const RunContext& context, const Shape& a, const Shape& b) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape result = longer;
  const int offset = longer.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    const int64_t x = longer[offset + i];
    const int64_t y = shorter[i];
    if (x != y && x != 1 && y != 1) {
      return context.Fail("the shapes do not broadcast: " + a.ToString() + " with " + b.ToString());
    }
    result.set_dim(offset + i, x == 1 ? y : x);
  }
  // Neither operand bounds the broadcast's size: [n, 1] with [1, n] gives n * n.
  return Shape::FromDims(result.dims());
}

bool BroadcastsTo(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  for (int i = 1; i <= from.rank(); ++i) {
    const int64_t extent = from[from.rank() - i];
    if (extent != 1 && extent != to[to.rank() - i]) return false;
  }
  return true;
}

std::optional<SymShape> ShapeOf(const InferContext& context, size_t i) {
  const SymShape* shape = context.shape(i);
  return shape == nullptr ? std::nullopt : std::optional<SymShape>(*shape);
}

SymShape FreshShape(InferContext& context, std::string_view hint, size_t rank) {
  SymShape shape;
  for (size_t i = 0; i < rank; ++i) shape.push_back(context.Fresh(hint));
  return shape;
}

std::optional<DType> DTypeFromOnnx(int64_t code) {
  switch (code) {
    case 1:
      return DType::kF32;
    case 2:
      return DType::kU8;
    case 3:
      return DType::kI8;
    case 4:
      return DType::kU16;
    case 5:
      return DType::kI16;
    case 6:
      return DType::kI32;
    case 7:
      return DType::kI64;
    case 8:
      return DType::kBytes;
    case 9:
      return DType::kBool;
    case 10:
      return DType::kF16;
    case 11:
      return DType::kF64;
    case 12:
      return DType::kU32;
    case 13:
      return DType::kU64;
    case 16:
      return DType::kBF16;
    case 17:
      return DType::kF8E4M3FN;
    case 18:
      return DType::kF8E4M3FNUZ;
    case 19:
      return DType::kF8E5M2;
    case 20:
      return DType::kF8E5M2FNUZ;
    case 21:
      return DType::kU4;
    case 22:
      return DType::kI4;
    case 23:
      return DType::kF4E2M1;
    case 24:
      return DType::kF8E8M0;
    case 25:
      return DType::kU2;
    case 26:
      return DType::kI2;
    default:
      return std::nullopt;
  }
}

base::Status InferSame(InferContext& context) {
  context.SetOutput(0, context.dtype(0), ShapeOf(context, 0));
  return base::Ok();
}

base::Result<Ints> ReadInts(const RunContext& context, size_t input) {
  Ints ints;
  const tensor::ConstView& view = context.input(input);
  ints.count = view.shape.elements();
  if (ints.count > Ints::kMax) {
    return context.Fail("input " + std::to_string(input) + " lists " + std::to_string(ints.count) +
                        " integers, above the limit of " + std::to_string(Ints::kMax));
  }
  for (int64_t i = 0; i < ints.count; ++i) {
    ints.values[i] = view.dtype == DType::kI64 ? view.as<int64_t>()[i] : view.as<int32_t>()[i];
  }
  return ints;
}

base::Result<Ints> ReadInts(const RunContext& context, size_t input, std::string_view attribute) {
  if (context.has_input(input)) return ReadInts(context, input);
  const std::span<const int64_t> list = context.node().Ints(attribute);
  if (list.size() > static_cast<size_t>(Ints::kMax)) {
    return context.Fail("attribute '" + std::string(attribute) + "' lists more than " +
                        std::to_string(Ints::kMax) + " integers");
  }
  Ints ints;
  ints.count = static_cast<int64_t>(list.size());
  std::copy(list.begin(), list.end(), ints.values);
  return ints;
}

std::optional<std::vector<int64_t>> KnownInts(const InferContext& context, size_t input,
                                              std::string_view attribute) {
  if (context.has_input(input)) return context.ints(input);
  const std::span<const int64_t> list = context.node().Ints(attribute);
  return std::vector<int64_t>(list.begin(), list.end());
}

int64_t Operations(std::initializer_list<int64_t> factors) {
  int64_t product = 1;
  for (const int64_t factor : factors) {
    if (__builtin_mul_overflow(product, std::max<int64_t>(1, factor), &product)) return INT64_MAX;
  }
  return product;
}

base::Result<int64_t> ReadInt(const RunContext& context, size_t input) {
  const tensor::ConstView& view = context.input(input);
  if (view.shape.elements() != 1) {
    return context.Fail("input " + std::to_string(input) + " must hold one element, has shape " +
                        view.shape.ToString());
  }
  switch (view.dtype) {
    case DType::kI64:
      return view.as<int64_t>()[0];
    case DType::kI32:
      return int64_t{view.as<int32_t>()[0]};
    case DType::kI16:
      return int64_t{view.as<int16_t>()[0]};
    case DType::kI8:
      return int64_t{view.as<int8_t>()[0]};
    case DType::kU8:
      return int64_t{view.as<uint8_t>()[0]};
    case DType::kU16:
      return int64_t{view.as<uint16_t>()[0]};
    case DType::kU32:
      return int64_t{view.as<uint32_t>()[0]};
    case DType::kBool:
      return int64_t{view.as<bool>()[0]};
    case DType::kU64:
      return static_cast<int64_t>(std::min<uint64_t>(view.as<uint64_t>()[0], INT64_MAX));
    default:
      return context.Fail("input " + std::to_string(input) + " must be an integer");
  }
}

base::Result<double> ReadFloat(const RunContext& context, size_t input) {
  const tensor::ConstView& view = context.input(input);
  if (view.shape.elements() != 1) {
    return context.Fail("input " + std::to_string(input) + " must hold one element, has shape " +
                        view.shape.ToString());
  }
  switch (view.dtype) {
    case DType::kF32:
      return static_cast<double>(view.as<float>()[0]);
    case DType::kF64:
      return view.as<double>()[0];
    case DType::kF16:
      return static_cast<double>(tensor::ToFloat(view.as<tensor::F16>()[0]));
    case DType::kBF16:
      return static_cast<double>(tensor::ToFloat(view.as<tensor::BF16>()[0]));
    case DType::kBytes:
      return context.Fail("input " + std::to_string(input) + " must be a number");
    default:
      return static_cast<double>(TRY(ReadInt(context, input)));
  }
}

}  // namespace sluice::graph
