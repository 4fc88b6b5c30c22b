#include "base/mmap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace sluice::base {
namespace {

// Pages of files that are in this process's memory.
int64_t FilePages() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0, shared = 0;
  statm >> size >> resident >> shared;
  return shared;
}

int64_t SumOf(const MappedFile& file) {
  int64_t sum = 0;
  for (const std::byte byte : file.bytes()) sum += static_cast<int64_t>(byte);
  return sum;
}

TEST(MappedFile, WhatIsForgottenLeavesMemoryAndIsReadAgainAsItWas) {
  constexpr int64_t kPages = 2048;
  const std::string path = ::testing::TempDir() + "sluice_mmap_test." + std::to_string(getpid());
  std::ofstream(path) << std::string(static_cast<size_t>(kPages * sysconf(_SC_PAGESIZE)), 'x');
  const MappedFile file = MappedFile::Open(path).value();
  std::remove(path.c_str());
  const int64_t sum = SumOf(file);
  const int64_t read = FilePages();
  // What begins and ends within pages keeps those.
  ForgetMapped(file.bytes().subspan(1));
  EXPECT_LE(FilePages(), read - kPages / 2);
  EXPECT_EQ(SumOf(file), sum);
}

}  // namespace
}  // namespace sluice::base
