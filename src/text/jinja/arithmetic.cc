// Arithmetic of numbers and sequences, and rounding: a part of operators.h.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

bool FailOverflow(Workspace& work) {
  return work.Fail("expected integers of at most 64 bits, got a larger result",
                   base::Code::kUnimplemented);
}

double Modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) rest += b;
  } else {
    rest = std::copysign(0.0, b);
  }
  return rest;
}

// As CPython's float_floor_div: consistent with the modulo.
double FloorDivide(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1.0;
  if (quotient == 0) return std::copysign(0.0, a / b);
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5) whole += 1.0;
  return whole;
}

bool Power(Workspace& work, const Value& a, const Value& b, Value& out) {
  if (a.is_integer() && b.is_integer() && b.AsInteger() >= 0) {
    int64_t base = a.AsInteger();
    int64_t result = 1;
    if (base == 0 || base == 1) {
      out = Value::Int(b.AsInteger() == 0 ? 1 : base);
      return true;
    }
    if (base == -1) {
      out = Value::Int(b.AsInteger() % 2 == 0 ? 1 : -1);
      return true;
    }
    for (int64_t i = b.AsInteger(); i > 0; --i) {
      if (__builtin_mul_overflow(result, base, &result)) return FailOverflow(work);
    }
    out = Value::Int(result);
    return true;
  }
  const double base = a.AsReal();
  const double exponent = b.AsReal();
  if (base == 0 && exponent < 0) return work.Fail("0 has no negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) &&
      exponent != std::trunc(exponent)) {
    return work.Fail("expected a real power, got a complex one", base::Code::kUnimplemented);
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    return work.Fail("the power is too large for a float");
  }
  out = Value::Float(result);
  return true;
}

bool IntegerArithmetic(Workspace& work, Operator op, int64_t a, int64_t b, Value& out) {
  int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return FailOverflow(work);
      break;
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return FailOverflow(work);
      break;
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return FailOverflow(work);
      break;
    case Operator::kDivide:
      out = Value::Float(
          static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
      return true;
    default: {
      if (b == -1) {  // INT64_MIN / -1 overflows
        if (op == Operator::kModulo) break;
        if (__builtin_sub_overflow(int64_t{0}, a, &result)) return FailOverflow(work);
        break;
      }
      const int64_t quotient = a / b;
      const int64_t rest = a % b;
      const bool down = rest != 0 && (rest < 0) != (b < 0);
      result = op == Operator::kModulo ? rest + (down ? b : 0) : quotient - (down ? 1 : 0);
      break;
    }
  }
  out = Value::Int(result);
  return true;
}

bool NumberArithmetic(Workspace& work, Operator op, const Value& a, const Value& b, Value& out) {
  const bool divides =
      op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && b.AsReal() == 0) return work.Fail("division by zero");
  if (op == Operator::kPower) return Power(work, a, b, out);
  if (a.is_integer() && b.is_integer()) {
    return IntegerArithmetic(work, op, a.AsInteger(), b.AsInteger(), out);
  }
  const double x = a.AsReal();
  const double y = b.AsReal();
  switch (op) {
    case Operator::kAdd:
      out = Value::Float(x + y);
      return true;
    case Operator::kSubtract:
      out = Value::Float(x - y);
      return true;
    case Operator::kMultiply:
      out = Value::Float(x * y);
      return true;
    case Operator::kDivide:
      out = Value::Float(x / y);
      return true;
    case Operator::kFloorDivide:
      out = Value::Float(FloorDivide(x, y));
      return true;
    default:
      out = Value::Float(Modulo(x, y));
      return true;
  }
}

bool Repeat(Workspace& work, const Value& sequence, int64_t times, Value& out) {
  times = std::max<int64_t>(times, 0);
  if (sequence.is_string()) {
    const std::string_view text = sequence.str();
    if (text.empty() || times == 0) {
      out = Value::String({});
      return true;
    }
    const size_t bytes_max = work.limits().bytes_max;
    if (static_cast<uint64_t>(times) > bytes_max / text.size()) {
      return work.HasRoom(bytes_max + 1);
    }
    char* copy = work.NewArray<char>(text.size() * static_cast<size_t>(times));
    if (copy == nullptr) return false;
    for (int64_t i = 0; i < times; ++i) {
      std::memcpy(copy + static_cast<size_t>(i) * text.size(), text.data(), text.size());
    }
    out = Value::String({copy, text.size() * static_cast<size_t>(times)}, sequence.markup);
    return true;
  }
  const List& from = *sequence.list;
  if (from.size > 0 && static_cast<uint64_t>(times) > work.limits().bytes_max / from.size) {
    return work.HasRoom(work.limits().bytes_max + 1);
  }
  Value made;
  const size_t size = from.size * static_cast<size_t>(times);
  if (!work.NewList(from.size == 0 ? 0 : size, made)) return false;
  for (size_t i = 0; i < made.list->size; ++i) made.list->items[i] = from.items[i % from.size];
  made.kind = sequence.kind;
  out = made;
  return true;
}

