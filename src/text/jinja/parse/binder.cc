#include "text/jinja/parse/binder.h"

#include <algorithm>
#include <memory>
#include <string>

#include "text/jinja/parse/name_analysis.h"
#include "text/jinja/parse/scope.h"

namespace sluice::text::jinja {
namespace {

using base::InvalidArgument;
using base::Status;

constexpr int kExprDepthMax = 400;

class Binder {
 public:
  explicit Binder(Program& program) : program_(program) {}

  Status Run() {
    for (const Expr& expr : program_.exprs) TRY(CheckDepth(expr));
    Scope scope(variables_, program_.root, nullptr);
    Analysis(&scope).VisitBody(program_.root->body);
    TRY(BindBody(program_.root->body, {&scope, false}));
    program_.root->loads = LoadsOf(scope);
    return base::Ok();
  }

 private:
  struct Frame {
    Scope* scope = nullptr;
    bool soft = false;  // within `if`: what does not exist fails when it is used
  };

  base::Error Fail(uint32_t line, const std::string& what) const {
    return InvalidArgument("template line " + std::to_string(line) + ": " + what);
  }

  // Nodes are made after what they hold, but for the few that are made before; walking down once
  // from each would be quadratic, so heights are kept.
  Status CheckDepth(const Expr& root) {
    if (heights_.contains(&root)) return base::Ok();
    std::vector<const Expr*> open = {&root};
    while (!open.empty()) {
      const Expr* expr = open.back();
      int height = 1;
      bool ready = true;
      ForEachChild(*expr, [&](const Expr* child) {
        const auto known = heights_.find(child);
        if (known == heights_.end()) {
          open.push_back(child);
          ready = false;
        } else {
          height = std::max(height, known->second + 1);
        }
      });
      if (!ready) continue;
      if (height > kExprDepthMax) {
        return base::ResourceExhausted("template line " + std::to_string(expr->line) +
                                       ": expected at most " + std::to_string(kExprDepthMax) +
                                       " expressions within each other");
      }
      heights_[expr] = height;
      open.pop_back();
    }
    return base::Ok();
  }

  static Place PlaceOf(const Variable& variable, const Scope& from) {
    // Functions lie within each other as scopes do.
    int32_t hops = 0;
    for (const Scope* scope = &from; scope->function() != variable.function;) {
      const Function* function = scope->function();
      while (scope->function() == function) scope = scope->parent();
      ++hops;
    }
    return {variable.slot, hops};
  }

  int32_t ContextIndex(std::string_view name) {
    auto& names = program_.context_names;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<int32_t>(found - names.begin());
    names.push_back(name);
    return static_cast<int32_t>(names.size() - 1);
  }

  FrameLoads LoadsOf(const Scope& scope) {
    FrameLoads loads;
    for (const auto& [variable, from] : scope.loads()) {
      Load load;
      load.slot = variable->slot;
      switch (from.source) {
        case Scope::Source::kParameter:
          continue;
        case Scope::Source::kContext:
          load.kind = Load::Kind::kContext;
          load.context = ContextIndex(from.name);
          break;
        case Scope::Source::kAlias:
          load.kind = Load::Kind::kAlias;
          load.from = PlaceOf(*from.from, scope);
          break;
        case Scope::Source::kUnset:
          break;
      }
      loads.push_back(load);
    }
    std::sort(loads.begin(), loads.end(),
              [](const Load& a, const Load& b) { return a.slot < b.slot; });
    return loads;
  }

