#include "text/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "base/utf8.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/number_text.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

constexpr int64_t kWidthMax = 1 << 20;
constexpr int64_t kDigitsMax = 300;

// What stands between '%' or ':' and the type letter.
struct Spec {
  std::string fill = " ";
  char align = 0;  // < > = ^
  char sign = 0;   // + or space
  bool alternate = false;
  char group = 0;  // , or _
  int64_t width = 0;
  int64_t precision = -1;
  char type = 0;
};

bool FailSpec(Workspace& work, std::string_view what, const Value& value) {
  return work.Fail("cannot format " + std::string(KindName(value)) + " as '" + std::string(what) +
                   "'");
}

std::string Pad(const std::string& text, const Spec& spec, char align) {
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

// `digits` with its sign and prefix, padded between them and the digits where '=' asks for it.
std::string PadNumber(bool negative, const std::string& prefix, const std::string& digits,
                      const Spec& spec) {
  std::string head = negative ? "-" : (spec.sign == 0 ? "" : std::string(1, spec.sign));
  head += prefix;
  if (spec.align == '=') {
    Spec rest = spec;
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

std::string FormatInteger(int64_t value, const Spec& spec) {
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

std::string FormatReal(double value, const Spec& spec) {
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

// ---- '%' ----

class PercentFormatter {
 public:
  PercentFormatter(Workspace& work, std::string_view format, const Value& arguments)
      : work_(work), format_(format), arguments_(arguments) {}

  bool Run(std::string& out) {
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      out.append(format_, at_, percent - at_);
      at_ = percent + 1;
      if (percent == format_.size()) break;
      if (!One(out)) return false;
      if (!work_.Charge(1) || !work_.HasRoom(out.size())) return false;
    }
    // What has items counts as a mapping, which need not be used.
    const bool has_items = arguments_.Is(Kind::kDict) || arguments_.Is(Kind::kList) ||
                           arguments_.Is(Kind::kRange) || arguments_.Is(Kind::kUndefined);
    const bool all_used = arguments_.Is(Kind::kTuple) ? used_ >= arguments_.list->size
                                                      : used_ > 0 || named_ || has_items;
    if (!all_used) return work_.Fail("not all arguments are used by the format");
    return true;
  }

 private:
  bool FailEnd() { return work_.Fail("the format ends within a '%' conversion"); }

  bool Next(Value& out) {
    if (arguments_.Is(Kind::kTuple)) {
      if (used_ >= arguments_.list->size) return work_.Fail("not enough arguments for the format");
      out = arguments_.list->items[used_++];
      return true;
    }
    if (used_ > 0) return work_.Fail("not enough arguments for the format");
    ++used_;
    out = arguments_;
    return true;
  }

  bool Number(int64_t limit, int64_t& out) {
    if (at_ < format_.size() && format_[at_] == '*') {
      ++at_;
      Value value;
      if (!Next(value)) return false;
      if (!value.is_integer()) return FailSpec(work_, "*", value);
      out = value.AsInteger();
    } else {
      out = 0;
      while (at_ < format_.size() && format_[at_] >= '0' && format_[at_] <= '9' && out <= limit) {
        out = out * 10 + (format_[at_++] - '0');
      }
    }
    if (out > limit || out < -limit) {
      return work_.Fail("expected a width or precision of at most " + std::to_string(limit),
                        base::Code::kResourceExhausted);
    }
    return true;
  }

  bool One(std::string& out) {
    Spec spec;
    bool has_key = false;
    Value value;
    if (at_ < format_.size() && format_[at_] == '(') {
      if (!Key(value)) return false;
      has_key = true;
    }
    bool zero = false;
    for (; at_ < format_.size(); ++at_) {
      const char c = format_[at_];
      if (c == '-') {
        spec.align = '<';
      } else if (c == '+' || (c == ' ' && spec.sign == 0)) {
        spec.sign = c;
      } else if (c == '#') {
        spec.alternate = true;
      } else if (c == '0') {
        zero = true;
      } else if (c != ' ') {
        break;
      }
    }
    if (!Number(kWidthMax, spec.width)) return false;
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (at_ < format_.size() && format_[at_] == '.') {
      ++at_;
      if (!Number(kDigitsMax, spec.precision)) return false;
      spec.precision = std::max<int64_t>(spec.precision, 0);
    }
    while (at_ < format_.size() &&
           std::string_view("hlL").find(format_[at_]) != std::string_view::npos)
      ++at_;
    if (at_ >= format_.size()) return FailEnd();
    spec.type = format_[at_++];
    if (spec.type == '%') {
      out += '%';
      return true;
    }
    if (!has_key && !Next(value)) return false;
    if (zero && spec.align == 0) {
      spec.align = '=';
      spec.fill = "0";
    }
    return Convert(spec, value, out);
  }

  bool Key(Value& value) {
    const size_t close = format_.find(')', at_);
    if (close == std::string_view::npos) return FailEnd();
    if (!arguments_.Is(Kind::kDict)) return work_.Fail("'%(name)s' needs a dict");
    const std::string_view key = format_.substr(at_ + 1, close - at_ - 1);
    const Value* found = arguments_.dict->Find(key);
    if (found == nullptr) return work_.Fail("the dict to format lacks '" + std::string(key) + "'");
    value = *found;
    named_ = true;
    at_ = close + 1;
    return true;
  }

  bool Convert(Spec& spec, const Value& value, std::string& out) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        std::string text;
        if (!(spec.type == 's' ? AppendStr(work_, value, text) : AppendRepr(work_, value, text))) {
          return false;
        }
        if (spec.precision >= 0) {
          text = RuneSubstring(text, 0, static_cast<size_t>(spec.precision));
        }
        spec.fill = " ";
        out += Pad(text, spec, spec.align == '<' ? '<' : '>');
        return true;
      }
      case 'c': {
        std::string text;
        if (value.is_string() && CountRunes(value.str()) == 1) {
          text = value.str();
        } else if (value.is_integer() && value.AsInteger() >= 0 && value.AsInteger() <= 0x10FFFF &&
                   (value.AsInteger() < 0xD800 || value.AsInteger() > 0xDFFF)) {
          base::AppendRune(static_cast<char32_t>(value.AsInteger()), text);
        } else {
          return FailSpec(work_, "%c", value);
        }
        spec.fill = " ";
        out += Pad(text, spec, spec.align == '<' ? '<' : '>');
        return true;
      }
      case 'd':
      case 'i':
      case 'u': {
        int64_t whole = 0;
        if (value.is_integer()) {
          whole = value.AsInteger();
        } else if (!value.Is(Kind::kFloat) || !TruncateReal(value.real, whole)) {
          return FailSpec(work_, "%d", value);
        }
        spec.type = 'd';
        out += FormatInteger(whole, spec);
        return true;
      }
      case 'x':
      case 'X':
      case 'o':
        if (!value.is_integer()) return FailSpec(work_, "%x", value);
        out += FormatInteger(value.AsInteger(), spec);
        return true;
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        if (!value.is_number()) return FailSpec(work_, "%f", value);
        out += FormatReal(value.AsReal(), spec);
        return true;
      default:
        return work_.Fail(std::string("unknown conversion '%") + spec.type + "'");
    }
  }

  Workspace& work_;
  const std::string_view format_;
  const Value& arguments_;
  size_t at_ = 0;
  size_t used_ = 0;
  bool named_ = false;
};

// ---- str.format ----

class BraceFormatter {
 public:
  BraceFormatter(Evaluator& evaluator, std::span<const Value> arguments, const Dict* keywords)
      : evaluator_(evaluator),
        work_(evaluator.work()),
        arguments_(arguments),
        keywords_(keywords) {}

  bool Run(std::string_view format, std::string& out, int depth) {
    if (depth > 1) return work_.Fail("a format specification is nested too deeply");
    size_t at = 0;
    while (at < format.size()) {
      const char c = format[at];
      if (c != '{' && c != '}') {
        const size_t end = std::min(format.find_first_of("{}", at), format.size());
        out.append(format, at, end - at);
        at = end;
        continue;
      }
      if (at + 1 < format.size() && format[at + 1] == c) {
        out += c;
        at += 2;
        continue;
      }
      if (c == '}') return work_.Fail("single '}' in a format");
      size_t end = at + 1;
      for (int open = 1; end < format.size(); ++end) {
        if (format[end] == '{') ++open;
        if (format[end] == '}' && --open == 0) break;
      }
      if (end >= format.size()) return work_.Fail("expected '}' before the end of a format");
      if (!Field(format.substr(at + 1, end - at - 1), out, depth)) return false;
      if (!work_.Charge(1) || !work_.HasRoom(out.size())) return false;
      at = end + 1;
    }
    return true;
  }

 private:
  bool Field(std::string_view field, std::string& out, int depth) {
    // A '[' hides ':' and '!' until its ']'.
    size_t split = 0;
    bool in_index = false;
    for (; split < field.size(); ++split) {
      if (field[split] == '[') in_index = true;
      if (field[split] == ']') in_index = false;
      if (!in_index && (field[split] == ':' || field[split] == '!')) break;
    }
    std::string_view rest = field.substr(split);
    Value value;
    if (!Lookup(field.substr(0, split), value)) return false;
    char conversion = 0;
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':')) {
        return work_.Fail("expected ':' after a conversion in a format");
      }
      conversion = rest[1];
      rest = rest.substr(2);
    }
    if (!rest.empty()) rest = rest.substr(1);
    std::string spec;
    if (!Run(rest, spec, depth + 1)) return false;
    if (conversion != 0) {
      std::string text;
      const bool good = conversion == 's'   ? AppendStr(work_, value, text)
                        : conversion == 'r' ? AppendRepr(work_, value, text)
                                            : work_.Fail("expected !s or !r in a format");
      if (!good || !work_.NewString(text, value)) return false;
    }
    return Apply(value, spec, out);
  }

  bool Lookup(std::string_view path, Value& value) {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    const std::string_view first = path.substr(0, end);
    int64_t index = 0;
    const bool is_number = !first.empty() && ParseDigits(first, index);
    if (first.empty() || is_number) {
      if (first.empty() ? numbered_ : automatic_ > 0) {
        return work_.Fail("a format numbers its fields either by itself or not");
      }
      if (first.empty()) index = automatic_++;
      numbered_ = numbered_ || is_number;
      if (index >= static_cast<int64_t>(arguments_.size())) {
        return work_.Fail("expected more than " + std::to_string(arguments_.size()) +
                          " arguments for the format");
      }
      value = arguments_[static_cast<size_t>(index)];
    } else {
      const Value* found = keywords_ == nullptr ? nullptr : keywords_->Find(first);
      if (found == nullptr) return work_.Fail("the format lacks '" + std::string(first) + "'");
      value = *found;
    }
    for (size_t at = end; at < path.size();) {
      const bool attribute = path[at] == '.';
      const size_t stop =
          attribute ? std::min(path.find_first_of(".[", at + 1), path.size()) : path.find(']', at);
      if (stop == std::string_view::npos || stop == at + 1) {
        return work_.Fail("expected a name after '.' or '[' in a format");
      }
      const std::string_view name = path.substr(at + 1, stop - at - 1);
      int64_t number = 0;
      const Value key =
          !attribute && ParseDigits(name, number) ? Value::Int(number) : Value::String(name);
      const bool good = attribute ? evaluator_.GetAttribute(value, name, value)
                                  : evaluator_.GetItem(value, key, value);
      if (!good) return false;
      at = attribute ? stop : stop + 1;
    }
    return true;
  }

  static bool ParseDigits(std::string_view text, int64_t& out) {
    out = 0;
    for (const char c : text) {
      if (c < '0' || c > '9' || out > (int64_t{1} << 40)) return false;
      out = out * 10 + (c - '0');
    }
    return true;
  }

  bool Parse(std::string_view text, Spec& spec) {
    size_t at = 0;
    const auto is_align = [&](size_t i) {
      return i < text.size() && std::string_view("<>=^").find(text[i]) != std::string_view::npos;
    };
    if (!text.empty()) {
      const auto bytes = static_cast<size_t>(base::DecodeRune(text, 0).bytes);
      if (is_align(bytes)) {
        spec.fill = text.substr(0, bytes);
        spec.align = text[bytes];
        at = bytes + 1;
      } else if (is_align(0)) {
        spec.align = text[0];
        at = 1;
      }
    }
    const auto take = [&](std::string_view any) {
      if (at < text.size() && any.find(text[at]) != std::string_view::npos) return text[at++];
      return '\0';
    };
    const char sign = take("+- ");
    spec.sign = sign == '-' ? '\0' : sign;
    spec.alternate = take("#") != 0;
    if (take("0") != 0 && spec.align == 0) {
      spec.fill = "0";
      spec.align = '=';
    }
    const auto number = [&](int64_t limit, int64_t& out) {
      out = 0;
      const size_t start = at;
      while (at < text.size() && text[at] >= '0' && text[at] <= '9' && out <= limit) {
        out = out * 10 + (text[at++] - '0');
      }
      return at > start && out <= limit;
    };
    if (at < text.size() && text[at] >= '0' && text[at] <= '9' && !number(kWidthMax, spec.width)) {
      return false;
    }
    spec.group = take(",_");
    if (take(".") != 0 && !number(kDigitsMax, spec.precision)) return false;
    spec.type = take("bcdeEfFgGnosxX%");
    return at == text.size();
  }

  bool Apply(const Value& value, std::string_view text, std::string& out) {
    if (text.empty()) return AppendStr(work_, value, out);
    Spec spec;
    if (!Parse(text, spec)) return work_.Fail("bad format '" + std::string(text) + "'");
    const std::string_view reals("eEfFgGn%");
    if (value.is_string()) {
      if ((spec.type != 0 && spec.type != 's') || spec.sign != 0 || spec.align == '=' ||
          spec.group != 0 || spec.alternate) {
        if (!(spec.align == '=' && spec.fill == "0" && spec.type == 0)) {
          return FailSpec(work_, text, value);
        }
        spec.align = '<';
      }
      std::string shown(value.str());
      if (spec.precision >= 0) {
        shown = RuneSubstring(shown, 0, static_cast<size_t>(spec.precision));
      }
      out += Pad(shown, spec, spec.align == 0 ? '<' : spec.align);
      return true;
    }
    const bool as_real = spec.type != 0 && reals.find(spec.type) != std::string_view::npos;
    if (value.is_integer() && !as_real) {
      if (value.Is(Kind::kBool) && spec.type == 0) {
        Spec plain = spec;
        out += FormatInteger(value.AsInteger(), plain);
        return true;
      }
      if (spec.precision >= 0 || spec.type == 's' || spec.type == 'c') {
        return FailSpec(work_, text, value);
      }
      if (spec.type == 0) spec.type = 'd';
      out += FormatInteger(value.AsInteger(), spec);
      return true;
    }
    if (value.is_number() && (as_real || (value.Is(Kind::kFloat) && spec.type == 0))) {
      if (spec.type == 'n') spec.type = 'g';
      if (spec.type == 0 && spec.precision >= 0) {
        return work_.Fail("a float's precision without a type is not supported",
                          base::Code::kUnimplemented);
      }
      out += FormatReal(value.AsReal(), spec);
      return true;
    }
    return FailSpec(work_, text, value);
  }

  Evaluator& evaluator_;
  Workspace& work_;
  const std::span<const Value> arguments_;
  const Dict* keywords_;
  int64_t automatic_ = 0;
  bool numbered_ = false;
};

}  // namespace

bool FormatPercent(Workspace& work, std::string_view format, const Value& arguments, Value& out) {
  std::string text;
  PercentFormatter formatter(work, format, arguments);
  return formatter.Run(text) && work.NewString(text, out);
}

bool FormatBraces(Evaluator& evaluator, std::string_view format, std::span<const Value> arguments,
                  const Dict* keywords, Value& out) {
  std::string text;
  BraceFormatter formatter(evaluator, arguments, keywords);
  return formatter.Run(format, text, 0) && evaluator.work().NewString(text, out);
}

}  // namespace sluice::text::jinja
