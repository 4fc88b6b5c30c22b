// Expressions.
#include <algorithm>
#include <string>

#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {

bool Evaluator::Depth::Good() const {
  const int depth_max = evaluator_.work_.limits().depth_max;
  if (evaluator_.depth_ <= depth_max) return true;
  return evaluator_.work_.Fail(
      "expected at most " + std::to_string(depth_max) + " levels of evaluation",
      base::Code::kResourceExhausted);
}

bool Evaluator::Eval(const Expr& expr, Value& out) {
  if (expr.kind == ExprKind::kConst) {
    out = expr.value;
    return true;
  }
  if (!work_.Charge(1)) return false;
  if (expr.kind == ExprKind::kName) return EvalName(expr, out);
  const Depth depth(*this);
  if (!depth.Good()) return false;
  work_.line = expr.line;
  switch (expr.kind) {
    case ExprKind::kTuple:
    case ExprKind::kList:
      return EvalItems(expr, out);
    case ExprKind::kDict:
      return EvalDict(expr, out);
    case ExprKind::kUnary:
      return EvalUnary(expr, out);
    case ExprKind::kBinary:
      return EvalBinary(expr, out);
    case ExprKind::kAnd:
    case ExprKind::kOr:
      if (!Eval(*expr.a, out)) return false;
      return IsTrue(out) == (expr.kind == ExprKind::kOr) || Eval(*expr.b, out);
    case ExprKind::kCompare:
      return EvalCompare(expr, out);
    case ExprKind::kConcat:
      return EvalConcat(expr, out);
    case ExprKind::kConditional:
      return EvalConditional(expr, out);
    case ExprKind::kGetAttribute: {
      Value object;
      return Eval(*expr.a, object) && GetAttribute(object, expr.name, out);
    }
    case ExprKind::kGetItem:
      return EvalItem(expr, out);
    case ExprKind::kCall:
      return EvalCall(expr, nullptr, out);
    case ExprKind::kFilter:
      return EvalFilter(expr, out);
    case ExprKind::kTest:
      return EvalTest(expr, out);
    default:
      return work_.Fail("expected a value, got a slice");
  }
}

bool Evaluator::EvalName(const Expr& expr, Value& out) {
  out = *SlotOf(expr.place);
  if (out.Is(Kind::kMissing)) out = Value::Undefined(expr.name, Undefinedness::kName);
  return true;
}

bool Evaluator::EvalItems(const Expr& expr, Value& out) {
  Value made;
  if (!work_.NewList(expr.list.size(), made)) return false;
  for (size_t i = 0; i < expr.list.size(); ++i) {
    if (!Eval(*expr.list[i], made.list->items[i])) return false;
  }
  if (expr.kind == ExprKind::kTuple) made.kind = Kind::kTuple;
  out = made;
  return true;
}

bool Evaluator::EvalDict(const Expr& expr, Value& out) {
  Value made;
  if (!work_.NewDict(expr.list.size() / 2, made)) return false;
  for (size_t i = 0; i + 1 < expr.list.size(); i += 2) {
    Value key;
    Value value;
    if (!Eval(*expr.list[i], key) || !Eval(*expr.list[i + 1], value)) return false;
    if (!made.dict->Set(work_, key, value)) return false;
  }
  out = made;
  return true;
}

bool Evaluator::EvalUnary(const Expr& expr, Value& out) {
  Value value;
  if (!Eval(*expr.a, value)) return false;
  if (expr.op == Operator::kNot) {
    out = Value::Bool(!IsTrue(value));
    return true;
  }
  return Negate(work_, expr.op, value, out);
}

bool Evaluator::EvalBinary(const Expr& expr, Value& out) {
  Value a;
  Value b;
  if (!Eval(*expr.a, a) || !Eval(*expr.b, b)) return false;
  work_.line = expr.line;
  return Arithmetic(work_, expr.op, a, b, out);
}

bool Evaluator::EvalCompare(const Expr& expr, Value& out) {
  Value left;
  if (!Eval(*expr.a, left)) return false;
  for (size_t i = 0; i < expr.list.size(); ++i) {
    Value right;
    bool holds = false;
    if (!Eval(*expr.list[i], right)) return false;
    if (!CompareWith(work_, expr.operators[i], left, right, holds)) return false;
    out = Value::Bool(holds);
    if (!holds) return true;
    left = right;
  }
  return true;
}

bool Evaluator::EvalConcat(const Expr& expr, Value& out) {
  Value joined = Value::String({});
  for (const Expr* part : expr.list) {
    Value value;
    Value text;
    if (!Eval(*part, value) || !ToStr(work_, value, text)) return false;
    if (!work_.Concatenate(joined.str(), text.str(), joined)) return false;
  }
  out = joined;
  return true;
}

bool Evaluator::EvalConditional(const Expr& expr, Value& out) {
  Value test;
  if (!Eval(*expr.b, test)) return false;
  if (IsTrue(test)) return Eval(*expr.a, out);
  if (expr.c != nullptr) return Eval(*expr.c, out);
  out = Value::Undefined("an inline 'if' without 'else' is false", Undefinedness::kHint);
  return true;
}

bool Evaluator::EvalItem(const Expr& expr, Value& out) {
  Value object;
  if (!Eval(*expr.a, object)) return false;
  if (expr.b->kind == ExprKind::kSlice) return Slice(object, *expr.b, out);
  Value key;
  return Eval(*expr.b, key) && GetItem(object, key, out);
}

