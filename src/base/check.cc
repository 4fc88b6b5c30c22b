#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace sluice::base {

void CheckFailed(const char* file, int line, const std::string& text) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, text.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace sluice::base
