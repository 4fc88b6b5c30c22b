// Sums over ensembles of decision trees: each row of features falls through every tree, and what
// the leaves that it reaches hold is added up, tree by tree in order.
#pragma once

#include <cstdint>

#include "kernels/work.h"

namespace sluice::kernels {

// A node asks whether a feature is at most `split` and goes on at node `yes` or `no`. A leaf leads
// to itself whatever the answer, so that rows of different depth walk on side by side.
struct TreeNode {
  float split = 0;       // of a leaf: what it adds, where leaves hold one number each
  uint32_t feature = 0;  // low bits; above them the flags
  int32_t yes = 0;
  int32_t no = 0;
};
inline constexpr uint32_t kTreeFeature = 0xFFFFFF;
inline constexpr uint32_t kTreeEquals = 1u << 24;  // asks for equality instead
inline constexpr uint32_t kTreeNanYes = 1u << 25;  // a feature that is NaN goes on at `yes`
inline constexpr uint32_t kTreeLeaf = 1u << 26;
inline constexpr int64_t kTreeTargetsMax = 64;  // of the kernel; more have the reference
// What trees of masks may have, see below: leaves of a tree and features of all; where sixteen go
// side by side, the same.
inline constexpr int64_t kMaskWord = 32;
inline constexpr int64_t kMaskLeaves = 2 * kMaskWord;
inline constexpr int64_t kMaskFeatures = 256;
inline constexpr int64_t kSideTrees = 16;
inline constexpr int64_t kSideFeatures = 64;
inline constexpr int64_t kSideLeaves = kMaskWord;

// A question that a tree of masks asks: leaves of `keep` are left if the feature is above `split`.
struct TreeQuestion {
  float split = 0;
  uint32_t feature = 0;
  uint32_t keep = 0;
};
// Where a tree's questions lie: those of its first 32 leaves, then those of the others.
struct TreeSpan {
  int32_t questions = 0;
  int32_t others = 0;
  int32_t end = 0;
  int32_t leaves = 0;  // its first leaf
};

// Small trees as masks: kernels/tree_masks.h. A view; null without any.
struct TreeMasks {
  const TreeSpan* trees = nullptr;
  const TreeQuestion* questions = nullptr;
  const int32_t* leaf_nodes = nullptr;  // of every leaf, its node
  const float* leaf_splits = nullptr;   // and what stands there
  // Sixteen trees side by side, [steps, 16] each; null where they do not suit that.
  const int32_t* side_steps = nullptr;  // [groups + 1]: the first step of each
  const float* side_splits = nullptr;
  const uint32_t* side_keeps = nullptr;
  const uint8_t* side_features = nullptr;
};

struct TreesArgs {
  const float* x = nullptr;  // [rows, features], every feature of a node below `features`
  const TreeNode* nodes = nullptr;
  const int32_t* roots = nullptr;  // [trees, 2]: the first node, and the most questions to a leaf
  // Where leaves hold any number of pairs: [nodes + 1], node n's lie in [n, n + 1) of the others.
  // Null where each leaf of the nodes adds its `split` to target 0.
  const int32_t* leaf_begin = nullptr;
  const int32_t* leaf_targets = nullptr;
  const float* leaf_weights = nullptr;
  float* y = nullptr;  // [rows, targets]
  int64_t rows = 0;
  int64_t features = 0;
  int64_t trees = 0;
  int64_t targets = 1;    // at most kTreeTargetsMax
  int64_t questions = 0;  // of the longest ways through all trees together
  bool special = false;   // some node has kTreeEquals or kTreeNanYes
  TreeMasks masks;        // the same trees, or null
  int64_t asked = 0;      // features at most that they ask for: the first ones
};

int64_t TreesTiles(const TreesArgs& args);
void Trees(const TreesArgs& args, Tiles tiles);
Work TreesWork(const TreesArgs& args);

}  // namespace sluice::kernels
