// The functions that a chat template finds in its context: Jinja's own and those of transformers.
#include <ctime>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "text/jinja/evaluator.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace sluice::text::jinja {
namespace {

constexpr int64_t kRangeMax = 100000;  // of Jinja's sandbox
constexpr size_t kTimeBytesMax = 1024;

struct NamedFunction {
  std::string_view name;
  Builtin builtin;
};
constexpr NamedFunction kFunctions[] = {
    {"range", Builtin::kRange},
    {"dict", Builtin::kDict},
    {"namespace", Builtin::kNamespace},
    {"cycler", Builtin::kCycler},
    {"joiner", Builtin::kJoiner},
    {"raise_exception", Builtin::kRaiseException},
    {"strftime_now", Builtin::kStrftimeNow},
};

bool HasKeywords(const Arguments& arguments) {
  return arguments.keywords != nullptr && arguments.keywords->count > 0;
}

bool CallRange(Workspace& work, const Arguments& arguments, Value& out) {
  const size_t count = arguments.values.size();
  if (count == 0 || count > 3 || HasKeywords(arguments)) {
    return work.Fail("range expects one to three arguments, got " + std::to_string(count));
  }
  std::array<int64_t, 3> bounds = {0, 0, 1};
  for (size_t i = 0; i < count; ++i) {
    const Value& value = arguments.values[i];
    if (value.Is(Kind::kUndefined)) return FailUndefined(work, value);
    if (!value.is_integer()) {
      return work.Fail(std::string("range expects integers, got ") + KindName(value));
    }
    bounds[count == 1 ? 1 : i] = value.AsInteger();
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) return work.Fail("range expects a step other than 0");
  // In unsigned arithmetic nothing overflows.
  const bool empty = step > 0 ? start >= stop : start <= stop;
  const auto low = static_cast<uint64_t>(step > 0 ? start : stop);
  const auto high = static_cast<uint64_t>(step > 0 ? stop : start);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  const uint64_t size = empty ? 0 : (high - low - 1) / stride + 1;
  if (size > static_cast<uint64_t>(kRangeMax)) {
    return work.Fail("expected a range of at most " + std::to_string(kRangeMax) + " items");
  }
  Value made = Value::Of(Kind::kRange);
  made.range = work.New<Range>();
  *made.range = {start, stop, step, static_cast<int64_t>(size)};
  out = made;
  return true;
}

bool AddPairs(Workspace& work, const Value& pairs, Dict& into) {
  Iterator walk;
  if (!StartIterator(work, pairs, walk)) return false;
  for (;;) {
    Value item;
    const Step step = NextItem(work, walk, item);
    if (step == Step::kFailed) return false;
    if (step == Step::kEnd) return true;
    Value pair;
    if (!Collect(work, item, pair)) return false;
    if (pair.list->size != 2) return work.Fail("expected pairs to make a dict of");
    if (!into.Set(work, pair.list->items[0], pair.list->items[1])) return false;
  }
}

// dict(…), and namespace(…) likewise.
bool CallDict(Workspace& work, const Arguments& arguments, Value& out) {
  if (arguments.values.size() > 1) {
    return work.Fail("expected at most one argument, got " +
                     std::to_string(arguments.values.size()));
  }
  Value made;
  if (!work.NewDict(0, made)) return false;
  if (arguments.values.size() == 1) {
    const Value& from = arguments.values[0];
    if (from.Is(Kind::kUndefined)) return FailUndefined(work, from);
    if (from.Is(Kind::kDict)) {
      for (uint32_t i = 0; i < from.dict->count; ++i) {
        const Dict::Entry& entry = from.dict->entries[i];
        if (!made.dict->Set(work, entry.key, entry.value)) return false;
      }
    } else if (!AddPairs(work, from, *made.dict)) {
      return false;
    }
  }
  const uint32_t count = arguments.keywords == nullptr ? 0 : arguments.keywords->count;
  for (uint32_t i = 0; i < count; ++i) {
    const Dict::Entry& entry = arguments.keywords->entries[i];
    if (!made.dict->Set(work, entry.key, entry.value)) return false;
  }
  out = made;
  return true;
}

bool CallNamespace(Workspace& work, const Arguments& arguments, Value& out) {
  if (!CallDict(work, arguments, out)) return false;
  for (uint32_t i = 0; i < out.dict->count; ++i) {
    const Value& key = out.dict->entries[i].key;
    if (key.is_string() && key.str().starts_with('_')) {
      return work.Fail("a namespace takes no names that start with an underscore",
                       base::Code::kPermissionDenied);
    }
  }
  out.kind = Kind::kNamespace;
  return true;
}

bool CallStrftime(Workspace& work, double now, const Arguments& arguments, Value& out) {
  constexpr std::string_view kNames[] = {"format"};
  Value format;
  if (!BindArguments(work, "strftime_now", arguments, kNames, 1, &format)) return false;
  if (!format.is_string()) {
    return work.Fail(std::string("strftime_now expects a string, got ") + KindName(format));
  }
  // %f is Python's own: microseconds.
  const double whole = std::floor(now);
  std::string microseconds = std::to_string(static_cast<int64_t>((now - whole) * 1e6));
  microseconds.insert(0, 6 - std::min<size_t>(microseconds.size(), 6), '0');
  std::string pattern;
  const std::string_view given = format.str();
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] == '%' && i + 1 < given.size()) {
      ++i;
      pattern += given[i] == 'f' ? microseconds : std::string("%") + given[i];
    } else {
      pattern += given[i];
    }
  }
  if (pattern.find('\0') != std::string::npos) {
    return work.Fail("strftime_now expects a format without NUL");
  }
  pattern += ' ';  // an empty result would look like one that does not fit
  if (pattern.size() > kTimeBytesMax / 4) {
    return work.Fail("strftime_now expects a format of at most " +
                     std::to_string(kTimeBytesMax / 4) + " bytes");
  }
  const auto seconds = static_cast<std::time_t>(whole);
  std::tm local{};
  char text[kTimeBytesMax];
  if (localtime_r(&seconds, &local) == nullptr) return work.Fail("the time is out of range");
  const size_t size = std::strftime(text, sizeof(text), pattern.c_str(), &local);
  if (size == 0) return work.Fail("strftime_now expects a format of a shorter text");
  return work.NewString({text, size - 1}, out);
}

