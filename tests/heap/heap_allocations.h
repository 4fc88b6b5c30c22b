// Counts this program's heap allocations: linking this replaces operator new, aligned and not.
#pragma once

#include <cstdint>

namespace sluice::heap {

// Made by this thread so far.
int64_t Allocations();
// Bytes of the largest that it made since it last asked; 0: none.
int64_t TakeLargest();

}  // namespace sluice::heap
