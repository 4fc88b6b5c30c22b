// A template's source to its tree. Names are not bound yet: binder.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja/parse/ast.h"
#include "text/jinja/parse/lexer.h"

namespace sluice::text::jinja {

inline constexpr int64_t kSourceBytesMax = int64_t{1} << 20;
inline constexpr int kParseDepthMax = 240;

// Reads `program.source` into `program.root`. kInvalidArgument says the line, what was expected and
// what came; kUnimplemented names a part of the language that is not built here.
base::Status Parse(Program& program);

// Recursive descent over tokens; nesting is bounded. One use.
class Parser {
 public:
  Parser(Program& program, std::vector<Token> tokens)
      : program_(program), tokens_(std::move(tokens)) {}
  base::Status Run();

 private:
  friend class Nesting;
  using ExprResult = base::Result<Expr*>;

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  bool Is(TokenKind kind) const { return current().kind == kind; }
  bool IsName(std::string_view name) const {
    return Is(TokenKind::kName) && current().text == name;
  }
  void Skip() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool SkipIf(TokenKind kind);
  bool SkipName(std::string_view name);
  base::Status Expect(TokenKind kind);
  base::Result<std::string_view> ExpectName();
  base::Error Expected(std::string_view what) const;
  base::Error FailAt(uint32_t line, const std::string& what) const;
  Expr* NewExpr(ExprKind kind, uint32_t line);
  Stmt* NewStmt(StmtKind kind);

  // Expressions: parse_expression.cc.
  ExprResult Expression(bool with_condition = true);
  ExprResult Or();
  ExprResult And();
  ExprResult Not();
  ExprResult Comparison();
  ExprResult Sum();
  ExprResult Concat();
  ExprResult Product();
  ExprResult Power();
  ExprResult Unary(bool with_filter = true);
  ExprResult Primary(bool with_namespace = false);
  ExprResult Postfix(Expr* node);
  ExprResult FilterExpr(Expr* node);
  ExprResult Subscript(Expr* node);
  ExprResult Subscribed();
  ExprResult CallOf(Expr* node);
  ExprResult TestOf(Expr* node);
  ExprResult Filters(Expr* node, bool start_inline);
  ExprResult ListLiteral();
  ExprResult DictLiteral();
  base::Result<std::string_view> DottedName();
  base::Status CallArguments(Expr* call);

  enum class TupleOf { kExpressions, kUnconditioned, kTargets, kNamespaceTargets };
  // `end_name`: a name that ends the tuple too; empty: none.
  ExprResult Tuple(TupleOf what, std::string_view end_name = {}, bool in_parentheses = false);
  ExprResult Target(std::string_view end_name = {}, bool with_namespace = false);
  bool IsTupleEnd(std::string_view end_name) const;

  // Statements: parser.cc.
  base::Status Statements(std::vector<std::string_view> ends, Body& out);
  base::Status Subparse(const std::vector<std::string_view>& ends, Body& out);
  base::Result<Stmt*> Statement();
  base::Result<Stmt*> For();
  base::Result<Stmt*> If();
  base::Result<Stmt*> Set();
  base::Result<Stmt*> MacroStatement();
  base::Result<Stmt*> CallBlock();
  base::Result<Stmt*> Generation();
  base::Result<Stmt*> FilterBlock();
  base::Result<Stmt*> With();
  base::Status Print(Body& out);
  base::Status Signature(Function& function);
  base::Error EndExpected(const std::vector<std::string_view>& ends) const;

  Program& program_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;  // around the statement, within its function
};

// Counts nesting while it lives.
class Nesting {
 public:
  explicit Nesting(Parser& parser) : parser_(parser) { ++parser_.depth_; }
  ~Nesting() { --parser_.depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  base::Status Check() const;

 private:
  Parser& parser_;
};

}  // namespace sluice::text::jinja
