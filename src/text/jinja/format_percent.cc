// '%s' % value.
#include <algorithm>
#include <string>

#include "base/utf8.h"
#include "text/jinja/format.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/number_text.h"
#include "text/jinja/print.h"
#include "text/jinja/python_text.h"

namespace sluice::text::jinja {
namespace {

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
    FormatSpec spec;
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

  bool Convert(FormatSpec& spec, const Value& value, std::string& out) {
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

}  // namespace

bool FormatPercent(Workspace& work, std::string_view format, const Value& arguments, Value& out) {
  std::string text;
  PercentFormatter formatter(work, format, arguments);
  return formatter.Run(text) && work.NewString(text, out);
}

}  // namespace sluice::text::jinja
