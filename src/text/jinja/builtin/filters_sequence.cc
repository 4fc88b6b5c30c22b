// Filters that order, join or pick items.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "text/jinja/builtin/filters.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"
#include "text/jinja/sort.h"

namespace sluice::text::jinja {

bool IgnoreCase(Workspace& work, bool case_sensitive, Value& value) {
  if (case_sensitive || !value.is_string()) return true;
  return work.NewString(Lower(value.str()), value);
}

namespace {

// A key for ordering an item: its path's value, without case.
bool KeyOf(Evaluator& evaluator, const Value& item, const Value& path, const Value& fallback,
           bool case_sensitive, Value& out) {
  return evaluator.GetPath(item, path, fallback, out) &&
         IgnoreCase(evaluator.work(), case_sensitive, out);
}

// Keys of several paths, "a,b.c", as a list.
bool KeysOf(Evaluator& evaluator, const Value& item, const Value& paths, bool case_sensitive,
            Value& out) {
  std::vector<std::string_view> parts = {{}};
  if (paths.is_string()) parts = SplitAt(paths.str(), ",", -1, false);
  Value keys;
  if (!evaluator.work().NewList(parts.size(), keys)) return false;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Value path = paths.is_string() ? Value::String(parts[i]) : paths;
    if (!KeyOf(evaluator, item, path, {}, case_sensitive, keys.list->items[i])) return false;
  }
  out = keys;
  return true;
}

struct Keyed {
  Value key;
  Value item;
};

// Python's sorted(reverse=True) keeps the order of equal items.
bool SortKeyed(Workspace& work, bool reverse, std::vector<Keyed>& items) {
  if (reverse) std::reverse(items.begin(), items.end());
  const auto before = [&](const Keyed& a, const Keyed& b, bool& out) {
    return Order(work, Operator::kLess, a.key, b.key, out);
  };
  if (!StableSort(items, before)) return false;
  if (reverse) std::reverse(items.begin(), items.end());
  return true;
}

bool ItemsOf(Workspace& work, const std::vector<Keyed>& items, Value& out) {
  Value made;
  if (!work.NewList(items.size(), made)) return false;
  for (size_t i = 0; i < items.size(); ++i) made.list->items[i] = items[i].item;
  out = made;
  return true;
}

bool Extreme(Evaluator& evaluator, std::string_view name, const Value& input,
             const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"case_sensitive", "attribute"};
  Workspace& work = evaluator.work();
  std::array<Value, 2> given;
  if (!BindArguments(work, name, arguments, kNames, 0, given.data())) return false;
  Iterator walk;
  if (!StartIterator(work, input, walk)) return false;
  Value best;
  Value best_key;
  const Operator op = name == "min" ? Operator::kLess : Operator::kGreater;
  for (;;) {
    Value item;
    Value key;
    const Step step = NextItem(work, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) break;
    if (!KeyOf(evaluator, item, given[1], {}, IsTrue(given[0]), key)) return false;
    bool better = best.Is(Kind::kMissing);
    if (!better && !Order(work, op, key, best_key, better)) return false;
    if (better) {
      best = item;
      best_key = key;
    }
  }
  out = best.Is(Kind::kMissing) ? Value::Undefined("no item to choose from: the sequence is empty",
                                                   Undefinedness::kHint)
                                : best;
  return true;
}

// Whether Python's reversed() takes it.
bool StartReversed(Workspace& work, const Value& value, Iterator& out) {
  if (value.Is(Kind::kIterator) || value.Is(Kind::kLoop)) {
    return work.Fail(std::string("expected a sequence, got ") + KindName(value));
  }
  if (!StartIterator(work, value, out)) return false;
  if (value.is_string()) {
    // Characters from the end: as a list.
    Value runes;
    if (!Collect(work, value, runes)) return false;
    out.source = runes;
  }
  out.reversed = true;
  return true;
}

}  // namespace

bool FilterList(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  const Value from = input;
  return BindArguments(evaluator.work(), "list", arguments, {}, 0, nullptr) &&
         Collect(evaluator.work(), from, out);
}

bool FilterFirst(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  Workspace& work = evaluator.work();
  Iterator walk;
  if (!BindArguments(work, "first", arguments, {}, 0, nullptr)) return false;
  if (!StartIterator(work, input, walk)) return false;
  Value item;
  const Step step = NextItem(work, walk, item);
  out = step == Step::kItem
            ? item
            : Value::Undefined("no first item: the sequence is empty", Undefinedness::kHint);
  return step != Step::kFailed;
}

bool FilterLast(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  Workspace& work = evaluator.work();
  Iterator walk;
  if (!BindArguments(work, "last", arguments, {}, 0, nullptr)) return false;
  if (!StartReversed(work, input, walk)) return false;
  Value item;
  const Step step = NextItem(work, walk, item);
  out = step == Step::kItem
            ? item
            : Value::Undefined("no last item: the sequence is empty", Undefinedness::kHint);
  return step != Step::kFailed;
}

bool FilterReverse(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out) {
  Workspace& work = evaluator.work();
  if (!BindArguments(work, "reverse", arguments, {}, 0, nullptr)) return false;
  Iterator walk;
  if (input.is_string()) {
    if (!StartReversed(work, input, walk)) return false;
    std::string text;
    for (size_t i = walk.source.list->size; i > 0; --i)
      text += walk.source.list->items[i - 1].str();
    return work.NewString(text, out, input.markup);
  }
  Value source = input;
  if (input.Is(Kind::kIterator) && !Collect(work, input, source)) return false;
  if (!StartReversed(work, source, walk)) return false;
  if (input.Is(Kind::kIterator)) {  // a list, not an iterator
    Value made;
    if (!work.NewList(source.list->size, made)) return false;
    std::reverse_copy(source.list->items, source.list->items + source.list->size, made.list->items);
    out = made;
    return true;
  }
  out = Value::Of(Kind::kIterator);
  out.iterator = work.New<Iterator>();
  *out.iterator = walk;
  return true;
}

