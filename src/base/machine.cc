#include "base/machine.h"

#include <cpuid.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"

namespace sluice::base {
namespace {

constexpr int64_t kSmallFileBytes = 64 << 10;
// Limits above this mean "none": version 1 writes the largest page-aligned int64.
constexpr int64_t kNoLimitBytes = int64_t{1} << 60;

struct CpuidWords {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidWords Cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidWords words;
  // The count version answers zeros for leaves that the processor does not have.
  __get_cpuid_count(leaf, subleaf, &words.eax, &words.ebx, &words.ecx, &words.edx);
  return words;
}

bool Bit(uint32_t word, int bit) {
  return ((word >> bit) & 1u) != 0;
}

// XCR0: which register states the operating system saves.
uint64_t ExtendedControl() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

CpuFeatures ReadFeatures() {
  const CpuidWords one = Cpuid(1, 0);
  CpuFeatures features;
  if (!Bit(one.ecx, 27)) return features;  // no OSXSAVE: the system saves no wide registers
  const uint64_t saved = ExtendedControl();
  const bool saves_ymm = (saved & 0x6) == 0x6;
  const bool saves_zmm = (saved & 0xE6) == 0xE6;
  const bool saves_tiles = (saved & 0x60000) == 0x60000;
  const CpuidWords seven = Cpuid(7, 0);
  const CpuidWords seven_one = Cpuid(7, 1);
  features.avx2 = saves_ymm && Bit(seven.ebx, 5);
  features.fma = saves_ymm && Bit(one.ecx, 12);
  features.f16c = saves_ymm && Bit(one.ecx, 29);
  features.bmi2 = Bit(seven.ebx, 8);
  features.avx512f = saves_zmm && Bit(seven.ebx, 16);
  features.avx512dq = saves_zmm && Bit(seven.ebx, 17);
  features.avx512bw = saves_zmm && Bit(seven.ebx, 30);
  features.avx512vl = saves_zmm && Bit(seven.ebx, 31);
  features.avx512_vnni = saves_zmm && Bit(seven.ecx, 11);
  features.avx512_bf16 = saves_zmm && Bit(seven_one.eax, 5);
  features.avx512_fp16 = saves_zmm && Bit(seven.edx, 23);
  features.avx_vnni = saves_ymm && Bit(seven_one.eax, 4);
  features.amx_bf16 = saves_tiles && Bit(seven.edx, 22);
  features.amx_tile = saves_tiles && Bit(seven.edx, 24);
  features.amx_int8 = saves_tiles && Bit(seven.edx, 25);
  return features;
}

std::string ReadModelName() {
  if (Cpuid(0x80000000u, 0).eax < 0x80000004u) return "unknown processor";
  std::string name;
  for (uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
    const CpuidWords words = Cpuid(leaf, 0);
    for (const uint32_t word : {words.eax, words.ebx, words.ecx, words.edx}) {
      std::array<char, 4> chars{};
      std::memcpy(chars.data(), &word, chars.size());
      name.append(chars.data(), chars.size());
    }
  }
  name.resize(std::strlen(name.c_str()));
  const size_t first = name.find_first_not_of(' ');
  const size_t last = name.find_last_not_of(' ');
  return first == std::string::npos ? "unknown processor" : name.substr(first, last - first + 1);
}

// Leaf 4 on Intel and 0x8000001D on AMD have the same layout.
CacheSizes ReadCaches() {
  CacheSizes caches;
  const bool has_amd_leaf =
      Cpuid(0x80000000u, 0).eax >= 0x8000001Du && (Cpuid(0x8000001Du, 0).eax & 0x1F) != 0;
  const uint32_t leaf = has_amd_leaf ? 0x8000001Du : 4u;
  for (uint32_t i = 0; i < 16; ++i) {
    const CpuidWords words = Cpuid(leaf, i);
    const uint32_t type = words.eax & 0x1F;
    if (type == 0) break;
    if (type == 2) continue;  // instructions only
    const int64_t ways = (words.ebx >> 22) + 1;
    const int64_t partitions = ((words.ebx >> 12) & 0x3FF) + 1;
    const int64_t line = (words.ebx & 0xFFF) + 1;
    const int64_t bytes = ways * partitions * line * (int64_t{words.ecx} + 1);
    const uint32_t level = (words.eax >> 5) & 7;
    if (level == 1) caches.l1_bytes = bytes;
    if (level == 2) caches.l2_bytes = bytes;
    if (level == 3) caches.l3_bytes = bytes;
  }
  return caches;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  const std::from_chars_result end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc()) return std::nullopt;
  return value;
}

// The first line of a small file; empty when it cannot be read.
std::string FirstLine(const std::string& path) {
  const Result<std::string> text = ReadFile(path, kSmallFileBytes);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

// The process's group and every group above it, as folders below the mount: "/a/b", "/a", "".
std::vector<std::string> GroupsUpward(std::string group) {
  std::vector<std::string> groups;
  while (!group.empty() && group != "/") {
    groups.push_back(group);
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
  groups.push_back("");
  return groups;
}

void LimitCores(double cores, CgroupLimits& limits) {
  if (cores > 0 && (limits.cores == 0 || cores < limits.cores)) limits.cores = cores;
}

void LimitMemory(std::string_view text, CgroupLimits& limits) {
  const std::optional<int64_t> bytes = ParseInteger(text);
  if (!bytes.has_value() || *bytes <= 0 || *bytes >= kNoLimitBytes) return;
  if (limits.memory_bytes == 0 || *bytes < limits.memory_bytes) limits.memory_bytes = *bytes;
}

// "200000 100000" or "max 100000"
void ReadVersion2(const std::string& folder, CgroupLimits& limits) {
  const std::string quota_line = FirstLine(folder + "/cpu.max");
  const std::vector<std::string_view> words = Split(quota_line, ' ');
  if (words.size() == 2) {
    const std::optional<int64_t> quota = ParseInteger(words[0]);
    const std::optional<int64_t> period = ParseInteger(words[1]);
    if (quota && period && *period > 0) {
      LimitCores(static_cast<double>(*quota) / static_cast<double>(*period), limits);
    }
  }
  LimitMemory(FirstLine(folder + "/memory.max"), limits);
}

void ReadVersion1Cpu(const std::string& folder, CgroupLimits& limits) {
  const std::optional<int64_t> quota = ParseInteger(FirstLine(folder + "/cpu.cfs_quota_us"));
  const std::optional<int64_t> period = ParseInteger(FirstLine(folder + "/cpu.cfs_period_us"));
  if (quota && period && *period > 0) {
    LimitCores(static_cast<double>(*quota) / static_cast<double>(*period), limits);
  }
}

int AffinityCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

const CpuFeatures& Cpu() {
  static const CpuFeatures features = ReadFeatures();
  return features;
}

Status CheckSupported(const CpuFeatures& features) {
  std::string missing;
  if (!features.avx2) missing += " AVX2";
  if (!features.fma) missing += " FMA";
  if (!features.f16c) missing += " F16C";
  if (missing.empty()) return Ok();
  return Unimplemented(
      "this machine is not supported: Sluice needs an x86-64 processor with AVX2, FMA and F16C "
      "(Intel Haswell, AMD Zen or later) and an operating system that saves their registers; "
      "missing:" +
      missing);
}

CgroupLimits ReadCgroupLimits(const std::string& proc_cgroup, const std::string& mount) {
  CgroupLimits limits;
  for (const std::string_view line : Split(proc_cgroup, '\n')) {
    // hierarchy:controllers:path; version 2 has hierarchy 0 and no controllers.
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    for (const std::string& group : GroupsUpward(std::string(line.substr(second + 1)))) {
      if (controllers.empty()) {
        ReadVersion2(mount + group, limits);
        continue;
      }
      for (const std::string_view controller : Split(controllers, ',')) {
        if (controller == "cpu") ReadVersion1Cpu(mount + "/cpu" + group, limits);
        if (controller == "memory") {
          LimitMemory(FirstLine(mount + "/memory" + group + "/memory.limit_in_bytes"), limits);
        }
      }
    }
  }
  return limits;
}

Machine DescribeMachine() {
  Machine machine;
  machine.features = Cpu();
  machine.model_name = ReadModelName();
  machine.caches = ReadCaches();
  machine.cores = AffinityCores();
  machine.memory_bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * int64_t{sysconf(_SC_PAGESIZE)};
  const Result<std::string> groups = ReadFile("/proc/self/cgroup", kSmallFileBytes);
  if (!groups.ok()) return machine;
  const CgroupLimits limits = ReadCgroupLimits(*groups, "/sys/fs/cgroup");
  if (limits.cores > 0) {
    const double cores = std::ceil(std::min(limits.cores, 1e6));
    machine.cores = std::max(1, std::min(machine.cores, static_cast<int>(cores)));
  }
  if (limits.memory_bytes > 0) {
    machine.memory_bytes = std::min(machine.memory_bytes, limits.memory_bytes);
  }
  return machine;
}

std::string MachineLine(const Machine& machine) {
  const CpuFeatures& f = machine.features;
  std::string line = machine.model_name + " (";
  for (const auto& [name, has] :
       std::initializer_list<std::pair<const char*, bool>>{{"avx2 ", f.avx2},
                                                           {"fma ", f.fma},
                                                           {"f16c ", f.f16c},
                                                           {"avx512 ", f.avx512()},
                                                           {"avx512_vnni ", f.avx512_vnni},
                                                           {"avx512_bf16 ", f.avx512_bf16},
                                                           {"avx_vnni ", f.avx_vnni},
                                                           {"amx_bf16 ", f.amx_bf16}}) {
    if (has) line += name;
  }
  if (line.back() == ' ') line.pop_back();
  std::array<char, 64> rest{};
  std::snprintf(rest.data(), rest.size(), "), %d cores, %.1f GiB", machine.cores,
                static_cast<double>(machine.memory_bytes) / static_cast<double>(1 << 30));
  return line + rest.data();
}

}  // namespace sluice::base
