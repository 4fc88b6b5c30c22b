#include "bin/flags.h"

#include <charconv>
#include <cstdio>

namespace sluice::bin {
namespace {

using base::InvalidArgument;

std::string Quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

template <class Number>
base::Status SetNumber(const Flag& flag, std::string_view text, Number* target,
                       std::string_view kind) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return InvalidArgument("--" + std::string(flag.name) + " expects " + std::string(kind) +
                           ", got " + Quoted(text));
  }
  *target = value;
  return base::Ok();
}

const Flag* Find(const std::vector<Flag>& flags, std::string_view name) {
  for (const Flag& flag : flags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

std::string Default(const Flag& flag) {
  struct Visitor {
    std::string operator()(const bool* b) const { return *b ? "on" : ""; }
    std::string operator()(const int64_t* n) const { return std::to_string(*n); }
    std::string operator()(const double* x) const {
      char text[32];
      std::snprintf(text, sizeof text, "%g", *x);
      return text;
    }
    std::string operator()(const std::string* s) const { return *s; }
    std::string operator()(const std::vector<std::string>*) const { return ""; }
    std::string operator()(const FlagSetter& setter) const { return setter.standard; }
  };
  return std::visit(Visitor{}, flag.target);
}

bool IsSwitch(const Flag& flag) {
  const auto* setter = std::get_if<FlagSetter>(&flag.target);
  return setter != nullptr ? setter->is_switch : std::holds_alternative<bool*>(flag.target);
}

}  // namespace

void AddSwitch(std::string_view name, bool* target, std::string_view help,
               std::vector<Flag>& flags) {
  flags.emplace_back();
  flags.back().name = name;
  flags.back().target = target;
  flags.back().help = help;
}

base::Status SetFlag(const Flag& flag, std::string_view text) {
  struct Visitor {
    const Flag& flag;
    std::string_view text;
    base::Status operator()(bool* b) const {
      if (text == "true" || text == "on" || text == "1") {
        *b = true;
      } else if (text == "false" || text == "off" || text == "0") {
        *b = false;
      } else {
        return InvalidArgument("--" + std::string(flag.name) + " expects true or false, got " +
                               Quoted(text));
      }
      return base::Ok();
    }
    base::Status operator()(int64_t* n) const { return SetNumber(flag, text, n, "a whole number"); }
    base::Status operator()(double* x) const { return SetNumber(flag, text, x, "a number"); }
    base::Status operator()(std::string* s) const {
      *s = text;
      return base::Ok();
    }
    base::Status operator()(std::vector<std::string>* list) const {
      list->emplace_back(text);
      return base::Ok();
    }
    base::Status operator()(const FlagSetter& setter) const {
      base::Status status = setter.set(text);
      if (status.ok()) return status;
      return InvalidArgument("--" + std::string(flag.name) + ": " + status.error().message);
    }
  };
  return std::visit(Visitor{flag, text}, flag.target);
}

base::Result<std::vector<std::string>> ParseFlags(const std::vector<std::string>& arguments,
                                                  const std::vector<Flag>& flags) {
  std::vector<std::string> positional;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      positional.insert(positional.end(), arguments.begin() + static_cast<ptrdiff_t>(i) + 1,
                        arguments.end());
      break;
    }
    if (argument.rfind("--", 0) != 0) {
      positional.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const Flag* flag = Find(flags, name);
    if (flag == nullptr && name.rfind("no-", 0) == 0 && equals == std::string::npos) {
      flag = Find(flags, std::string_view(name).substr(3));
      if (flag != nullptr && IsSwitch(*flag)) {
        TRY(SetFlag(*flag, "false"));
        continue;
      }
      flag = nullptr;
    }
    if (flag == nullptr) return InvalidArgument("unknown flag --" + name + "; --help lists them");
    if (equals != std::string::npos) {
      TRY(SetFlag(*flag, std::string_view(argument).substr(equals + 1)));
    } else if (IsSwitch(*flag)) {
      TRY(SetFlag(*flag, "true"));
    } else {
      if (i + 1 == arguments.size()) {
        return InvalidArgument("--" + name + " expects a value (" + std::string(flag->value) + ")");
      }
      TRY(SetFlag(*flag, arguments[++i]));
    }
  }
  return positional;
}

std::string Help(const Usage& usage, const std::vector<Flag>& flags) {
  std::string text = "sluice " + std::string(usage.verb);
  if (!flags.empty()) text += " [flags]";
  if (!usage.positional.empty()) text += " " + std::string(usage.positional);
  text +=
      "\n\n" + std::string(usage.summary) + "\n\nexample:\n  " + std::string(usage.example) + "\n";
  if (!flags.empty()) text += "\nflags:\n";
  for (const Flag& flag : flags) {
    std::string left = "  --" + std::string(flag.name);
    if (!flag.value.empty()) left += " " + std::string(flag.value);
    constexpr size_t kColumn = 36;
    left += left.size() < kColumn ? std::string(kColumn - left.size(), ' ') : "  ";
    text += left + std::string(flag.help);
    const std::string standard = Default(flag);
    if (!standard.empty()) text += " (default " + standard + ")";
    text += "\n";
  }
  return text;
}

bool WantsHelp(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") return true;
    if (argument == "--") return false;
  }
  return false;
}

}  // namespace sluice::bin
