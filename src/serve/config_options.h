// The server's options by name: one table for the keys of sluice.yaml and for the flags of `sluice
// serve`.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/config.h"

namespace sluice::serve {

struct ConfigOption {
  std::string_view name;   // "http-port": a flag's name and, as it is or with underscores, a key
  std::string_view value;  // what help calls its value: "N", "DIR", …; empty for a switch
  std::string_view help;
  base::Status (*set)(std::string_view text, ServerConfig& config);
  std::string (*get)(const ServerConfig& config);
};

const std::vector<ConfigOption>& ConfigOptions();

// kInvalidArgument names the option, what it expects and what came. A list option takes each call
// as one more.
base::Status SetConfigOption(std::string_view name, std::string_view text, ServerConfig& config);

// Sets one option by name, in the dashed form. The composition root has options of its own.
using SetOption = std::function<base::Status(std::string_view name, std::string_view text)>;

// sluice.yaml: a map from option names, with dashes or underscores, to values, lists where an
// option takes several. `set` refuses unknown names.
base::Status ReadConfigYaml(const std::string& text, const SetOption& set);
base::Status ReadConfigFile(const std::string& path, const SetOption& set);

}  // namespace sluice::serve