bool FilterJoin(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"d", "attribute"};
  Workspace& work = evaluator.work();
  std::array<Value, 2> given;
  if (!BindArguments(work, "join", arguments, kNames, 0, given.data())) return false;
  Value separator = Value::String({});
  if (!given[0].Is(Kind::kMissing) && !ToStr(work, given[0], separator)) return false;
  Iterator walk;
  if (!StartIterator(work, input, walk)) return false;
  std::string joined;
  for (bool first = true;; first = false) {
    Value item;
    const Step step = NextItem(work, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) return work.NewString(joined, out);
    if (!evaluator.GetPath(item, given[1], {}, item)) return false;
    if (!first) joined += separator.str();
    if (!AppendStr(work, item, joined) || !work.HasRoom(joined.size())) return false;
  }
}

bool FilterSort(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"reverse", "case_sensitive", "attribute"};
  Workspace& work = evaluator.work();
  std::array<Value, 3> given;
  if (!BindArguments(work, "sort", arguments, kNames, 0, given.data())) return false;
  Value list;
  if (!Collect(work, input, list)) return false;
  std::vector<Keyed> items(list.list->size);
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].item = list.list->items[i];
    if (!KeysOf(evaluator, items[i].item, given[2], IsTrue(given[1]), items[i].key)) return false;
  }
  return SortKeyed(work, IsTrue(given[0]), items) && ItemsOf(work, items, out);
}

bool FilterDictSort(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                    Value& out) {
  constexpr std::string_view kNames[] = {"case_sensitive", "by", "reverse"};
  Workspace& work = evaluator.work();
  std::array<Value, 3> given;
  if (!BindArguments(work, "dictsort", arguments, kNames, 0, given.data())) return false;
  const std::string_view by = given[1].is_string() ? given[1].str() : "key";
  if ((by != "key" && by != "value") || !(given[1].is_string() || given[1].Is(Kind::kMissing))) {
    return work.Fail("'dictsort' sorts by 'key' or 'value'");
  }
  if (input.Is(Kind::kUndefined)) return FailUndefined(work, input);
  if (!input.Is(Kind::kDict)) {
    return work.Fail(std::string("'dictsort' expects a dict, got ") + KindName(input));
  }
  std::vector<Keyed> items(input.dict->count);
  for (uint32_t i = 0; i < input.dict->count; ++i) {
    const Dict::Entry& entry = input.dict->entries[i];
    if (!work.NewTuple(2, items[i].item)) return false;
    items[i].item.list->items[0] = entry.key;
    items[i].item.list->items[1] = entry.value;
    items[i].key = by == "key" ? entry.key : entry.value;
    if (!IgnoreCase(work, IsTrue(given[0]), items[i].key)) return false;
  }
  return SortKeyed(work, IsTrue(given[2]), items) && ItemsOf(work, items, out);
}

bool FilterGroupBy(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out) {
  constexpr std::string_view kNames[] = {"attribute", "default", "case_sensitive"};
  Workspace& work = evaluator.work();
  std::array<Value, 3> given;
  if (!BindArguments(work, "groupby", arguments, kNames, 1, given.data())) return false;
  const bool exact = IsTrue(given[2]);
  Value list;
  if (!Collect(work, input, list)) return false;
  std::vector<Keyed> items(list.list->size);
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].item = list.list->items[i];
    if (!KeyOf(evaluator, items[i].item, given[0], given[1], exact, items[i].key)) return false;
  }
  if (!SortKeyed(work, false, items)) return false;
  std::vector<Value> groups;
  for (size_t first = 0; first < items.size();) {
    size_t last = first + 1;
    while (last < items.size() && Equal(work, items[first].key, items[last].key)) ++last;
    if (work.failed()) return false;
    Value group;
    Value members;
    if (!work.NewTuple(2, group) || !work.NewList(last - first, members)) return false;
    for (size_t i = first; i < last; ++i) members.list->items[i - first] = items[i].item;
    Value name;
    if (!KeyOf(evaluator, items[first].item, given[0], given[1], true, name)) return false;
    group.list->items[0] = name;
    group.list->items[1] = members;
    groups.push_back(group);
    first = last;
  }
  return work.NewListOf(groups, out);
}

bool FilterMin(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  return Extreme(evaluator, "min", input, arguments, out);
}
bool FilterMax(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  return Extreme(evaluator, "max", input, arguments, out);
}

bool FilterSum(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"attribute", "start"};
  Workspace& work = evaluator.work();
  std::array<Value, 2> given;
  if (!BindArguments(work, "sum", arguments, kNames, 0, given.data())) return false;
  Value sum = given[1].Is(Kind::kMissing) ? Value::Int(0) : given[1];
  if (sum.is_string()) return work.Fail("'sum' cannot join strings");
  Iterator walk;
  if (!StartIterator(work, input, walk)) return false;
  for (;;) {
    Value item;
    const Step step = NextItem(work, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) break;
    if (!evaluator.GetPath(item, given[0], {}, item)) return false;
    if (!Arithmetic(work, Operator::kAdd, sum, item, sum)) return false;
  }
  out = sum;
  return true;
}

}  // namespace sluice::text::jinja
