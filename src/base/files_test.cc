#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/mmap.h"

namespace sluice::base {
namespace {

// A folder of its own for each test, removed with it: root/ with files, and a secret beside it.
class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    std::string pattern = testing::TempDir() + "files-XXXXXX";
    top_ = mkdtemp(pattern.data());
    std::filesystem::create_directories(top_ + "/root/sub");
    Write("/secret", "secret");
    Write("/root/a", "alpha");
    Write("/root/sub/b", "beta");
    std::filesystem::create_symlink("../secret", top_ + "/root/out");
    std::filesystem::create_symlink(top_ + "/secret", top_ + "/root/absolute");
    std::filesystem::create_symlink("..", top_ + "/root/sub/up");
    std::filesystem::create_symlink("sub/b", top_ + "/root/in");
    std::filesystem::create_symlink("../..", top_ + "/root/sub/above");
    std::filesystem::create_symlink("loop", top_ + "/root/loop");
  }
  ~FilesTest() override { std::filesystem::remove_all(top_); }
  void Write(const std::string& path, const std::string& text) {
    std::ofstream(top_ + path) << text;
  }
  std::string top_;
};

Code CodeOf(const Result<FileHandle>& result) {
  return result.ok() ? Code::kInternal : result.error().code;
}

TEST_F(FilesTest, NoPathLeadsOutOfTheRoot) {
  const FileHandle root = OpenFolder(top_ + "/root").value();
  for (const char* path : {"../secret", "/etc/passwd", "sub/../../secret", "out", "absolute",
                           "sub/above/secret", "sub/up/../secret", "..", "sub/../.."}) {
    EXPECT_EQ(CodeOf(OpenBeneath(root, path)), Code::kPermissionDenied) << path;
    EXPECT_EQ(CodeOf(OpenBeneathWithoutLinks(root, path)), Code::kPermissionDenied) << path;
  }
  EXPECT_FALSE(OpenBeneath(root, "loop").ok());
  EXPECT_FALSE(OpenBeneathWithoutLinks(root, "loop").ok());
}

TEST_F(FilesTest, PathsInsideTheRootAreRead) {
  const FileHandle root = OpenFolder(top_ + "/root").value();
  for (const char* path : {"a", "./a", "sub/b", "sub//b", "sub/./b"}) {
    const std::string expected = std::string(path).back() == 'a' ? "alpha" : "beta";
    EXPECT_EQ(ReadFile(OpenBeneath(root, path).value(), path, 100).value(), expected);
    EXPECT_EQ(ReadFile(OpenBeneathWithoutLinks(root, path).value(), path, 100).value(), expected);
  }
  EXPECT_EQ(CodeOf(OpenBeneath(root, "absent")), Code::kNotFound);
  EXPECT_EQ(CodeOf(OpenBeneathWithoutLinks(root, "absent")), Code::kNotFound);
  EXPECT_EQ(CodeOf(OpenBeneathWithoutLinks(root, "a/b")), Code::kNotFound);
}

TEST_F(FilesTest, TheWayForOldKernelsRefusesEvenLinksThatStayInside) {
  const FileHandle root = OpenFolder(top_ + "/root").value();
  EXPECT_EQ(CodeOf(OpenBeneathWithoutLinks(root, "in")), Code::kPermissionDenied);
  EXPECT_EQ(CodeOf(OpenBeneathWithoutLinks(root, "sub/up/a")), Code::kPermissionDenied);
}

TEST_F(FilesTest, EmptyPathsAndPathsWithNulAreInvalid) {
  const FileHandle root = OpenFolder(top_ + "/root").value();
  for (const std::string& path : {std::string(), std::string("a\0b", 3)}) {
    EXPECT_EQ(CodeOf(OpenBeneath(root, path)), Code::kInvalidArgument);
    EXPECT_EQ(CodeOf(OpenBeneathWithoutLinks(root, path)), Code::kInvalidArgument);
  }
}

