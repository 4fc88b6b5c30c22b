// Filters that give items one at a time, as they are asked for: map, select and their like.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "text/jinja/builtin/filters.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"

namespace sluice::text::jinja {
namespace {

// An iterator that fails when it is walked: Python's generators complain no sooner.
bool FailLater(Workspace& work, Value& out) {
  out = Value::Of(Kind::kIterator);
  out.iterator = work.New<Iterator>();
  out.iterator->source = Value::None();
  return true;
}

bool NewIterator(Workspace& work, const Value& list, Value& out) {
  out = Value::Of(Kind::kIterator);
  out.iterator = work.New<Iterator>();
  out.iterator->source = list;
  return true;
}

bool NewLazy(Evaluator& evaluator, LazyFilter::Kind kind, const Value& input, Value& out,
             LazyFilter** lazy) {
  Workspace& work = evaluator.work();
  auto* iterator = work.New<Iterator>();
  *lazy = work.New<LazyFilter>();
  (*lazy)->kind = kind;
  (*lazy)->evaluator = &evaluator;
  (*lazy)->from = work.New<Iterator>();
  iterator->lazy = *lazy;
  // What is false has no items to walk, whatever it is.
  if (kind != LazyFilter::Kind::kUnique && !IsTrue(input)) {
    (*lazy)->from->source = Value::String({});
  } else if (!IsIterable(input) || input.Is(Kind::kLoop)) {
    (*lazy)->from->source = Value::None();
  } else {
    (*lazy)->from->source = input;
  }
  out = Value::Of(Kind::kIterator);
  out.iterator = iterator;
  return true;
}

bool KeepArguments(Workspace& work, const Arguments& arguments, size_t from, LazyFilter& lazy) {
  if (arguments.values.size() > from) {
    lazy.argument_count = arguments.values.size() - from;
    lazy.arguments = work.NewArray<Value>(lazy.argument_count);
    if (lazy.arguments == nullptr) return false;
    std::copy(arguments.values.begin() + static_cast<ptrdiff_t>(from), arguments.values.end(),
              lazy.arguments);
  }
  lazy.keywords = const_cast<Dict*>(arguments.keywords);
  return true;
}

bool Selection(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool negated,
               bool by_attribute, Value& out) {
  LazyFilter* lazy = nullptr;
  Workspace& work = evaluator.work();
  if (!NewLazy(evaluator, LazyFilter::Kind::kSelect, input, out, &lazy)) return false;
  lazy->negated = negated;
  const size_t off = by_attribute ? 1 : 0;
  if (arguments.values.size() < off) {
    return !IsTrue(input) || FailLater(work, out);
  }
  if (by_attribute) lazy->attribute = arguments.values[0];
  if (arguments.values.size() == off) return true;
  const Value& name = arguments.values[off];
  if (!name.is_string()) return !IsTrue(input) || FailLater(work, out);
  lazy->name = name.str();
  return KeepArguments(work, arguments, off + 1, *lazy);
}

}  // namespace

Step NextFiltered(LazyFilter& lazy, Value& out) {
  Evaluator& evaluator = *lazy.evaluator;
  Workspace& work = evaluator.work();
  const Arguments arguments{{lazy.arguments, lazy.argument_count}, lazy.keywords};
  for (;;) {
    Value item;
    const Step step = NextItem(work, *lazy.from, item);
    if (step != Step::kItem) return step;
    Value seen = item;
    if (!lazy.attribute.Is(Kind::kMissing) &&
        !evaluator.GetPath(item, lazy.attribute, lazy.fallback, seen)) {
      return Step::kFailed;
    }
    switch (lazy.kind) {
      case LazyFilter::Kind::kMap:
        if (lazy.name.empty()) {
          out = seen;
          return Step::kItem;
        }
        return evaluator.ApplyFilter(lazy.name, seen, arguments, out) ? Step::kItem : Step::kFailed;
      case LazyFilter::Kind::kSelect: {
        bool kept = IsTrue(seen);
        if (!lazy.name.empty() && !evaluator.ApplyTest(lazy.name, seen, arguments, kept)) {
          return Step::kFailed;
        }
        if (kept == lazy.negated) continue;
        out = item;
        return Step::kItem;
      }
      case LazyFilter::Kind::kUnique: {
        if (!IgnoreCase(work, lazy.case_sensitive, seen)) return Step::kFailed;
        const uint32_t before = lazy.seen->count;
        if (!lazy.seen->Set(work, seen, Value::None())) return Step::kFailed;
        if (lazy.seen->count == before) continue;
        out = item;
        return Step::kItem;
      }
    }
  }
}

bool FilterMap(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  Workspace& work = evaluator.work();
  LazyFilter* lazy = nullptr;
  if (!NewLazy(evaluator, LazyFilter::Kind::kMap, input, out, &lazy)) return false;
  const Value* attribute =
      arguments.keywords == nullptr ? nullptr : arguments.keywords->Find("attribute");
  if (arguments.values.empty() && attribute != nullptr) {
    const Value* fallback = arguments.keywords->Find("default");
    if (arguments.keywords->count > (fallback == nullptr ? 1u : 2u)) {
      return !IsTrue(input) || FailLater(work, out);
    }
    lazy->attribute = *attribute;
    if (fallback != nullptr) lazy->fallback = *fallback;
    return true;
  }
  if (arguments.values.empty()) {
    return !IsTrue(input) || FailLater(work, out);
  }
  if (!arguments.values[0].is_string()) return !IsTrue(input) || FailLater(work, out);
  lazy->name = arguments.values[0].str();
  return KeepArguments(work, arguments, 1, *lazy);
}

bool FilterSelect(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  return Selection(evaluator, input, arguments, false, false, out);
}
bool FilterReject(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  return Selection(evaluator, input, arguments, true, false, out);
}
bool FilterSelectAttr(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                      Value& out) {
  return Selection(evaluator, input, arguments, false, true, out);
}
bool FilterRejectAttr(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                      Value& out) {
  return Selection(evaluator, input, arguments, true, true, out);
}

bool FilterUnique(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                  Value& out) {
  constexpr std::string_view kNames[] = {"case_sensitive", "attribute"};
  std::array<Value, 2> given;
  if (!BindArguments(evaluator.work(), "unique", arguments, kNames, 0, given.data())) return false;
  LazyFilter* lazy = nullptr;
  if (!NewLazy(evaluator, LazyFilter::Kind::kUnique, input, out, &lazy)) return false;
  lazy->case_sensitive = IsTrue(given[0]);
  if (!given[1].Is(Kind::kNone)) lazy->attribute = given[1];
  Value seen;
  if (!evaluator.work().NewDict(0, seen)) return false;
  lazy->seen = seen.dict;
  return true;
}

bool FilterItems(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  Workspace& work = evaluator.work();
  if (!BindArguments(work, "items", arguments, {}, 0, nullptr)) return false;
  Value pairs = Value::String({});  // nothing
  if (input.Is(Kind::kDict)) {
    if (!CallMethod(evaluator, {input, "items"}, {}, pairs)) return false;
  } else if (!input.Is(Kind::kUndefined)) {
    return FailLater(work, out);
  }
  return NewIterator(work, pairs, out);
}

bool FilterBatch(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"linecount", "fill_with"};
  Workspace& work = evaluator.work();
  std::array<Value, 2> given;
  int64_t size = 0;
  Value list;
  if (!BindArguments(work, "batch", arguments, kNames, 1, given.data())) return false;
  if (!IsIterable(input) || !given[0].is_integer()) return FailLater(work, out);
  size = given[0].AsInteger();
  if (!Collect(work, input, list)) return false;
  const auto length = static_cast<int64_t>(list.list->size);
  if (size <= 0) size = size == 0 ? 1 : std::max<int64_t>(length, 1);
  const bool fills = !given[1].Is(Kind::kMissing) && !given[1].Is(Kind::kNone);
  std::vector<Value> batches;
  for (int64_t first = 0; first < length; first += std::min(size, length - first)) {
    const int64_t count = std::min(size, length - first);
    Value batch;
    if (!work.NewList(static_cast<size_t>(fills ? size : count), batch)) return false;
    std::copy_n(list.list->items + first, count, batch.list->items);
    std::fill(batch.list->items + count, batch.list->items + batch.list->size, given[1]);
    batches.push_back(batch);
  }
  Value made;
  return work.NewListOf(batches, made) && NewIterator(work, made, out);
}

