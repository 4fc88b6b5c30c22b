#include "serve/config_options.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>

#include "base/files.h"

namespace sluice::serve {

using base::InvalidArgument;

namespace {

constexpr int64_t kYamlBytesMax = 1 << 20;

base::Status SetInteger(std::string_view text, int64_t least, int64_t most, int64_t& out) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return InvalidArgument("expected an integer from " + std::to_string(least) + " to " +
                           std::to_string(most) + ", got '" + std::string(text) + "'");
  }
  out = value;
  return base::Ok();
}

base::Status SetSwitch(std::string_view text, bool& out) {
  if (text == "true" || text == "1" || text == "yes" || text == "on" || text.empty()) {
    out = true;
  } else if (text == "false" || text == "0" || text == "no" || text == "off") {
    out = false;
  } else {
    return InvalidArgument("expected true or false, got '" + std::string(text) + "'");
  }
  return base::Ok();
}

base::Status SetSeconds(std::string_view text, base::Duration& out) {
  double seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr double kMost = 1e6;
  if (error != std::errc() || end != text.data() + text.size() ||
      !(seconds >= 0 && seconds <= kMost)) {
    return InvalidArgument("expected seconds from 0 to 1000000, got '" + std::string(text) + "'");
  }
  out = {static_cast<int64_t>(std::llround(seconds * 1e9))};
  return base::Ok();
}

std::string SecondsText(base::Duration d) {
  char text[32];
  auto [end, error] = std::to_chars(text, text + sizeof text, d.seconds());
  return error == std::errc() ? std::string(text, end) : "0";
}

base::Status SetControl(std::string_view text, ServerConfig& config) {
  if (text == "none") {
    config.model_control = ModelControl::kNone;
  } else if (text == "explicit") {
    config.model_control = ModelControl::kExplicit;
  } else if (text == "poll") {
    config.model_control = ModelControl::kPoll;
  } else {
    return InvalidArgument("expected none, explicit or poll, got '" + std::string(text) + "'");
  }
  return base::Ok();
}

std::string ControlText(const ServerConfig& config) {
  return config.model_control == ModelControl::kNone       ? "none"
         : config.model_control == ModelControl::kExplicit ? "explicit"
                                                           : "poll";
}

#define SLUICE_INTEGER(name, value, help, field, least, most)                                    \
  ConfigOption {                                                                                 \
    name, value, help,                                                                           \
        [](std::string_view t, ServerConfig& c) { return SetInteger(t, least, most, c.field); }, \
        [](const ServerConfig& c) { return std::to_string(c.field); }                            \
  }
#define SLUICE_SWITCH(name, help, field)                                                       \
  ConfigOption {                                                                               \
    name, "", help, [](std::string_view t, ServerConfig& c) { return SetSwitch(t, c.field); }, \
        [](const ServerConfig& c) { return std::string(c.field ? "true" : "false"); }          \
  }
#define SLUICE_SECONDS(name, help, field)                                           \
  ConfigOption {                                                                    \
    name, "SECONDS", help,                                                          \
        [](std::string_view t, ServerConfig& c) { return SetSeconds(t, c.field); }, \
        [](const ServerConfig& c) { return SecondsText(c.field); }                  \
  }
#define SLUICE_TEXT(name, value, help, field)                     \
  ConfigOption {                                                  \
    name, value, help,                                            \
        [](std::string_view t, ServerConfig& c) -> base::Status { \
          c.field = t;                                            \
          return base::Ok();                                      \
        },                                                        \
        [](const ServerConfig& c) { return c.field; }             \
  }

constexpr int64_t kGiB = int64_t{1} << 30;

