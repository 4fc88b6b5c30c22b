#include "base/thread_slice.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace sluice::base {
namespace {

// The kernel's struct sched_attr in its first version, which the C library does not declare.
struct Attributes {
  uint32_t size = sizeof(Attributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // of an ordinary thread: the slice it asks for
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
static_assert(sizeof(Attributes) == 48);

bool Get(Attributes& attributes) {
  return syscall(SYS_sched_getattr, 0, &attributes, sizeof(Attributes), 0) == 0;
}

}  // namespace

void AskForSlice(Duration slice) {
  Attributes attributes;
  if (!Get(attributes) || attributes.policy != SCHED_OTHER) return;
  attributes.runtime_ns = static_cast<uint64_t>(slice.ns);
  // A kernel that refuses or ignores it leaves things as they were.
  static_cast<void>(syscall(SYS_sched_setattr, 0, &attributes, 0));
}

Duration AskedSlice() {
  Attributes attributes;
  if (!Get(attributes) || attributes.policy != SCHED_OTHER) return {};
  return {static_cast<int64_t>(attributes.runtime_ns)};
}

}  // namespace sluice::base
