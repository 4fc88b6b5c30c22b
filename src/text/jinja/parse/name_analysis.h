// Which names a part of a template mentions, loads and stores.
#pragma once

#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/parse/ast.h"
#include "text/jinja/parse/scope.h"

namespace sluice::text::jinja {

template <class Visit>
void ForEachChild(const Expr& expr, Visit visit) {
  for (Expr* child : {expr.a, expr.b, expr.c}) {
    if (child != nullptr) visit(child);
  }
  for (Expr* child : expr.list) visit(child);
  for (const KeywordExpr& keyword : expr.keywords) visit(keyword.value);
  if (expr.more_arguments != nullptr) visit(expr.more_arguments);
  if (expr.more_keywords != nullptr) visit(expr.more_keywords);
}

// Which of some names a body reads before it assigns them, nested blocks included.
class Mentions {
 public:
  explicit Mentions(std::set<std::string_view> names) : open_(std::move(names)) {}

  void VisitBody(const Body& body) {
    for (const Stmt* stmt : body) VisitStmt(*stmt);
  }
  bool Has(std::string_view name) const { return found_.contains(name); }

 private:
  void VisitExpr(const Expr* expr) {
    if (expr == nullptr) return;
    if (expr->kind == ExprKind::kName && open_.contains(expr->name)) found_.insert(expr->name);
    ForEachChild(*expr, [&](const Expr* child) { VisitExpr(child); });
  }
  void VisitTarget(const Expr* target) {
    if (target->kind == ExprKind::kName) open_.erase(target->name);
    for (const Expr* one : target->list) VisitTarget(one);
  }
  void VisitFunction(const Function& function) {
    for (const std::string_view parameter : function.parameters) open_.erase(parameter);
    for (const Expr* value : function.defaults) VisitExpr(value);
    VisitBody(function.body);
  }
  void VisitStmt(const Stmt& stmt) {
    switch (stmt.kind) {
      case StmtKind::kFilterBlock:
        VisitBody(stmt.body);
        VisitExpr(stmt.expr);
        return;
      case StmtKind::kIf:
        for (const Branch& branch : stmt.branches) {
          VisitExpr(branch.test);
          VisitBody(branch.body);
        }
        return;
      case StmtKind::kWith:
        for (const Expr* target : stmt.targets) VisitTarget(target);
        for (const Expr* value : stmt.values) VisitExpr(value);
        VisitBody(stmt.body);
        return;
      case StmtKind::kMacro:
        VisitFunction(*stmt.function);
        return;
      default:
        if (stmt.target != nullptr) VisitTarget(stmt.target);
        VisitExpr(stmt.expr);
        if (stmt.function != nullptr) VisitFunction(*stmt.function);
        VisitBody(stmt.body);
        VisitBody(stmt.other);
        VisitExpr(stmt.test);
    }
  }

  std::set<std::string_view> open_;
  std::set<std::string_view> found_;
};

// Finds the names that a frame loads and stores; stops at frames within it.
class Analysis {
 public:
  explicit Analysis(Scope* scope) : scope_(scope) {}

  void VisitBody(const Body& body) {
    for (const Stmt* stmt : body) VisitStmt(*stmt);
  }
  void VisitExpr(const Expr* expr) {
    if (expr == nullptr) return;
    if (expr->kind == ExprKind::kName || expr->kind == ExprKind::kNamespaceTarget) {
      scope_->Load(expr->name);
    }
    ForEachChild(*expr, [&](const Expr* child) { VisitExpr(child); });
  }
  void Declare(const Expr* target) {
    if (target->kind == ExprKind::kName) scope_->DeclareParameter(target->name);
    for (const Expr* one : target->list) Declare(one);
  }
  void VisitFunction(const Function& function) {
    for (const std::string_view parameter : function.parameters) {
      scope_->DeclareParameter(parameter);
    }
    for (const Expr* value : function.defaults) VisitExpr(value);
    VisitBody(function.body);
  }

 private:
  void StoreTarget(const Expr* target) {
    if (target->kind == ExprKind::kName) scope_->Store(target->name);
    if (target->kind == ExprKind::kNamespaceTarget) scope_->Load(target->name);
    for (const Expr* one : target->list) StoreTarget(one);
  }

  template <class Visit>
  Scope* InBranch(Visit visit) {
    Scope* const outer = scope_;
    Scope* const branch = outer->NewBranch();
    scope_ = branch;
    visit();
    scope_ = outer;
    return branch;
  }

  void VisitIf(const Stmt& stmt) {
    VisitExpr(stmt.branches[0].test);
    std::vector<Scope*> branches;
    branches.push_back(InBranch([&] { VisitBody(stmt.branches[0].body); }));
    // The tests of all `elif` belong to one branch, their bodies to branches of it.
    branches.push_back(InBranch([&] {
      for (size_t i = 1; i < stmt.branches.size() && stmt.branches[i].test != nullptr; ++i) {
        VisitExpr(stmt.branches[i].test);
        Scope* body = InBranch([&] { VisitBody(stmt.branches[i].body); });
        scope_->Merge({body});
      }
    }));
    branches.push_back(InBranch([&] {
      if (stmt.branches.back().test == nullptr) VisitBody(stmt.branches.back().body);
    }));
    scope_->Merge(branches);
  }

  void VisitStmt(const Stmt& stmt) {
    switch (stmt.kind) {
      case StmtKind::kPrint:
      case StmtKind::kFor:
      case StmtKind::kCallBlock:
      case StmtKind::kFilterBlock:
        VisitExpr(stmt.expr);
        return;
      case StmtKind::kIf:
        VisitIf(stmt);
        return;
      case StmtKind::kSet:
        VisitExpr(stmt.expr);
        StoreTarget(stmt.target);
        return;
      case StmtKind::kSetBlock:
        StoreTarget(stmt.target);
        return;
      case StmtKind::kMacro:
        scope_->Store(stmt.target->name);
        return;
      case StmtKind::kWith:
        for (const Expr* value : stmt.values) VisitExpr(value);
        return;
      default:
        return;
    }
  }

  Scope* scope_;
};

}  // namespace sluice::text::jinja
