#include "serve/config_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace sluice::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SetOption Into(ServerConfig& config) {
  return [&config](std::string_view name, std::string_view text) {
    return SetConfigOption(name, text, config);
  };
}

TEST(ConfigOptionsTest, ReadsEveryOptionFromYaml) {
  ServerConfig config;
  base::Status read = ReadConfigYaml(
      "models: /srv/models\nhttp_port: 0\ngrpc-port: -1\nstrict: false\nload-model: [a, "
      "b]\nidle_timeout: 1.5\n"
      "model-control-mode: explicit\nbody-bytes-max: 1000\n",
      Into(config));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(config.models, "/srv/models");
  EXPECT_EQ(config.http_port, 0);
  EXPECT_EQ(config.grpc_port, -1);
  EXPECT_FALSE(config.strict_readiness);
  EXPECT_THAT(config.load_models, ElementsAre("a", "b"));
  EXPECT_EQ(config.http.idle_timeout, base::Duration::Millis(1500));
  EXPECT_EQ(config.model_control, ModelControl::kExplicit);
  EXPECT_EQ(config.http.body_bytes_max, 1000);
}

TEST(ConfigOptionsTest, RefusesUnknownKeysAndWrongValuesByName) {
  ServerConfig config;
  auto refusal = [&](const char* yaml) {
    base::Status read = ReadConfigYaml(yaml, Into(config));
    return read.ok() ? std::string("accepted") : read.error().message;
  };
  EXPECT_THAT(refusal("htpp-port: 1"), HasSubstr("'htpp-port'"));
  EXPECT_THAT(refusal("http-port: 70000"), HasSubstr("65535"));
  EXPECT_THAT(refusal("http-port: x"), HasSubstr("'http-port'"));
  EXPECT_THAT(refusal("http-port: {a: 1}"), HasSubstr("'http-port'"));
  EXPECT_THAT(refusal("strict: maybe"), HasSubstr("true or false"));
  EXPECT_THAT(refusal("idle-timeout: nan"), HasSubstr("seconds"));
  EXPECT_THAT(refusal("idle-timeout: -1"), HasSubstr("seconds"));
  EXPECT_THAT(refusal("- a"), HasSubstr("map"));
  EXPECT_THAT(refusal("a: [\n"), HasSubstr("sluice.yaml"));
  EXPECT_EQ(refusal(""), "accepted");
}

TEST(ConfigOptionsTest, NamesAreUniqueAndDefaultsReadBack) {
  std::set<std::string_view> names;
  for (const ConfigOption& option : ConfigOptions()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name;
    ServerConfig config;
    std::string shown = option.get(config);
    if (option.name == "load-model") continue;
    EXPECT_TRUE(option.set(shown, config).ok()) << option.name << " " << shown;
    EXPECT_EQ(option.get(config), shown) << option.name;
  }
}

}  // namespace
}  // namespace sluice::serve
