#include "text/jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {

bool FailSpec(Workspace& work, std::string_view what, const Value& value) {
  return work.Fail("cannot format " + std::string(KindName(value)) + " as '" + std::string(what) +
                   "'");
}

std::string Pad(const std::string& text, const FormatSpec& spec, char align) {
  const auto size = static_cast<int64_t>(CountRunes(text));
  if (size >= spec.width) return text;
  const int64_t room = spec.width - size;
  const int64_t left = align == '>' ? room : (align == '^' ? room / 2 : 0);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += spec.fill;
  out += text;
  for (int64_t i = left; i < room; ++i) out += spec.fill;
  return out;
}

namespace {

// `digits` with its sign and prefix, padded between them and the digits where '=' asks for it.
std::string PadNumber(bool negative, const std::string& prefix, const std::string& digits,
                      const FormatSpec& spec) {
  std::string head = negative ? "-" : (spec.sign == 0 ? "" : std::string(1, spec.sign));
  head += prefix;
  if (spec.align == '=') {
    FormatSpec rest = spec;
    rest.width = spec.width - static_cast<int64_t>(head.size());
    return head + Pad(digits, rest, '>');
  }
  return Pad(head + digits, spec, spec.align == 0 ? '>' : spec.align);
}

std::string Grouped(const std::string& digits, char group, size_t every) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % every == 0) out += group;
    out += digits[i];
  }
  return out;
}

std::string Digits(uint64_t magnitude, unsigned base, bool upper) {
  const char* letters = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out.insert(out.begin(), letters[magnitude % base]);
    magnitude /= base;
  } while (magnitude > 0);
  return out;
}

}  // namespace

std::string FormatInteger(int64_t value, const FormatSpec& spec) {
  const bool negative = value < 0;
  const uint64_t magnitude =
      negative ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  const char type = spec.type;
  const unsigned base =
      type == 'x' || type == 'X' ? 16 : (type == 'o' ? 8 : (type == 'b' ? 2 : 10));
  std::string digits = Digits(magnitude, base, type == 'X');
  if (spec.precision > static_cast<int64_t>(digits.size())) {
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  }
  if (spec.group != 0) digits = Grouped(digits, spec.group, base == 10 ? 3 : 4);
  const std::string prefix = spec.alternate && base != 10 ? std::string("0") + type : std::string();
  return PadNumber(negative, prefix, digits, spec);
}

std::string FormatReal(double value, const FormatSpec& spec) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  const double magnitude = std::fabs(value);
  const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
  std::string digits;
  if (std::isnan(value) || std::isinf(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
    if (spec.type == 'F' || spec.type == 'E' || spec.type == 'G') digits = Upper(digits);
  } else if (spec.type == 0 && spec.precision < 0) {
    AppendFloat(magnitude, digits);
  } else {
    char text[700];
    const char type = spec.type == 0 ? 'g' : (spec.type == '%' ? 'f' : spec.type);
    const char format[] = {'%',
                           spec.alternate ? '#' : '.',
                           spec.alternate ? '.' : '*',
                           spec.alternate ? '*' : type,
                           spec.alternate ? type : '\0',
                           '\0'};
    const double scaled = spec.type == '%' ? magnitude * 100 : magnitude;
    std::snprintf(text, sizeof(text), format, precision, scaled);
    digits = text;
  }
  if (spec.type == '%') digits += '%';
  if (spec.group != 0) {
    const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
    digits = Grouped(digits.substr(0, whole), spec.group, 3) + digits.substr(whole);
  }
  return PadNumber(negative, "", digits, spec);
}

}  // namespace sluice::text::jinja
