// Expressions, by the precedences of Jinja 3.1.
#include <array>
#include <utility>

#include "text/jinja/parse/parser.h"

namespace sluice::text::jinja {
namespace {

using base::Result;

struct OperatorToken {
  TokenKind token;
  Operator op;
};

constexpr std::array kComparisons = {
    OperatorToken{TokenKind::kEqual, Operator::kEqual},
    OperatorToken{TokenKind::kNotEqual, Operator::kNotEqual},
    OperatorToken{TokenKind::kLess, Operator::kLess},
    OperatorToken{TokenKind::kLessEqual, Operator::kLessEqual},
    OperatorToken{TokenKind::kGreater, Operator::kGreater},
    OperatorToken{TokenKind::kGreaterEqual, Operator::kGreaterEqual},
};
constexpr std::array kSums = {OperatorToken{TokenKind::kAdd, Operator::kAdd},
                              OperatorToken{TokenKind::kSubtract, Operator::kSubtract}};
constexpr std::array kProducts = {OperatorToken{TokenKind::kMultiply, Operator::kMultiply},
                                  OperatorToken{TokenKind::kDivide, Operator::kDivide},
                                  OperatorToken{TokenKind::kFloorDivide, Operator::kFloorDivide},
                                  OperatorToken{TokenKind::kModulo, Operator::kModulo}};

template <size_t n>
const OperatorToken* FindOperator(const std::array<OperatorToken, n>& all, TokenKind kind) {
  for (const OperatorToken& one : all) {
    if (one.token == kind) return &one;
  }
  return nullptr;
}

}  // namespace

Result<Expr*> Parser::Expression(bool with_condition) {
  const Nesting nesting(*this);
  TRY(nesting.Check());
  if (!with_condition) return Or();
  Expr* node = TRY(Or());
  while (IsName("if")) {
    Expr* choice = NewExpr(ExprKind::kConditional, current().line);
    Skip();
    choice->a = node;
    choice->b = TRY(Or());
    if (SkipName("else")) choice->c = TRY(Expression());
    node = choice;
  }
  return node;
}

Result<Expr*> Parser::Or() {
  Expr* node = TRY(And());
  while (IsName("or")) {
    Expr* both = NewExpr(ExprKind::kOr, current().line);
    Skip();
    both->a = node;
    both->b = TRY(And());
    node = both;
  }
  return node;
}

Result<Expr*> Parser::And() {
  Expr* node = TRY(Not());
  while (IsName("and")) {
    Expr* both = NewExpr(ExprKind::kAnd, current().line);
    Skip();
    both->a = node;
    both->b = TRY(Not());
    node = both;
  }
  return node;
}

Result<Expr*> Parser::Not() {
  if (!IsName("not")) return Comparison();
  const Nesting nesting(*this);
  TRY(nesting.Check());
  Expr* node = NewExpr(ExprKind::kUnary, current().line);
  Skip();
  node->op = Operator::kNot;
  node->a = TRY(Not());
  return node;
}

Result<Expr*> Parser::Comparison() {
  Expr* first = TRY(Sum());
  Expr* node = nullptr;
  for (;;) {
    const uint32_t line = current().line;
    Operator op = Operator::kIn;
    if (const OperatorToken* known = FindOperator(kComparisons, current().kind)) {
      op = known->op;
      Skip();
    } else if (IsName("not") && next().kind == TokenKind::kName && next().text == "in") {
      op = Operator::kNotIn;
      Skip();
      Skip();
    } else if (!SkipName("in")) {
      return node == nullptr ? first : node;
    }
    if (node == nullptr) {
      node = NewExpr(ExprKind::kCompare, line);
      node->a = first;
    }
    node->operators.push_back(op);
    node->list.push_back(TRY(Sum()));
  }
}

Result<Expr*> Parser::Sum() {
  Expr* node = TRY(Concat());
  while (const OperatorToken* known = FindOperator(kSums, current().kind)) {
    Expr* sum = NewExpr(ExprKind::kBinary, current().line);
    Skip();
    sum->op = known->op;
    sum->a = node;
    sum->b = TRY(Concat());
    node = sum;
  }
  return node;
}

Result<Expr*> Parser::Concat() {
  Expr* first = TRY(Product());
  if (!Is(TokenKind::kTilde)) return first;
  Expr* node = NewExpr(ExprKind::kConcat, current().line);
  node->list.push_back(first);
  while (SkipIf(TokenKind::kTilde)) node->list.push_back(TRY(Product()));
  return node;
}

Result<Expr*> Parser::Product() {
  Expr* node = TRY(Power());
  while (const OperatorToken* known = FindOperator(kProducts, current().kind)) {
    Expr* product = NewExpr(ExprKind::kBinary, current().line);
    Skip();
    product->op = known->op;
    product->a = node;
    product->b = TRY(Power());
    node = product;
  }
  return node;
}

Result<Expr*> Parser::Power() {
  Expr* node = TRY(Unary());
  while (Is(TokenKind::kPower)) {
    Expr* power = NewExpr(ExprKind::kBinary, current().line);
    Skip();
    power->op = Operator::kPower;
    power->a = node;
    power->b = TRY(Unary());
    node = power;
  }
  return node;
}

Result<Expr*> Parser::Unary(bool with_filter) {
  const Nesting nesting(*this);
  TRY(nesting.Check());
  Expr* node = nullptr;
  if (Is(TokenKind::kSubtract) || Is(TokenKind::kAdd)) {
    node = NewExpr(ExprKind::kUnary, current().line);
    node->op = Is(TokenKind::kSubtract) ? Operator::kNegate : Operator::kPlus;
    Skip();
    node->a = TRY(Unary(false));
  } else {
    node = TRY(Primary());
  }
  node = TRY(Postfix(node));
  return with_filter ? FilterExpr(node) : Result<Expr*>(node);
}

Result<Expr*> Parser::Primary(bool with_namespace) {
  const Token token = current();
  Expr* node = NewExpr(ExprKind::kConst, token.line);
  switch (token.kind) {
    case TokenKind::kName:
      Skip();
      if (token.text == "true" || token.text == "True") {
        node->value = Value::Bool(true);
      } else if (token.text == "false" || token.text == "False") {
        node->value = Value::Bool(false);
      } else if (token.text == "none" || token.text == "None") {
        node->value = Value::None();
      } else if (with_namespace && SkipIf(TokenKind::kDot)) {
        node->kind = ExprKind::kNamespaceTarget;
        node->name = token.text;
        node->value = Value::String(TRY(ExpectName()));
      } else {
        node->kind = ExprKind::kName;
        node->name = token.text;
      }
      return node;
    case TokenKind::kString: {
      Skip();
      if (!Is(TokenKind::kString)) {
        node->value = Value::String(token.text);
        return node;
      }
      std::string joined(token.text);
      for (; Is(TokenKind::kString); Skip()) joined += current().text;
      program_.strings.push_back(std::move(joined));
      node->value = Value::String(program_.strings.back());
      return node;
    }
    case TokenKind::kInteger:
      Skip();
      node->value = Value::Int(token.integer);
      return node;
    case TokenKind::kFloat:
      Skip();
      node->value = Value::Float(token.real);
      return node;
    case TokenKind::kLeftParen:
      Skip();
      node = TRY(Tuple(TupleOf::kExpressions, {}, true));
      TRY(Expect(TokenKind::kRightParen));
      return node;
    case TokenKind::kLeftBracket:
      return ListLiteral();
    case TokenKind::kLeftBrace:
      return DictLiteral();
    default:
      return Expected("an expression");
  }
}

bool Parser::IsTupleEnd(std::string_view end_name) const {
  return Is(TokenKind::kVariableEnd) || Is(TokenKind::kBlockEnd) || Is(TokenKind::kRightParen) ||
         (!end_name.empty() && IsName(end_name));
}

Result<Expr*> Parser::Tuple(TupleOf what, std::string_view end_name, bool in_parentheses) {
  const Nesting nesting(*this);
  TRY(nesting.Check());
  const uint32_t line = current().line;
  std::vector<Expr*> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) TRY(Expect(TokenKind::kComma));
    if (IsTupleEnd(end_name)) break;
    if (what == TupleOf::kTargets || what == TupleOf::kNamespaceTargets) {
      items.push_back(TRY(Primary(what == TupleOf::kNamespaceTargets)));
    } else {
      items.push_back(TRY(Expression(what == TupleOf::kExpressions)));
    }
    if (!Is(TokenKind::kComma)) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return items[0];
    if (!in_parentheses) return Expected("an expression");
  }
  Expr* tuple = NewExpr(ExprKind::kTuple, line);
  tuple->list = std::move(items);
  return tuple;
}

