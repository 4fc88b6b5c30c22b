#include "serve/oip/load_request.h"

#include "base/json.h"

namespace sluice::serve {

using base::InvalidArgument;
using base::JsonValue;

namespace {

base::Result<std::optional<JsonValue>> Parameters(std::string_view body,
                                                  base::JsonDocument& document) {
  if (body.empty()) return std::optional<JsonValue>();
  JsonValue root = TRY(document.Parse(body));
  if (!root.is_object()) return InvalidArgument("expected a JSON object as body");
  return root.Find("parameters");
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

}  // namespace

base::Result<std::string> DecodeBase64(std::string_view text) {
  base::Error malformed = InvalidArgument("expected base64 text");
  if (text.size() % 4 != 0) return malformed;
  size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  text.remove_suffix(padding);
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int held = 0;
  for (char c : text) {
    int digit = Base64Digit(c);
    if (digit < 0) return malformed;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>(bits >> held & 0xFF);
    }
  }
  return out;
}

base::Result<bool> ParseIndexRequest(std::string_view body) {
  if (body.empty()) return false;
  base::JsonDocument document;
  JsonValue root = TRY(document.Parse(body));
  if (!root.is_object()) return InvalidArgument("expected a JSON object as body");
  std::optional<JsonValue> ready = TRY(root.Find("ready"));
  if (!ready) return false;
  return ready->AsBool();
}

base::Status TakeLoadParameter(std::string_view key, std::string value, LoadOverride& load) {
  if (key == "config") {
    load.config_json = std::move(value);
    return base::Ok();
  }
  constexpr std::string_view kFile = "file:";
  if (key.starts_with(kFile)) {
    load.files[std::string(key.substr(kFile.size()))] = std::move(value);
    return base::Ok();
  }
  return InvalidArgument("unrecognized load parameter '" + std::string(key.substr(0, 128)) + "'");
}

base::Status CheckLoad(const LoadOverride& load, const ServerConfig& config) {
  if (!load.files.empty() && load.config_json.empty()) {
    return InvalidArgument("load files are specified without a 'config' parameter");
  }
  constexpr size_t kFilesMax = 256;
  if (load.files.size() > kFilesMax)
    return InvalidArgument("more than " + std::to_string(kFilesMax) + " files");
  int64_t bytes = 0;
  for (const auto& [path, content] : load.files) bytes += static_cast<int64_t>(content.size());
  if (bytes > config.load_override_bytes_max) {
    return base::ResourceExhausted("the files of a load request hold more than " +
                                   std::to_string(config.load_override_bytes_max) + " bytes");
  }
  return base::Ok();
}

base::Result<LoadOverride> ParseLoadRequest(std::string_view body, const ServerConfig& config) {
  base::JsonDocument document({100, static_cast<size_t>(config.load_override_bytes_max)});
  LoadOverride load;
  std::optional<JsonValue> parameters = TRY(Parameters(body, document));
  if (!parameters) return load;
  auto take = [&](std::string_view key, JsonValue value) -> base::Status {
    if (!value.is_string())
      return InvalidArgument("load parameter '" + std::string(key.substr(0, 128)) +
                             "': expected a string");
    std::string_view text = TRY(value.AsString());
    std::string content = key.starts_with("file:") ? TRY(DecodeBase64(text)) : std::string(text);
    return TakeLoadParameter(key, std::move(content), load);
  };
  TRY(parameters->ForEachMember(take));
  TRY(CheckLoad(load, config));
  return load;
}

base::Status ParseUnloadRequest(std::string_view body) {
  base::JsonDocument document;
  std::optional<JsonValue> parameters = TRY(Parameters(body, document));
  if (!parameters) return base::Ok();
  return parameters->ForEachMember([](std::string_view key, JsonValue value) -> base::Status {
    if (key != "unload_dependents") {
      return InvalidArgument("unrecognized unload parameter '" + std::string(key.substr(0, 128)) +
                             "'");
    }
    // Nothing depends on a model here: either value does the same.
    TRY(value.AsBool());
    return base::Ok();
  });
}

base::Result<ShmRegions::Region> ParseShmRegistration(std::string_view body,
                                                      const std::string& name) {
  base::JsonDocument document;
  JsonValue root = TRY(document.Parse(body));
  ShmRegions::Region region;
  region.name = name;
  JsonValue key = TRY(root.Get("key"));
  region.key = TRY(key.AsString());
  std::optional<JsonValue> offset = TRY(root.Find("offset"));
  if (offset) region.offset = TRY(offset->AsInt());
  JsonValue bytes = TRY(root.Get("byte_size"));
  region.bytes = TRY(bytes.AsInt());
  return region;
}

}  // namespace sluice::serve
