#include "bin/server_address.h"

#include <charconv>

namespace sluice::bin {

base::Result<ServerAddress> ParseServerAddress(const std::string& text) {
  const std::string scheme = "http://";
  const std::string address = text.rfind(scheme, 0) == 0 ? text.substr(scheme.size()) : text;
  const size_t colon = address.rfind(':');
  int64_t port = 0;
  const char* const end = address.data() + address.size();
  if (colon == std::string::npos || colon == 0 ||
      std::from_chars(address.data() + colon + 1, end, port).ptr != end || port < 1 ||
      port > 65535) {
    return base::InvalidArgument("expected HOST:PORT, got '" + text + "'");
  }
  return ServerAddress{address.substr(0, colon), port};
}

}  // namespace sluice::bin
