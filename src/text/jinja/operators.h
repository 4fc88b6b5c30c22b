// What Python's operators do with a template's values. All return false after a failure that the
// workspace keeps.
#pragma once

#include <cstdint>
#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
  kNegate,
  kPlus,
  kNot,
};

// "a list", for messages.
const char* KindName(const Value& value);
const char* OperatorSign(Operator op);
// Fails with the operator and what it was given.
bool FailOperands(Workspace& work, Operator op, const Value& a, const Value& b);
// Fails with what makes `value` undefined.
bool FailUndefined(Workspace& work, const Value& value);

bool IsTrue(const Value& value);
// Never fails but by limits.
bool Equal(Workspace& work, const Value& a, const Value& b, int depth = 0);
// Also true for floats with the same bits: what `is` says of constants and objects.
bool IsSame(const Value& a, const Value& b);
// <, <=, >, >= of values that Python orders.
bool Order(Workspace& work, Operator op, const Value& a, const Value& b, bool& out, int depth = 0);
// All but arithmetic: ==, orderings, in.
bool CompareWith(Workspace& work, Operator op, const Value& a, const Value& b, bool& out);
bool Contains(Workspace& work, const Value& container, const Value& item, bool& out);
// +, -, *, /, //, %, **.
bool Arithmetic(Workspace& work, Operator op, const Value& a, const Value& b, Value& out);
bool Negate(Workspace& work, Operator op, const Value& a, Value& out);
// len(); -1 for what has none.
int64_t LengthOf(const Value& value);

// str.replace; a negative limit is none.
bool ReplaceText(Workspace& work, std::string_view text, std::string_view from, std::string_view to,
                 int64_t limit, Value& out);
// Python's round(): halves go to even.
double RoundReal(double value, int64_t digits);

}  // namespace sluice::text::jinja
