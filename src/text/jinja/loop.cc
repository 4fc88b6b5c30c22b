// `loop`: what a for block tells about itself.
#include <string>
#include <vector>

#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"

namespace sluice::text::jinja {

// The next item that the loop's filter keeps.
Step Evaluator::NextOfSource(LoopState& loop, Value& out) {
  if (loop.ended) return Step::kEnd;
  for (;;) {
    const Step step = NextItem(work_, loop.iterator, out);
    if (step != Step::kItem) {
      loop.ended = true;
      return step;
    }
    if (loop.stmt->test == nullptr || loop.filtered) return step;
    // The filter sees the variables of the loop's own function, wherever `loop` is asked.
    Activation* const outer = activation_;
    activation_ = loop.activation;
    Value kept;
    const bool good = Assign(*loop.stmt->test_target, out) && Eval(*loop.stmt->test, kept);
    activation_ = outer;
    if (!good) return Step::kFailed;
    if (IsTrue(kept)) return step;
  }
}

Step Evaluator::NextOfLoop(LoopState& loop, Value& out) {
  if (!loop.after.Is(Kind::kMissing)) {
    out = loop.after;
    loop.after = Value();
  } else {
    const Step step = NextOfSource(loop, out);
    if (step != Step::kItem) return step;
  }
  ++loop.index0;
  loop.before = loop.current;
  loop.current = out;
  return Step::kItem;
}

bool Evaluator::Peek(LoopState& loop) {
  if (!loop.after.Is(Kind::kMissing)) return true;
  Value item;
  const Step step = NextOfSource(loop, item);
  if (step == Step::kItem) loop.after = item;
  return step != Step::kFailed;
}

bool Evaluator::LoopLength(LoopState& loop, int64_t& out) {
  if (loop.length < 0 && loop.stmt->test == nullptr && loop.iterator.lazy == nullptr) {
    loop.length = LengthOf(loop.iterator.source);
  }
  if (loop.length < 0) {
    std::vector<Value> rest;
    for (;;) {
      Value item;
      const Step step = NextOfSource(loop, item);
      if (step == Step::kFailed) return false;
      if (step == Step::kEnd) break;
      rest.push_back(item);
    }
    const int64_t peeked = loop.after.Is(Kind::kMissing) ? 0 : 1;
    loop.length = static_cast<int64_t>(rest.size()) + loop.index0 + 1 + peeked;
    // What was taken out comes again, without the filter.
    Value list;
    if (!work_.NewListOf(rest, list)) return false;
    loop.iterator = Iterator();
    loop.iterator.source = list;
    loop.filtered = true;
    loop.ended = false;
  }
  out = loop.length;
  return true;
}

bool Evaluator::LoopAttribute(LoopState& loop, std::string_view name, Value& out, bool& found) {
  found = true;
  int64_t length = 0;
  if (name == "index") {
    out = Value::Int(loop.index0 + 1);
  } else if (name == "index0") {
    out = Value::Int(loop.index0);
  } else if (name == "first") {
    out = Value::Bool(loop.index0 == 0);
  } else if (name == "last") {
    if (!Peek(loop)) return false;
    out = Value::Bool(loop.after.Is(Kind::kMissing));
  } else if (name == "length" || name == "revindex" || name == "revindex0") {
    if (!LoopLength(loop, length)) return false;
    const int64_t passed =
        name == "length" ? 0 : (name == "revindex" ? loop.index0 : loop.index0 + 1);
    out = Value::Int(length - passed);
  } else if (name == "previtem") {
    out = loop.index0 == 0 ? Value::Undefined("there is no previous item", Undefinedness::kHint)
                           : loop.before;
  } else if (name == "nextitem") {
    if (!Peek(loop)) return false;
    out = loop.after.Is(Kind::kMissing)
              ? Value::Undefined("there is no next item", Undefinedness::kHint)
              : loop.after;
  } else if (name == "depth" || name == "depth0") {
    out = Value::Int(name == "depth" ? 1 : 0);
  } else if (name == "cycle" || name == "changed") {
    Value method = Value::Of(Kind::kMethod);
    method.method = work_.New<Method>();
    method.method->self = Value::Of(Kind::kLoop);
    method.method->self.loop = &loop;
    method.method->name = name;
    out = method;
  } else {
    found = false;
  }
  return true;
}

bool Evaluator::LoopMethod(LoopState& loop, std::string_view name, const Arguments& arguments,
                           Value& out) {
  const size_t count = arguments.values.size();
  if (arguments.keywords != nullptr && arguments.keywords->count > 0) {
    return work_.Fail("loop." + std::string(name) + " takes no named arguments");
  }
  if (name == "cycle") {
    if (count == 0) return work_.Fail("expected something for loop.cycle to go through");
    out = arguments.values[static_cast<size_t>(loop.index0) % count];
    return true;
  }
  Value given;
  if (!work_.NewTuple(count, given)) return false;
  for (size_t i = 0; i < count; ++i) given.list->items[i] = arguments.values[i];
  const bool same = Equal(work_, loop.changed, given);
  if (!same) loop.changed = given;
  out = Value::Bool(!same);
  return !work_.failed();
}

}  // namespace sluice::text::jinja
