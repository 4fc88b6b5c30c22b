// Runs a bound template over a context and gathers its text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "text/jinja/builtin/builtins.h"
#include "text/jinja/iterator.h"
#include "text/jinja/parse/ast.h"
#include "text/jinja/value.h"

namespace sluice::text::jinja {

// The variables of one call of a function.
struct Activation {
  Activation* parent = nullptr;  // of the function around
  Value* slots = nullptr;
};

struct Macro {
  const Function* function = nullptr;
  Activation* closure = nullptr;
};

// What `loop` is.
struct LoopState {
  const Stmt* stmt = nullptr;
  Activation* activation = nullptr;
  Iterator iterator;
  int64_t index0 = -1;
  int64_t length = -1;  // -1: not known yet
  Value after;          // peeked at; kMissing: nothing
  Value before;
  Value current;
  Value changed;  // what loop.changed() was last called with
  bool ended = false;
  bool filtered = false;  // what is left has passed the filter
};

// One rendering; one thread; the program, the workspace and the context outlive it. Functions
// return false after a failure, which the workspace keeps.
class Evaluator {
 public:
  // `now`: seconds since 1970, for strftime_now.
  Evaluator(const Program& program, Workspace& work, const Dict& context, double now);

  bool Run(std::string& out);

  Workspace& work() { return work_; }
  double now() const { return now_; }
  // object.name and object[key], by the rules of Jinja's sandbox.
  bool GetAttribute(const Value& object, std::string_view name, Value& out);
  bool GetItem(const Value& object, const Value& key, Value& out);
  // Whether Python's object has the attribute itself.
  bool FindAttribute(const Value& object, std::string_view name, Value& out);
  bool Call(const Value& callee, const Arguments& arguments, Value& out);
  bool ApplyFilter(std::string_view name, const Value& input, const Arguments& arguments,
                   Value& out);
  bool ApplyTest(std::string_view name, const Value& input, const Arguments& arguments, bool& out);
  // `path`: names and indices with dots between, an index, or kMissing or none for the item itself.
  bool GetPath(const Value& item, const Value& path, const Value& fallback, Value& out);

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue, kFailed };
  // Counts how deep the evaluation is while it lives.
  class Depth {
   public:
    explicit Depth(Evaluator& evaluator) : evaluator_(evaluator) { ++evaluator_.depth_; }
    ~Depth() { --evaluator_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    bool Good() const;

   private:
    Evaluator& evaluator_;
  };

  bool Eval(const Expr& expr, Value& out);
  bool EvalName(const Expr& expr, Value& out);
  bool EvalItems(const Expr& expr, Value& out);
  bool EvalDict(const Expr& expr, Value& out);
  bool EvalUnary(const Expr& expr, Value& out);
  bool EvalBinary(const Expr& expr, Value& out);
  bool EvalCompare(const Expr& expr, Value& out);
  bool EvalConcat(const Expr& expr, Value& out);
  bool EvalConditional(const Expr& expr, Value& out);
  bool EvalItem(const Expr& expr, Value& out);
  bool EvalCall(const Expr& expr, const Value* caller, Value& out);
  bool EvalFilter(const Expr& expr, Value& out);
  bool EvalTest(const Expr& expr, Value& out);
  bool Slice(const Value& object, const Expr& slice, Value& out);

  // The arguments of a call, evaluated: in `few` where they fit, else in the workspace.
  static constexpr size_t kFew = 6;
  bool EvalArguments(const Expr& call, const Value* caller, Value* few, Arguments& out);

  Flow Exec(const Body& body);
  Flow ExecOne(const Stmt& stmt);
  Flow ExecIf(const Stmt& stmt);
  Flow ExecFor(const Stmt& stmt);
  Flow ExecWith(const Stmt& stmt);
  bool ExecSetBlock(const Stmt& stmt, Flow& flow);
  bool ExecCallBlock(const Stmt& stmt);
  bool ExecFilterBlock(const Stmt& stmt, Flow& flow);
  bool Print(const Value& value);
  bool Append(std::string_view text);

  Value* SlotOf(const Place& place);
  void Enter(const FrameLoads& loads);
  bool Assign(const Expr& target, const Value& value);
  bool AssignNamespace(const Expr& target, const Value& value);
  Activation* NewActivation(const Function& function, Activation* parent);
  bool Invoke(const Macro& macro, const Arguments& arguments, Value& out);
  bool BindParameters(const Function& function, const Arguments& arguments, Activation& activation);
  bool FillDefaults(const Function& function, const Activation& activation);
  // What was printed since `start`, taken off the output.
  bool TakeOutput(size_t start, Value& out);

  Step NextOfSource(LoopState& loop, Value& out);
  Step NextOfLoop(LoopState& loop, Value& out);
  bool Peek(LoopState& loop);
  bool LoopLength(LoopState& loop, int64_t& out);
  bool LoopAttribute(LoopState& loop, std::string_view name, Value& out, bool& found);
  bool LoopMethod(LoopState& loop, std::string_view name, const Arguments& arguments, Value& out);

  const Program& program_;
  Workspace& work_;
  const double now_;
  Value* context_ = nullptr;  // [context_names]
  Activation* activation_ = nullptr;
  Value block_;  // what a block's filters are put on
  std::string output_;
  int depth_ = 0;
};

// str.upper and its like, list.index, dict.get: methods.cc. `callee` names it in messages.
bool HasMethod(const Value& self, std::string_view name);
bool IsMutation(const Value& self, std::string_view name);
bool CallMethod(Evaluator& evaluator, const Method& method, const Arguments& arguments, Value& out);
bool CallStringMethod(Evaluator& evaluator, const Method& method, const Arguments& arguments,
                      Value& out);
// range(), namespace() and the other functions of the context: functions.cc.
bool FindFunction(std::string_view name, Value& out);
bool CallFunction(Evaluator& evaluator, Builtin builtin, const Arguments& arguments, Value& out);
bool CallCycler(Evaluator& evaluator, const Method& method, Value& out);
bool CallJoiner(Joiner& joiner, Value& out);

}  // namespace sluice::text::jinja