bool JoinSequences(Workspace& work, const Value& a, const Value& b, Value& out) {
  Value made;
  if (!work.NewList(a.list->size + b.list->size, made)) return false;
  std::copy_n(a.list->items, a.list->size, made.list->items);
  std::copy_n(b.list->items, b.list->size, made.list->items + a.list->size);
  made.kind = a.kind;
  out = made;
  return true;
}

bool JoinStrings(Workspace& work, const Value& a, const Value& b, Value& out) {
  if (!a.markup && !b.markup) return work.Concatenate(a.str(), b.str(), out);
  const std::string text = (a.markup ? std::string(a.str()) : EscapeHtml(a.str())) +
                           (b.markup ? std::string(b.str()) : EscapeHtml(b.str()));
  return work.NewString(text, out, true);
}

}  // namespace

bool Arithmetic(Workspace& work, Operator op, const Value& a, const Value& b, Value& out) {
  if (op == Operator::kAdd && a.is_string() && b.is_string()) return JoinStrings(work, a, b, out);
  if (a.is_number() && b.is_number()) return NumberArithmetic(work, op, a, b, out);
  if (op == Operator::kModulo && a.is_string()) return FormatPercent(work, a.str(), b, out);
  if (op == Operator::kAdd && a.is_sequence() && a.kind == b.kind) {
    return JoinSequences(work, a, b, out);
  }
  if (op == Operator::kMultiply) {
    if ((a.is_string() || a.is_sequence()) && b.is_integer()) {
      return Repeat(work, a, b.AsInteger(), out);
    }
    if ((b.is_string() || b.is_sequence()) && a.is_integer()) {
      return Repeat(work, b, a.AsInteger(), out);
    }
  }
  return FailOperands(work, op, a, b);
}

bool Negate(Workspace& work, Operator op, const Value& a, Value& out) {
  if (a.is_integer()) {
    if (op == Operator::kPlus) {
      out = Value::Int(a.AsInteger());
      return true;
    }
    return IntegerArithmetic(work, Operator::kSubtract, 0, a.AsInteger(), out);
  }
  if (a.Is(Kind::kFloat)) {
    out = Value::Float(op == Operator::kPlus ? a.real : -a.real);
    return true;
  }
  if (a.Is(Kind::kUndefined)) return FailUndefined(work, a);
  return work.Fail(std::string("expected a number after '") + OperatorSign(op) + "', got " +
                   KindName(a));
}

bool ReplaceText(Workspace& work, std::string_view text, std::string_view from, std::string_view to,
                 int64_t limit, Value& out) {
  std::string made;
  if (!work.Charge(1 + static_cast<int64_t>(text.size() / 64))) return false;
  size_t at = 0;
  if (from.empty()) {
    // Python puts `to` before every character and at the end.
    for (int64_t i = 0; limit < 0 || i < limit; ++i) {
      made += to;
      if (at == text.size()) break;
      const size_t next = at + RuneOffset(text.substr(at, 4), 1);
      made += text.substr(at, next - at);
      at = next;
      if (!work.HasRoom(made.size())) return false;
    }
  } else {
    for (int64_t i = 0; limit < 0 || i < limit; ++i) {
      const size_t found = FindText(text, from, at);
      if (found == std::string_view::npos) break;
      if (i == 0) made.reserve(text.size());
      made.append(text, at, found - at);
      made += to;
      at = found + from.size();
      if (!work.HasRoom(made.size())) return false;
    }
    if (at == 0) {
      out = Value::String(text);
      return true;
    }
  }
  made += text.substr(at);
  return work.NewString(made, out);
}

double RoundReal(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits >= 0) {
    char text[800];
    std::snprintf(text, sizeof(text), "%.*f", static_cast<int>(digits), value);
    return std::strtod(text, nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

}  // namespace sluice::text::jinja
