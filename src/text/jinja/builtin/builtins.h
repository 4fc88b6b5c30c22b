// The filters and tests that Jinja has by itself, by name.
#pragma once

#include <span>
#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

class Evaluator;

// What a filter, test, function or method is called with.
struct Arguments {
  std::span<const Value> values;
  const Dict* keywords = nullptr;  // of string keys; may be null
};

using FilterCall = bool (*)(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                            Value& out);
using TestCall = bool (*)(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                          bool& out);

struct Filter {
  std::string_view name;
  FilterCall call = nullptr;
};
struct Test {
  std::string_view name;
  TestCall call = nullptr;
};

// Null when there is none.
const Filter* FindFilter(std::string_view name);
const Test* FindTest(std::string_view name);
// Filters of Jinja that are not built here: refused by name.
bool IsUnsupportedFilter(std::string_view name);

// Puts arguments into out[names.size()] by position and name, kMissing where none came. Fails on
// too many, unknown or doubled ones, and when one of the first `required` is missing.
bool BindArguments(Workspace& work, std::string_view callee, const Arguments& arguments,
                   std::span<const std::string_view> names, size_t required, Value* out);

}  // namespace sluice::text::jinja
