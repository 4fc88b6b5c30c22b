// How the kernel shares a core between a thread that serves many for a moment each and threads that
// compute for long.
#pragma once

#include "base/clock.h"

namespace sluice::base {

// For threads that wake often and run briefly, as those that read and write sockets.
constexpr Duration kBriefSlice = Duration::Micros(100);

// Asks for turns of about `slice` for the calling thread and those that it starts. Linux since 6.12
// then lets it go first when it wakes beside threads with longer turns, instead of at their next
// tick, some milliseconds later; its share of the cores stays the same. Elsewhere nothing changes.
void AskForSlice(Duration slice);
// What was asked for; zero: nothing, or the kernel does not tell.
Duration AskedSlice();

}  // namespace sluice::base
