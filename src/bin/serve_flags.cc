#include "bin/serve_flags.h"

#include "base/log.h"
#include "lm/linear/linear_form.h"
#include "serve/config_options.h"

namespace sluice::bin {
namespace {

base::Status ReadConfig(const std::string& path, ServeSettings& settings) {
  const std::vector<Flag> flags = ServeFlags(settings);
  const auto set = [&flags](std::string_view name, std::string_view text) -> base::Status {
    for (const Flag& flag : flags) {
      if (flag.name == name && name != "config") return SetFlag(flag, text);
    }
    return base::InvalidArgument("there is no option '" + std::string(name.substr(0, 128)) + "'");
  };
  return serve::ReadConfigFile(path, set);
}

}  // namespace

std::vector<Flag> ServeFlags(ServeSettings& settings) {
  std::vector<Flag> flags = {
      {"compute-threads", &settings.runtime.compute_threads, "N",
       "threads that compute; 0: one a core of this container"},
      {"memory-bytes-max", &settings.runtime.memory_bytes_max, "N",
       "weights and activations together; 0: nine tenths of this container's memory"},
      {"quantum-us", &settings.runtime.quantum_us, "N",
       "a long step gives way to an urgent one at least this often"},
      {"inline-below-us", &settings.runtime.inline_below_us, "N",
       "shorter steps run on the thread that read the request; 0: never"},
      {"weights",
       FlagSetter{[&settings](std::string_view text) -> base::Status {
                    (void)TRY(lm::LinearForm::Parse(text));
                    settings.runtime.weights = std::string(text);
                    return base::Ok();
                  },
                  "as `sluice quantize` chose, else f32", false},
       "FORM",
       "of linear layers in models that name none: f32, bf16, int8, …-storage, and of language "
       "models stored, int4, int4_g64, …"},
      {"payload-bytes-max", &settings.runtime.payload_bytes_max, "N",
       "payloads of requests that are not answered; further ones are refused"},
      {"plan-bytes-max", &settings.runtime.plan_bytes_max, "N",
       "plans that one model keeps for shapes that come again"},
      {"answer-idle-bytes-max", &settings.runtime.answer_idle_bytes_max, "N",
       "memory of answers that one model keeps for later ones"},
      {"weight-cache", &settings.runtime.weight_cache, "DIR",
       "where packed weights are kept for the next start; empty: nowhere"},
      {"weight-cache-bytes-max", &settings.runtime.weight_cache_bytes_max, "N",
       "of its files; those used longest ago go"},
      {"log-format", &settings.log_format, "text|json", "of the lines on standard error"},
      {"log-level", &settings.log_level, "LEVEL", "debug, info, warning or error"},
  };
  for (const serve::ConfigOption& option : serve::ConfigOptions()) {
    flags.push_back({option.name,
                     FlagSetter{[&settings, &option](std::string_view text) {
                                  return serve::SetConfigOption(option.name, text, settings.server);
                                },
                                option.get(settings.server), option.value.empty()},
                     option.value, option.help});
  }
  flags.push_back({"config",
                   FlagSetter{[&settings](std::string_view path) {
                                return ReadConfig(std::string(path), settings);
                              },
                              "", false},
                   "FILE", "sluice.yaml: every flag is a key of it; flags behind it win"});
  return flags;
}

base::Status ApplyLogging(const ServeSettings& settings) {
  const auto level = base::LogLevelFromName(settings.log_level);
  if (!level.has_value()) {
    return base::InvalidArgument("--log-level expects debug, info, warning or error, got '" +
                                 settings.log_level + "'");
  }
  if (settings.log_format != "text" && settings.log_format != "json") {
    return base::InvalidArgument("--log-format expects text or json, got '" + settings.log_format +
                                 "'");
  }
  base::SetLogLevel(*level);
  base::SetLogFormat(settings.log_format == "json" ? base::LogFormat::kJson
                                                   : base::LogFormat::kText);
  return base::Ok();
}

}  // namespace sluice::bin
