#include "kernels/trees.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "kernels/ref/trees.h"
#include "kernels/target.h"
#include "kernels/tree_masks.h"

namespace sluice::kernels {
namespace {

using tensor::DType;
using tensor::Shape;

// Random trees in the layout of the kernel, each leaf with one or several weights.
struct Forest {
  std::vector<TreeNode> nodes;
  std::vector<int32_t> roots;
  std::vector<int32_t> leaf_begin = {0};
  std::vector<int32_t> leaf_targets;
  std::vector<float> leaf_weights;
  int64_t questions = 0;
};

struct ForestShape {
  int trees = 10;
  int depth = 6;
  int features = 5;
  int targets = 1;
  bool special = false;
};

class Grower {
 public:
  Grower(uint64_t seed, const ForestShape& shape) : random_(seed), shape_(shape) {}

  Forest Grow() {
    for (int tree = 0; tree < shape_.trees; ++tree) {
      forest_.roots.push_back(static_cast<int32_t>(forest_.nodes.size()));
      const int depth = Node(0);
      forest_.roots.push_back(depth);
      forest_.questions += depth;
    }
    return forest_;
  }

 private:
  int Pick(int count) { return static_cast<int>(random_() % static_cast<uint64_t>(count)); }
  float Number() { return static_cast<float>(Pick(21) - 10) / 4; }

  int Node(int level) {
    const auto at = static_cast<int32_t>(forest_.nodes.size());
    forest_.nodes.emplace_back();
    forest_.leaf_begin.push_back(static_cast<int32_t>(forest_.leaf_weights.size()));
    if (level == shape_.depth || (level > 0 && Pick(4) == 0)) {
      TreeNode leaf{0, kTreeLeaf, at, at};
      const int pairs = shape_.targets == 1 ? 1 : Pick(3);
      for (int i = 0; i < pairs; ++i) {
        forest_.leaf_targets.push_back(Pick(shape_.targets));
        forest_.leaf_weights.push_back(Number());
        leaf.split = forest_.leaf_weights.back();
      }
      forest_.leaf_begin.back() = static_cast<int32_t>(forest_.leaf_weights.size());
      forest_.nodes[static_cast<size_t>(at)] = leaf;
      return 0;
    }
    TreeNode node{Number(), static_cast<uint32_t>(Pick(shape_.features)), 0, 0};
    if (shape_.special && Pick(3) == 0) node.feature |= kTreeEquals;
    if (shape_.special && Pick(2) == 0) node.feature |= kTreeNanYes;
    node.yes = static_cast<int32_t>(forest_.nodes.size());
    const int yes = Node(level + 1);
    node.no = static_cast<int32_t>(forest_.nodes.size());
    const int no = Node(level + 1);
    forest_.nodes[static_cast<size_t>(at)] = node;
    return 1 + std::max(yes, no);
  }

  std::mt19937_64 random_;
  ForestShape shape_;
  Forest forest_;
};

std::vector<float> Features(uint64_t seed, int64_t rows, const ForestShape& shape) {
  std::mt19937_64 random(seed);
  std::vector<float> x(static_cast<size_t>(rows * shape.features));
  for (float& value : x) {
    value = static_cast<float>(static_cast<int>(random() % 21) - 10) / 4;
    if (shape.special && random() % 8 == 0) value = std::numeric_limits<float>::quiet_NaN();
  }
  return x;
}

// The packed bytes where masks want them.
struct Masks {
  std::vector<uint8_t> packed;
  std::unique_ptr<std::byte, void (*)(void*)> aligned{nullptr, std::free};
  TreeMasks view;

