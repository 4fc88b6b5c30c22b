// The methods of dicts, lists, tuples and numbers, and which names are methods at all.
#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"

namespace sluice::text::jinja {
namespace {

constexpr std::string_view kDictMethods[] = {"copy", "fromkeys", "get", "items", "keys", "values"};
constexpr std::string_view kDictMutations[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListMethods[] = {"copy", "count", "index"};
constexpr std::string_view kListMutations[] = {"append", "clear",  "extend",  "insert",
                                               "pop",    "remove", "reverse", "sort"};
constexpr std::string_view kTupleMethods[] = {"count", "index"};
constexpr std::string_view kRangeMethods[] = {"count", "index"};
constexpr std::string_view kIntMethods[] = {"as_integer_ratio", "bit_count",  "bit_length",
                                            "conjugate",        "from_bytes", "to_bytes"};
constexpr std::string_view kFloatMethods[] = {"as_integer_ratio", "conjugate", "fromhex", "hex",
                                              "is_integer"};
constexpr std::string_view kCyclerMethods[] = {"next", "reset"};
constexpr std::string_view kStringMethods[] = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill"};

bool IsIn(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool CallDictMethod(Workspace& work, const Method& method, const Arguments& arguments, Value& out) {
  Dict& dict = *method.self.dict;
  const std::string_view name = method.name;
  const size_t count = arguments.values.size();
  if (arguments.keywords != nullptr && arguments.keywords->count > 0) {
    return work.Fail("dict." + std::string(name) + " takes no named arguments");
  }
  if (name == "get") {
    if (count == 0 || count > 2) return work.Fail("dict.get expects one or two arguments");
    if (!IsHashable(arguments.values[0])) return work.Fail("dict.get expects a hashable key");
    const Value* found = dict.Find(work, arguments.values[0]);
    out = found != nullptr ? *found : (count == 2 ? arguments.values[1] : Value::None());
    return !work.failed();
  }
  if (name == "fromkeys") {
    if (count == 0 || count > 2) return work.Fail("dict.fromkeys expects one or two arguments");
    Iterator walk;
    Value made;
    if (!work.NewDict(0, made) || !StartIterator(work, arguments.values[0], walk)) return false;
    for (;;) {
      Value key;
      const Step step = NextItem(work, walk, key);
      if (step == Step::kFailed) return false;
      if (step == Step::kEnd) break;
      if (!made.dict->Set(work, key, count == 2 ? arguments.values[1] : Value::None()))
        return false;
    }
    out = made;
    return true;
  }
  if (count != 0) return work.Fail("dict." + std::string(name) + " takes no arguments");
  if (name == "copy") {
    out = method.self;
    return true;
  }
  Value view = Value::Of(Kind::kView);
  view.view = work.New<View>();
  view.view->kind = name == "keys"     ? ViewKind::kKeys
                    : name == "values" ? ViewKind::kValues
                                       : ViewKind::kItems;
  view.view->dict = &dict;
  out = view;
  return true;
}

bool CallSequenceMethod(Workspace& work, const Method& method, const Arguments& arguments,
                        Value& out) {
  const size_t count = arguments.values.size();
  if (method.name == "copy") {
    if (count != 0) return work.Fail("list.copy takes no arguments");
    out = method.self;
    return true;
  }
  const bool is_index = method.name == "index";
  const size_t count_max = is_index && !method.self.Is(Kind::kRange) ? 3 : 1;
  if (count == 0 || count > count_max) {
    return work.Fail("list." + std::string(method.name) + " expects a value");
  }
  int64_t first = 0;
  int64_t last = LengthOf(method.self);
  for (size_t i = 1; i < count; ++i) {
    const Value& bound = arguments.values[i];
    if (!bound.is_integer()) return work.Fail("list.index expects integers as bounds");
    int64_t value = bound.AsInteger();
    if (value < 0) value = std::max<int64_t>(value + LengthOf(method.self), 0);
    (i == 1 ? first : last) = std::min(value, LengthOf(method.self));
  }
  Iterator walk;
  if (!StartIterator(work, method.self, walk)) return false;
  walk.at = first;
  int64_t found = 0;
  for (int64_t i = first; i < last; ++i) {
    Value item;
    if (NextItem(work, walk, item) != Step::kItem) return false;
    if (!IsSame(item, arguments.values[0]) && !Equal(work, item, arguments.values[0])) continue;
    if (work.failed()) return false;
    if (is_index) {
      out = Value::Int(i);
      return true;
    }
    ++found;
  }
  if (is_index) return work.Fail("list.index found no such value");
  out = Value::Int(found);
  return !work.failed();
}

bool CallNumberMethod(Workspace& work, const Method& method, const Arguments& arguments,
                      Value& out) {
  if (!arguments.values.empty()) {
    return work.Fail("'" + std::string(method.name) + "' of a number takes no arguments");
  }
  const Value& self = method.self;
  if (method.name == "conjugate") {
    out = self.Is(Kind::kFloat) ? self : Value::Int(self.AsInteger());
  } else if (method.name == "is_integer") {
    out = Value::Bool(std::isfinite(self.real) && self.real == std::trunc(self.real));
  } else if (method.name == "bit_length" || method.name == "bit_count") {
    const int64_t value = self.AsInteger();
    const uint64_t magnitude =
        value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    const int bits = method.name == "bit_count" ? __builtin_popcountll(magnitude)
                     : magnitude == 0           ? 0
                                                : 64 - __builtin_clzll(magnitude);
    out = Value::Int(bits);
  } else {
    return work.Fail("the method '" + std::string(method.name) + "' of a number is not supported",
                     base::Code::kUnimplemented);
  }
  return true;
}

}  // namespace

bool HasMethod(const Value& self, std::string_view name) {
  switch (self.kind) {
    case Kind::kString:
      return IsIn(kStringMethods, name);
    case Kind::kDict:
      return IsIn(kDictMethods, name);
    case Kind::kList:
      return IsIn(kListMethods, name);
    case Kind::kTuple:
      return IsIn(kTupleMethods, name);
    case Kind::kRange:
      return IsIn(kRangeMethods, name);
    case Kind::kBool:
    case Kind::kInt:
      return IsIn(kIntMethods, name);
    case Kind::kFloat:
      return IsIn(kFloatMethods, name);
    case Kind::kCycler:
      return IsIn(kCyclerMethods, name);
    default:
      return false;
  }
}

bool IsMutation(const Value& self, std::string_view name) {
  if (self.Is(Kind::kDict)) return IsIn(kDictMutations, name);
  return self.Is(Kind::kList) && IsIn(kListMutations, name);
}

bool CallMethod(Evaluator& evaluator, const Method& method, const Arguments& arguments,
                Value& out) {
  Workspace& work = evaluator.work();
  switch (method.self.kind) {
    case Kind::kString:
      return CallStringMethod(evaluator, method, arguments, out);
    case Kind::kDict:
      return CallDictMethod(work, method, arguments, out);
    case Kind::kCycler:
      return CallCycler(evaluator, method, out);
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return CallNumberMethod(work, method, arguments, out);
    default:
      return CallSequenceMethod(work, method, arguments, out);
  }
}

}  // namespace sluice::text::jinja