bool FilterSlice(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"slices", "fill_with"};
  Workspace& work = evaluator.work();
  std::array<Value, 2> given;
  int64_t count = 0;
  Value list;
  if (!BindArguments(work, "slice", arguments, kNames, 1, given.data())) return false;
  if (!IsIterable(input) || !given[0].is_integer()) return FailLater(work, out);
  count = given[0].AsInteger();
  if (count == 0) return FailLater(work, out);
  if (!Collect(work, input, list)) return false;
  if (count > 100000) return work.Fail("'slice' expects at most 100000 slices");
  const auto length = static_cast<int64_t>(list.list->size);
  const bool fills = !given[1].Is(Kind::kMissing) && !given[1].Is(Kind::kNone);
  std::vector<Value> slices;
  int64_t start = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t size = length / count + (i < length % count ? 1 : 0);
    const bool filled = fills && i >= length % count;
    Value slice;
    if (!work.NewList(static_cast<size_t>(size + (filled ? 1 : 0)), slice)) return false;
    std::copy_n(list.list->items + start, size, slice.list->items);
    if (filled) slice.list->items[size] = given[1];
    slices.push_back(slice);
    start += size;
  }
  Value made;
  return work.NewListOf(slices, made) && NewIterator(work, made, out);
}

}  // namespace sluice::text::jinja
