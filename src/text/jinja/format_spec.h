// What both ways to format say of one value, and numbers as they say.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

inline constexpr int64_t kWidthMax = 1 << 20;
inline constexpr int64_t kDigitsMax = 300;

// What stands between '%' or ':' and the type letter.
struct FormatSpec {
  std::string fill = " ";
  char align = 0;  // < > = ^
  char sign = 0;   // + or space
  bool alternate = false;
  char group = 0;  // , or _
  int64_t width = 0;
  int64_t precision = -1;
  char type = 0;
};

// Fails with what cannot be formatted so.
bool FailSpec(Workspace& work, std::string_view what, const Value& value);
// `text` filled to the width; `align` is <, > or ^.
std::string Pad(const std::string& text, const FormatSpec& spec, char align);
std::string FormatInteger(int64_t value, const FormatSpec& spec);
std::string FormatReal(double value, const FormatSpec& spec);

}  // namespace sluice::text::jinja
