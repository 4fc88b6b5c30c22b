#include "serve/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace sluice::serve {
namespace {

using ::testing::HasSubstr;

Router::Pin Version(const std::string& name, int64_t version) {
  auto model = std::make_shared<ServedModel>();
  model->name = name;
  model->version = version;
  return model;
}

TEST(RouterTest, FindsTheHighestVersionOrTheOneAskedFor) {
  Router router;
  router.Publish("m", {{2, Version("m", 2)}, {11, Version("m", 11)}});
  EXPECT_EQ((*router.Find("m", ""))->version, 11);
  EXPECT_EQ((*router.Find("m", "2"))->version, 2);
  EXPECT_THAT(router.Find("m", "3").error().message, HasSubstr("'m' version 3 is not found"));
  EXPECT_EQ(router.Find("m", "3x").error().code, base::Code::kInvalidArgument);
  EXPECT_EQ(router.Find("absent", "").error().message,
            "Request for unknown model: 'absent' is not found");
  router.Publish("m", {});
  EXPECT_THAT(router.Find("m", "").error().message, HasSubstr("no available versions"));
}

TEST(RouterTest, FindsAModelByItsNameOnAHub) {
  Router router;
  router.Publish("m", {{1, Version("m", 1)}});
  EXPECT_EQ((*router.Find("org/m", ""))->name, "m");
  EXPECT_EQ((*router.Find("org/m", "1"))->name, "m");
  for (const char* name : {"/m", "a/b/m", "../m", "org/n", "org/", "m/"}) {
    EXPECT_EQ(router.Find(name, "").error().code, base::Code::kNotFound) << name;
  }
}

TEST(RouterTest, ReadsVersionsWithoutThrowingOrWrapping) {
  EXPECT_EQ(ParseVersion("17"), 17);
  for (const char* wrong : {"", "-1", "+1", "1.0", " 1", "0x1", "999999999999999999999", "0"}) {
    EXPECT_EQ(ParseVersion(wrong), 0) << wrong;
  }
}

TEST(RouterTest, ReadersSeeAllVersionsOfAPublicationOrNone) {
  Router router;
  router.Publish("m", {{1, Version("m", 1)}, {2, Version("m", 1)}});
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop.load()) {
      std::vector<Router::Pin> pins = router.VersionsOf("m");
      ASSERT_EQ(pins.size(), 2u);
      ASSERT_EQ(pins[0]->version, pins[1]->version);
    }
  });
  for (int64_t generation = 2; generation < 500; ++generation) {
    router.Publish("m", {{1, Version("m", generation)}, {2, Version("m", generation)}});
    router.Publish("other" + std::to_string(generation % 3), {{1, Version("o", 1)}});
  }
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace sluice::serve
