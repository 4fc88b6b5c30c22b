// The rules that many ops share: which types they take, axes, broadcasting; for inference with
// symbols and for runs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "graph/op.h"

namespace sluice::graph {

using tensor::DType;
using tensor::Shape;

// A set of DTypes, a bit each.
using TypeSet = uint32_t;
constexpr TypeSet Types(std::initializer_list<DType> types) {
  TypeSet set = 0;
  for (const DType type : types) set |= 1u << static_cast<unsigned>(type);
  return set;
}
inline constexpr TypeSet kFloatTypes = Types({DType::kF32, DType::kF16, DType::kBF16, DType::kF64});
inline constexpr TypeSet kSignedTypes = Types({DType::kI8, DType::kI16, DType::kI32, DType::kI64});
inline constexpr TypeSet kUnsignedTypes =
    Types({DType::kU8, DType::kU16, DType::kU32, DType::kU64});
inline constexpr TypeSet kIntTypes = kSignedTypes | kUnsignedTypes;
inline constexpr TypeSet kNumericTypes = kFloatTypes | kIntTypes;
inline constexpr TypeSet kIndexTypes = Types({DType::kI32, DType::kI64});
inline constexpr TypeSet kBoolType = Types({DType::kBool});
inline constexpr TypeSet kInt64Type = Types({DType::kI64});
inline constexpr TypeSet kAnyType = ~TypeSet{0};

// kInvalidArgument unless input i (when present) has a type of the set, or the type of input j.
base::Status ExpectType(const InferContext& context, size_t i, TypeSet types);
base::Status ExpectSameType(const InferContext& context, size_t i, size_t j);

// `axis` in [-rank, rank) made positive; `limit` is rank + 1 for axes that may point behind the
// end.
std::optional<int> NormalAxis(int64_t axis, int rank);
base::Result<int> NormalAxis(const InferContext& context, int64_t axis, int rank);
base::Result<int> NormalAxis(const RunContext& context, int64_t axis, int rank);

// The extent that a and b broadcast to, as an expression exact for every valid pair, zero included.
// Two constants that disagree are the caller's to refuse.
Dim BroadcastDims(SymbolTable& symbols, Dim a, Dim b);
// The extents of numpy broadcasting; an error when two constants disagree. nullopt when a rank is
// unknown.
base::Result<std::optional<SymShape>> BroadcastInputs(InferContext& context, size_t first,
                                                      size_t count);
base::Result<Shape> Broadcast(const RunContext& context, const Shape& a, const Shape& b);
// Whether `from` broadcasts to exactly `to`.
bool BroadcastsTo(const Shape& from, const Shape& to);

// The shape of input i, or nullopt.
std::optional<SymShape> ShapeOf(const InferContext& context, size_t i);
// A shape of `rank` unknown extents.
SymShape FreshShape(InferContext& context, std::string_view hint, size_t rank);

// The DType of an ONNX TensorProto.DataType code; nullopt for the types that are not supported.
std::optional<DType> DTypeFromOnnx(int64_t code);

// Output 0 has the type and shape of input 0.
base::Status InferSame(InferContext& context);

// Integers of an int32 or int64 input, or of an int64 attribute, converted without heap. At most
// `Ints::kMax`.
struct Ints {
  static constexpr int64_t kMax = 64;
  int64_t count = 0;
  int64_t values[kMax] = {};
  int64_t operator[](int64_t i) const { return values[i]; }
  const int64_t* begin() const { return values; }
  const int64_t* end() const { return values + count; }
};
base::Result<Ints> ReadInts(const RunContext& context, size_t input);
// The input when it is there (axes and the like as of a newer opset), else the attribute, else
// empty.
base::Result<Ints> ReadInts(const RunContext& context, size_t input, std::string_view attribute);
// The same for inference: nullopt when the input is there but not known.
std::optional<std::vector<int64_t>> KnownInts(const InferContext& context, size_t input,
                                              std::string_view attribute);

// The product, saturated: how much arithmetic an op needs.
int64_t Operations(std::initializer_list<int64_t> factors);

// One number of a scalar (or one-element) input of a numeric type.
base::Result<int64_t> ReadInt(const RunContext& context, size_t input);
base::Result<double> ReadFloat(const RunContext& context, size_t input);

}  // namespace sluice::graph
