// What this machine offers: instruction sets, cores, memory and caches, as the container's limits
// leave them.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace sluice::base {

// Instruction sets that both the processor and the operating system support (CPUID, XGETBV; Intel
// SDM volume 1, chapters 13 to 15). The amx fields tell what the processor has; a process must
// still ask the kernel for tile state.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool bmi2 = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512vl = false;
  bool avx512dq = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool avx_vnni = false;
  bool amx_tile = false;
  bool amx_int8 = false;
  bool amx_bf16 = false;

  bool avx512() const { return avx512f && avx512bw && avx512vl && avx512dq; }
};
const CpuFeatures& Cpu();  // read once

// kUnimplemented, with what is missing, on a machine below AVX2, FMA and F16C.
Status CheckSupported(const CpuFeatures& features = Cpu());

// Sizes in bytes of the data caches that one core sees; 0 where the processor does not tell.
struct CacheSizes {
  int64_t l1_bytes = 0;
  int64_t l2_bytes = 0;
  int64_t l3_bytes = 0;
};

// What a control group leaves to this process; 0: no limit.
struct CgroupLimits {
  double cores = 0;  // processor seconds a second
  int64_t memory_bytes = 0;
};
// Reads version 2 or 1. `proc_cgroup` is the text of /proc/self/cgroup; `mount` is /sys/fs/cgroup,
// or a folder of a test. The smallest limit on the way from the process's group to the root counts.
// Unreadable files mean no limit.
CgroupLimits ReadCgroupLimits(const std::string& proc_cgroup, const std::string& mount);

struct Machine {
  CpuFeatures features;
  std::string model_name;  // "Intel(R) Xeon(R) …"
  CacheSizes caches;
  int cores = 1;  // that this process may use: affinity and the cgroup's quota, rounded up
  int64_t memory_bytes = 0;  // that it may use: physical memory or the cgroup's limit
};
Machine DescribeMachine();
// "Intel(R) … (avx2 fma …), 2 cores, 8.0 GiB": one line for logs and benches.
std::string MachineLine(const Machine& machine);

}  // namespace sluice::base
