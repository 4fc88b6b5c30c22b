// Loads the layers of a model side by side.
#pragma once

#include <cstdint>

#include "base/function_ref.h"
#include "base/result.h"

namespace sluice::lm {

// Calls load(i) for every layer, on kernels::PackPool(): a layer to a thread, so that threads wait
// for each other once and not behind every product. The error of the lowest layer that fails.
base::Status LoadLayers(int64_t layers, base::FunctionRef<base::Status(int64_t)> load);

}  // namespace sluice::lm
