#include "kernels/tree_masks.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace sluice::kernels {
namespace {

constexpr size_t kSectionAlignment = 64;

// One tree's questions while they are collected.
struct Question {
  float split;
  uint32_t feature;
  uint64_t keep;
};
struct Tree {
  std::vector<Question> questions;
  std::vector<int32_t> leaves;  // nodes, those behind "yes" first
};

constexpr uint64_t FirstBits(size_t count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// Leaves are numbered as a walk that tries "yes" first meets them. False: too many, or a question
// of another kind.
bool Collect(std::span<const TreeNode> nodes, int32_t root, Tree& tree) {
  struct Visit {
    int32_t node;
    int32_t question;  // of which the "yes" side ends here; -1: a node to visit
    size_t first_leaf;
  };
  std::vector<Visit> stack = {{root, -1, 0}};
  while (!stack.empty()) {
    const Visit visit = stack.back();
    stack.pop_back();
    if (visit.question >= 0) {
      const uint64_t behind_yes = FirstBits(tree.leaves.size()) & ~FirstBits(visit.first_leaf);
      tree.questions[static_cast<size_t>(visit.question)].keep = ~behind_yes;
      continue;
    }
    const TreeNode& node = nodes[static_cast<size_t>(visit.node)];
    if ((node.feature & kTreeLeaf) != 0) {
      if (tree.leaves.size() == kMaskLeaves) return false;
      tree.leaves.push_back(visit.node);
      continue;
    }
    if ((node.feature & ~kTreeFeature) != 0) return false;
    if (tree.questions.size() == kMaskLeaves) return false;
    const auto question = static_cast<int32_t>(tree.questions.size());
    tree.questions.push_back({node.split, node.feature, 0});
    stack.push_back({node.no, -1, 0});
    stack.push_back({0, question, tree.leaves.size()});
    stack.push_back({node.yes, -1, 0});
  }
  return true;
}

// All arrays of the packed form, in order.
struct Sections {
  std::vector<TreeSpan> trees;
  std::vector<TreeQuestion> questions;
  std::vector<int32_t> leaf_nodes;
  std::vector<float> leaf_splits;
  std::vector<int32_t> side_steps;
  std::vector<float> side_splits;
  std::vector<uint32_t> side_keeps;
  std::vector<uint8_t> side_features;
};
constexpr size_t kSections = 8;
// Where each section begins; 0: it is empty.
using Header = std::array<uint64_t, kSections>;

void AddTree(const Tree& tree, std::span<const TreeNode> nodes, Sections& to) {
  TreeSpan span;
  span.questions = static_cast<int32_t>(to.questions.size());
  span.leaves = static_cast<int32_t>(to.leaf_nodes.size());
  for (int word = 0; word < 2; ++word) {
    if (word == 1) span.others = static_cast<int32_t>(to.questions.size());
    const size_t first = static_cast<size_t>(word) * kMaskWord;
    if (tree.leaves.size() <= first) continue;
    const auto present = static_cast<uint32_t>(FirstBits(tree.leaves.size()) >> first);
    for (const Question& question : tree.questions) {
      const auto keep = static_cast<uint32_t>(question.keep >> first);
      if ((keep & present) == present) continue;
      to.questions.push_back({question.split, question.feature, keep});
    }
  }
  span.end = static_cast<int32_t>(to.questions.size());
  to.trees.push_back(span);
  for (const int32_t leaf : tree.leaves) {
    to.leaf_nodes.push_back(leaf);
    to.leaf_splits.push_back(nodes[static_cast<size_t>(leaf)].split);
  }
}

// Sixteen trees side by side; the last ones stand for those that the ensemble lacks.
void AddSides(const std::vector<Tree>& trees, Sections& to) {
  for (size_t first = 0; first < trees.size(); first += kSideTrees) {
    to.side_steps.push_back(static_cast<int32_t>(to.side_splits.size() / kSideTrees));
    size_t steps = 0;
    for (size_t i = first; i < std::min(trees.size(), first + kSideTrees); ++i)
      steps = std::max(steps, trees[i].questions.size());
    for (size_t step = 0; step < steps; ++step) {
      for (size_t i = first; i < first + kSideTrees; ++i) {
        const bool asks = i < trees.size() && step < trees[i].questions.size();
        const Question question =
            asks ? trees[i].questions[step]
                 : Question{std::numeric_limits<float>::infinity(), 0, ~uint64_t{0}};
        to.side_splits.push_back(question.split);
        to.side_keeps.push_back(static_cast<uint32_t>(question.keep));
        to.side_features.push_back(static_cast<uint8_t>(question.feature));
      }
    }
  }
  to.side_steps.push_back(static_cast<int32_t>(to.side_splits.size() / kSideTrees));
}

template <class F>
void EachSection(Sections& sections, F f) {
  f(0, sections.trees);
  f(1, sections.questions);
  f(2, sections.leaf_nodes);
  f(3, sections.leaf_splits);
  f(4, sections.side_steps);
  f(5, sections.side_splits);
  f(6, sections.side_keeps);
  f(7, sections.side_features);
}

}  // namespace

std::vector<uint8_t> PackTreeMasks(std::span<const TreeNode> nodes, std::span<const int32_t> roots,
                                   int64_t features) {
  if (features > kMaskFeatures) return {};
  std::vector<Tree> trees(roots.size() / 2);
  size_t questions = 0;
  bool side = features <= kSideFeatures;
  for (size_t i = 0; i < trees.size(); ++i) {
    if (!Collect(nodes, roots[2 * i], trees[i])) return {};
    questions += trees[i].questions.size();
    if (questions > nodes.size()) return {};  // nodes that trees share would be packed many times
    side = side && trees[i].leaves.size() <= kSideLeaves;
  }
  // Rows are laid out anew for it, which few questions do not pay for.
  if (questions < static_cast<size_t>(features)) return {};
  Sections sections;
  for (const Tree& tree : trees) AddTree(tree, nodes, sections);
  if (side) AddSides(trees, sections);
  Header header = {};
  size_t bytes = sizeof(Header);
  EachSection(sections, [&](size_t section, const auto& values) {
    if (values.empty()) return;
    bytes = (bytes + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
    header[section] = bytes;
    bytes += values.size() * sizeof(values[0]);
  });
  std::vector<uint8_t> packed(bytes);
  std::memcpy(packed.data(), header.data(), sizeof(Header));
  EachSection(sections, [&](size_t section, const auto& values) {
    if (values.empty()) return;
    std::memcpy(packed.data() + header[section], values.data(), values.size() * sizeof(values[0]));
  });
  return packed;
}

std::optional<TreeMasks> ViewTreeMasks(const void* packed, int64_t bytes) {
  if (bytes < static_cast<int64_t>(sizeof(Header))) return std::nullopt;
  Header header;
  std::memcpy(header.data(), packed, sizeof(Header));
  const auto* const base = static_cast<const char*>(packed);
  const auto at = [&](size_t section) {
    return header[section] == 0 ? nullptr : base + header[section];
  };
  TreeMasks masks;
  masks.trees = reinterpret_cast<const TreeSpan*>(at(0));
  masks.questions = reinterpret_cast<const TreeQuestion*>(at(1));
  masks.leaf_nodes = reinterpret_cast<const int32_t*>(at(2));
  masks.leaf_splits = reinterpret_cast<const float*>(at(3));
  masks.side_steps = reinterpret_cast<const int32_t*>(at(4));
  masks.side_splits = reinterpret_cast<const float*>(at(5));
  masks.side_keeps = reinterpret_cast<const uint32_t*>(at(6));
  masks.side_features = reinterpret_cast<const uint8_t*>(at(7));
  return masks;
}

}  // namespace sluice::kernels
