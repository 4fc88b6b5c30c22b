// The time that a thread has run: what others take of a shared machine is not its own.
#pragma once

#include <time.h>

namespace sluice::base {

// Of the calling thread, in seconds since it began.
inline double ProcessorSeconds() {
  timespec t = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace sluice::base
