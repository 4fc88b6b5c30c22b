// What follows a value: subscripts, calls, filters and tests.
#include <string>
#include <utility>

#include "text/jinja/parse/parser.h"

namespace sluice::text::jinja {

using base::Result;
using base::Status;

Result<Expr*> Parser::Postfix(Expr* node) {
  for (;;) {
    if (Is(TokenKind::kDot) || Is(TokenKind::kLeftBracket)) {
      node = TRY(Subscript(node));
    } else if (Is(TokenKind::kLeftParen)) {
      node = TRY(CallOf(node));
    } else {
      return node;
    }
  }
}

Result<Expr*> Parser::FilterExpr(Expr* node) {
  for (;;) {
    if (Is(TokenKind::kPipe)) {
      node = TRY(Filters(node, false));
    } else if (IsName("is")) {
      node = TRY(TestOf(node));
    } else if (Is(TokenKind::kLeftParen)) {
      node = TRY(CallOf(node));
    } else {
      return node;
    }
  }
}

Result<Expr*> Parser::Subscript(Expr* node) {
  const uint32_t line = current().line;
  if (SkipIf(TokenKind::kDot)) {
    if (Is(TokenKind::kName)) {
      Expr* attribute = NewExpr(ExprKind::kGetAttribute, line);
      attribute->a = node;
      attribute->name = current().text;
      Skip();
      return attribute;
    }
    if (!Is(TokenKind::kInteger)) return Expected("a name or a number after '.'");
    Expr* item = NewExpr(ExprKind::kGetItem, line);
    item->a = node;
    item->b = NewExpr(ExprKind::kConst, line);
    item->b->value = Value::Int(current().integer);
    Skip();
    return item;
  }
  Skip();
  std::vector<Expr*> keys;
  while (!Is(TokenKind::kRightBracket)) {
    if (!keys.empty()) TRY(Expect(TokenKind::kComma));
    keys.push_back(TRY(Subscribed()));
  }
  TRY(Expect(TokenKind::kRightBracket));
  Expr* item = NewExpr(ExprKind::kGetItem, line);
  item->a = node;
  if (keys.size() == 1) {
    item->b = keys[0];
    return item;
  }
  for (const Expr* key : keys) {
    if (key->kind == ExprKind::kSlice) return FailAt(line, "expected a single slice in '[]'");
  }
  item->b = NewExpr(ExprKind::kTuple, line);
  item->b->list = std::move(keys);
  return item;
}

Result<Expr*> Parser::Subscribed() {
  const uint32_t line = current().line;
  Expr* first = nullptr;
  if (!Is(TokenKind::kColon)) {
    first = TRY(Expression());
    if (!Is(TokenKind::kColon)) return first;
  }
  Skip();
  Expr* slice = NewExpr(ExprKind::kSlice, line);
  slice->a = first;
  const auto ends = [&] { return Is(TokenKind::kRightBracket) || Is(TokenKind::kComma); };
  if (!Is(TokenKind::kColon) && !ends()) slice->b = TRY(Expression());
  if (SkipIf(TokenKind::kColon) && !ends()) slice->c = TRY(Expression());
  return slice;
}

Status Parser::CallArguments(Expr* call) {
  const uint32_t line = current().line;
  const auto wrong = [&] { return FailAt(line, "expected arguments in Python's order"); };
  TRY(Expect(TokenKind::kLeftParen));
  bool comma = false;
  while (!Is(TokenKind::kRightParen)) {
    if (comma) {
      TRY(Expect(TokenKind::kComma));
      if (Is(TokenKind::kRightParen)) break;
    }
    comma = true;
    if (SkipIf(TokenKind::kMultiply)) {
      if (call->more_arguments != nullptr || call->more_keywords != nullptr) return wrong();
      call->more_arguments = TRY(Expression());
    } else if (SkipIf(TokenKind::kPower)) {
      if (call->more_keywords != nullptr) return wrong();
      call->more_keywords = TRY(Expression());
    } else if (Is(TokenKind::kName) && next().kind == TokenKind::kAssign) {
      if (call->more_keywords != nullptr) return wrong();
      const std::string_view name = current().text;
      for (const KeywordExpr& other : call->keywords) {
        if (other.name == name) {
          return FailAt(line, "the argument '" + std::string(name) + "' comes twice");
        }
      }
      Skip();
      Skip();
      Expr* value = TRY(Expression());
      call->keywords.push_back({name, value});
    } else {
      if (call->more_arguments != nullptr || call->more_keywords != nullptr ||
          !call->keywords.empty()) {
        return wrong();
      }
      call->list.push_back(TRY(Expression()));
    }
  }
  return Expect(TokenKind::kRightParen);
}

Result<Expr*> Parser::CallOf(Expr* node) {
  Expr* call = NewExpr(ExprKind::kCall, current().line);
  call->a = node;
  TRY(CallArguments(call));
  return call;
}

Result<std::string_view> Parser::DottedName() {
  std::string_view name = TRY(ExpectName());
  if (!Is(TokenKind::kDot)) return name;
  std::string joined(name);
  while (SkipIf(TokenKind::kDot)) joined += "." + std::string(TRY(ExpectName()));
  program_.strings.push_back(std::move(joined));
  return std::string_view(program_.strings.back());
}

Result<Expr*> Parser::Filters(Expr* node, bool start_inline) {
  while (Is(TokenKind::kPipe) || start_inline) {
    if (!std::exchange(start_inline, false)) Skip();
    Expr* filter = NewExpr(ExprKind::kFilter, current().line);
    filter->a = node;
    filter->name = TRY(DottedName());
    if (Is(TokenKind::kLeftParen)) TRY(CallArguments(filter));
    node = filter;
  }
  return node;
}

Result<Expr*> Parser::TestOf(Expr* node) {
  Expr* test = NewExpr(ExprKind::kTest, current().line);
  Skip();
  const bool negated = SkipName("not");
  test->a = node;
  test->name = TRY(DottedName());
  switch (current().kind) {
    case TokenKind::kLeftParen:
      TRY(CallArguments(test));
      break;
    case TokenKind::kName:
      if (IsName("else") || IsName("or") || IsName("and")) break;
      if (IsName("is")) return FailAt(test->line, "tests cannot be chained with 'is'");
      [[fallthrough]];
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
    case TokenKind::kLeftBracket:
    case TokenKind::kLeftBrace: {
      Expr* argument = TRY(Primary());
      test->list.push_back(TRY(Postfix(argument)));
      break;
    }
    default:
      break;
  }
  if (!negated) return test;
  Expr* node_not = NewExpr(ExprKind::kUnary, test->line);
  node_not->op = Operator::kNot;
  node_not->a = test;
  return node_not;
}

}  // namespace sluice::text::jinja