bool Evaluator::EvalArguments(const Expr& call, const Value* caller, Value* few, Arguments& out) {
  Value more;  // of *x, as a list
  if (call.more_arguments != nullptr) {
    Value given;
    if (!Eval(*call.more_arguments, given) || !Collect(work_, given, more)) return false;
  }
  const size_t more_count = more.Is(Kind::kList) ? more.list->size : 0;
  const size_t count = call.list.size() + more_count;
  Value* values = few;
  if (count > kFew) {
    values = work_.NewArray<Value>(count);
    if (values == nullptr) return false;
  }
  for (size_t i = 0; i < call.list.size(); ++i) {
    if (!Eval(*call.list[i], values[i])) return false;
  }
  for (size_t i = 0; i < more_count; ++i) values[call.list.size() + i] = more.list->items[i];
  out.values = {values, count};
  if (call.keywords.empty() && call.more_keywords == nullptr && caller == nullptr) return true;
  Value keywords;
  if (!work_.NewDict(call.keywords.size() + 1, keywords)) return false;
  for (const KeywordExpr& keyword : call.keywords) {
    Value value;
    if (!Eval(*keyword.value, value)) return false;
    if (!keywords.dict->Set(work_, Value::String(keyword.name), value)) return false;
  }
  if (caller != nullptr && !keywords.dict->Set(work_, Value::String("caller"), *caller)) {
    return false;
  }
  if (call.more_keywords != nullptr) {
    Value given;
    if (!Eval(*call.more_keywords, given)) return false;
    if (!given.Is(Kind::kDict)) {
      return work_.Fail(std::string("expected a dict after '**', got ") + KindName(given));
    }
    for (uint32_t i = 0; i < given.dict->count; ++i) {
      const Dict::Entry& entry = given.dict->entries[i];
      if (!entry.key.is_string()) return work_.Fail("expected strings as keys after '**'");
      if (keywords.dict->Find(entry.key.str()) != nullptr) {
        return work_.Fail("the argument '" + std::string(entry.key.str()) + "' comes twice");
      }
      if (!keywords.dict->Set(work_, entry.key, entry.value)) return false;
    }
  }
  out.keywords = keywords.dict;
  return true;
}

bool Evaluator::EvalCall(const Expr& expr, const Value* caller, Value& out) {
  Value callee;
  Value few[kFew];
  Arguments arguments;
  if (!Eval(*expr.a, callee) || !EvalArguments(expr, caller, few, arguments)) return false;
  work_.line = expr.line;
  return Call(callee, arguments, out);
}

bool Evaluator::EvalFilter(const Expr& expr, Value& out) {
  Value input = block_;
  if (expr.a != nullptr && !Eval(*expr.a, input)) return false;
  Value few[kFew];
  Arguments arguments;
  if (!EvalArguments(expr, nullptr, few, arguments)) return false;
  work_.line = expr.line;
  if (expr.filter == nullptr) {
    return work_.Fail("expected a filter that is there, got '" + std::string(expr.name) + "'");
  }
  return expr.filter->call(*this, input, arguments, out);
}

bool Evaluator::EvalTest(const Expr& expr, Value& out) {
  Value input;
  Value few[kFew];
  Arguments arguments;
  if (!Eval(*expr.a, input) || !EvalArguments(expr, nullptr, few, arguments)) return false;
  work_.line = expr.line;
  if (expr.test == nullptr) {
    return work_.Fail("expected a test that is there, got '" + std::string(expr.name) + "'");
  }
  bool holds = false;
  if (!expr.test->call(*this, input, arguments, holds)) return false;
  out = Value::Bool(holds);
  return true;
}

bool Evaluator::ApplyFilter(std::string_view name, const Value& input, const Arguments& arguments,
                            Value& out) {
  const Depth depth(*this);
  if (!depth.Good()) return false;
  const Filter* filter = FindFilter(name);
  if (filter == nullptr) {
    return work_.Fail("expected a filter that is there, got '" + std::string(name) + "'");
  }
  return filter->call(*this, input, arguments, out);
}

bool Evaluator::ApplyTest(std::string_view name, const Value& input, const Arguments& arguments,
                          bool& out) {
  const Test* test = FindTest(name);
  if (test == nullptr) {
    return work_.Fail("expected a test that is there, got '" + std::string(name) + "'");
  }
  return test->call(*this, input, arguments, out);
}

bool Evaluator::Call(const Value& callee, const Arguments& arguments, Value& out) {
  const Depth depth(*this);
  if (!depth.Good()) return false;
  switch (callee.kind) {
    case Kind::kMacro:
      return Invoke(*callee.macro, arguments, out);
    case Kind::kFunction:
      return CallFunction(*this, callee.builtin, arguments, out);
    case Kind::kMethod: {
      const Method& method = *callee.method;
      if (method.self.Is(Kind::kLoop)) {
        return LoopMethod(*method.self.loop, method.name, arguments, out);
      }
      return CallMethod(*this, method, arguments, out);
    }
    case Kind::kJoiner:
      return CallJoiner(*callee.joiner, out);
    case Kind::kUndefined:
      return FailUndefined(work_, callee);
    default:
      return work_.Fail(std::string("expected something to call, got ") + KindName(callee));
  }
}

bool Evaluator::Print(const Value& value) {
  if (value.is_string()) return Append(value.str());
  return AppendStr(work_, value, output_) && Append({});
}

bool Evaluator::Append(std::string_view text) {
  if (output_.size() + text.size() > work_.limits().output_bytes_max) {
    return work_.Fail(
        "more than " + std::to_string(work_.limits().output_bytes_max) + " bytes of output",
        base::Code::kResourceExhausted);
  }
  output_.append(text);
  return true;
}

}  // namespace sluice::text::jinja