TEST(Files, OneComponentOfAPathIsToldFromMore) {
  EXPECT_TRUE(IsPathComponent("model.v1"));
  EXPECT_TRUE(IsPathComponent("..."));
  EXPECT_TRUE(IsPathComponent(std::string(255, 'x')));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"),
        std::string("a\0", 2), std::string(256, 'x')}) {
    EXPECT_FALSE(IsPathComponent(name)) << name;
  }
}

TEST_F(FilesTest, AFileAboveTheLimitIsRefusedAndOneAtTheLimitIsRead) {
  EXPECT_EQ(ReadFile(top_ + "/root/a", 5).value(), "alpha");
  const Result<std::string> refused = ReadFile(top_ + "/root/a", 4);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
}

TEST_F(FilesTest, FilesThatHideTheirSizeAreReadAndBounded) {
  EXPECT_FALSE(ReadFile("/proc/self/status", 1 << 20)->empty());
  const Result<std::string> refused = ReadFile("/proc/self/status", 10);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
}

TEST_F(FilesTest, FoldersPipesAndAbsentFilesAreNoFiles) {
  ASSERT_EQ(mkfifo((top_ + "/pipe").c_str(), 0600), 0);
  EXPECT_EQ(ReadFile(top_, 100).error().code, Code::kInvalidArgument);
  EXPECT_EQ(ReadFile(top_ + "/pipe", 100).error().code, Code::kInvalidArgument);
  EXPECT_EQ(ReadFile(top_ + "/absent", 100).error().code, Code::kNotFound);
  EXPECT_EQ(MappedFile::Open(top_).error().code, Code::kInvalidArgument);
  EXPECT_EQ(MappedFile::Open(top_ + "/absent").error().code, Code::kNotFound);
  EXPECT_FALSE(OpenFolder(top_ + "/secret").ok());
}

TEST_F(FilesTest, AFolderIsListedInOrderAndBounded) {
  const std::vector<FolderEntry> entries = ListFolder(top_ + "/root").value();
  std::string names;
  for (const FolderEntry& entry : entries) names += entry.name + (entry.is_folder ? "/ " : " ");
  EXPECT_EQ(names, "a absolute in loop out sub/ ");
  EXPECT_TRUE(ListFolder(top_ + "/root", 6).ok());
  EXPECT_EQ(ListFolder(top_ + "/root", 5).error().code, Code::kResourceExhausted);
  EXPECT_EQ(ListFolder(top_ + "/absent").error().code, Code::kNotFound);
}

TEST_F(FilesTest, AFolderHandleCanBeListedTwice) {
  const FileHandle folder = OpenFolder(top_ + "/root").value();
  EXPECT_EQ(ListFolder(folder, "root")->size(), 6u);
  EXPECT_EQ(ListFolder(folder, "root")->size(), 6u);
}

TEST_F(FilesTest, AMappingOutlivesItsHandleAndMoves) {
  MappedFile mapped = MappedFile::Open(top_ + "/root/a").value();
  MappedFile moved = std::move(mapped);
  std::filesystem::remove(top_ + "/root/a");
  ASSERT_EQ(moved.size(), 5);
  EXPECT_EQ(std::memcmp(moved.data(), "alpha", 5), 0);
  EXPECT_EQ(mapped.size(), 0);
}

TEST_F(FilesTest, ALargeFileIsMappedWhereHugePagesCanBe) {
  constexpr int64_t kBytes = (int64_t{33} << 20) + 5;  // the last page is partial
  Write("/large", "first");
  std::filesystem::resize_file(top_ + "/large", kBytes);
  MappedFile mapped = MappedFile::Open(top_ + "/large").value();
  ASSERT_EQ(mapped.size(), kBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped.data()) % (2 << 20), 0u);
  EXPECT_EQ(std::memcmp(mapped.data(), "first", 5), 0);
  EXPECT_EQ(mapped.data()[kBytes - 1], std::byte{0});
}

TEST_F(FilesTest, AnEmptyFileMapsToNoBytes) {
  Write("/empty", "");
  EXPECT_TRUE(MappedFile::Open(top_ + "/empty")->bytes().empty());
  EXPECT_EQ(ReadFile(top_ + "/empty", 0).value(), "");
}

}  // namespace
}  // namespace sluice::base
