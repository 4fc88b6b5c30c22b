// Python's two ways to format: '%s' % value and '{}'.format(value).
#pragma once

#include <span>
#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

class Evaluator;

// `arguments`: a tuple of values, a dict for '%(key)s', or a single value.
bool FormatPercent(Workspace& work, std::string_view format, const Value& arguments, Value& out);
// With the attribute and item access of a template's sandbox.
bool FormatBraces(Evaluator& evaluator, std::string_view format, std::span<const Value> arguments,
                  const Dict* keywords, Value& out);

}  // namespace sluice::text::jinja