  Masks(const Forest& forest, const ForestShape& shape) {
    if (shape.special) return;
    packed = PackTreeMasks(forest.nodes, forest.roots, shape.features);
    const size_t bytes = (packed.size() + 63) / 64 * 64;
    if (packed.empty()) return;
    aligned.reset(static_cast<std::byte*>(std::aligned_alloc(64, bytes)));
    std::memcpy(aligned.get(), packed.data(), packed.size());
    view = ViewTreeMasks(aligned.get(), static_cast<int64_t>(packed.size())).value();
  }
};

std::vector<float> SumsOf(const Forest& forest, const std::vector<float>& x, int64_t rows,
                          const ForestShape& shape, const TreeMasks& masks = {}) {
  std::vector<float> y(static_cast<size_t>(rows * shape.targets));
  TreesArgs args;
  args.x = x.data();
  args.nodes = forest.nodes.data();
  args.roots = forest.roots.data();
  if (shape.targets > 1) {
    args.leaf_begin = forest.leaf_begin.data();
    args.leaf_targets = forest.leaf_targets.data();
    args.leaf_weights = forest.leaf_weights.data();
  }
  args.y = y.data();
  args.rows = rows;
  args.features = shape.features;
  args.trees = shape.trees;
  args.targets = shape.targets;
  args.questions = forest.questions;
  args.special = shape.special;
  args.masks = masks;
  args.asked = shape.features;
  const int64_t tiles = TreesTiles(args);
  for (int64_t tile = 0; tile < tiles; ++tile) Trees(args, {tile, tile + 1});
  return y;
}

std::vector<float> Reference(const Forest& forest, const std::vector<float>& x, int64_t rows,
                             const ForestShape& shape) {
  std::vector<float> y(static_cast<size_t>(rows * shape.targets));
  const auto list = [](DType dtype, const auto& values) {
    return tensor::ConstView{dtype, Shape({static_cast<int64_t>(values.size())}), values.data()};
  };
  ref::TreesArgs args;
  args.x = {DType::kF32, Shape({rows, shape.features}), x.data()};
  args.nodes = {DType::kU8, Shape({static_cast<int64_t>(forest.nodes.size() * sizeof(TreeNode))}),
                forest.nodes.data()};
  args.roots = {DType::kI32, Shape({shape.trees, 2}), forest.roots.data()};
  args.leaf_begin = list(DType::kI32, forest.leaf_begin);
  args.leaf_targets = list(DType::kI32, forest.leaf_targets);
  args.leaf_weights = list(DType::kF32, forest.leaf_weights);
  args.y = {DType::kF32, Shape({rows, shape.targets}), y.data()};
  ref::Trees(args);
  return y;
}

TEST(Trees, AgreesWithOneRowAndOneTreeAtATime) {
  const ForestShape shapes[] = {
      {1, 0, 1, 1, false}, {1, 3, 2, 1, false},  {10, 6, 5, 1, false},
      {33, 9, 7, 1, true}, {10, 5, 4, 3, false}, {9, 4, 4, 64, true},
  };
  for (const ForestShape& shape : shapes) {
    const Forest forest = Grower(3, shape).Grow();
    for (const int64_t rows : {1, 2, 3, 4, 7, 8, 9, 40, 100}) {
      const std::vector<float> x = Features(5, rows, shape);
      EXPECT_EQ(SumsOf(forest, x, rows, shape), Reference(forest, x, rows, shape))
          << shape.trees << " trees, " << rows << " rows";
    }
  }
}

TEST(Trees, MasksReachTheLeavesThatWalksReach) {
  const ForestShape shapes[] = {
      {1, 1, 1, 1, false},   {3, 2, 3, 1, false},   {40, 4, 50, 1, false}, {16, 3, 20, 1, false},
      {33, 4, 64, 1, false}, {17, 5, 30, 5, false}, {20, 6, 70, 1, false}, {21, 6, 200, 3, false},
  };
  for (const ForestShape& shape : shapes) {
    const Forest forest = Grower(11, shape).Grow();
    const Masks masks(forest, shape);
    ASSERT_NE(masks.view.trees, nullptr) << shape.trees << " trees";
    for (const int64_t rows : {1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 100}) {
      std::vector<float> x = Features(13, rows, shape);
      for (size_t i = 0; i < x.size(); i += 37) x[i] = std::numeric_limits<float>::quiet_NaN();
      for (const Target target : AvailableTargets()) {
        SetTargetForTesting(target);
        EXPECT_EQ(SumsOf(forest, x, rows, shape, masks.view), SumsOf(forest, x, rows, shape))
            << shape.trees << " trees, " << rows << " rows, " << TargetName(target);
      }
    }
  }
}

TEST(Trees, LargeTreesAndQuestionsOfOtherKindsHaveNoMasks) {
  EXPECT_TRUE(Masks(Grower(3, {4, 9, 5, 1, false}).Grow(), {4, 9, 5, 1, false}).packed.empty());
  const ForestShape special{4, 4, 5, 1, true};
  const Forest forest = Grower(3, special).Grow();
  EXPECT_TRUE(PackTreeMasks(forest.nodes, forest.roots, special.features).empty());
  const ForestShape wide{40, 5, 300, 1, false};
  const Forest many = Grower(3, wide).Grow();
  EXPECT_TRUE(PackTreeMasks(many.nodes, many.roots, wide.features).empty());
}

TEST(Trees, ARowHasTheSameBitsAloneAndInAnyBatch) {
  const ForestShape shape{50, 8, 6, 1, false};
  const Forest forest = Grower(7, shape).Grow();
  const int64_t rows = 256;
  const std::vector<float> x = Features(9, rows, shape);
  const Masks masks(forest, shape);
  const std::vector<float> all = SumsOf(forest, x, rows, shape);
  EXPECT_EQ(SumsOf(forest, x, rows, shape, masks.view), all);
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<float> alone(x.begin() + row * shape.features,
                                   x.begin() + (row + 1) * shape.features);
    const std::vector<float> y = SumsOf(forest, alone, 1, shape);
    EXPECT_EQ(std::memcmp(y.data(), &all[static_cast<size_t>(row)], sizeof(float)), 0) << row;
  }
}

}  // namespace
}  // namespace sluice::kernels
