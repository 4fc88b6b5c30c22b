// Binary and variadic reference arithmetic and where, with numpy broadcasting.
#include <cmath>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "kernels/ref/elementwise.h"
#include "kernels/ref/lanes.h"
#include "kernels/ref/strided_copy.h"
#include "kernels/ref/walk.h"

namespace sluice::kernels::ref {
namespace {

using tensor::DType;

template <class W>
inline constexpr bool kFloatLanes = std::is_same_v<W, double>;

template <class W>
W Divide(W a, W b) {
  if constexpr (kFloatLanes<W>) {
    return a / b;
  } else {
    if (b == 0) return 0;
    if (std::is_signed_v<W> && b == static_cast<W>(-1))
      return static_cast<W>(0 - static_cast<uint64_t>(a));
    return static_cast<W>(a / b);
  }
}

// The remainder with the dividend's sign.
template <class W>
W Remainder(W a, W b) {
  if constexpr (kFloatLanes<W>) {
    return std::fmod(a, b);
  } else {
    if (b == 0 || (std::is_signed_v<W> && b == static_cast<W>(-1))) return 0;
    return static_cast<W>(a % b);
  }
}

// The remainder with the divisor's sign.
template <class W>
W Modulo(W a, W b) {
  const W r = Remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? WrapAdd(r, b) : r;
}

template <class W>
W Power(W a, W b) {
  if constexpr (kFloatLanes<W>) {
    return std::pow(a, b);
  } else {
    if (b < 0) return a == 1 ? W(1) : a == static_cast<W>(-1) ? (b % 2 == 0 ? W(1) : a) : W(0);
    W result = 1;
    for (uint64_t e = static_cast<uint64_t>(b); e != 0; e >>= 1) {
      if (e & 1) result = WrapMul(result, a);
      a = WrapMul(a, a);
    }
    return result;
  }
}

template <class W>
W Minimum(W a, W b) {
  if (a != a) return a;
  return b < a || b != b ? b : a;
}
template <class W>
W Maximum(W a, W b) {
  if (a != a) return a;
  return b > a || b != b ? b : a;
}

template <class W>
W Bitwise(BinaryOp op, W wa, W wb) {
  if constexpr (kFloatLanes<W>) {
    CHECK(false) << "bitwise op on floats";
    return wa;
  } else {
    const uint64_t a = static_cast<uint64_t>(wa);
    const uint64_t b = static_cast<uint64_t>(wb);
    switch (op) {
      case BinaryOp::kAnd:
      case BinaryOp::kBitwiseAnd:
        return static_cast<W>(a & b);
      case BinaryOp::kOr:
      case BinaryOp::kBitwiseOr:
        return static_cast<W>(a | b);
      case BinaryOp::kXor:
      case BinaryOp::kBitwiseXor:
        return static_cast<W>(a ^ b);
      case BinaryOp::kShiftLeft:
        return b > 63 ? W(0) : static_cast<W>(a << b);
      default:
        return b > 63 ? W(0) : static_cast<W>(wa >> b);
    }
  }
}

template <class W, class F>
void Apply(int64_t n, W* a, const W* b, F f) {
  for (int64_t i = 0; i < n; ++i) a[i] = f(a[i], b[i]);
}

// a[i] = op(a[i], b[i]); comparisons leave 0 or 1.
template <class W>
void BinaryLanes(BinaryOp op, int64_t n, W* a, const W* b) {
  using enum BinaryOp;
  switch (op) {
    case kAdd:
      return Apply(n, a, b, [](W x, W y) { return WrapAdd(x, y); });
    case kSub:
      return Apply(n, a, b, [](W x, W y) {
        if constexpr (kFloatLanes<W>)
          return x - y;
        else
          return static_cast<W>(static_cast<uint64_t>(x) - static_cast<uint64_t>(y));
      });
    case kMul:
      return Apply(n, a, b, [](W x, W y) { return WrapMul(x, y); });
    case kDiv:
      return Apply(n, a, b, [](W x, W y) { return Divide(x, y); });
    case kMod:
      return Apply(n, a, b, [](W x, W y) { return Modulo(x, y); });
    case kFmod:
      return Apply(n, a, b, [](W x, W y) { return Remainder(x, y); });
    case kPow:
      return Apply(n, a, b, [](W x, W y) { return Power(x, y); });
    case kMin:
      return Apply(n, a, b, [](W x, W y) { return Minimum(x, y); });
    case kMax:
      return Apply(n, a, b, [](W x, W y) { return Maximum(x, y); });
    case kEqual:
      return Apply(n, a, b, [](W x, W y) { return x == y ? W(1) : W(0); });
    case kLess:
      return Apply(n, a, b, [](W x, W y) { return x < y ? W(1) : W(0); });
    case kLessOrEqual:
      return Apply(n, a, b, [](W x, W y) { return x <= y ? W(1) : W(0); });
    case kGreater:
      return Apply(n, a, b, [](W x, W y) { return x > y ? W(1) : W(0); });
    case kGreaterOrEqual:
      return Apply(n, a, b, [](W x, W y) { return x >= y ? W(1) : W(0); });
    case kPRelu:
      return Apply(n, a, b, [](W x, W y) { return x < 0 ? WrapMul(x, y) : x; });
    case kAnd:
    case kOr:
    case kXor:
    case kBitwiseAnd:
    case kBitwiseOr:
    case kBitwiseXor:
    case kShiftLeft:
    case kShiftRight:
      return Apply(n, a, b, [op](W x, W y) { return Bitwise(op, x, y); });
  }
}

Walk<3> BroadcastWalk(const Shape& a, const Shape& b, const Shape& y) {
  int64_t sa[kMaxRank], sb[kMaxRank], sy[kMaxRank];
  BroadcastStrides(a, y, sa);
  BroadcastStrides(b, y, sb);
  DenseStrides(y, sy);
  Walk<3> walk;
  for (int i = 0; i < y.rank(); ++i) walk.Append(y[i], {sa[i], sb[i], sy[i]});
  return walk;
}

void EqualBytes(const BinaryArgs& args) {
  const auto* a = static_cast<const std::string_view*>(args.a.data);
  const auto* b = static_cast<const std::string_view*>(args.b.data);
  BroadcastWalk(args.a.shape, args.b.shape, args.y.shape).Each([&](const int64_t(&at)[3]) {
    static_cast<bool*>(args.y.data)[at[2]] = a[at[0]] == b[at[1]];
  });
}

// An integer base under a float exponent is computed in double, as is a float base under any.
DType ComputeType(const BinaryArgs& args) {
  return args.op == BinaryOp::kPow && tensor::IsFloat(args.b.dtype) ? args.b.dtype : args.a.dtype;
}

}  // namespace

bool BinarySupports(BinaryOp op, DType dtype) {
  using enum BinaryOp;
  const bool floating = tensor::IsFloat(dtype);
  switch (op) {
    case kEqual:
      return true;
    case kAnd:
    case kOr:
    case kXor:
      return dtype == DType::kBool;
    case kBitwiseAnd:
    case kBitwiseOr:
    case kBitwiseXor:
    case kShiftLeft:
    case kShiftRight:
      return !floating && dtype != DType::kBool && dtype != DType::kBytes;
    default:
      return dtype != DType::kBytes && dtype != DType::kBool;
  }
}

void Binary(const BinaryArgs& args) {
  if (args.a.dtype == DType::kBytes) {
    CHECK(args.op == BinaryOp::kEqual && args.b.dtype == DType::kBytes);
    return EqualBytes(args);
  }
  const Walk<3> walk = BroadcastWalk(args.a.shape, args.b.shape, args.y.shape);
  WithWide(ComputeType(args), [&](auto tag) {
    using W = decltype(tag);
    W a[kLanes];
    W b[kLanes];
    walk.Rows([&](const int64_t(&at)[3], int64_t n, const int64_t(&s)[3]) {
      for (int64_t i = 0; i < n; i += kLanes) {
        const int64_t m = n - i < kLanes ? n - i : kLanes;
        LoadLanes(args.a.dtype, args.a.data, at[0] + i * s[0], s[0], m, a);
        LoadLanes(args.b.dtype, args.b.data, at[1] + i * s[1], s[1], m, b);
        BinaryLanes(args.op, m, a, b);
        StoreLanes(args.y.dtype, args.y.data, at[2] + i * s[2], s[2], m, a);
      }
    });
  });
}

void Variadic(const VariadicArgs& args) {
  CHECK(!args.inputs.empty());
  const Shape& shape = args.y.shape;
  const int64_t columns = shape.rank() > 0 ? shape[shape.rank() - 1] : 1;
  const int64_t rows = columns > 0 ? shape.elements() / columns : 0;
  const BinaryOp op = args.op == VariadicOp::kMax   ? BinaryOp::kMax
                      : args.op == VariadicOp::kMin ? BinaryOp::kMin
                                                    : BinaryOp::kAdd;
  WithWide(args.y.dtype, [&](auto tag) {
    using W = decltype(tag);
    W sum[kLanes];
    W term[kLanes];
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; column += kLanes) {
        const int64_t n = columns - column < kLanes ? columns - column : kLanes;
        bool first = true;
        for (const ConstView& input : args.inputs) {
          int64_t strides[kMaxRank];
          BroadcastStrides(input.shape, shape, strides);
          int64_t offset = 0;
          int64_t rest = row;
          for (int d = shape.rank() - 2; d >= 0; --d) {
            offset += rest % shape[d] * strides[d];
            rest /= shape[d];
          }
          const int64_t inner = shape.rank() > 0 ? strides[shape.rank() - 1] : 0;
          LoadLanes(input.dtype, input.data, offset + column * inner, inner, n, first ? sum : term);
          if (!first) BinaryLanes(op, n, sum, term);
          first = false;
        }
        if (args.op == VariadicOp::kMean) {
          for (int64_t i = 0; i < n; ++i)
            sum[i] = Divide(sum[i], static_cast<W>(args.inputs.size()));
        }
        StoreLanes(args.y.dtype, args.y.data, row * columns + column, 1, n, sum);
      }
    }
  });
}

