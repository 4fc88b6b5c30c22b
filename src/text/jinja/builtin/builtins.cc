#include "text/jinja/builtin/builtins.h"

#include <algorithm>
#include <string>

#include "text/jinja/builtin/filters.h"
#include "text/jinja/operators.h"

namespace sluice::text::jinja {
namespace {

// Sorted by name: they are sought while templates load, and by map and select.
constexpr Filter kFilters[] = {
    {"abs", FilterAbs},
    {"attr", FilterAttr},
    {"batch", FilterBatch},
    {"capitalize", FilterCapitalize},
    {"center", FilterCenter},
    {"count", FilterLength},
    {"d", FilterDefault},
    {"default", FilterDefault},
    {"dictsort", FilterDictSort},
    {"e", FilterEscape},
    {"escape", FilterEscape},
    {"first", FilterFirst},
    {"float", FilterFloat},
    {"forceescape", FilterForceEscape},
    {"format", FilterFormat},
    {"groupby", FilterGroupBy},
    {"indent", FilterIndent},
    {"int", FilterInt},
    {"items", FilterItems},
    {"join", FilterJoin},
    {"last", FilterLast},
    {"length", FilterLength},
    {"list", FilterList},
    {"lower", FilterLower},
    {"map", FilterMap},
    {"max", FilterMax},
    {"min", FilterMin},
    {"reject", FilterReject},
    {"rejectattr", FilterRejectAttr},
    {"replace", FilterReplace},
    {"reverse", FilterReverse},
    {"round", FilterRound},
    {"safe", FilterSafe},
    {"select", FilterSelect},
    {"selectattr", FilterSelectAttr},
    {"slice", FilterSlice},
    {"sort", FilterSort},
    {"string", FilterString},
    {"sum", FilterSum},
    {"title", FilterTitle},
    {"tojson", FilterToJson},
    {"trim", FilterTrim},
    {"truncate", FilterTruncate},
    {"unique", FilterUnique},
    {"upper", FilterUpper},
    {"urlencode", FilterUrlEncode},
    {"wordcount", FilterWordCount},
};

constexpr Test kTests[] = {
    {"!=", TestNotEqual},
    {"<", TestLess},
    {"<=", TestLessEqual},
    {"==", TestEqual},
    {">", TestGreater},
    {">=", TestGreaterEqual},
    {"boolean", TestBoolean},
    {"callable", TestCallable},
    {"defined", TestDefined},
    {"divisibleby", TestDivisibleBy},
    {"eq", TestEqual},
    {"equalto", TestEqual},
    {"escaped", TestEscaped},
    {"even", TestEven},
    {"false", TestFalse},
    {"filter", TestFilter},
    {"float", TestFloat},
    {"ge", TestGreaterEqual},
    {"greaterthan", TestGreater},
    {"gt", TestGreater},
    {"in", TestIn},
    {"integer", TestInteger},
    {"iterable", TestIterable},
    {"le", TestLessEqual},
    {"lessthan", TestLess},
    {"lower", TestLower},
    {"lt", TestLess},
    {"mapping", TestMapping},
    {"ne", TestNotEqual},
    {"none", TestNone},
    {"number", TestNumber},
    {"odd", TestOdd},
    {"sameas", TestSameAs},
    {"sequence", TestSequence},
    {"string", TestString},
    {"test", TestTest},
    {"true", TestTrue},
    {"undefined", TestUndefined},
    {"upper", TestUpper},
};

constexpr std::string_view kUnsupported[] = {"filesizeformat", "pprint",   "random", "striptags",
                                             "urlize",         "wordwrap", "xmlattr"};

template <class Entry, size_t n>
const Entry* FindEntry(const Entry (&all)[n], std::string_view name) {
  const auto found = std::lower_bound(
      std::begin(all), std::end(all), name,
      [](const Entry& entry, std::string_view sought) { return entry.name < sought; });
  return found != std::end(all) && found->name == name ? found : nullptr;
}

}  // namespace

const Filter* FindFilter(std::string_view name) {
  return FindEntry(kFilters, name);
}

const Test* FindTest(std::string_view name) {
  return FindEntry(kTests, name);
}

bool IsUnsupportedFilter(std::string_view name) {
  return std::find(std::begin(kUnsupported), std::end(kUnsupported), name) !=
         std::end(kUnsupported);
}

bool BindArguments(Workspace& work, std::string_view callee, const Arguments& arguments,
                   std::span<const std::string_view> names, size_t required, Value* out) {
  const auto who = [&] { return "'" + std::string(callee) + "' "; };
  if (arguments.values.size() > names.size()) {
    return work.Fail(who() + "expects at most " + std::to_string(names.size()) +
                     " arguments, got " + std::to_string(arguments.values.size()));
  }
  std::copy(arguments.values.begin(), arguments.values.end(), out);
  const uint32_t count = arguments.keywords == nullptr ? 0 : arguments.keywords->count;
  for (uint32_t i = 0; i < count; ++i) {
    const Dict::Entry& entry = arguments.keywords->entries[i];
    const std::string_view name = entry.key.str();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      return work.Fail(who() + "has no argument '" + std::string(name) + "'");
    }
    const auto index = static_cast<size_t>(found - names.begin());
    if (index < arguments.values.size()) {
      return work.Fail(who() + "got the argument '" + std::string(name) + "' twice");
    }
    out[index] = entry.value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (out[i].Is(Kind::kMissing)) {
      return work.Fail(who() + "expects the argument '" + std::string(names[i]) + "'");
    }
  }
  return true;
}

}  // namespace sluice::text::jinja