std::vector<ConfigOption> MakeOptions() {
  std::vector<ConfigOption> options = {
      SLUICE_TEXT("models", "DIR", "the model repository", models),
      SLUICE_TEXT("host", "ADDRESS", "address to listen on", host),
      SLUICE_INTEGER("http-port", "N", "port of HTTP; 0: any free one, -1: off", http_port, -1,
                     65535),
      SLUICE_INTEGER("grpc-port", "N", "port of gRPC; 0: any free one, -1: off", grpc_port, -1,
                     65535),
      SLUICE_INTEGER("metrics-port", "N", "port of /metrics; 0: any free one, -1: off",
                     metrics_port, -1, 65535),
      SLUICE_INTEGER("io-threads", "N", "threads of HTTP and of gRPC; 0: half the cores",
                     io_threads, 0, 256),
      SLUICE_TEXT("base-path", "PATH", "prefix of every HTTP route", base_path),
      ConfigOption{"model-control-mode", "MODE",
                   "none: all models at start; explicit: by request; poll: by the files",
                   SetControl, ControlText},
      ConfigOption{"load-model", "NAME",
                   "with explicit control: a model to load at start; * for all",
                   [](std::string_view t, ServerConfig& c) -> base::Status {
                     c.load_models.emplace_back(t);
                     return base::Ok();
                   },
                   [](const ServerConfig& c) {
                     std::string all;
                     for (const std::string& name : c.load_models)
                       all += (all.empty() ? "" : ",") + name;
                     return all;
                   }},
      SLUICE_SECONDS("poll-interval", "between two looks at the files", poll_interval),
      SLUICE_SWITCH("strict", "ready only when every model named at start is", strict_readiness),
      SLUICE_INTEGER("models-max", "N", "models of one repository", models_max, 1, 1000000),
      SLUICE_INTEGER("load-override-bytes-max", "N", "files of one load request",
                     load_override_bytes_max, 0, 16 * kGiB),
      SLUICE_SECONDS("drain-grace", "serving on, not ready, before the drain", drain_grace),
      SLUICE_SECONDS("drain-timeout", "for what is in flight when the server drains",
                     drain_timeout),
      SLUICE_INTEGER("prep-threads", "N", "threads that prepare long requests", prep_threads, 1,
                     256),
      SLUICE_INTEGER("prep-queue-max", "N", "long requests waiting to be prepared", prep_queue_max,
                     1, 1 << 20),
      SLUICE_INTEGER("prep-bytes-max", "N", "their payloads", prep_bytes_max, 1 << 20, kGiB * 64),
      SLUICE_SWITCH("allow-client-shm", "let clients register system shared memory",
                    allow_client_shm),
      SLUICE_TEXT("client-shm-prefix", "PREFIX", "what names of client shared memory begin with",
                  client_shm_prefix),
      SLUICE_INTEGER("shm-regions-max", "N", "registered regions", shm_regions_max, 0, 65536),
      SLUICE_INTEGER("header-bytes-max", "N", "head of an HTTP request", http.header_bytes_max, 256,
                     1 << 20),
      SLUICE_INTEGER("header-count-max", "N", "headers of an HTTP request", http.header_count_max,
                     4, 10000),
      SLUICE_INTEGER("target-bytes-max", "N", "target of an HTTP request", http.target_bytes_max,
                     64, 1 << 20),
      SLUICE_INTEGER("body-bytes-max", "N", "body of an HTTP request, also decompressed",
                     http.body_bytes_max, 0, 2 * kGiB),
      SLUICE_INTEGER("chunk-count-max", "N", "chunks of one HTTP body", http.chunk_count_max, 1,
                     1 << 30),
      SLUICE_INTEGER("connections-max", "N", "open HTTP connections", http.connections_max, 1,
                     1 << 20),
      SLUICE_SECONDS("idle-timeout", "an HTTP connection without a request", http.idle_timeout),
      SLUICE_SECONDS("read-timeout", "an HTTP request on its way", http.read_timeout),
      SLUICE_SECONDS("write-timeout", "an answer that the client does not take",
                     http.write_timeout),
      SLUICE_SECONDS("stall-timeout", "a stream of which the client takes nothing",
                     http.stall_timeout),
      SLUICE_INTEGER("stream-bytes-max", "N", "of one stream, waiting for its client to take them",
                     http.stream_bytes_max, 1 << 16, 16 * kGiB),
      SLUICE_INTEGER("json-depth-max", "N", "nesting of a request's JSON", request.json_depth_max,
                     1, 1000),
      SLUICE_INTEGER("tensor-elements-max", "N", "elements of one tensor",
                     request.tensor_elements_max, 1, 16 * kGiB),
      SLUICE_INTEGER("tensor-bytes-max", "N", "bytes of one tensor", request.tensor_bytes_max, 1,
                     16 * kGiB),
      SLUICE_INTEGER("tensor-count-max", "N", "inputs or outputs of one request",
                     request.tensor_count_max, 1, 65536),
      SLUICE_INTEGER("parameter-count-max", "N", "parameters of one request",
                     request.parameter_count_max, 0, 65536),
      SLUICE_INTEGER("string-bytes-max", "N", "an id, a name or a parameter",
                     request.string_bytes_max, 16, kGiB),
      SLUICE_INTEGER("grpc-message-bytes-max", "N", "message of a gRPC call",
                     grpc_message_bytes_max, 1024, INT32_MAX),
      SLUICE_INTEGER("grpc-streams-max", "N", "calls at once on one gRPC connection",
                     grpc_streams_max, 1, 1 << 20),
      SLUICE_SWITCH("grpc-accept-compression", "take gRPC messages compressed with gzip or deflate",
                    grpc_accept_compression),
  };
  return options;
}

