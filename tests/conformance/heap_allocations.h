// Counts this program's heap allocations: linking heap_allocations.cc replaces operator new.
#pragma once

#include <cstdint>

namespace sluice::conformance {

// Made by this thread so far.
int64_t HeapAllocations();

}  // namespace sluice::conformance
