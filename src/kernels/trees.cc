#include "kernels/trees.h"

#include <algorithm>
#include <utility>

#include "kernels/cpu/trees.h"
#include "kernels/target.h"

namespace sluice::kernels {
namespace {

// Rows of a tile: their sums stay on the stack while all trees pass by once.
constexpr int64_t kTileRows = 32;
constexpr int64_t kSums = 512;  // of a tile; fewer rows at a time where there are many targets
// Walks side by side, so that the loads of one hide behind those of the others.
constexpr int kWalks = 8;
// Levels between two looks whether all have arrived.
constexpr int kLevels = 2;

// Chosen by arithmetic: which way a row goes is a coin toss, and a wrong guess of a branch costs
// more than the walk down several levels.
template <bool special>
inline int32_t Next(const TreeNode* nodes, int32_t at, const float* row) {
  const TreeNode& node = nodes[at];
  const float value = row[node.feature & kTreeFeature];
  auto yes = static_cast<int32_t>(value <= node.split);
  if constexpr (special) {
    const auto equals = static_cast<int32_t>(node.feature / kTreeEquals & 1);
    const auto nan_yes = static_cast<int32_t>(node.feature / kTreeNanYes & 1);
    const auto same = static_cast<int32_t>(value == node.split);
    yes = (yes & ~equals) | (same & equals) | (static_cast<int32_t>(value != value) & nan_yes);
  }
  return node.no ^ ((node.yes ^ node.no) & -yes);
}

// Moves each walk from `at` to its leaf. The walks are named one by one, so that they stay in
// registers.
template <bool special, size_t... walk>
void Walk(const TreeNode* nodes, const float* const rows[kWalks], int32_t depth, int32_t at[kWalks],
          std::index_sequence<walk...>) {
  int32_t now[kWalks] = {at[walk]...};
  for (int32_t level = 0; level < depth; level += kLevels) {
    for (int i = 0; i < kLevels; ++i)
      ((now[walk] = Next<special>(nodes, now[walk], rows[walk])), ...);
    if (((nodes[now[walk]].feature & kTreeLeaf) & ...) != 0) break;
  }
  ((at[walk] = now[walk]), ...);
}

inline void AddLeaf(const TreesArgs& args, int32_t leaf, double* sums) {
  if (args.leaf_begin == nullptr) {
    sums[0] += static_cast<double>(args.nodes[leaf].split);
    return;
  }
  for (int32_t i = args.leaf_begin[leaf]; i < args.leaf_begin[leaf + 1]; ++i)
    sums[args.leaf_targets[i]] += static_cast<double>(args.leaf_weights[i]);
}

// Few rows: eight trees at a time.
template <bool special>
void ByTree(const TreesArgs& args, const float* row, double* sums) {
  const float* rows[kWalks];
  std::fill_n(rows, kWalks, row);
  for (int64_t tree = 0; tree < args.trees; tree += kWalks) {
    int32_t at[kWalks];
    int32_t depth = 0;
    for (int64_t walk = 0; walk < kWalks; ++walk) {
      const int32_t* root = args.roots + 2 * std::min(tree + walk, args.trees - 1);
      at[walk] = root[0];
      depth = std::max(depth, root[1]);
    }
    Walk<special>(args.nodes, rows, depth, at, std::make_index_sequence<kWalks>());
    const int64_t count = std::min<int64_t>(kWalks, args.trees - tree);
    for (int64_t walk = 0; walk < count; ++walk) AddLeaf(args, at[walk], sums);
  }
}

// Eight rows at a time through one tree after the other.
template <bool special>
void ByRow(const TreesArgs& args, const float* x, int64_t count, double* sums) {
  for (int64_t tree = 0; tree < args.trees; ++tree) {
    const int32_t* root = args.roots + 2 * tree;
    for (int64_t first = 0; first < count; first += kWalks) {
      const float* rows[kWalks];
      int32_t at[kWalks];
      for (int64_t walk = 0; walk < kWalks; ++walk) {
        rows[walk] = x + std::min(first + walk, count - 1) * args.features;
        at[walk] = root[0];
      }
      Walk<special>(args.nodes, rows, root[1], at, std::make_index_sequence<kWalks>());
      const int64_t last = std::min<int64_t>(kWalks, count - first);
      for (int64_t walk = 0; walk < last; ++walk)
        AddLeaf(args, at[walk], sums + (first + walk) * args.targets);
    }
  }
}

// Small trees, a vector of rows through one after the other.
void ByMask(const TreesArgs& args, const float* x, int64_t count, double* sums) {
  constexpr int64_t kTrees = 32;
  alignas(64) float turned[kMaskFeatures * kMaskRows];
  alignas(64) double added[kMaskRows] = {};
  alignas(64) int32_t leaves[kTrees * kMaskRows];
  const Target target = ActiveTarget();
  SLUICE_PICK_ISA(target, TurnRows)(x, args.features, count, args.asked, turned);
  const MaskedRows rows = {args.masks, turned, count};
  const auto run = SLUICE_PICK_ISA(target, RunTreeMasks);
  if (args.leaf_begin == nullptr) {
    run(rows, 0, args.trees, added, leaves);
    std::copy_n(added, count, sums);
    return;
  }
  for (int64_t first = 0; first < args.trees; first += kTrees) {
    const int64_t trees = std::min(kTrees, args.trees - first);
    run(rows, first, first + trees, nullptr, leaves);
    for (int64_t tree = 0; tree < trees; ++tree) {
      for (int64_t i = 0; i < count; ++i) {
        AddLeaf(args, args.masks.leaf_nodes[leaves[tree * kMaskRows + i]], sums + i * args.targets);
      }
    }
  }
}

// Small trees, one row through sixteen of them side by side.
void ByGroup(const TreesArgs& args, const float* row, double* sums) {
  constexpr int64_t kTrees = 8 * kSideTrees;
  alignas(64) int32_t leaves[kTrees];
  const TreeMasks& masks = args.masks;
  for (int64_t first = 0; first < args.trees; first += kTrees) {
    const int64_t trees = std::min(kTrees, args.trees - first);
    avx512::RunTreesAside(masks, row, args.asked, first, first + trees, leaves);
    const TreeSpan* const span = masks.trees + first;
    if (args.leaf_begin == nullptr) {
      double sum = sums[0];
      for (int64_t i = 0; i < trees; ++i)
        sum += static_cast<double>(masks.leaf_splits[span[i].leaves + leaves[i]]);
      sums[0] = sum;
      continue;
    }
    for (int64_t i = 0; i < trees; ++i)
      AddLeaf(args, masks.leaf_nodes[span[i].leaves + leaves[i]], sums);
  }
}

// Rows and trees are added up in the same order either way: the same bits.
template <bool special>
void Block(const TreesArgs& args, int64_t begin, int64_t count) {
  // Rows that have a vector of their own cost as much as a few walks or a few times sixteen trees.
  constexpr int64_t kMaskedRowsMin = 4;
  constexpr int64_t kMaskedRowsMinAside = 8;
  double sums[kSums] = {};
  const float* x = args.x + begin * args.features;
  const bool masks = args.masks.trees != nullptr;
  const bool aside = args.masks.side_steps != nullptr && ActiveTarget() == Target::kAvx512;
  if (masks && count >= (aside ? kMaskedRowsMinAside : kMaskedRowsMin)) {
    ByMask(args, x, count, sums);
  } else if (masks && aside) {
    for (int64_t i = 0; i < count; ++i)
      ByGroup(args, x + i * args.features, sums + i * args.targets);
  } else if (count >= kWalks / 2) {
    ByRow<special>(args, x, count, sums);
  } else {
    for (int64_t i = 0; i < count; ++i)
      ByTree<special>(args, x + i * args.features, sums + i * args.targets);
  }
  float* y = args.y + begin * args.targets;
  for (int64_t i = 0; i < count * args.targets; ++i) y[i] = static_cast<float>(sums[i]);
}

}  // namespace

int64_t TreesTiles(const TreesArgs& args) {
  return (args.rows + kTileRows - 1) / kTileRows;
}

void Trees(const TreesArgs& args, Tiles tiles) {
  const int64_t step = std::clamp<int64_t>(kSums / args.targets, 1, kTileRows);
  const int64_t end = std::min(args.rows, tiles.end * kTileRows);
  for (int64_t row = tiles.begin * kTileRows; row < end; row += step) {
    const int64_t count = std::min(step, end - row);
    args.special ? Block<true>(args, row, count) : Block<false>(args, row, count);
  }
}

Work TreesWork(const TreesArgs& args) {
  return {args.rows * args.questions, args.rows * (args.features + args.targets) * 4 +
                                          args.questions * static_cast<int64_t>(sizeof(TreeNode))};
}

}  // namespace sluice::kernels
