// Numbers out of text, as Python's int() and float() read them.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::text::jinja {

enum class ParsedInteger : uint8_t { kGood, kBad, kTooLarge };

// int(text, base): white space around it, a sign, '_' between digits; base 0, or 2, 8 and 16 with
// their prefix. ASCII digits only.
ParsedInteger ParseInteger(std::string_view text, int base, int64_t& out);
// float(text), with inf and nan.
bool ParseReal(std::string_view text, double& out);
// int(value): towards zero. False when it does not fit.
bool TruncateReal(double value, int64_t& out);

}  // namespace sluice::text::jinja
