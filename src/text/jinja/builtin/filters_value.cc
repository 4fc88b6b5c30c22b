// Filters of single values: numbers, JSON, attributes.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "text/jinja/builtin/filters.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/number_text.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace sluice::text::jinja {
namespace {

bool FailTooLarge(Workspace& work) {
  return work.Fail("expected an integer of at most 64 bits", base::Code::kUnimplemented);
}

// round() of an integer to tens, hundreds and so on: halves to even.
int64_t RoundInteger(int64_t value, int64_t digits) {
  if (digits >= 0) return value;
  int64_t scale = 1;
  for (int64_t i = digits; i < 0; ++i) {
    if (__builtin_mul_overflow(scale, int64_t{10}, &scale)) return 0;
  }
  int64_t rest = value % scale;
  if (rest < 0) rest += scale;
  int64_t down = 0;
  if (__builtin_sub_overflow(value, rest, &down)) return value;
  const bool odd = (down / scale) % 2 != 0;
  const int64_t half = scale / 2;
  int64_t up = 0;
  if (__builtin_add_overflow(down, scale, &up)) return down;
  return rest > half || (rest == half && odd) ? up : down;
}

bool RoundTo(Workspace& work, const Value& input, int64_t digits, bool up, Value& out) {
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = input.AsReal() * scale;
  if (!std::isfinite(scaled) || scale == 0) return work.Fail("'round' expects a finite number");
  const double whole = up ? std::ceil(scaled) : std::floor(scaled);
  out = Value::Float(whole / scale);
  return true;
}

bool IndentOf(Workspace& work, const Value& given, std::string& space, JsonStyle& style) {
  if (given.Is(Kind::kMissing) || given.Is(Kind::kNone)) return true;
  style.indented = true;
  style.item_separator = ",";
  if (given.is_string()) {
    style.indent = given.str();
    return true;
  }
  if (!given.is_integer()) {
    return work.Fail(std::string("'tojson' expects an integer or a string as indent, got ") +
                     KindName(given));
  }
  const int64_t width = std::clamp<int64_t>(given.AsInteger(), 0, int64_t{1} << 16);
  space.assign(static_cast<size_t>(width), ' ');
  style.indent = space;
  return true;
}

bool SeparatorsOf(Workspace& work, const Value& given, JsonStyle& style) {
  if (given.Is(Kind::kMissing) || given.Is(Kind::kNone)) return true;
  Value pair;
  if (!Collect(work, given, pair)) return false;
  if (pair.list->size != 2 || !pair.list->items[0].is_string() ||
      !pair.list->items[1].is_string()) {
    return work.Fail("'tojson' expects two strings as separators");
  }
  style.item_separator = pair.list->items[0].str();
  style.key_separator = pair.list->items[1].str();
  return true;
}

}  // namespace

bool FilterToJson(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  constexpr std::string_view kNames[] = {"ensure_ascii", "indent", "separators", "sort_keys"};
  Workspace& work = evaluator.work();
  std::array<Value, 4> given;
  if (!BindArguments(work, "tojson", arguments, kNames, 0, given.data())) return false;
  JsonStyle style;
  std::string space;
  style.ensure_ascii = IsTrue(given[0]);
  style.sort_keys = IsTrue(given[3]);
  if (!IndentOf(work, given[1], space, style)) return false;
  if (!SeparatorsOf(work, given[2], style)) return false;
  std::string text;
  return AppendJson(work, input, style, text) && work.NewString(text, out);
}

bool FilterAbs(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  Workspace& work = evaluator.work();
  if (!BindArguments(work, "abs", arguments, {}, 0, nullptr)) return false;
  if (input.Is(Kind::kFloat)) {
    out = Value::Float(std::fabs(input.real));
    return true;
  }
  if (!input.is_integer()) {
    return work.Fail(std::string("'abs' expects a number, got ") + KindName(input));
  }
  if (input.AsInteger() == INT64_MIN) return FailTooLarge(work);
  out = Value::Int(std::abs(input.AsInteger()));
  return true;
}

