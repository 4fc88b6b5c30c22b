#include "serve/client/url.h"

#include <algorithm>
#include <charconv>

namespace sluice::serve {
namespace {

constexpr size_t kUrlBytesMax = 16 << 10;

base::Error Wrong(std::string_view text, const char* why) {
  return base::InvalidArgument("'" + std::string(text.substr(0, 256)) + "' is no address: " + why);
}

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

bool IsUnreserved(char c) {
  return IsHostCharacter(c) || c == '~';
}

// Host and port of `authority` into `url`.
base::Status ParseAuthority(std::string_view text, std::string_view authority, Url& url) {
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return Wrong(text, "a bracket is not closed");
    url.host = authority.substr(1, end - 1);
    const bool plain = std::all_of(url.host.begin(), url.host.end(), [](char c) {
      return c == ':' || c == '.' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
             (c >= 'A' && c <= 'F');
    });
    if (!plain) return Wrong(text, "no IPv6 address stands in its brackets");
    port = authority.substr(end + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    url.host = authority.substr(0, colon);
    if (!std::all_of(url.host.begin(), url.host.end(), IsHostCharacter)) {
      return Wrong(text, "its host has characters that no host has (no user or password here)");
    }
    port = authority.substr(colon);
  }
  if (url.host.empty() || url.host.size() > 253) return Wrong(text, "it names no host");
  url.port = url.tls ? 443 : 80;
  if (port.empty() || port == ":") return base::Ok();
  const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), url.port);
  if (port[0] != ':' || error != std::errc() || end != port.data() + port.size() || url.port < 1 ||
      url.port > 65535) {
    return Wrong(text, "its port is no number from 1 to 65535");
  }
  return base::Ok();
}

}  // namespace

std::string Url::origin() const {
  const bool brackets = host.find(':') != std::string::npos;
  const bool usual = port == (tls ? 443 : 80);
  return std::string(tls ? "https://" : "http://") + (brackets ? "[" + host + "]" : host) +
         (usual ? "" : ":" + std::to_string(port));
}

base::Result<Url> ParseUrl(std::string_view text) {
  if (text.size() > kUrlBytesMax) return Wrong(text, "it is too long");
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (!plain) return Wrong(text, "it has characters that must be escaped");
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    url.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return Wrong(text, "expected http:// or https://");
  }
  const size_t path = std::min(rest.find_first_of("/?#"), rest.size());
  TRY(ParseAuthority(text, rest.substr(0, path), url));
  rest.remove_prefix(path);
  rest = rest.substr(0, rest.find('#'));
  url.target = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  return url;
}

base::Result<Url> ResolveUrl(const Url& from, std::string_view location) {
  if (location.starts_with("http://") || location.starts_with("https://")) {
    return ParseUrl(location);
  }
  if (location.starts_with("//")) {
    return ParseUrl((from.tls ? "https:" : "http:") + std::string(location));
  }
  if (location.starts_with('/')) return ParseUrl(from.origin() + std::string(location));
  const std::string path = from.target.substr(0, from.target.find('?'));
  return ParseUrl(from.origin() + path.substr(0, path.rfind('/') + 1) + std::string(location));
}

std::string EscapeForUrl(std::string_view text, std::string_view keep) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (IsUnreserved(c) || keep.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

}  // namespace sluice::serve
