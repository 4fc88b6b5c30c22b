// Small decision trees as masks over their leaves: every question of a tree is asked, each "no"
// strikes out the leaves behind its "yes", and the first leaf that is left is the one that a walk
// would reach (C. Lucchese et al., QuickScorer, 2015). Nothing waits for an answer, so vectors ask
// for 16 rows, or for 16 trees, at once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/trees.h"

namespace sluice::kernels {

// `nodes` and `roots` as of TreesArgs, without special questions. Empty where the ensemble is not
// such that masks are faster: other kinds of questions, large trees, many features. Sizes are below
// 2^31.
std::vector<uint8_t> PackTreeMasks(std::span<const TreeNode> nodes, std::span<const int32_t> roots,
                                   int64_t features);

// What PackTreeMasks made, which lies at a multiple of 64 bytes and lives longer; nullopt for no
// bytes.
std::optional<TreeMasks> ViewTreeMasks(const void* packed, int64_t bytes);

}  // namespace sluice::kernels
