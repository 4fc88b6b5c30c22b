// Values as text: Python's str() and repr(), and JSON as json.dumps writes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

// repr(float): the shortest digits that read back as the same value.
void AppendFloat(double value, std::string& out);
void AppendStringRepr(std::string_view text, std::string& out);
// Fail beyond the workspace's output limit and on values that are nested too deeply.
bool AppendRepr(Workspace& work, const Value& value, std::string& out, int depth = 0);
bool AppendStr(Workspace& work, const Value& value, std::string& out);
// The text of str(value); a view of the value's own text where it is a string.
bool ToStr(Workspace& work, const Value& value, Value& out);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string_view indent;  // of one level
  std::string_view item_separator = ", ";
  std::string_view key_separator = ": ";
};
// Fails on what JSON does not have.
bool AppendJson(Workspace& work, const Value& value, const JsonStyle& style, std::string& out);

}  // namespace sluice::text::jinja
