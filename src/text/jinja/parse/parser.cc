#include "text/jinja/parse/parser.h"

#include <algorithm>
#include <utility>

namespace sluice::text::jinja {

using base::Error;
using base::InvalidArgument;
using base::Result;
using base::Status;

Status Parse(Program& program) {
  if (program.source.size() > static_cast<size_t>(kSourceBytesMax)) {
    return base::ResourceExhausted("expected a template of at most " +
                                   std::to_string(kSourceBytesMax) + " bytes, got " +
                                   std::to_string(program.source.size()));
  }
  program.source = NormalizeNewlines(program.source);
  std::vector<Token> tokens = TRY(Tokenize(program.source, program.strings));
  Parser parser(program, std::move(tokens));
  return parser.Run();
}

Status Nesting::Check() const {
  if (parser_.depth_ <= kParseDepthMax) return base::Ok();
  return base::ResourceExhausted("template line " + std::to_string(parser_.current().line) +
                                 ": expected at most " + std::to_string(kParseDepthMax) +
                                 " levels of nesting");
}

bool Parser::SkipIf(TokenKind kind) {
  if (!Is(kind)) return false;
  Skip();
  return true;
}

bool Parser::SkipName(std::string_view name) {
  if (!IsName(name)) return false;
  Skip();
  return true;
}

Error Parser::FailAt(uint32_t line, const std::string& what) const {
  return InvalidArgument("template line " + std::to_string(line) + ": " + what);
}

Error Parser::Expected(std::string_view what) const {
  const std::string got =
      Is(TokenKind::kName) ? "'" + std::string(current().text) + "'" : TokenName(current().kind);
  return FailAt(current().line, "expected " + std::string(what) + ", got " + got);
}

Status Parser::Expect(TokenKind kind) {
  if (!Is(kind)) return Expected(TokenName(kind));
  Skip();
  return base::Ok();
}

Result<std::string_view> Parser::ExpectName() {
  const std::string_view name = current().text;
  TRY(Expect(TokenKind::kName));
  return name;
}

Expr* Parser::NewExpr(ExprKind kind, uint32_t line) {
  Expr& expr = program_.exprs.emplace_back();
  expr.kind = kind;
  expr.line = line;
  return &expr;
}

Stmt* Parser::NewStmt(StmtKind kind) {
  Stmt& stmt = program_.stmts.emplace_back();
  stmt.kind = kind;
  stmt.line = current().line;
  return &stmt;
}

Status Parser::Run() {
  program_.root = &program_.functions.emplace_back();
  TRY(Subparse({}, program_.root->body));
  return base::Ok();
}

Error Parser::EndExpected(const std::vector<std::string_view>& ends) const {
  std::string names;
  for (const std::string_view end : ends) {
    if (!names.empty()) names += " or ";
    names += "'" + std::string(end) + "'";
  }
  return Expected(names.empty() ? "a tag that Jinja knows" : names);
}

Status Parser::Statements(std::vector<std::string_view> ends, Body& out) {
  const Nesting nesting(*this);
  TRY(nesting.Check());
  SkipIf(TokenKind::kColon);
  TRY(Expect(TokenKind::kBlockEnd));
  TRY(Subparse(ends, out));
  if (Is(TokenKind::kEnd)) return EndExpected(ends);
  return base::Ok();
}

// Up to one of `ends`, which stays the current token, or the end of the template.
Status Parser::Subparse(const std::vector<std::string_view>& ends, Body& out) {
  for (;;) {
    switch (current().kind) {
      case TokenKind::kEnd:
        return base::Ok();
      case TokenKind::kData: {
        Stmt* text = NewStmt(StmtKind::kText);
        text->text = current().text;
        out.push_back(text);
        Skip();
        break;
      }
      case TokenKind::kVariableBegin: {
        Skip();
        Stmt* print = NewStmt(StmtKind::kPrint);
        print->expr = TRY(Tuple(TupleOf::kExpressions));
        out.push_back(print);
        TRY(Expect(TokenKind::kVariableEnd));
        break;
      }
      default: {
        TRY(Expect(TokenKind::kBlockBegin));
        if (Is(TokenKind::kName) &&
            std::find(ends.begin(), ends.end(), current().text) != ends.end()) {
          return base::Ok();
        }
        if (IsName("print")) {
          Skip();
          TRY(Print(out));
        } else {
          Stmt* stmt = TRY(Statement());
          if (stmt == nullptr) return EndExpected(ends);
          out.push_back(stmt);
        }
        TRY(Expect(TokenKind::kBlockEnd));
      }
    }
  }
}

// Null for a tag that is unknown.
Result<Stmt*> Parser::Statement() {
  if (!Is(TokenKind::kName)) return Expected("the name of a tag");
  const std::string_view tag = current().text;
  if (tag == "for") return For();
  if (tag == "if") return If();
  if (tag == "set") return Set();
  if (tag == "macro") return MacroStatement();
  if (tag == "call") return CallBlock();
  if (tag == "generation") return Generation();
  if (tag == "filter") return FilterBlock();
  if (tag == "with") return With();
  if (tag == "break" || tag == "continue") {
    if (loops_ == 0) return Expected("a loop around '" + std::string(tag) + "'");
    Stmt* stmt = NewStmt(tag == "break" ? StmtKind::kBreak : StmtKind::kContinue);
    Skip();
    return stmt;
  }
  for (const std::string_view known :
       {"block", "extends", "include", "import", "from", "autoescape"}) {
    if (tag == known) {
      return base::Unimplemented("template line " + std::to_string(current().line) + ": the tag '" +
                                 std::string(tag) + "' is not supported in chat templates");
    }
  }
  return static_cast<Stmt*>(nullptr);
}

Status Parser::Print(Body& out) {
  bool first = true;
  while (!Is(TokenKind::kBlockEnd)) {
    if (!std::exchange(first, false)) TRY(Expect(TokenKind::kComma));
    Stmt* print = NewStmt(StmtKind::kPrint);
    print->expr = TRY(Expression());
    out.push_back(print);
  }
  return base::Ok();
}

Result<Stmt*> Parser::For() {
  Stmt* loop = NewStmt(StmtKind::kFor);
  Skip();
  const size_t target_at = at_;
  loop->target = TRY(Target("in"));
  if (!IsName("in")) return Expected("'in'");
  const size_t behind_target = at_;
  // The loop's filter has variables of its own: the same target once more.
  at_ = target_at;
  loop->test_target = TRY(Target("in"));
  at_ = behind_target;
  Skip();
  loop->expr = TRY(Tuple(TupleOf::kUnconditioned, "recursive"));
  if (SkipName("if")) loop->test = TRY(Expression());
  if (IsName("recursive")) {
    return base::Unimplemented("template line " + std::to_string(loop->line) +
                               ": recursive loops are not supported");
  }
  ++loops_;
  const Status body = Statements({"endfor", "else"}, loop->body);
  --loops_;
  TRY(Status(body));
  const bool has_else = IsName("else");
  Skip();
  if (has_else) {
    TRY(Statements({"endfor"}, loop->other));
    Skip();
  }
  return loop;
}

Result<Stmt*> Parser::If() {
  Stmt* stmt = NewStmt(StmtKind::kIf);
  Skip();
  for (;;) {
    Branch& branch = stmt->branches.emplace_back();
    branch.test = TRY(Tuple(TupleOf::kUnconditioned));
    TRY(Statements({"elif", "else", "endif"}, branch.body));
    const std::string_view end = current().text;
    Skip();
    if (end == "elif") continue;
    if (end == "else") {
      TRY(Statements({"endif"}, stmt->branches.emplace_back().body));
      Skip();
    }
    return stmt;
  }
}

Result<Stmt*> Parser::Set() {
  Stmt* stmt = NewStmt(StmtKind::kSet);
  Skip();
  stmt->target = TRY(Target({}, true));
  if (SkipIf(TokenKind::kAssign)) {
    stmt->expr = TRY(Tuple(TupleOf::kExpressions));
    return stmt;
  }
  stmt->kind = StmtKind::kSetBlock;
  stmt->expr = TRY(Filters(nullptr, false));
  TRY(Statements({"endset"}, stmt->body));
  Skip();
  return stmt;
}

Status Parser::Signature(Function& function) {
  TRY(Expect(TokenKind::kLeftParen));
  while (!Is(TokenKind::kRightParen)) {
    if (!function.parameters.empty()) TRY(Expect(TokenKind::kComma));
    const uint32_t line = current().line;
    const std::string_view name = TRY(ExpectName());
    for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
      if (name == constant) return FailAt(line, "cannot assign to '" + std::string(name) + "'");
    }
    if (std::find(function.parameters.begin(), function.parameters.end(), name) !=
        function.parameters.end()) {
      return FailAt(line, "the parameter '" + std::string(name) + "' comes twice");
    }
    if (SkipIf(TokenKind::kAssign)) {
      function.defaults.push_back(TRY(Expression()));
    } else if (!function.defaults.empty()) {
      return FailAt(line, "a parameter without default follows one with a default");
    }
    function.parameters.push_back(name);
  }
  return Expect(TokenKind::kRightParen);
}