std::string KeyToName(std::string key) {
  for (char& c : key) c = c == '_' ? '-' : c;
  return key;
}

base::Status SetFromNode(const std::string& key, const YAML::Node& value, const SetOption& set) {
  if (value.IsScalar()) return set(KeyToName(key), value.Scalar());
  if (value.IsSequence()) {
    for (const YAML::Node& element : value) {
      if (!element.IsScalar())
        return InvalidArgument("sluice.yaml: '" + key + "': expected a list of values");
      TRY(set(KeyToName(key), element.Scalar()));
    }
    return base::Ok();
  }
  return InvalidArgument("sluice.yaml: '" + key + "': expected a value");
}

}  // namespace

const std::vector<ConfigOption>& ConfigOptions() {
  static const std::vector<ConfigOption> options = MakeOptions();
  return options;
}

base::Status SetConfigOption(std::string_view name, std::string_view text, ServerConfig& config) {
  std::string plain = KeyToName(std::string(name));
  for (const ConfigOption& option : ConfigOptions()) {
    if (option.name != plain) continue;
    base::Status set = option.set(text, config);
    if (!set.ok()) return InvalidArgument("option '" + plain + "': " + set.error().message);
    return base::Ok();
  }
  return InvalidArgument("there is no option '" + std::string(name.substr(0, 128)) + "'");
}

base::Status ReadConfigYaml(const std::string& text, const SetOption& set) {
  if (static_cast<int64_t>(text.size()) > kYamlBytesMax) {
    return InvalidArgument("sluice.yaml is longer than " + std::to_string(kYamlBytesMax) +
                           " bytes");
  }
  // The library reports by throwing; the operator's own file is the only thing it reads.
  try {
    YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return base::Ok();
    if (!root.IsMap()) return InvalidArgument("sluice.yaml: expected a map from options to values");
    for (const auto& member : root) {
      TRY(SetFromNode(member.first.as<std::string>(), member.second, set));
    }
  } catch (const YAML::Exception& error) {
    return InvalidArgument(std::string("sluice.yaml: ") + error.what());
  }
  return base::Ok();
}

base::Status ReadConfigFile(const std::string& path, const SetOption& set) {
  std::string text = TRY(base::ReadFile(path, kYamlBytesMax));
  return ReadConfigYaml(text, set);
}

}  // namespace sluice::serve
