// Arrays of a NumPy .npz file that np.savez wrote: a ZIP archive of .npy files without compression.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tensor/tensor.h"

namespace sluice::bin {

// Every array by its name. Bounds are checked; the arrays are copied. kInvalidArgument names the
// array and what is not supported (compression, Fortran order, objects, big-endian numbers).
base::Result<std::map<std::string, tensor::Tensor>> ReadNpz(std::string_view file);

}  // namespace sluice::bin
