// Shared memory of clients: names, bounds, and a client that shrinks its file under the server.
#include "serve/oip/shm_regions.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace sluice::serve {
namespace {

using ::testing::HasSubstr;

class ShmRegionsTest : public ::testing::Test {
 protected:
  ShmRegionsTest() : key_("/sluice_test_" + std::to_string(getpid())) {
    file_ = base::FileHandle(shm_open(key_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    CHECK(ftruncate(file_.fd(), 8192) == 0);
  }
  ~ShmRegionsTest() override { shm_unlink(key_.c_str()); }

  const std::string key_;
  base::FileHandle file_;
  ShmRegions regions_{{"/sluice_test_", 2}};
};

TEST_F(ShmRegionsTest, ReadsAndWritesInsideOfARegion) {
  ASSERT_TRUE(regions_.Register({"a", key_, 100, 1000}).ok());
  ASSERT_TRUE(regions_.Write({"a", 10, 5}, "hello").ok());
  char bytes[6] = {};
  ASSERT_EQ(pread(file_.fd(), bytes, 5, 110), 5);
  EXPECT_STREQ(bytes, "hello");
  base::Result<tensor::Buffer> back = regions_.Read({"a", 10, 5});
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(back->data()), 5), "hello");
  EXPECT_EQ(regions_.Status("a")->front().offset, 100);
}

TEST_F(ShmRegionsTest, RefusesWhatReachesOutOfARegion) {
  ASSERT_TRUE(regions_.Register({"a", key_, 0, 1000}).ok());
  EXPECT_FALSE(regions_.Read({"a", 0, 1001}).ok());
  EXPECT_FALSE(regions_.Read({"a", 1, 1000}).ok());
  EXPECT_FALSE(regions_.Read({"a", -1, 10}).ok());
  EXPECT_FALSE(regions_.Read({"a", 0, -1}).ok());
  EXPECT_FALSE(regions_.Read({"a", INT64_MAX, INT64_MAX}).ok());
  EXPECT_FALSE(regions_.Read({"b", 0, 1}).ok());
  EXPECT_FALSE(regions_.Write({"a", 998, 2}, "abc").ok());
}

TEST_F(ShmRegionsTest, RefusesRegionsThatLie) {
  auto refusal = [&](const ShmRegions::Region& region) {
    base::Status status = regions_.Register(region);
    return status.ok() ? std::string("accepted") : status.error().message;
  };
  EXPECT_THAT(refusal({"a", key_, 0, 8193}), HasSubstr("past its end"));
  EXPECT_THAT(refusal({"a", key_, 8192, 1}), HasSubstr("past its end"));
  EXPECT_THAT(refusal({"a", key_, INT64_MAX, 2}), HasSubstr("byte_size"));
  EXPECT_THAT(refusal({"a", key_, -1, 2}), HasSubstr("offset"));
  EXPECT_THAT(refusal({"a", key_, 0, 0}), HasSubstr("byte_size"));
  EXPECT_THAT(refusal({"", key_, 0, 1}), HasSubstr("name"));
  for (const char* key :
       {"/other", "/sluice_test_/../x", "../../etc/passwd", "/sluice_test_/a", "", "/", "/."}) {
    EXPECT_THAT(refusal({"a", key, 0, 1}), HasSubstr("key")) << key;
  }
  // The text names no key: clients learn nothing of what else exists.
  EXPECT_THAT(refusal({"a", "/sluice_test_absent", 0, 1}), HasSubstr("cannot open its key"));
}

TEST_F(ShmRegionsTest, HoldsTheLimitOfRegionsAndForgetsOnRequest) {
  ASSERT_TRUE(regions_.Register({"a", key_, 0, 8}).ok());
  EXPECT_EQ(regions_.Register({"a", key_, 0, 8}).error().code, base::Code::kAlreadyExists);
  ASSERT_TRUE(regions_.Register({"b", key_, 0, 8}).ok());
  EXPECT_EQ(regions_.Register({"c", key_, 0, 8}).error().code, base::Code::kResourceExhausted);
  regions_.Unregister("a");
  EXPECT_TRUE(regions_.Register({"c", key_, 0, 8}).ok());
  regions_.Unregister("");
  EXPECT_TRUE(regions_.Status("")->empty());
  EXPECT_EQ(regions_.Status("a").error().code, base::Code::kNotFound);
}

TEST_F(ShmRegionsTest, AFileThatShrankIsAnError) {
  ASSERT_TRUE(regions_.Register({"a", key_, 0, 8192}).ok());
  ASSERT_EQ(ftruncate(file_.fd(), 100), 0);
  base::Result<tensor::Buffer> read = regions_.Read({"a", 0, 8192});
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, HasSubstr("shorter"));
}

}  // namespace
}  // namespace sluice::serve
