// Statements, and calls of what templates define.
#include <algorithm>
#include <string>
#include <utility>

#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace sluice::text::jinja {

Evaluator::Evaluator(const Program& program, Workspace& work, const Dict& context, double now)
    : program_(program), work_(work), now_(now) {
  const size_t count = program.context_names.size();
  context_ = work.NewArray<Value>(count);
  for (size_t i = 0; context_ != nullptr && i < count; ++i) {
    const std::string_view name = program.context_names[i];
    const Value* given = context.Find(name);
    if (given != nullptr) {
      context_[i] = *given;
    } else {
      FindFunction(name, context_[i]);
    }
  }
}

bool Evaluator::Run(std::string& out) {
  if (work_.failed()) return false;
  activation_ = NewActivation(*program_.root, nullptr);
  if (activation_ == nullptr) return false;
  Enter(program_.root->loads);
  output_.reserve(4096);
  if (Exec(program_.root->body) == Flow::kFailed || work_.failed()) return false;
  out = std::move(output_);
  return true;
}

Activation* Evaluator::NewActivation(const Function& function, Activation* parent) {
  auto* activation = work_.New<Activation>();
  activation->parent = parent;
  activation->slots = work_.NewArray<Value>(static_cast<size_t>(function.slot_count));
  return activation->slots == nullptr ? nullptr : activation;
}

Value* Evaluator::SlotOf(const Place& place) {
  Activation* activation = activation_;
  for (int32_t i = 0; i < place.hops; ++i) activation = activation->parent;
  return &activation->slots[place.slot];
}

void Evaluator::Enter(const FrameLoads& loads) {
  for (const Load& load : loads) {
    Value value;
    if (load.kind == Load::Kind::kContext) {
      value = context_[load.context];
    } else if (load.kind == Load::Kind::kAlias) {
      value = *SlotOf(load.from);
    }
    activation_->slots[load.slot] = value;
  }
}

bool Evaluator::Assign(const Expr& target, const Value& value) {
  if (target.kind == ExprKind::kName) {
    *SlotOf(target.place) = value;
    return true;
  }
  if (target.kind == ExprKind::kNamespaceTarget) return AssignNamespace(target, value);
  Iterator walk;
  if (!StartIterator(work_, value, walk)) return false;
  size_t count = 0;
  for (;;) {
    Value item;
    const Step step = NextItem(work_, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) break;
    if (count == target.list.size()) {
      return work_.Fail("expected " + std::to_string(count) + " values to unpack, got more");
    }
    if (!Assign(*target.list[count++], item)) return false;
  }
  if (count == target.list.size()) return true;
  return work_.Fail("expected " + std::to_string(target.list.size()) + " values to unpack, got " +
                    std::to_string(count));
}

bool Evaluator::AssignNamespace(const Expr& target, const Value& value) {
  const Value& space = *SlotOf(target.place);
  if (!space.Is(Kind::kNamespace)) {
    return work_.Fail("expected a namespace to assign an attribute of, got " +
                      std::string(KindName(space)));
  }
  if (target.value.str().starts_with('_')) {
    return work_.Fail("a namespace takes no names that start with an underscore",
                      base::Code::kPermissionDenied);
  }
  return space.dict->Set(work_, target.value, value);
}