bool FilterRound(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"precision", "method"};
  Workspace& work = evaluator.work();
  std::array<Value, 2> given;
  if (!BindArguments(work, "round", arguments, kNames, 0, given.data())) return false;
  const std::string_view method = given[1].is_string() ? given[1].str() : "common";
  const bool known = method == "common" || method == "ceil" || method == "floor";
  if (!known || !(given[1].Is(Kind::kMissing) || given[1].is_string())) {
    return work.Fail("'round' expects 'common', 'ceil' or 'floor' as its method");
  }
  if (input.Is(Kind::kUndefined)) return FailUndefined(work, input);
  if (!input.is_number()) {
    return work.Fail(std::string("'round' expects a number, got ") + KindName(input));
  }
  const bool no_digits = method == "common" && given[0].Is(Kind::kNone);
  if (!given[0].Is(Kind::kMissing) && !given[0].is_integer() && !no_digits) {
    return work.Fail("'round' expects an integer as its precision");
  }
  const int64_t digits = given[0].is_integer() ? given[0].AsInteger() : 0;
  if (method != "common") return RoundTo(work, input, digits, method == "ceil", out);
  if (input.is_integer()) {
    out = Value::Int(RoundInteger(input.AsInteger(), digits));
    return true;
  }
  const double rounded = RoundReal(input.real, digits);
  if (!no_digits) {
    out = Value::Float(rounded);
    return true;
  }
  int64_t whole = 0;
  if (!TruncateReal(rounded, whole)) return work.Fail("'round' expects a finite number");
  out = Value::Int(whole);
  return true;
}

bool FilterInt(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"default", "base"};
  Workspace& work = evaluator.work();
  std::array<Value, 2> given;
  if (!BindArguments(work, "int", arguments, kNames, 0, given.data())) return false;
  const Value otherwise = given[0].Is(Kind::kMissing) ? Value::Int(0) : given[0];
  if (input.Is(Kind::kUndefined)) return FailUndefined(work, input);
  int64_t base = 10;
  if (!given[1].Is(Kind::kMissing)) {
    if (input.is_string() && !given[1].is_integer())
      return work.Fail("'int' expects an integer as base");
    if (given[1].is_integer()) base = given[1].AsInteger();
  }
  int64_t whole = 0;
  double real = 0;
  out = otherwise;
  if (input.is_integer()) {
    out = Value::Int(input.AsInteger());
  } else if (input.Is(Kind::kFloat)) {
    if (!std::isfinite(input.real))
      return std::isnan(input.real) || work.Fail("'int' expects a finite number");
    if (!TruncateReal(input.real, whole)) return FailTooLarge(work);
    out = Value::Int(whole);
  } else if (input.is_string()) {
    const bool good_base = base == 0 || (base >= 2 && base <= 36);
    const ParsedInteger parsed =
        good_base ? ParseInteger(input.str(), static_cast<int>(base), whole) : ParsedInteger::kBad;
    if (parsed == ParsedInteger::kTooLarge) return FailTooLarge(work);
    if (parsed == ParsedInteger::kGood) {
      out = Value::Int(whole);
    } else if (ParseReal(input.str(), real) && std::isfinite(real)) {
      if (!TruncateReal(real, whole)) return FailTooLarge(work);
      out = Value::Int(whole);
    }
  }
  return true;
}

bool FilterFloat(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"default"};
  Workspace& work = evaluator.work();
  Value otherwise;
  if (!BindArguments(work, "float", arguments, kNames, 0, &otherwise)) return false;
  if (input.Is(Kind::kUndefined)) return FailUndefined(work, input);
  double real = 0;
  if (input.is_number()) {
    out = Value::Float(input.AsReal());
  } else if (input.is_string() && ParseReal(input.str(), real)) {
    out = Value::Float(real);
  } else {
    out = otherwise.Is(Kind::kMissing) ? Value::Float(0) : otherwise;
  }
  return true;
}

bool FilterDefault(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out) {
  constexpr std::string_view kNames[] = {"default_value", "boolean"};
  std::array<Value, 2> given;
  if (!BindArguments(evaluator.work(), "default", arguments, kNames, 0, given.data())) return false;
  const bool replaced = input.Is(Kind::kUndefined) || (IsTrue(given[1]) && !IsTrue(input));
  out = !replaced ? input : (given[0].Is(Kind::kMissing) ? Value::String({}) : given[0]);
  return true;
}

bool FilterAttr(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"name"};
  Workspace& work = evaluator.work();
  Value name;
  if (!BindArguments(work, "attr", arguments, kNames, 1, &name)) return false;
  if (!name.is_string()) return work.Fail("'attr' expects a string");
  if (input.Is(Kind::kUndefined)) return FailUndefined(work, input);
  const Value object = input;
  if (evaluator.FindAttribute(object, name.str(), out)) return true;
  out = Value::Undefined(name.str(), Undefinedness::kAttribute);
  return !work.failed();
}

bool FilterLength(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  Workspace& work = evaluator.work();
  if (!BindArguments(work, "length", arguments, {}, 0, nullptr)) return false;
  int64_t length = LengthOf(input);
  Value loop_length;
  if (input.Is(Kind::kLoop)) {
    if (!evaluator.FindAttribute(input, "length", loop_length)) return false;
    length = loop_length.integer;
  }
  if (length < 0) {
    return work.Fail(std::string("'length' expects something that has one, got ") +
                     KindName(input));
  }
  out = Value::Int(length);
  return true;
}

}  // namespace sluice::text::jinja
