// Command-line flags of a verb: one table gives parsing, defaults, help and error messages.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace sluice::bin {

// A flag whose value something else parses.
struct FlagSetter {
  std::function<base::Status(std::string_view text)> set;
  std::string standard;  // the default, for help
  bool is_switch = false;
};

// A flag writes where its target points; the target's value at declaration is the default that help
// shows.
struct Flag {
  using Target =
      std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*, FlagSetter>;
  std::string_view name;   // without dashes
  Target target;           // a vector takes the flag repeatedly
  std::string_view value;  // what help calls the value: "DIR", "N", …; empty for a bool
  std::string_view help;   // one line
};

// Appends `--name`, a switch that sets `*target`.
void AddSwitch(std::string_view name, bool* target, std::string_view help,
               std::vector<Flag>& flags);

// What one verb is called, takes and prints for --help.
struct Usage {
  std::string_view verb;
  std::string_view positional;  // "MODEL", "DIR …" or empty
  std::string_view summary;     // one line
  std::string_view example;     // a command that works
};

// Parses `--name value`, `--name=value`, `--name` and `--no-name` (bools); everything else is
// positional. After `--` all is positional. Returns the positional arguments; kInvalidArgument
// names the flag, what it expects and what came.
base::Result<std::vector<std::string>> ParseFlags(const std::vector<std::string>& arguments,
                                                  const std::vector<Flag>& flags);

// The text of `sluice VERB --help`.
std::string Help(const Usage& usage, const std::vector<Flag>& flags);

// True when --help or -h is among the arguments.
bool WantsHelp(const std::vector<std::string>& arguments);

// Sets one flag from text, as ParseFlags does: also used for the keys of a configuration file.
base::Status SetFlag(const Flag& flag, std::string_view text);

}  // namespace sluice::bin
