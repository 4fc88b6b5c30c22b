#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "text/jinja/format.h"
#include "text/jinja/iterator.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

const char* Sign(Operator op) {
  constexpr const char* kSigns[] = {"+", "-",  "*", "/",  "//", "%",      "**", "==", "!=",
                                    "<", "<=", ">", ">=", "in", "not in", "-",  "+",  "not"};
  return kSigns[static_cast<size_t>(op)];
}

bool FailOperands(Workspace& work, Operator op, const Value& a, const Value& b) {
  if (a.Is(Kind::kUndefined)) return FailUndefined(work, a);
  if (b.Is(Kind::kUndefined)) return FailUndefined(work, b);
  return work.Fail(std::string("expected values that go with '") + Sign(op) + "', got " +
                   KindName(a) + " and " + KindName(b));
}

bool FailOverflow(Workspace& work) {
  return work.Fail("expected integers of at most 64 bits, got a larger result",
                   base::Code::kUnimplemented);
}

// -1, 0, 1, or 2 when a NaN is there. Exact: long double holds every int64.
int CompareNumbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) {
    const int64_t x = a.AsInteger();
    const int64_t y = b.AsInteger();
    return x < y ? -1 : (x > y ? 1 : 0);
  }
  const auto wide = [](const Value& value) {
    return value.Is(Kind::kFloat) ? static_cast<long double>(value.real)
                                  : static_cast<long double>(value.AsInteger());
  };
  const long double x = wide(a);
  const long double y = wide(b);
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : (x > y ? 1 : 0);
}

bool EqualLists(Workspace& work, const List& a, const List& b, int depth) {
  if (a.size != b.size) return false;
  if (&a == &b || a.items == b.items) return true;
  for (size_t i = 0; i < a.size; ++i) {
    if (!IsSame(a.items[i], b.items[i]) && !Equal(work, a.items[i], b.items[i], depth + 1)) {
      return false;
    }
  }
  return true;
}

bool EqualDicts(Workspace& work, const Dict& a, const Dict& b, int depth) {
  if (a.count != b.count) return false;
  if (&a == &b) return true;
  for (uint32_t i = 0; i < a.count; ++i) {
    const Value* other = b.Find(work, a.entries[i].key);
    if (other == nullptr) return false;
    if (!IsSame(a.entries[i].value, *other) &&
        !Equal(work, a.entries[i].value, *other, depth + 1)) {
      return false;
    }
  }
  return true;
}

bool Satisfies(Operator op, int order) {
  switch (op) {
    case Operator::kLess:
      return order == -1;
    case Operator::kLessEqual:
      return order == -1 || order == 0;
    case Operator::kGreater:
      return order == 1;
    default:
      return order == 1 || order == 0;
  }
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

const char* KindName(const Value& value) {
  constexpr const char* kNames[] = {
      "nothing", "an undefined value", "none",        "a bool",      "an integer",
      "a float", "a string",           "a list",      "a tuple",     "a dict",
      "a range", "a view of a dict",   "a namespace", "an iterator", "a loop",
      "a macro", "a function",         "a method",    "a cycler",    "a joiner"};
  return kNames[static_cast<size_t>(value.kind)];
}

bool FailUndefined(Workspace& work, const Value& value) {
  const std::string name(value.str());
  switch (value.why) {
    case Undefinedness::kName:
      return work.Fail("'" + name + "' is undefined");
    case Undefinedness::kAttribute:
      return work.Fail("expected a value that has '" + name + "': it is undefined");
    case Undefinedness::kUnsafe:
      return work.Fail("access to the attribute '" + name + "' is unsafe",
                       base::Code::kPermissionDenied);
    default:
      return work.Fail(name);
  }
}

bool IsTrue(const Value& value) {
  switch (value.kind) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.boolean;
    case Kind::kInt:
      return value.integer != 0;
    case Kind::kFloat:
      return value.real != 0;
    case Kind::kString:
      return value.size != 0;
    case Kind::kLoop:
      return true;
    default:
      return LengthOf(value) != 0;
  }
}

int64_t LengthOf(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return static_cast<int64_t>(CountRunes(value.str()));
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.list->size);
    case Kind::kDict:
      return value.dict->count;
    case Kind::kView:
      return value.view->dict->count;
    case Kind::kRange:
      return value.range->size;
    default:
      return -1;
  }
}

bool IsSame(const Value& a, const Value& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kBool:
      return a.boolean == b.boolean;
    case Kind::kString:
      return a.size == b.size && (a.text == b.text || a.str() == b.str());
    case Kind::kFunction:
      return a.builtin == b.builtin;
    default:
      return a.integer == b.integer;  // the same number, or the same place
  }
}

