#include "base/machine.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace sluice::base {
namespace {

// A folder of its own for each test, removed with it.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() {
    std::string pattern = testing::TempDir() + "cgroup-XXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string root_;
};

TEST_F(CgroupTest, Version2TakesTheSmallestLimitOnTheWayUp) {
  Write("/pod/box/cpu.max", "400000 100000\n");
  Write("/pod/cpu.max", "150000 100000\n");
  Write("/cpu.max", "max 100000\n");
  Write("/pod/box/memory.max", "max\n");
  Write("/pod/memory.max", "1073741824\n");
  const CgroupLimits limits = ReadCgroupLimits("0::/pod/box\n", root_);
  EXPECT_DOUBLE_EQ(limits.cores, 1.5);
  EXPECT_EQ(limits.memory_bytes, 1073741824);
}

TEST_F(CgroupTest, Version1ReadsQuotaAndMemoryOfTheirHierarchies) {
  Write("/cpu/box/cpu.cfs_quota_us", "250000\n");
  Write("/cpu/box/cpu.cfs_period_us", "100000\n");
  Write("/memory/box/memory.limit_in_bytes", "536870912\n");
  const CgroupLimits limits = ReadCgroupLimits("5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n", root_);
  EXPECT_DOUBLE_EQ(limits.cores, 2.5);
  EXPECT_EQ(limits.memory_bytes, 536870912);
}

TEST_F(CgroupTest, AContainersRootGroupCountsWhenThePathOfTheHostIsAbsent) {
  Write("/memory/memory.limit_in_bytes", "2147483648\n");
  EXPECT_EQ(ReadCgroupLimits("4:memory:/kubepods/x\n", root_).memory_bytes, 2147483648);
}

TEST_F(CgroupTest, UnlimitedAndUnreadableMeanNoLimit) {
  Write("/cpu/cpu.cfs_quota_us", "-1\n");
  Write("/cpu/cpu.cfs_period_us", "100000\n");
  Write("/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/cpu.max", "garbage\n");
  const CgroupLimits limits = ReadCgroupLimits("1:cpu:/\n2:memory:/\n0::/\nnonsense\n", root_);
  EXPECT_EQ(limits.cores, 0);
  EXPECT_EQ(limits.memory_bytes, 0);
}

TEST(Machine, FeaturesAgreeWithTheCompilersRuntime) {
  __builtin_cpu_init();
  EXPECT_EQ(Cpu().avx2, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(Cpu().fma, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(Cpu().avx512f, __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(Cpu().avx512bw, __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(Cpu().avx512vl, __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(Cpu().avx512dq, __builtin_cpu_supports("avx512dq") != 0);
  EXPECT_EQ(Cpu().avx512_vnni, __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(Cpu().avx512_bf16, __builtin_cpu_supports("avx512bf16") != 0);
}

TEST(Machine, DescribesAtLeastOneCoreSomeMemoryAndItsCaches) {
  const Machine machine = DescribeMachine();
  EXPECT_GE(machine.cores, 1);
  EXPECT_GT(machine.memory_bytes, int64_t{64} << 20);
  EXPECT_FALSE(machine.model_name.empty());
  EXPECT_NE(MachineLine(machine).find(machine.model_name), std::string::npos);
}

TEST(Machine, AMachineBelowAvx2IsRefusedWithWhatItLacks) {
  CpuFeatures old;
  old.fma = true;
  const Status status = CheckSupported(old);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kUnimplemented);
  EXPECT_NE(status.error().message.find("missing: AVX2 F16C"), std::string::npos)
      << status.error().message;
}

TEST(Machine, Avx2WithFmaAndF16cIsEnough) {
  CpuFeatures zen3;
  zen3.avx2 = zen3.fma = zen3.f16c = true;
  EXPECT_TRUE(CheckSupported(zen3).ok());
}

}  // namespace
}  // namespace sluice::base
