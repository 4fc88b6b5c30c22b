#include "kernels/low_path.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "base/check.h"
#include "kernels/target.h"

namespace sluice::kernels {
namespace {

// AMX's tile registers are 8 KiB of state that Linux saves only for processes that have asked.
bool AskForTiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILE_DATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

uint32_t Probe() {
  if (AvailableTargets().empty() || AvailableTargets().back() != Target::kAvx512) return 0;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return 0;
  uint32_t features = 0;
  if ((c >> 11 & 1) != 0) features |= kHasVnni;
  unsigned a1 = 0, b1 = 0, c1 = 0, d1 = 0;
  const bool bf16 =
      a >= 1 && __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1) != 0 && (a1 >> 5 & 1) != 0;
  const bool tiles = (d >> 24 & 1) != 0 && (c >> 11 & 1) != 0 &&
                     ((d >> 22 & 1) != 0 || (d >> 25 & 1) != 0) && bf16 && AskForTiles();
  if (tiles && (d >> 25 & 1) != 0) features |= kHasInt8Tiles;
  if (tiles && (d >> 22 & 1) != 0) features |= kHasBF16Tiles;
  if (bf16) features |= kHasBF16Dots;
  return features;
}

// Intel's cores take two to four cycles for a vdpbf16ps, so that it loses to two f32 multiply-adds
// a cycle; AMD's take it at the rate of multiply-adds.
bool PrefersBF16Dots() {
  unsigned b = 0, c = 0, d = 0, leaf_max = 0;
  __get_cpuid(0, &leaf_max, &b, &c, &d);
  return b == signature_AMD_ebx && c == signature_AMD_ecx;
}

constexpr uint32_t kMachinesChoice = ~0u;
std::atomic<uint32_t> chosen{kMachinesChoice};

}  // namespace

const char* WeightFormName(WeightForm form) {
  switch (form) {
    case WeightForm::kF32:
      return "f32";
    case WeightForm::kBF16:
      return "bf16";
    case WeightForm::kInt8:
      return "int8";
    case WeightForm::kBF16Storage:
      return "bf16-storage";
    case WeightForm::kInt8Storage:
      return "int8-storage";
  }
  return "unknown";
}

const char* LowPathName(LowPath path) {
  switch (path) {
    case LowPath::kWiden:
      return "widen";
    case LowPath::kWords:
      return "words";
    case LowPath::kBytes:
      return "bytes";
    case LowPath::kVnni:
      return "vnni";
    case LowPath::kBF16Dots:
      return "bf16 dots";
    case LowPath::kBF16Tiles:
      return "bf16 tiles";
  }
  return "unknown";
}

uint32_t MachineLowFeatures() {
  static const uint32_t features = Probe();
  return features;
}

uint32_t LowFeatures() {
  if (ActiveTarget() != Target::kAvx512) return 0;
  static const uint32_t preferred =
      MachineLowFeatures() & (PrefersBF16Dots() ? ~0u : ~kHasBF16Dots);
  const uint32_t mask = chosen.load(std::memory_order_relaxed);
  return mask == kMachinesChoice ? preferred : MachineLowFeatures() & mask;
}

void LimitLowFeaturesForTesting(uint32_t mask) {
  chosen.store(mask, std::memory_order_relaxed);
}

LowPath PathFor(WeightForm form) {
  CHECK(form != WeightForm::kF32);
  const uint32_t features = LowFeatures();
  if (form == WeightForm::kInt8)
    return (features & kHasVnni) != 0 ? LowPath::kVnni : LowPath::kWords;
  if (form == WeightForm::kBF16 && (features & kHasBF16Tiles) != 0) return LowPath::kBF16Tiles;
  if (form == WeightForm::kBF16 && (features & kHasBF16Dots) != 0) return LowPath::kBF16Dots;
  return LowPath::kWiden;
}

}  // namespace sluice::kernels
