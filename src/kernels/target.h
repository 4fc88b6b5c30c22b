// Which vector instructions the kernels use here: found once at start, the same for every kernel.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"

namespace sluice::kernels {

// kAvx2: AVX2, FMA, F16C, BMI2. kAvx512: that and AVX-512 F, CD, BW, DQ, VL.
enum class Target : uint8_t { kAvx2, kAvx512 };

const char* TargetName(Target target);

// The targets that this machine can run, slowest first; empty below AVX2. Never changes.
std::span<const Target> AvailableTargets();

// kUnimplemented with what is missing on a machine below AVX2: call at start, before any kernel.
base::Status CheckCpu();

// What kernels run and weights are packed for: the best available, unless a test has chosen
// another.
Target ActiveTarget();

// Forces `target`, which must be available, for the whole process. Weights packed before stay
// packed for their own target and still run. For tests and benches, while no kernel runs.
void SetTargetForTesting(Target target);

}  // namespace sluice::kernels
