#include "text/jinja/number_text.h"

#include <cmath>
#include <cstdlib>
#include <string>

#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

}  // namespace

ParsedInteger ParseInteger(std::string_view text, int base, int64_t& out) {
  text = Strip(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  bool prefixed = false;
  if (text.size() > 1 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int named = letter == 'x' ? 16 : (letter == 'o' ? 8 : (letter == 'b' ? 2 : 0));
    if (named != 0 && (base == 0 || base == named)) {
      base = named;
      prefixed = true;
      text.remove_prefix(2);
    }
  }
  if (base == 0) {
    base = 10;
    // "012" has no base.
    if (text.size() > 1 && text[0] == '0' &&
        text.find_first_not_of("0_") != std::string_view::npos) {
      return ParsedInteger::kBad;
    }
  }
  bool underscore = !prefixed;  // may not come next
  bool too_large = false;
  int64_t value = 0;
  for (const char c : text) {
    if (c == '_') {
      if (underscore) return ParsedInteger::kBad;
      underscore = true;
      continue;
    }
    underscore = false;
    const int digit = DigitOf(c);
    if (digit >= base) return ParsedInteger::kBad;
    if (__builtin_mul_overflow(value, int64_t{base}, &value) ||
        __builtin_sub_overflow(value, int64_t{digit}, &value)) {
      too_large = true;
      value = 0;
    }
  }
  if (text.empty() || underscore) return ParsedInteger::kBad;
  if (!negative && __builtin_sub_overflow(int64_t{0}, value, &value)) too_large = true;
  out = value;
  return too_large ? ParsedInteger::kTooLarge : ParsedInteger::kGood;
}

bool ParseReal(std::string_view text, double& out) {
  text = Strip(text);
  std::string plain;
  char before = 0;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9';
    if (before == '_' && !digit) return false;
    if (c == '_' && !(before >= '0' && before <= '9')) return false;
    if (c != '_') plain += c;
    before = c;
  }
  if (before == '_' || plain.empty()) return false;
  const std::string lower = Lower(plain);
  const std::string_view word =
      std::string_view(lower).substr(lower[0] == '+' || lower[0] == '-' ? 1 : 0);
  const bool named = word == "inf" || word == "infinity" || word == "nan";
  if (!named && plain.find_first_not_of("0123456789+-.eE") != std::string::npos) return false;
  char* end = nullptr;
  out = std::strtod(plain.c_str(), &end);
  return end == plain.c_str() + plain.size();
}

bool TruncateReal(double value, int64_t& out) {
  if (!(std::fabs(value) < 0x1p63)) return false;
  out = static_cast<int64_t>(value);
  return true;
}

}  // namespace sluice::text::jinja
