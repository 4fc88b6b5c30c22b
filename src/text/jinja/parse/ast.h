// A parsed template: expressions and statements as trees, with every name bound to a place.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/builtin/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/value.h"

namespace sluice::text::jinja {

struct Expr;

enum class ExprKind : uint8_t {
  kConst,
  kName,
  kNamespaceTarget,  // ns.name, to be assigned to
  kTuple,
  kList,
  kDict,  // keys and values, in turn, in `list`
  kUnary,
  kBinary,
  kAnd,
  kOr,
  kCompare,  // a, then `list` by `operators`
  kConcat,
  kConditional,  // a if b else c
  kGetAttribute,
  kGetItem,
  kSlice,  // a : b : c
  kCall,
  kFilter,  // a null `a` is the block that the filter is put on
  kTest,
};

struct KeywordExpr {
  std::string_view name;
  Expr* value = nullptr;
};

// Where a variable lies: `hops` functions out, in `slot`.
struct Place {
  int32_t slot = -1;
  int32_t hops = 0;
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  Operator op = Operator::kAdd;
  uint32_t line = 0;
  Place place;            // of kName and kNamespaceTarget
  Value value;            // of kConst
  std::string_view name;  // of a variable, attribute, filter or test
  Expr* a = nullptr;
  Expr* b = nullptr;
  Expr* c = nullptr;
  std::vector<Expr*> list;  // items, or arguments
  std::vector<KeywordExpr> keywords;
  Expr* more_arguments = nullptr;  // *x
  Expr* more_keywords = nullptr;   // **x
  std::vector<Operator> operators;
  const Filter* filter = nullptr;  // null: there is none of that name, which fails when it is used
  const Test* test = nullptr;
};

// What happens to a frame's variables when it is entered.
struct Load {
  enum class Kind : uint8_t { kContext, kAlias, kUnset } kind = Kind::kUnset;
  int32_t slot = -1;
  int32_t context = -1;  // an index of Program::context_names
  Place from;            // of kAlias
};
using FrameLoads = std::vector<Load>;

struct Stmt;
using Body = std::vector<Stmt*>;

// The root, a macro, or the body of a call block: what has its own variables.
struct Function {
  std::string_view name;
  std::vector<std::string_view> parameters;
  std::vector<int32_t> parameter_slots;
  std::vector<Expr*> defaults;  // of the last parameters
  Body body;
  FrameLoads loads;
  int32_t slot_count = 0;
  int32_t caller_slot = -1;  // -1: the body does not mention it
  int32_t keywords_slot = -1;
  int32_t varargs_slot = -1;
  bool explicit_caller = false;
};

enum class StmtKind : uint8_t {
  kText,
  kPrint,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,  // of {% generation %}: without `expr`
  kFilterBlock,
  kWith,
  kBreak,
  kContinue,
};

struct Branch {
  Expr* test = nullptr;  // null: else
  Body body;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  uint32_t line = 0;
  std::string_view text;
  Expr* target = nullptr;
  Expr* expr = nullptr;          // printed, assigned, iterated, called, or the filters of a block
  std::vector<Branch> branches;  // of if
  std::vector<Expr*> targets;    // of with
  std::vector<Expr*> values;
  Body body;
  FrameLoads loads;  // of the body
  // Of for.
  Expr* test = nullptr;
  Expr* test_target = nullptr;  // the target again, in places of its own
  FrameLoads test_loads;
  Body other;  // else
  FrameLoads other_loads;
  int32_t loop_slot = -1;  // -1: the body does not mention `loop`
  Function* function = nullptr;
};

struct Program {
  std::string source;
  std::deque<std::string> strings;
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  std::deque<Function> functions;
  Function* root = nullptr;
  std::vector<std::string_view> context_names;
};

}  // namespace sluice::text::jinja