Result<Expr*> Parser::Target(std::string_view end_name, bool with_namespace) {
  Expr* target =
      TRY(Tuple(with_namespace ? TupleOf::kNamespaceTargets : TupleOf::kTargets, end_name));
  std::vector<Expr*> open = {target};
  while (!open.empty()) {
    Expr* one = open.back();
    open.pop_back();
    if (one->kind == ExprKind::kTuple) {
      open.insert(open.end(), one->list.begin(), one->list.end());
    } else if (one->kind != ExprKind::kName && one->kind != ExprKind::kNamespaceTarget) {
      return FailAt(one->line, "expected a name to assign to");
    }
  }
  return target;
}

Result<Expr*> Parser::ListLiteral() {
  Expr* node = NewExpr(ExprKind::kList, current().line);
  Skip();
  while (!Is(TokenKind::kRightBracket)) {
    if (!node->list.empty()) TRY(Expect(TokenKind::kComma));
    if (Is(TokenKind::kRightBracket)) break;
    node->list.push_back(TRY(Expression()));
  }
  TRY(Expect(TokenKind::kRightBracket));
  return node;
}

Result<Expr*> Parser::DictLiteral() {
  Expr* node = NewExpr(ExprKind::kDict, current().line);
  Skip();
  while (!Is(TokenKind::kRightBrace)) {
    if (!node->list.empty()) TRY(Expect(TokenKind::kComma));
    if (Is(TokenKind::kRightBrace)) break;
    node->list.push_back(TRY(Expression()));
    TRY(Expect(TokenKind::kColon));
    node->list.push_back(TRY(Expression()));
  }
  TRY(Expect(TokenKind::kRightBrace));
  return node;
}

}  // namespace sluice::text::jinja