Evaluator::Flow Evaluator::Exec(const Body& body) {
  const Depth depth(*this);
  if (!depth.Good()) return Flow::kFailed;
  for (const Stmt* stmt : body) {
    if (stmt->kind == StmtKind::kText) {
      if (!Append(stmt->text)) return Flow::kFailed;
      continue;
    }
    const Flow flow = ExecOne(*stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::ExecOne(const Stmt& stmt) {
  work_.line = stmt.line;
  if (!work_.Charge(1)) return Flow::kFailed;
  const auto done = [](bool good) { return good ? Flow::kNext : Flow::kFailed; };
  Value value;
  switch (stmt.kind) {
    case StmtKind::kPrint:
      return done(Eval(*stmt.expr, value) && Print(value));
    case StmtKind::kIf:
      return ExecIf(stmt);
    case StmtKind::kFor:
      return ExecFor(stmt);
    case StmtKind::kSet:
      return done(Eval(*stmt.expr, value) && Assign(*stmt.target, value));
    case StmtKind::kSetBlock: {
      Flow flow = Flow::kNext;
      return ExecSetBlock(stmt, flow) ? flow : Flow::kFailed;
    }
    case StmtKind::kMacro: {
      value = Value::Of(Kind::kMacro);
      value.macro = work_.New<Macro>();
      *value.macro = {stmt.function, activation_};
      return done(Assign(*stmt.target, value));
    }
    case StmtKind::kCallBlock:
      return done(ExecCallBlock(stmt));
    case StmtKind::kFilterBlock: {
      Flow flow = Flow::kNext;
      return ExecFilterBlock(stmt, flow) ? flow : Flow::kFailed;
    }
    case StmtKind::kWith:
      return ExecWith(stmt);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
    case StmtKind::kText:
      break;
  }
  return done(Append(stmt.text));
}

Evaluator::Flow Evaluator::ExecIf(const Stmt& stmt) {
  for (const Branch& branch : stmt.branches) {
    Value test = Value::Bool(true);
    if (branch.test != nullptr && !Eval(*branch.test, test)) return Flow::kFailed;
    if (!IsTrue(test)) continue;
    return Exec(branch.body);
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::ExecFor(const Stmt& stmt) {
  Value items;
  if (!Eval(*stmt.expr, items)) return Flow::kFailed;
  LoopState on_stack;
  LoopState* loop = stmt.loop_slot < 0 ? &on_stack : work_.New<LoopState>();
  loop->stmt = &stmt;
  loop->activation = activation_;
  if (!StartIterator(work_, items, loop->iterator)) return Flow::kFailed;
  if (stmt.test != nullptr) Enter(stmt.test_loads);
  bool completed = false;  // some round of the body, which is what `else` asks
  for (;;) {
    Value item;
    const Step step = NextOfLoop(*loop, item);
    if (step == Step::kFailed) return Flow::kFailed;
    if (step == Step::kEnd) break;
    if (!Assign(*stmt.target, item)) return Flow::kFailed;
    if (stmt.loop_slot >= 0) {
      Value& slot = activation_->slots[stmt.loop_slot];
      slot = Value::Of(Kind::kLoop);
      slot.loop = loop;
    }
    Enter(stmt.loads);
    const Flow flow = Exec(stmt.body);
    if (flow == Flow::kFailed) return flow;
    if (flow == Flow::kBreak) break;
    completed = completed || flow == Flow::kNext;
  }
  if (completed || stmt.other.empty()) return Flow::kNext;
  Enter(stmt.other_loads);
  return Exec(stmt.other);
}

Evaluator::Flow Evaluator::ExecWith(const Stmt& stmt) {
  Enter(stmt.loads);
  for (size_t i = 0; i < stmt.targets.size(); ++i) {
    Value value;
    if (!Eval(*stmt.values[i], value) || !Assign(*stmt.targets[i], value)) return Flow::kFailed;
  }
  return Exec(stmt.body);
}

bool Evaluator::TakeOutput(size_t start, Value& out) {
  if (!work_.NewString(std::string_view(output_).substr(start), out)) return false;
  output_.resize(start);
  return true;
}

// `break` and `continue` leave a block before it is assigned or printed.
bool Evaluator::ExecSetBlock(const Stmt& stmt, Flow& flow) {
  Enter(stmt.loads);
  const size_t start = output_.size();
  Value text;
  flow = Exec(stmt.body);
  if (flow == Flow::kFailed || !TakeOutput(start, text)) return false;
  if (flow != Flow::kNext) return true;
  if (stmt.expr != nullptr) {
    const Value outer = std::exchange(block_, text);
    const bool good = Eval(*stmt.expr, text);
    block_ = outer;
    if (!good) return false;
  }
  return Assign(*stmt.target, text);
}

bool Evaluator::ExecFilterBlock(const Stmt& stmt, Flow& flow) {
  Enter(stmt.loads);
  const size_t start = output_.size();
  Value text;
  flow = Exec(stmt.body);
  if (flow == Flow::kFailed || !TakeOutput(start, text)) return false;
  if (flow != Flow::kNext) return true;
  const Value outer = std::exchange(block_, text);
  const bool good = Eval(*stmt.expr, text);
  block_ = outer;
  return good && Print(text);
}

bool Evaluator::ExecCallBlock(const Stmt& stmt) {
  Value caller = Value::Of(Kind::kMacro);
  caller.macro = work_.New<Macro>();
  *caller.macro = {stmt.function, activation_};
  Value text;
  if (stmt.expr == nullptr) return Call(caller, {}, text) && Print(text);
  return EvalCall(*stmt.expr, &caller, text) && Print(text);
}

bool Evaluator::BindParameters(const Function& function, const Arguments& arguments,
                               Activation& activation) {
  const size_t count = function.parameters.size();
  const size_t given = std::min(arguments.values.size(), count);
  for (size_t i = 0; i < given; ++i) {
    activation.slots[function.parameter_slots[i]] = arguments.values[i];
  }
  Value rest;  // keywords that no parameter takes
  const bool keeps_rest = function.keywords_slot >= 0;
  if (keeps_rest && !work_.NewDict(0, rest)) return false;
  bool caller_taken = given == count ? function.explicit_caller : false;
  if (given < count) {
    for (size_t i = given; i < count; ++i) caller_taken |= function.parameters[i] == "caller";
  }
  const bool wants_caller = function.caller_slot >= 0 && !caller_taken;
  if (wants_caller) {
    activation.slots[function.caller_slot] =
        Value::Undefined("no caller is defined", Undefinedness::kHint);
  }
  const uint32_t keyword_count = arguments.keywords == nullptr ? 0 : arguments.keywords->count;
  for (uint32_t i = 0; i < keyword_count; ++i) {
    const Dict::Entry& entry = arguments.keywords->entries[i];
    const std::string_view name = entry.key.str();
    const auto open = function.parameters.begin() + static_cast<ptrdiff_t>(given);
    const auto found = std::find(open, function.parameters.end(), name);
    if (found != function.parameters.end()) {
      const auto index = static_cast<size_t>(found - function.parameters.begin());
      activation.slots[function.parameter_slots[index]] = entry.value;
    } else if (wants_caller && name == "caller") {
      if (!entry.value.Is(Kind::kNone)) activation.slots[function.caller_slot] = entry.value;
    } else if (!keeps_rest) {
      return work_.Fail("the macro '" + std::string(function.name) + "' takes no argument '" +
                        std::string(name) + "'");
    } else if (!rest.dict->Set(work_, entry.key, entry.value)) {
      return false;
    }
  }
  if (keeps_rest) activation.slots[function.keywords_slot] = rest;
  if (function.varargs_slot >= 0) {
    Value more;
    if (!work_.NewTuple(arguments.values.size() - given, more)) return false;
    std::copy(arguments.values.begin() + static_cast<ptrdiff_t>(given), arguments.values.end(),
              more.list->items);
    activation.slots[function.varargs_slot] = more;
  } else if (arguments.values.size() > count) {
    return work_.Fail("the macro '" + std::string(function.name) + "' takes at most " +
                      std::to_string(count) + " arguments, got " +
                      std::to_string(arguments.values.size()));
  }
  return true;
}

bool Evaluator::FillDefaults(const Function& function, const Activation& activation) {
  const size_t count = function.parameters.size();
  const size_t first_default = count - function.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    Value& slot = activation.slots[function.parameter_slots[i]];
    if (!slot.Is(Kind::kMissing)) continue;
    if (i >= first_default) {
      Value value;
      if (!Eval(*function.defaults[i - first_default], value)) return false;
      slot = value;
    } else {
      slot = Value::Undefined(function.parameters[i], Undefinedness::kName);
    }
  }
  return true;
}

bool Evaluator::Invoke(const Macro& macro, const Arguments& arguments, Value& out) {
  const Function& function = *macro.function;
  Activation* activation = NewActivation(function, macro.closure);
  if (activation == nullptr || !BindParameters(function, arguments, *activation)) return false;
  Activation* const outer = std::exchange(activation_, activation);
  const Value outer_block = block_;
  const size_t start = output_.size();
  Enter(function.loads);
  const bool good = FillDefaults(function, *activation) && Exec(function.body) != Flow::kFailed &&
                    TakeOutput(start, out);
  activation_ = outer;
  block_ = outer_block;
  return good;
}

}  // namespace sluice::text::jinja
