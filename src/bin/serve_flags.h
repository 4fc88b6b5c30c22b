// The flags that `serve` and `check` share: every option of the server and of the runtime.
#pragma once

#include <string>
#include <vector>

#include "bin/flags.h"
#include "bin/runtime.h"
#include "serve/config.h"

namespace sluice::bin {

struct ServeSettings {
  serve::ServerConfig server;
  RuntimeOptions runtime;
  std::string log_format = "text";
  std::string log_level = "info";
};

// `settings` outlives the flags. --config is read where it stands: later flags win over it.
std::vector<Flag> ServeFlags(ServeSettings& settings);

// Applies the logging settings; kInvalidArgument names what is wrong.
base::Status ApplyLogging(const ServeSettings& settings);

}  // namespace sluice::bin
