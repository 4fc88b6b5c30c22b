#include "bin/hub/hub_settings.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/files.h"

namespace sluice::bin {
namespace {

constexpr int64_t kTokenBytesMax = 4096;

std::string ValueOf(const Environment& environment, const char* name) {
  const char* value = environment(name);
  return value == nullptr ? "" : value;
}

std::string FirstOf(const Environment& environment, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::string value = ValueOf(environment, name);
    if (!value.empty()) return value;
  }
  return "";
}

// "~" at a path's beginning is the user's home.
std::string Expanded(std::string path, const std::string& home) {
  if (path == "~" || path.starts_with("~/")) path.replace(0, 1, home);
  return path;
}

bool IsTrue(std::string value) {
  for (char& c : value) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::string Trimmed(std::string text) {
  const auto space = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && space(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
  return text;
}

base::Result<std::string> ReadToken(const Environment& environment, const std::string& path) {
  std::string token = FirstOf(environment, {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"});
  const char* where = "HF_TOKEN";
  if (token.empty()) {
    base::Result<std::string> file = base::ReadFile(path, kTokenBytesMax);
    if (!file.ok() && file.error().code != base::Code::kNotFound) return std::move(file).error();
    if (file.ok()) token = *std::move(file);
    where = "the token's file";
  }
  token = Trimmed(std::move(token));
  const bool plain =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (!plain) {
    return base::InvalidArgument(std::string(where) + ": expected one word of plain characters");
  }
  return token;
}

base::Result<serve::Url> ReadUrl(const char* name, const std::string& text) {
  base::Result<serve::Url> url = serve::ParseUrl(text);
  if (!url.ok()) return base::InvalidArgument(std::string(name) + ": " + url.error().message);
  return url;
}

}  // namespace

base::Result<HubSettings> ReadHubSettings(const Environment& environment) {
  HubSettings settings;
  const std::string user = ValueOf(environment, "HOME");
  std::string home = Expanded(ValueOf(environment, "HF_HOME"), user);
  if (home.empty()) {
    const std::string caches = Expanded(ValueOf(environment, "XDG_CACHE_HOME"), user);
    if (caches.empty() && user.empty()) {
      return base::InvalidArgument("HF_HOME: expected a folder where HOME is not set");
    }
    home = (caches.empty() ? user + "/.cache" : caches) + "/huggingface";
  }
  settings.cache = Expanded(FirstOf(environment, {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}), user);
  if (settings.cache.empty()) settings.cache = home + "/hub";
  std::string endpoint = ValueOf(environment, "HF_ENDPOINT");
  if (endpoint.empty()) endpoint = "https://huggingface.co";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  settings.endpoint = TRY(ReadUrl("HF_ENDPOINT", endpoint));
  if (settings.endpoint.target == "/") settings.endpoint.target.clear();
  std::string token_path = Expanded(ValueOf(environment, "HF_TOKEN_PATH"), user);
  if (token_path.empty()) token_path = home + "/token";
  settings.token = TRY(ReadToken(environment, token_path));
  settings.offline = IsTrue(FirstOf(environment, {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}));
  const std::string proxy =
      settings.endpoint.tls
          ? FirstOf(environment, {"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"})
          : FirstOf(environment, {"http_proxy", "ALL_PROXY", "all_proxy"});
  const std::string direct = FirstOf(environment, {"NO_PROXY", "no_proxy"});
  const std::string& host = settings.endpoint.host;
  const bool own = host == "localhost" || host == "127.0.0.1" || host == "::1";
  if (!proxy.empty() && !own && direct != "*") {
    settings.proxy = TRY(ReadUrl("HTTPS_PROXY", proxy));
    if (settings.proxy->tls) {
      return base::InvalidArgument("HTTPS_PROXY: expected a proxy's http:// address");
    }
  }
  const std::string timeout = ValueOf(environment, "HF_HUB_DOWNLOAD_TIMEOUT");
  if (!timeout.empty()) {
    int64_t seconds = 0;
    const auto [end, error] =
        std::from_chars(timeout.data(), timeout.data() + timeout.size(), seconds);
    if (error != std::errc() || end != timeout.data() + timeout.size() || seconds < 1 ||
        seconds > 3600) {
      return base::InvalidArgument("HF_HUB_DOWNLOAD_TIMEOUT: expected 1 to 3600 seconds, got '" +
                                   timeout + "'");
    }
    settings.timeout = base::Duration::Seconds(seconds);
  }
  return settings;
}

}  // namespace sluice::bin
