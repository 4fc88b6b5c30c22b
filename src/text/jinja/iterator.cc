#include "text/jinja/iterator.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "text/jinja/operators.h"

namespace sluice::text::jinja {
namespace {

bool ItemOfView(Workspace& work, ViewKind kind, const Dict::Entry& entry, Value& out) {
  if (kind == ViewKind::kKeys) {
    out = entry.key;
  } else if (kind == ViewKind::kValues) {
    out = entry.value;
  } else {
    if (!work.NewTuple(2, out)) return false;
    out.list->items[0] = entry.key;
    out.list->items[1] = entry.value;
  }
  return true;
}

}  // namespace

bool IsIterable(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator:
    case Kind::kLoop:
      return true;
    default:
      return false;
  }
}

bool StartIterator(Workspace& work, const Value& value, Iterator& out) {
  if (!IsIterable(value)) {
    return work.Fail(std::string("expected something to iterate over, got ") + KindName(value));
  }
  if (value.Is(Kind::kLoop)) {
    return work.Fail("iterating over 'loop' is not supported", base::Code::kUnimplemented);
  }
  out = Iterator();
  out.source = value;
  return true;
}

Step NextItem(Workspace& work, Iterator& iterator, Value& out) {
  if (!work.Charge(1)) return Step::kFailed;
  const Value& source = iterator.source;
  if (iterator.lazy != nullptr || source.Is(Kind::kIterator)) {
    if (work.iterator_depth > kNestingMax) {
      work.Fail("more than " + std::to_string(kNestingMax) + " iterators over iterators",
                base::Code::kResourceExhausted);
      return Step::kFailed;
    }
    ++work.iterator_depth;
    const Step step = iterator.lazy != nullptr ? NextFiltered(*iterator.lazy, out)
                                               : NextItem(work, *source.iterator, out);
    --work.iterator_depth;
    return step;
  }
  if (source.is_string()) {
    const std::string_view text = source.str();
    const auto at = static_cast<size_t>(iterator.at);
    if (at >= text.size()) return Step::kEnd;
    const auto bytes = static_cast<size_t>(base::DecodeRune(text, at).bytes);
    out = Value::String(text.substr(at, bytes));
    iterator.at += static_cast<int64_t>(bytes);
    return Step::kItem;
  }
  if (source.Is(Kind::kNone)) {  // of filters that fail no sooner
    work.Fail("expected something to iterate over, and a filter's proper arguments");
    return Step::kFailed;
  }
  const int64_t length = std::max<int64_t>(LengthOf(source), 0);
  if (iterator.at >= length) return Step::kEnd;
  const int64_t at = iterator.reversed ? length - 1 - iterator.at : iterator.at;
  ++iterator.at;
  switch (source.kind) {
    case Kind::kRange:
      out = Value::Int(source.range->start + at * source.range->step);
      return Step::kItem;
    case Kind::kDict:
      out = source.dict->entries[at].key;
      return Step::kItem;
    case Kind::kView:
      return ItemOfView(work, source.view->kind, source.view->dict->entries[at], out)
                 ? Step::kItem
                 : Step::kFailed;
    default:
      out = source.list->items[at];
      return Step::kItem;
  }
}

bool Collect(Workspace& work, const Value& value, Value& out) {
  if (value.is_sequence()) {
    out = value;
    out.kind = Kind::kList;
    return true;
  }
  Iterator walk;
  if (!StartIterator(work, value, walk)) return false;
  std::vector<Value> items;
  for (;;) {
    Value item;
    const Step step = NextItem(work, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) return work.NewListOf(items, out);
    if (items.size() == items.capacity() && !work.HasRoom(items.size() * 2 * sizeof(Value))) {
      return false;
    }
    items.push_back(item);
  }
}

}  // namespace sluice::text::jinja