  Status BindExpr(Expr* expr, Frame frame) {
    if (expr == nullptr) return base::Ok();
    switch (expr->kind) {
      case ExprKind::kName:
      case ExprKind::kNamespaceTarget: {
        const Variable* variable = frame.scope->Find(expr->name);
        if (variable == nullptr) {
          return Fail(expr->line,
                      "expected a name that is known here, got '" + std::string(expr->name) + "'");
        }
        expr->place = PlaceOf(*variable, *frame.scope);
        break;
      }
      case ExprKind::kConditional:
        frame.soft = true;
        break;
      case ExprKind::kFilter:
        expr->filter = FindFilter(expr->name);
        if (expr->filter == nullptr && !frame.soft) return NoSuch("filter", *expr);
        break;
      case ExprKind::kTest:
        expr->test = FindTest(expr->name);
        if (expr->test == nullptr && !frame.soft) return NoSuch("test", *expr);
        break;
      default:
        break;
    }
    Status status;
    ForEachChild(*expr, [&](Expr* child) {
      if (status.ok()) status = BindExpr(child, frame);
    });
    return status;
  }

  base::Error NoSuch(const char* what, const Expr& expr) const {
    const std::string name(expr.name);
    if (what == std::string_view("filter") && IsUnsupportedFilter(expr.name)) {
      return base::Unimplemented("template line " + std::to_string(expr.line) + ": the filter '" +
                                 name + "' is not supported");
    }
    return Fail(expr.line,
                std::string("expected a ") + what + " that Jinja has, got '" + name + "'");
  }

  Status BindTarget(Expr* target, Frame frame, bool assigned) {
    if (assigned && loops_ > 0 && target->kind == ExprKind::kName && target->name == "loop") {
      return Fail(target->line, "'loop' cannot be assigned to within a loop");
    }
    if (target->kind != ExprKind::kTuple) return BindExpr(target, frame);
    for (Expr* one : target->list) TRY(BindTarget(one, frame, assigned));
    return base::Ok();
  }

  Status BindBody(const Body& body, Frame frame) {
    for (Stmt* stmt : body) TRY(BindStmt(*stmt, frame));
    return base::Ok();
  }

  Status BindStmt(Stmt& stmt, Frame frame) {
    switch (stmt.kind) {
      case StmtKind::kPrint:
        return BindExpr(stmt.expr, frame);
      case StmtKind::kIf:
        frame.soft = true;
        for (Branch& branch : stmt.branches) {
          TRY(BindExpr(branch.test, frame));
          TRY(BindBody(branch.body, frame));
        }
        return base::Ok();
      case StmtKind::kFor:
        return BindFor(stmt, frame);
      case StmtKind::kSet:
        TRY(BindExpr(stmt.expr, frame));
        return BindTarget(stmt.target, frame, true);
      case StmtKind::kSetBlock:
        return BindSetBlock(stmt, frame);
      case StmtKind::kMacro:
        TRY(BindTarget(stmt.target, frame, false));
        return BindFunction(*stmt.function, frame, stmt.line);
      case StmtKind::kCallBlock:
        TRY(BindFunction(*stmt.function, frame, stmt.line));
        return BindExpr(stmt.expr, frame);
      case StmtKind::kFilterBlock:
        return BindFilterBlock(stmt, frame);
      case StmtKind::kWith:
        return BindWith(stmt, frame);
      default:
        return base::Ok();
    }
  }

  Status BindFor(Stmt& stmt, Frame frame) {
    ++loops_;
    TRY(BindExpr(stmt.expr, frame));
    if (stmt.test != nullptr) {
      Scope scope(variables_, frame.scope->function(), frame.scope, ++spaces_);
      Analysis analysis(&scope);
      analysis.Declare(stmt.test_target);
      analysis.VisitExpr(stmt.test);
      TRY(BindTarget(stmt.test_target, {&scope, false}, true));
      TRY(BindExpr(stmt.test, {&scope, false}));
      stmt.test_loads = LoadsOf(scope);
    }
    {
      Scope scope(variables_, frame.scope->function(), frame.scope);
      Mentions mentions({"loop"});
      mentions.VisitBody(stmt.body);
      if (mentions.Has("loop")) stmt.loop_slot = scope.DeclareParameter("loop")->slot;
      Analysis analysis(&scope);
      analysis.Declare(stmt.target);
      analysis.VisitBody(stmt.body);
      TRY(BindTarget(stmt.target, {&scope, false}, true));
      TRY(BindBody(stmt.body, {&scope, false}));
      stmt.loads = LoadsOf(scope);
    }
    Scope scope(variables_, frame.scope->function(), frame.scope);
    Analysis(&scope).VisitBody(stmt.other);
    TRY(BindBody(stmt.other, {&scope, false}));
    stmt.other_loads = LoadsOf(scope);
    --loops_;
    return base::Ok();
  }

