// What `is` can ask.
#include <string>

#include "text/jinja/builtin/filters.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

bool Takes(Evaluator& evaluator, const Arguments& arguments, size_t count, const Value** first) {
  const bool named = arguments.keywords != nullptr && arguments.keywords->count > 0;
  if (named || arguments.values.size() != count) {
    return evaluator.work().Fail("expected a test with " + std::to_string(count) +
                                 " arguments, got " + std::to_string(arguments.values.size()));
  }
  if (count > 0) *first = &arguments.values[0];
  return true;
}

bool Answer(Evaluator& evaluator, const Arguments& arguments, bool holds, bool& out) {
  out = holds;
  return Takes(evaluator, arguments, 0, nullptr);
}

bool Compared(Evaluator& evaluator, Operator op, const Value& input, const Arguments& arguments,
              bool& out) {
  const Value* other = nullptr;
  return Takes(evaluator, arguments, 1, &other) &&
         CompareWith(evaluator.work(), op, input, *other, out);
}

bool Remainder(Evaluator& evaluator, const Value& input, const Value& divisor, int64_t wanted,
               bool& out) {
  Value rest;
  if (!Arithmetic(evaluator.work(), Operator::kModulo, input, divisor, rest)) return false;
  out = Equal(evaluator.work(), rest, Value::Int(wanted));
  return true;
}

bool IsAllCase(Evaluator& evaluator, const Value& input, const Arguments& arguments,
               std::string_view name, bool& out) {
  Value text;
  if (!Takes(evaluator, arguments, 0, nullptr) || !ToStr(evaluator.work(), input, text))
    return false;
  out = HasClass(text.str(), name);
  return true;
}

}  // namespace

// A test of the value's kind alone.
#define SLUICE_KIND_TEST(Name, holds)                                                          \
  bool Name(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) { \
    return Answer(evaluator, arguments, holds, out);                                           \
  }
SLUICE_KIND_TEST(TestDefined, !input.Is(Kind::kUndefined))
SLUICE_KIND_TEST(TestUndefined, input.Is(Kind::kUndefined))
SLUICE_KIND_TEST(TestNone, input.Is(Kind::kNone))
SLUICE_KIND_TEST(TestBoolean, input.Is(Kind::kBool))
SLUICE_KIND_TEST(TestTrue, input.Is(Kind::kBool) && input.boolean)
SLUICE_KIND_TEST(TestFalse, input.Is(Kind::kBool) && !input.boolean)
SLUICE_KIND_TEST(TestInteger, input.Is(Kind::kInt))
SLUICE_KIND_TEST(TestFloat, input.Is(Kind::kFloat))
SLUICE_KIND_TEST(TestNumber, input.is_number())
SLUICE_KIND_TEST(TestString, input.is_string())
SLUICE_KIND_TEST(TestMapping, input.Is(Kind::kDict))
SLUICE_KIND_TEST(TestIterable, IsIterable(input))
SLUICE_KIND_TEST(TestEscaped, input.is_string() && input.markup)
SLUICE_KIND_TEST(TestSequence, input.is_string() || input.is_sequence() || input.Is(Kind::kDict) ||
                                   input.Is(Kind::kRange) || input.Is(Kind::kUndefined))
SLUICE_KIND_TEST(TestCallable, input.Is(Kind::kMacro) || input.Is(Kind::kFunction) ||
                                   input.Is(Kind::kMethod) || input.Is(Kind::kJoiner) ||
                                   input.Is(Kind::kLoop) || input.Is(Kind::kUndefined))
#undef SLUICE_KIND_TEST

#define SLUICE_COMPARING_TEST(Name, op)                                                        \
  bool Name(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) { \
    return Compared(evaluator, op, input, arguments, out);                                     \
  }
SLUICE_COMPARING_TEST(TestEqual, Operator::kEqual)
SLUICE_COMPARING_TEST(TestNotEqual, Operator::kNotEqual)
SLUICE_COMPARING_TEST(TestLess, Operator::kLess)
SLUICE_COMPARING_TEST(TestLessEqual, Operator::kLessEqual)
SLUICE_COMPARING_TEST(TestGreater, Operator::kGreater)
SLUICE_COMPARING_TEST(TestGreaterEqual, Operator::kGreaterEqual)
SLUICE_COMPARING_TEST(TestIn, Operator::kIn)
#undef SLUICE_COMPARING_TEST

bool TestFilter(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) {
  if (!IsHashable(input)) return evaluator.work().Fail("expected the name of a filter");
  const bool is_name = input.is_string();
  const bool known = is_name && (FindFilter(input.str()) || IsUnsupportedFilter(input.str()));
  return Answer(evaluator, arguments, known, out);
}
bool TestTest(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) {
  if (!IsHashable(input)) return evaluator.work().Fail("expected the name of a test");
  return Answer(evaluator, arguments, input.is_string() && FindTest(input.str()), out);
}
bool TestOdd(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) {
  return Takes(evaluator, arguments, 0, nullptr) &&
         Remainder(evaluator, input, Value::Int(2), 1, out);
}
bool TestEven(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) {
  return Takes(evaluator, arguments, 0, nullptr) &&
         Remainder(evaluator, input, Value::Int(2), 0, out);
}
bool TestDivisibleBy(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                     bool& out) {
  const Value* divisor = nullptr;
  return Takes(evaluator, arguments, 1, &divisor) && Remainder(evaluator, input, *divisor, 0, out);
}
bool TestLower(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) {
  return IsAllCase(evaluator, input, arguments, "lower", out);
}
bool TestUpper(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) {
  return IsAllCase(evaluator, input, arguments, "upper", out);
}
bool TestSameAs(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out) {
  const Value* other = nullptr;
  if (!Takes(evaluator, arguments, 1, &other)) return false;
  out = IsSame(input, *other);
  return true;
}

}  // namespace sluice::text::jinja