Result<Stmt*> Parser::MacroStatement() {
  Stmt* stmt = NewStmt(StmtKind::kMacro);
  Skip();
  stmt->function = &program_.functions.emplace_back();
  Expr* target = NewExpr(ExprKind::kName, current().line);
  target->name = TRY(ExpectName());
  stmt->target = target;
  stmt->function->name = target->name;
  TRY(Signature(*stmt->function));
  const int loops = std::exchange(loops_, 0);
  TRY(Statements({"endmacro"}, stmt->function->body));
  loops_ = loops;
  Skip();
  return stmt;
}

Result<Stmt*> Parser::CallBlock() {
  Stmt* stmt = NewStmt(StmtKind::kCallBlock);
  Skip();
  stmt->function = &program_.functions.emplace_back();
  stmt->function->name = "caller";
  if (Is(TokenKind::kLeftParen)) TRY(Signature(*stmt->function));
  stmt->expr = TRY(Expression());
  if (stmt->expr->kind != ExprKind::kCall) return FailAt(stmt->line, "expected a call");
  const int loops = std::exchange(loops_, 0);
  TRY(Statements({"endcall"}, stmt->function->body));
  loops_ = loops;
  Skip();
  return stmt;
}

Result<Stmt*> Parser::Generation() {
  Stmt* stmt = NewStmt(StmtKind::kCallBlock);
  Skip();
  stmt->function = &program_.functions.emplace_back();
  const int loops = std::exchange(loops_, 0);
  TRY(Statements({"endgeneration"}, stmt->function->body));
  loops_ = loops;
  Skip();
  return stmt;
}

Result<Stmt*> Parser::FilterBlock() {
  Stmt* stmt = NewStmt(StmtKind::kFilterBlock);
  Skip();
  stmt->expr = TRY(Filters(nullptr, true));
  TRY(Statements({"endfilter"}, stmt->body));
  Skip();
  return stmt;
}

Result<Stmt*> Parser::With() {
  Stmt* stmt = NewStmt(StmtKind::kWith);
  Skip();
  while (!Is(TokenKind::kBlockEnd)) {
    if (!stmt->targets.empty()) TRY(Expect(TokenKind::kComma));
    stmt->targets.push_back(TRY(Target()));
    TRY(Expect(TokenKind::kAssign));
    stmt->values.push_back(TRY(Expression()));
  }
  TRY(Statements({"endwith"}, stmt->body));
  Skip();
  return stmt;
}

}  // namespace sluice::text::jinja