void Where(const WhereArgs& args) {
  const Shape& shape = args.y.shape;
  int64_t sc[kMaxRank], sa[kMaxRank], sb[kMaxRank], sy[kMaxRank];
  BroadcastStrides(args.condition.shape, shape, sc);
  BroadcastStrides(args.a.shape, shape, sa);
  BroadcastStrides(args.b.shape, shape, sb);
  DenseStrides(shape, sy);
  Walk<4> walk;
  for (int i = 0; i < shape.rank(); ++i) walk.Append(shape[i], {sc[i], sa[i], sb[i], sy[i]});
  const bool* condition = args.condition.as<bool>();
  WithElement(args.y.dtype, [&](auto tag) {
    using E = decltype(tag);
    const E* a = static_cast<const E*>(args.a.data);
    const E* b = static_cast<const E*>(args.b.data);
    E* y = static_cast<E*>(args.y.data);
    walk.Rows([&](const int64_t(&at)[4], int64_t n, const int64_t(&s)[4]) {
      for (int64_t i = 0; i < n; ++i) {
        y[at[3] + i * s[3]] =
            condition[at[0] + i * s[0]] ? a[at[1] + i * s[1]] : b[at[2] + i * s[2]];
      }
    });
  });
}

}  // namespace sluice::kernels::ref
