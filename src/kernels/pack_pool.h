// The threads that lay weights out at load.
#pragma once

#include "base/thread_pool.h"

namespace sluice::kernels {

// As many as this process has cores, the caller among them, made at the first call. The others run
// at a lower priority, so that what is served meanwhile goes first. One caller at a time has them;
// another one works alone.
base::ThreadPool& PackPool();

}  // namespace sluice::kernels
