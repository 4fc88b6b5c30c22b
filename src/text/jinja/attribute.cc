// object.name, object[key] and slices.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

// What every Python object has and no template may see.
bool IsInternal(std::string_view name) {
  constexpr std::string_view kNames[] = {
      "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
      "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
      "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
      "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
      "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};
  return name.starts_with("__") &&
         std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

bool NumberAttribute(const Value& value, std::string_view name, Value& out) {
  const bool is_real = value.Is(Kind::kFloat);
  if (name == "real") {
    out = is_real ? value : Value::Int(value.AsInteger());
  } else if (name == "imag") {
    out = is_real ? Value::Float(0) : Value::Int(0);
  } else if (name == "numerator" && !is_real) {
    out = Value::Int(value.AsInteger());
  } else if (name == "denominator" && !is_real) {
    out = Value::Int(1);
  } else {
    return false;
  }
  return true;
}

// Where a slice begins and ends, for a sequence of `length`, as Python's slice.indices.
struct SliceBounds {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
  int64_t count = 0;
};

SliceBounds BoundsOf(const Value& from, const Value& to, int64_t step, int64_t length) {
  SliceBounds out;
  out.step = step;
  const int64_t low = step < 0 ? -1 : 0;
  const int64_t high = step < 0 ? length - 1 : length;
  const auto clip = [&](const Value& given, int64_t otherwise) {
    if (given.Is(Kind::kNone)) return otherwise;
    const int64_t value = given.AsInteger();
    return std::clamp(value < 0 ? (value < -length ? low : value + length) : value, low, high);
  };
  out.start = clip(from, step < 0 ? high : low);
  out.stop = clip(to, step < 0 ? low : high);
  const int64_t span = step < 0 ? out.start - out.stop : out.stop - out.start;
  const uint64_t stride = step < 0 ? 0 - static_cast<uint64_t>(step) : static_cast<uint64_t>(step);
  out.count = span <= 0 ? 0 : static_cast<int64_t>(static_cast<uint64_t>(span - 1) / stride) + 1;
  return out;
}

bool SliceText(Workspace& work, const Value& object, const SliceBounds& bounds, Value& out) {
  const std::string_view text = object.str();
  if (!work.Charge(1 + static_cast<int64_t>(text.size() / 64))) return false;
  if (bounds.step == 1) {
    out = Value::String(RuneSubstring(text, static_cast<size_t>(bounds.start),
                                      static_cast<size_t>(std::max(bounds.start, bounds.stop))),
                        object.markup);
    return true;
  }
  if (!work.HasRoom(text.size() * sizeof(size_t))) return false;
  std::vector<size_t> offsets;
  for (size_t at = 0; at <= text.size();) {
    offsets.push_back(at);
    if (at == text.size()) break;
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  }
  std::string picked;
  for (int64_t i = 0; i < bounds.count; ++i) {
    const auto rune = static_cast<size_t>(bounds.start + i * bounds.step);
    picked.append(text, offsets[rune], offsets[rune + 1] - offsets[rune]);
  }
  return work.Charge(static_cast<int64_t>(text.size() / 8)) &&
         work.NewString(picked, out, object.markup);
}

}  // namespace

bool Evaluator::FindAttribute(const Value& object, std::string_view name, Value& out) {
  bool found = false;
  switch (object.kind) {
    case Kind::kNamespace: {
      const Value* value = object.dict->Find(name);
      if (value == nullptr) return false;
      out = *value;
      return true;
    }
    case Kind::kLoop:
      return LoopAttribute(*object.loop, name, out, found) && found;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      if (NumberAttribute(object, name, out)) return true;
      break;
    case Kind::kRange:
      if (name == "start" || name == "stop" || name == "step") {
        const Range& range = *object.range;
        out = Value::Int(name == "start" ? range.start : name == "step" ? range.step : range.stop);
        return true;
      }
      break;
    case Kind::kCycler:
      if (name == "current") {
        out = object.cycler->items.items[object.cycler->at];
        return true;
      }
      break;
    case Kind::kMacro:
      if (name == "name") {
        out = Value::String(object.macro->function->name);
        return true;
      }
      break;
    default:
      break;
  }
  if (IsInternal(name) || IsMutation(object, name)) {
    out = Value::Undefined(name, Undefinedness::kUnsafe);
    return true;
  }
  if (!HasMethod(object, name)) return false;
  Value method = Value::Of(Kind::kMethod);
  method.method = work_.New<Method>();
  *method.method = {object, name};
  out = method;
  return true;
}

bool Evaluator::GetAttribute(const Value& object_ref, std::string_view name, Value& out) {
  const Value object = object_ref;
  if (object.Is(Kind::kUndefined) && !IsInternal(name)) return FailUndefined(work_, object);
  if (FindAttribute(object, name, out)) return true;
  if (work_.failed()) return false;
  if (object.Is(Kind::kDict)) {
    const Value* value = object.dict->Find(name);
    if (value != nullptr) {
      out = *value;
      return true;
    }
  }
  out = Value::Undefined(name, Undefinedness::kAttribute);
  return true;
}

bool Evaluator::GetItem(const Value& object_ref, const Value& key_ref, Value& out) {
  const Value object = object_ref;
  const Value key = key_ref;
  if (object.Is(Kind::kUndefined)) return FailUndefined(work_, object);
  if (object.Is(Kind::kDict)) {
    const Value* value = object.dict->Find(work_, key);
    if (work_.failed()) return false;
    if (value != nullptr) {
      out = *value;
      return true;
    }
  } else if (key.is_integer()) {
    const int64_t length = object.is_string() || object.is_sequence() || object.Is(Kind::kRange)
                               ? LengthOf(object)
                               : -1;
    int64_t index = key.AsInteger();
    if (index < 0) index += length;
    if (index >= 0 && index < length) {
      const auto at = static_cast<size_t>(index);
      if (object.is_string()) {
        if (!work_.Charge(object.size / 64)) return false;
        out = Value::String(RuneSubstring(object.str(), at, at + 1), object.markup);
      } else if (object.Is(Kind::kRange)) {
        out = Value::Int(object.range->start + index * object.range->step);
      } else {
        out = object.list->items[at];
      }
      return true;
    }
  }
  if (key.is_string()) {
    if (FindAttribute(object, key.str(), out)) return true;
    if (work_.failed()) return false;
    out = Value::Undefined(key.str(), Undefinedness::kAttribute);
  } else {
    out = Value::Undefined("expected a key or an index that is there", Undefinedness::kHint);
  }
  return true;
}

bool Evaluator::Slice(const Value& object, const Expr& slice, Value& out) {
  std::array<Value, 3> given = {Value::None(), Value::None(), Value::None()};
  const std::array<const Expr*, 3> exprs = {slice.a, slice.b, slice.c};
  for (size_t i = 0; i < given.size(); ++i) {
    if (exprs[i] != nullptr && !Eval(*exprs[i], given[i])) return false;
  }
  if (object.Is(Kind::kUndefined)) return FailUndefined(work_, object);
  const bool sliceable = object.is_string() || object.is_sequence() || object.Is(Kind::kRange);
  if (!sliceable) {
    return work_.Fail(std::string("expected a list or a string to slice, got ") + KindName(object));
  }
  for (const Value& bound : given) {
    if (!bound.is_integer() && !bound.Is(Kind::kNone)) {
      return work_.Fail(std::string("expected integers in a slice, got ") + KindName(bound));
    }
  }
  const int64_t step = given[2].Is(Kind::kNone) ? 1 : given[2].AsInteger();
  if (step == 0) return work_.Fail("expected a slice's step other than 0");
  const SliceBounds bounds = BoundsOf(given[0], given[1], step, LengthOf(object));
  if (object.is_string()) return SliceText(work_, object, bounds, out);
  if (object.Is(Kind::kRange)) {
    const Range& from = *object.range;
    Value made = Value::Of(Kind::kRange);
    made.range = work_.New<Range>();
    // What does not fit is never used: it lies behind the last item.
    const auto item = [&](int64_t index) {
      return static_cast<int64_t>(static_cast<uint64_t>(from.start) +
                                  static_cast<uint64_t>(index) * static_cast<uint64_t>(from.step));
    };
    const auto by = static_cast<uint64_t>(bounds.step) * static_cast<uint64_t>(from.step);
    *made.range = {item(bounds.start), item(bounds.stop), static_cast<int64_t>(by), bounds.count};
    out = made;
    return true;
  }
  Value made;
  if (bounds.step == 1) {
    // The items of a list never change: the slice looks at them.
    made = Value::Of(object.kind);
    made.list = work_.New<List>();
    *made.list = {object.list->items + bounds.start, static_cast<size_t>(bounds.count)};
  } else {
    if (!work_.NewList(static_cast<size_t>(bounds.count), made)) return false;
    for (int64_t i = 0; i < bounds.count; ++i) {
      made.list->items[i] = object.list->items[bounds.start + i * bounds.step];
    }
    made.kind = object.kind;
  }
  out = made;
  return true;
}

bool Evaluator::GetPath(const Value& item, const Value& path, const Value& fallback, Value& out) {
  out = item;
  if (path.Is(Kind::kMissing) || path.Is(Kind::kNone)) return true;
  const auto settle = [&] {
    if (!fallback.Is(Kind::kMissing) && !fallback.Is(Kind::kNone) && out.Is(Kind::kUndefined)) {
      out = fallback;
    }
    return true;
  };
  if (!path.is_string()) return GetItem(out, path, out) && settle();
  std::string_view rest = path.str();
  for (;;) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    const std::string_view part = rest.substr(0, dot);
    int64_t index = 0;
    bool digits = !part.empty() && part.size() < 18;
    for (const char c : part) {
      digits = digits && c >= '0' && c <= '9';
      if (digits) index = index * 10 + (c - '0');
    }
    if (!GetItem(out, digits ? Value::Int(index) : Value::String(part), out)) return false;
    settle();
    if (dot == rest.size()) return true;
    rest = rest.substr(dot + 1);
  }
}

}  // namespace sluice::text::jinja
