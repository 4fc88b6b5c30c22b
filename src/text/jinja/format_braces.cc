// '{}'.format(value).
#include <algorithm>
#include <string>

#include "base/utf8.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

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

  bool Parse(std::string_view text, FormatSpec& spec) {
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
    FormatSpec spec;
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
        FormatSpec plain = spec;
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

bool FormatBraces(Evaluator& evaluator, std::string_view format, std::span<const Value> arguments,
                  const Dict* keywords, Value& out) {
  std::string text;
  BraceFormatter formatter(evaluator, arguments, keywords);
  return formatter.Run(format, text, 0) && evaluator.work().NewString(text, out);
}

}  // namespace sluice::text::jinja