bool Equal(Workspace& work, const Value& a, const Value& b, int depth) {
  if (!work.Charge(1)) return false;
  if (depth > kNestingMax) {
    return work.Fail("more than " + std::to_string(kNestingMax) + " values within values",
                     base::Code::kResourceExhausted);
  }
  if (a.is_number() && b.is_number()) return CompareNumbers(a, b) == 0;
  if (a.kind != b.kind) {
    return false;
  }
  switch (a.kind) {
    case Kind::kString:
      return a.str() == b.str();
    case Kind::kList:
    case Kind::kTuple:
      return EqualLists(work, *a.list, *b.list, depth);
    case Kind::kDict:
      return EqualDicts(work, *a.dict, *b.dict, depth);
    case Kind::kRange:
      return a.range->size == b.range->size &&
             (a.range->size == 0 || (a.range->start == b.range->start &&
                                     (a.range->size == 1 || a.range->step == b.range->step)));
    case Kind::kMethod:
      return a.method->name == b.method->name && IsSame(a.method->self, b.method->self);
    default:
      return IsSame(a, b);
  }
}

bool Order(Workspace& work, Operator op, const Value& a, const Value& b, bool& out, int depth) {
  if (!work.Charge(1)) return false;
  if (depth > kNestingMax) {
    return work.Fail("more than " + std::to_string(kNestingMax) + " values within values",
                     base::Code::kResourceExhausted);
  }
  if (a.is_number() && b.is_number()) {
    out = Satisfies(op, CompareNumbers(a, b));
    return true;
  }
  if (a.is_string() && b.is_string()) {
    // The order of code points is that of UTF-8's bytes.
    const int order = a.str().compare(b.str());
    out = Satisfies(op, order < 0 ? -1 : (order > 0 ? 1 : 0));
    return true;
  }
  if (a.is_sequence() && a.kind == b.kind) {
    const size_t shared = std::min(a.list->size, b.list->size);
    for (size_t i = 0; i < shared; ++i) {
      const Value& x = a.list->items[i];
      const Value& y = b.list->items[i];
      if (!IsSame(x, y) && !Equal(work, x, y, depth + 1)) {
        return !work.failed() && Order(work, op, x, y, out, depth + 1);
      }
    }
    out = Satisfies(op, a.list->size < b.list->size ? -1 : (a.list->size > b.list->size ? 1 : 0));
    return true;
  }
  return FailOperands(work, op, a, b);
}

bool Contains(Workspace& work, const Value& container, const Value& item, bool& out) {
  switch (container.kind) {
    case Kind::kString:
      if (!item.is_string()) return FailOperands(work, Operator::kIn, item, container);
      if (!work.Charge(1 + container.size / 64)) return false;
      out = FindText(container.str(), item.str(), 0) != std::string_view::npos;
      return true;
    case Kind::kDict:
    case Kind::kView:
      if (container.Is(Kind::kDict) || container.view->kind == ViewKind::kKeys) {
        const Dict& dict = container.Is(Kind::kDict) ? *container.dict : *container.view->dict;
        if (!IsHashable(item)) return FailOperands(work, Operator::kIn, item, container);
        out = dict.Find(work, item) != nullptr;
        return !work.failed();
      }
      break;
    case Kind::kRange:
    case Kind::kUndefined:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kIterator:
    case Kind::kLoop:
      break;
    default:
      return FailOperands(work, Operator::kIn, item, container);
  }
  Iterator walk;
  if (!StartIterator(work, container, walk)) return false;
  out = false;
  for (;;) {
    Value other;
    const Step step = NextItem(work, walk, other);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) return true;
    if (IsSame(other, item) || Equal(work, other, item)) {
      out = true;
      return true;
    }
    if (work.failed()) return false;
  }
}

bool CompareWith(Workspace& work, Operator op, const Value& a, const Value& b, bool& out) {
  switch (op) {
    case Operator::kEqual:
    case Operator::kNotEqual:
      out = Equal(work, a, b) == (op == Operator::kEqual);
      return !work.failed();
    case Operator::kIn:
    case Operator::kNotIn:
      if (!Contains(work, b, a, out)) return false;
      out = out == (op == Operator::kIn);
      return true;
    default:
      return Order(work, op, a, b, out);
  }
}

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
  return work.Fail(std::string("expected a number after '") + Sign(op) + "', got " + KindName(a));
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