  Status BindSetBlock(Stmt& stmt, Frame frame) {
    Scope scope(variables_, frame.scope->function(), frame.scope);
    Analysis(&scope).VisitBody(stmt.body);
    TRY(BindBody(stmt.body, {&scope, false}));
    TRY(BindTarget(stmt.target, frame, true));
    TRY(BindExpr(stmt.expr, {&scope, false}));
    stmt.loads = LoadsOf(scope);
    return base::Ok();
  }

  Status BindFilterBlock(Stmt& stmt, Frame frame) {
    Scope scope(variables_, frame.scope->function(), frame.scope);
    Analysis analysis(&scope);
    analysis.VisitBody(stmt.body);
    analysis.VisitExpr(stmt.expr);
    TRY(BindBody(stmt.body, {&scope, false}));
    TRY(BindExpr(stmt.expr, {&scope, false}));
    stmt.loads = LoadsOf(scope);
    return base::Ok();
  }

  Status BindWith(Stmt& stmt, Frame frame) {
    Scope scope(variables_, frame.scope->function(), frame.scope);
    Analysis analysis(&scope);
    for (const Expr* target : stmt.targets) analysis.Declare(target);
    analysis.VisitBody(stmt.body);
    for (Expr* target : stmt.targets) TRY(BindTarget(target, {&scope, false}, false));
    for (Expr* value : stmt.values) TRY(BindExpr(value, frame));
    TRY(BindBody(stmt.body, {&scope, false}));
    stmt.loads = LoadsOf(scope);
    return base::Ok();
  }

  Status BindFunction(Function& function, Frame frame, uint32_t line) {
    Scope scope(variables_, &function, frame.scope);
    Analysis analysis(&scope);
    analysis.VisitFunction(function);
    Mentions mentions({"caller", "kwargs", "varargs"});
    mentions.VisitBody(function.body);
    const auto parameter = [&](std::string_view name) {
      const auto& all = function.parameters;
      return static_cast<size_t>(std::find(all.begin(), all.end(), name) - all.begin());
    };
    const size_t count = function.parameters.size();
    if (mentions.Has("caller")) {
      const size_t at = parameter("caller");
      if (at == count) {
        function.caller_slot = scope.DeclareParameter("caller")->slot;
      } else if (count - at > function.defaults.size()) {
        return Fail(line, "the parameter 'caller' must have a default");
      }
    }
    function.explicit_caller = parameter("caller") < count;
    if (mentions.Has("kwargs") && parameter("kwargs") == count) {
      function.keywords_slot = scope.DeclareParameter("kwargs")->slot;
    }
    if (mentions.Has("varargs") && parameter("varargs") == count) {
      function.varargs_slot = scope.DeclareParameter("varargs")->slot;
    }
    analysis.VisitFunction(function);
    for (const std::string_view name : function.parameters) {
      function.parameter_slots.push_back(scope.Find(name)->slot);
    }
    for (Expr* value : function.defaults) TRY(BindExpr(value, {&scope, false}));
    TRY(BindBody(function.body, {&scope, false}));
    function.loads = LoadsOf(scope);
    return base::Ok();
  }

  Program& program_;
  Variables variables_;
  std::map<const Expr*, int> heights_;
  int loops_ = 0;
  int spaces_ = 0;
};

}  // namespace

Status Bind(Program& program) {
  Binder binder(program);
  return binder.Run();
}

}  // namespace sluice::text::jinja
