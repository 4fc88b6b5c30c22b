#include "bin/serve_flags.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace sluice::bin {
namespace {

std::string WriteConfig(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/sluice.yaml";
  std::ofstream(path) << text;
  return path;
}

TEST(ServeFlags, EveryFlagIsAKeyOfTheConfiguration) {
  ServeSettings settings;
  for (const Flag& flag : ServeFlags(settings)) {
    if (flag.name == "config") continue;
    const std::string path = WriteConfig(std::string(flag.name) + ": x\n");
    const auto set = ParseFlags({"--config", path}, ServeFlags(settings));
    // The value is wrong for most options; an unknown one is told apart.
    if (!set.ok()) {
      EXPECT_EQ(set.error().message.find("there is no option"), std::string::npos) << flag.name;
    }
  }
}

TEST(ServeFlags, AFlagBehindTheFileWins) {
  ServeSettings settings;
  const std::string path = WriteConfig("http_port: 9000\nquantum-us: 250\nload-model: [a, b]\n");
  ASSERT_TRUE(ParseFlags({"--config", path, "--http-port", "9001"}, ServeFlags(settings)).ok());
  EXPECT_EQ(settings.server.http_port, 9001);
  EXPECT_EQ(settings.runtime.quantum_us, 250);
  EXPECT_EQ(settings.server.load_models, (std::vector<std::string>{"a", "b"}));
}

TEST(ServeFlags, AnUnknownKeyIsRefusedByName) {
  ServeSettings settings;
  const auto set = ParseFlags({"--config", WriteConfig("htp-port: 1\n")}, ServeFlags(settings));
  ASSERT_FALSE(set.ok());
  EXPECT_NE(set.error().message.find("htp-port"), std::string::npos);
}

}  // namespace
}  // namespace sluice::bin
