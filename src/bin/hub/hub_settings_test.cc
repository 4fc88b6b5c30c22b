#include "bin/hub/hub_settings.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <map>

namespace sluice::bin {
namespace {

using Variables = std::map<std::string, std::string>;

base::Result<HubSettings> Read(const Variables& variables) {
  return ReadHubSettings([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(HubSettings, CacheLiesWhereHuggingFaceLooksForIt) {
  EXPECT_EQ(Read({{"HOME", "/h"}})->cache, "/h/.cache/huggingface/hub");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/c"}})->cache, "/c/huggingface/hub");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_HOME", "~/f"}})->cache, "/h/f/hub");
  EXPECT_EQ(Read({{"HF_HOME", "/f"}, {"HF_HUB_CACHE", "/g"}})->cache, "/g");
  EXPECT_FALSE(Read({}).ok());
}

TEST(HubSettings, EndpointMayBeAMirrorBelowAPath) {
  EXPECT_EQ(Read({{"HOME", "/h"}})->endpoint.text(), "https://huggingface.co");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_ENDPOINT", "http://m:81/hf/"}})->endpoint.text(),
            "http://m:81/hf");
  const auto wrong = Read({{"HOME", "/h"}, {"HF_ENDPOINT", "mirror"}});
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message.find("HF_ENDPOINT"), std::string::npos);
}

TEST(HubSettings, TokenComesFromItsVariableOrItsFile) {
  const std::string path = testing::TempDir() + "/hub_token";
  std::FILE* file = std::fopen(path.c_str(), "w");
  std::fputs("  hf_file\n", file);
  std::fclose(file);
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_TOKEN_PATH", path}})->token, "hf_file");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_TOKEN_PATH", path}, {"HF_TOKEN", "hf_own"}})->token,
            "hf_own");
  EXPECT_EQ(Read({{"HOME", "/nowhere"}})->token, "");
  EXPECT_FALSE(Read({{"HOME", "/h"}, {"HF_TOKEN", "a\r\nX-Other: b"}}).ok());
}

TEST(HubSettings, OwnMachineIsReachedWithoutAProxy) {
  const Variables proxied = {{"HOME", "/h"}, {"HTTPS_PROXY", "http://p:3128"}};
  EXPECT_EQ(Read(proxied)->proxy->text(), "http://p:3128/");
  Variables own = proxied;
  own["HF_ENDPOINT"] = "https://localhost:1";
  EXPECT_FALSE(Read(own)->proxy.has_value());
  own = proxied;
  own["NO_PROXY"] = "*";
  EXPECT_FALSE(Read(own)->proxy.has_value());
}

TEST(HubSettings, OfflineIsAnyWordForYes) {
  EXPECT_TRUE(Read({{"HOME", "/h"}, {"HF_HUB_OFFLINE", "1"}})->offline);
  EXPECT_TRUE(Read({{"HOME", "/h"}, {"HF_HUB_OFFLINE", "true"}})->offline);
  EXPECT_FALSE(Read({{"HOME", "/h"}, {"HF_HUB_OFFLINE", "0"}})->offline);
}

}  // namespace
}  // namespace sluice::bin
