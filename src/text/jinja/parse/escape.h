// Escapes in the strings of a template.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice::text::jinja {

// Appends what Python's unicode-escape makes of the backslash at body[at], which something follows,
// and moves `at` behind it.
base::Status AppendEscape(std::string_view body, size_t& at, std::string& out);

}  // namespace sluice::text::jinja
