// The server's options by name: one table for the keys of sluice.yaml and for the flags of `sluice
// serve`.
#pragma once

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

// sluice.yaml: a map from option names to values, lists where an option takes several. Unknown keys
// are refused by name.
base::Status ReadConfigYaml(const std::string& text, ServerConfig& config);
base::Status ReadServerConfig(const std::string& path, ServerConfig& config);

}  // namespace sluice::serve
