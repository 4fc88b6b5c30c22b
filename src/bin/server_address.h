// "HOST:PORT" of a running server, as flags give it.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace sluice::bin {

struct ServerAddress {
  std::string host;
  int64_t port = 0;
};

// kInvalidArgument unless `text` is HOST:PORT with a port from 1 to 65535; "http://" before it is
// taken.
base::Result<ServerAddress> ParseServerAddress(const std::string& text);

}  // namespace sluice::bin