bool CallRaise(Workspace& work, const Arguments& arguments) {
  constexpr std::string_view kNames[] = {"message"};
  Value message;
  if (!BindArguments(work, "raise_exception", arguments, kNames, 1, &message)) return false;
  std::string text;
  AppendStr(work, message, text);
  return work.Fail(text);
}

}  // namespace

bool FindFunction(std::string_view name, Value& out) {
  for (const NamedFunction& function : kFunctions) {
    if (function.name != name) continue;
    out = Value::Of(Kind::kFunction);
    out.builtin = function.builtin;
    return true;
  }
  return false;
}

bool CallFunction(Evaluator& evaluator, Builtin builtin, const Arguments& arguments, Value& out) {
  Workspace& work = evaluator.work();
  switch (builtin) {
    case Builtin::kRange:
      return CallRange(work, arguments, out);
    case Builtin::kDict:
      return CallDict(work, arguments, out);
    case Builtin::kNamespace:
      return CallNamespace(work, arguments, out);
    case Builtin::kCycler: {
      if (arguments.values.empty() || HasKeywords(arguments)) {
        return work.Fail("cycler expects something to go through");
      }
      Value items;
      if (!work.NewList(arguments.values.size(), items)) return false;
      std::copy(arguments.values.begin(), arguments.values.end(), items.list->items);
      Value made = Value::Of(Kind::kCycler);
      made.cycler = work.New<Cycler>();
      made.cycler->items = *items.list;
      out = made;
      return true;
    }
    case Builtin::kJoiner: {
      constexpr std::string_view kNames[] = {"sep"};
      Value made = Value::Of(Kind::kJoiner);
      made.joiner = work.New<Joiner>();
      if (!BindArguments(work, "joiner", arguments, kNames, 0, &made.joiner->separator)) {
        return false;
      }
      if (made.joiner->separator.Is(Kind::kMissing)) made.joiner->separator = Value::String(", ");
      out = made;
      return true;
    }
    case Builtin::kRaiseException:
      return CallRaise(work, arguments);
    case Builtin::kStrftimeNow:
      return CallStrftime(work, evaluator.now(), arguments, out);
  }
  return false;
}

bool CallCycler(Evaluator&, const Method& method, Value& out) {
  Cycler& cycler = *method.self.cycler;
  if (method.name == "reset") {
    cycler.at = 0;
    out = Value::None();
    return true;
  }
  out = cycler.items.items[cycler.at];
  cycler.at = (cycler.at + 1) % cycler.items.size;
  return true;
}

bool CallJoiner(Joiner& joiner, Value& out) {
  out = joiner.used ? joiner.separator : Value::String({});
  joiner.used = true;
  return true;
}

}  // namespace sluice::text::jinja
