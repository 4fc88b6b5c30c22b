#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "text/jinja/iterator.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

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

}  // namespace

const char* OperatorSign(Operator op) {
  constexpr const char* kSigns[] = {"+", "-",  "*", "/",  "//", "%",      "**", "==", "!=",
                                    "<", "<=", ">", ">=", "in", "not in", "-",  "+",  "not"};
  return kSigns[static_cast<size_t>(op)];
}

bool FailOperands(Workspace& work, Operator op, const Value& a, const Value& b) {
  if (a.Is(Kind::kUndefined)) return FailUndefined(work, a);
  if (b.Is(Kind::kUndefined)) return FailUndefined(work, b);
  return work.Fail(std::string("expected values that go with '") + OperatorSign(op) + "', got " +
                   KindName(a) + " and " + KindName(b));
}

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

}  // namespace sluice::text::jinja
