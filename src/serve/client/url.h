// Addresses of HTTP servers: what a download is told and what a redirect says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice::serve {

struct Url {
  bool tls = false;
  std::string host;  // without brackets where it is an IPv6 address
  int64_t port = 0;
  std::string target = "/";  // path and query, escaped

  // "https://host:port": two addresses with the same one may share credentials.
  std::string origin() const;
  std::string text() const { return origin() + target; }
};

// http:// and https:// addresses without user and password; a fragment is dropped.
// kInvalidArgument for anything else, and for characters that would not fit into a request's line.
base::Result<Url> ParseUrl(std::string_view text);

// What `location`, an address or a path, means in an answer from `from`.
base::Result<Url> ResolveUrl(const Url& from, std::string_view location);

// A path's component, or with `keep` = "/" a path, escaped for a target.
std::string EscapeForUrl(std::string_view text, std::string_view keep = {});

}  // namespace sluice::serve
