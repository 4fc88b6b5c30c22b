// The meaning of kernels/cached_attention.h: plain loops, everything in double, rounded once at the
// end.
#pragma once

#include "kernels/cached_attention.h"

namespace sluice::kernels::ref {

// kernels::CacheWrite and kernels::CachedAttention, all tiles.
void CacheWrite(const kernels::CacheWriteArgs& args);
void CachedAttention(const kernels::CachedAttentionArgs& args);

}  // namespace sluice::kernels::ref
