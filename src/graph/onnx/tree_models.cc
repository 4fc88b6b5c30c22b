// Decision trees of ai.onnx.ml: TreeEnsembleRegressor and TreeEnsembleClassifier of versions 1 to
// 4, TreeEnsemble of version 5. All become one sum over trees (sluice.TreeSums) and ONNX's
// operators around it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <type_traits>

#include "graph/onnx/contrib.h"
#include "kernels/ref/trees.h"
#include "kernels/tree_masks.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

enum class Mode { kLessOrEqual, kLess, kGreaterOrEqual, kGreater, kEqual, kNotEqual, kLeaf };

// A node of any version. `yes` and `no` index nodes; -1 where a leaf has none.
struct ReadNode {
  Mode mode = Mode::kLeaf;
  int64_t feature = 0;
  double split = 0;
  int64_t yes = -1;
  int64_t no = -1;
  bool missing_is_yes = false;
  std::vector<std::pair<int32_t, double>> weights;  // of a leaf: target, weight
};

struct Ensemble {
  std::vector<ReadNode> nodes;
  std::vector<int64_t> roots;
  int64_t targets = 1;
  bool wide = false;  // features and splits in double
};

base::Error Wrong(std::string text) {
  return base::InvalidArgument(std::move(text));
}

// ---- Layout ----

// Nodes tree by tree, each before those that it leads to.
struct Layout {
  std::vector<int64_t> order;     // of the ensemble's nodes
  std::vector<int32_t> position;  // by the ensemble's node
  std::vector<int32_t> roots;     // [trees, 2]
  int64_t questions = 0;
};

// Depth first, without recursion. A node that is met again while its own way is still open would
// lead rows round for ever.
Status Visit(const Ensemble& ensemble, int64_t root, std::vector<int32_t>& depth,
             std::vector<uint8_t>& state, Layout& layout) {
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<int64_t> stack = {root};
  while (!stack.empty()) {
    const int64_t at = stack.back();
    const auto index = static_cast<size_t>(at);
    const ReadNode& node = ensemble.nodes[index];
    if (state[index] == kNew) {
      state[index] = kOpen;
      layout.position[index] = static_cast<int32_t>(layout.order.size());
      layout.order.push_back(at);
      if (node.mode == Mode::kLeaf) continue;
      for (const int64_t next : {node.no, node.yes}) {
        const uint8_t seen = state[static_cast<size_t>(next)];
        if (seen == kOpen) return Wrong("its nodes lead in a circle");
        if (seen == kNew) stack.push_back(next);
      }
      continue;
    }
    stack.pop_back();
    if (state[index] == kDone) continue;
    state[index] = kDone;
    if (node.mode != Mode::kLeaf) {
      depth[index] =
          1 + std::max(depth[static_cast<size_t>(node.yes)], depth[static_cast<size_t>(node.no)]);
    }
  }
  return Ok();
}

Result<Layout> LayOut(const Ensemble& ensemble) {
  const size_t count = ensemble.nodes.size();
  if (count > INT32_MAX / 2 || ensemble.roots.size() > count)
    return Wrong("it has too many nodes or trees");
  Layout layout;
  layout.position.resize(count);
  std::vector<int32_t> depth(count);
  std::vector<uint8_t> state(count);
  for (const int64_t root : ensemble.roots) {
    TRY(Visit(ensemble, root, depth, state, layout));
    layout.roots.push_back(layout.position[static_cast<size_t>(root)]);
    layout.roots.push_back(depth[static_cast<size_t>(root)]);
    layout.questions += std::max(1, depth[static_cast<size_t>(root)]);
  }
  return layout;
}

// A question as one of two: at most, or equal.
struct Question {
  double split;
  bool equals;
  bool swapped;  // yes and no change places
};

Question QuestionOf(const ReadNode& node, bool wide) {
  // Below t is at most the number before t.
  const auto before = [wide](double t) {
    if (wide) return std::nextafter(t, -std::numeric_limits<double>::infinity());
    return static_cast<double>(
        std::nextafter(static_cast<float>(t), -std::numeric_limits<float>::infinity()));
  };
  switch (node.mode) {
    case Mode::kLess:
      return {before(node.split), false, false};
    case Mode::kGreaterOrEqual:
      return {before(node.split), false, true};
    case Mode::kGreater:
      return {node.split, false, true};
    case Mode::kEqual:
      return {node.split, true, false};
    case Mode::kNotEqual:
      return {node.split, true, true};
    default:
      return {node.split, false, false};
  }
}

// A constant of `count` elements of T, [count] or [count / 2, 2].
template <class T>
std::string Elements(ContribBody& body, const std::vector<T>& values, int code,
                     bool pairs = false) {
  onnx::TensorProto proto;
  proto.set_data_type(code);
  proto.add_dims(static_cast<int64_t>(values.size()) / (pairs ? 2 : 1));
  if (pairs) proto.add_dims(2);
  proto.set_raw_data(values.data(), values.size() * sizeof(T));
  return body.TensorConstant(std::move(proto));
}

template <class Node, class T>
struct Packed {
  std::vector<Node> nodes;
  std::vector<int32_t> leaf_begin = {0};
  std::vector<int32_t> leaf_targets;
  std::vector<T> leaf_weights;
  int64_t features = 0;
  bool special = false;
  bool single = true;
};

template <class Node, class T>
Result<Packed<Node, T>> Pack(const Ensemble& ensemble, const Layout& layout) {
  Packed<Node, T> packed;
  for (const int64_t index : layout.order) {
    const ReadNode& from = ensemble.nodes[static_cast<size_t>(index)];
    Node node;
    if (from.mode == Mode::kLeaf) {
      node.feature = kernels::kTreeLeaf;
      node.yes = node.no = static_cast<int32_t>(packed.nodes.size());
      if (from.weights.size() == 1 && from.weights[0].first == 0) {
        node.split = static_cast<decltype(node.split)>(from.weights[0].second);
      } else {
        packed.single = false;
      }
      for (const auto& [target, weight] : from.weights) {
        packed.leaf_targets.push_back(target);
        packed.leaf_weights.push_back(static_cast<T>(weight));
      }
    } else {
      if (from.feature < 0 || from.feature > kernels::kTreeFeature)
        return Wrong("feature " + std::to_string(from.feature) + " is out of range");
      const Question question = QuestionOf(from, sizeof(T) == 8);
      // NaN fails every question but "unlike".
      const bool nan_yes = from.missing_is_yes || from.mode == Mode::kNotEqual;
      node.split = static_cast<decltype(node.split)>(question.split);
      node.feature = static_cast<uint32_t>(from.feature);
      if (question.equals) node.feature |= kernels::kTreeEquals;
      if (nan_yes != question.swapped) node.feature |= kernels::kTreeNanYes;
      packed.special = packed.special || question.equals || nan_yes != question.swapped;
      node.yes = layout.position[static_cast<size_t>(question.swapped ? from.no : from.yes)];
      node.no = layout.position[static_cast<size_t>(question.swapped ? from.yes : from.no)];
      packed.features = std::max(packed.features, from.feature + 1);
    }
    packed.nodes.push_back(node);
    packed.leaf_begin.push_back(static_cast<int32_t>(packed.leaf_targets.size()));
  }
  return packed;
}

enum class Aggregate { kAverage, kSum, kMin, kMax };

// The trees as masks, where they are such.
template <class Node>
std::vector<uint8_t> MasksOf(const std::vector<Node>& nodes, const std::vector<int32_t>& roots,
                             int64_t features, bool special) {
  if constexpr (std::is_same_v<Node, kernels::TreeNode>) {
    if (!special) return kernels::PackTreeMasks(nodes, roots, features);
  }
  return {};
}

template <class Node, class T>
Result<std::string> SumsOf(ContribBody& body, const Ensemble& ensemble, const std::string& x,
                           Aggregate aggregate) {
  const Layout layout = TRY(LayOut(ensemble));
  const Packed<Node, T> packed = TRY((Pack<Node, T>(ensemble, layout)));
  onnx::TensorProto nodes;
  nodes.set_data_type(onnx::TensorProto::UINT8);
  nodes.add_dims(static_cast<int64_t>(packed.nodes.size() * sizeof(Node)));
  nodes.set_raw_data(packed.nodes.data(), packed.nodes.size() * sizeof(Node));
  const int code = sizeof(T) == 8 ? onnx::TensorProto::DOUBLE : onnx::TensorProto::FLOAT;
  constexpr int kInt32 = onnx::TensorProto::INT32;
  const std::vector<uint8_t> masks =
      MasksOf(packed.nodes, layout.roots, packed.features, packed.special);
  const bool extremum = aggregate == Aggregate::kMin || aggregate == Aggregate::kMax;
  std::string sums = body.Make(
      "TreeSums",
      {x, body.TensorConstant(std::move(nodes)), Elements(body, layout.roots, kInt32, true),
       Elements(body, packed.leaf_begin, kInt32), Elements(body, packed.leaf_targets, kInt32),
       Elements(body, packed.leaf_weights, code), Elements(body, masks, onnx::TensorProto::UINT8)},
      {{"targets", ensemble.targets},
       {"features", packed.features},
       {"questions", layout.questions},
       {"aggregate", int64_t{!extremum                      ? 0
                             : aggregate == Aggregate::kMin ? 1
                                                            : 2}},
       {"special", int64_t{packed.special}},
       {"single", int64_t{packed.single && ensemble.targets == 1}}});
  if (aggregate == Aggregate::kAverage) {
    const std::vector<T> count = {static_cast<T>(ensemble.roots.size())};
    sums = body.Make("Div", {sums, Elements(body, count, code)});
  }
  return sums;
}

Result<std::string> Sums(ContribBody& body, const Ensemble& ensemble, const std::string& x,
                         Aggregate aggregate) {
  if (ensemble.wide)
    return SumsOf<kernels::ref::WideTreeNode, double>(body, ensemble, x, aggregate);
  return SumsOf<kernels::TreeNode, float>(body, ensemble, x, aggregate);
}

Result<Aggregate> AggregateOf(std::string_view name) {
  if (name == "SUM") return Aggregate::kSum;
  if (name == "AVERAGE") return Aggregate::kAverage;
  if (name == "MIN") return Aggregate::kMin;
  if (name == "MAX") return Aggregate::kMax;
  return Wrong("aggregate_function '" + std::string(name) + "' is not known");
}

// ---- Versions 1 to 4 ----

Result<Mode> ModeOf(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == name) return static_cast<Mode>(i);
  }
  return Wrong("node mode '" + std::string(name) + "' is not known");
}

// Floats of an attribute, or of its other form as a tensor of floats or doubles.
Result<std::vector<double>> Numbers(ContribBody& body, const std::string& name) {
  std::vector<double> numbers;
  for (const float value : body.Floats(name)) numbers.push_back(static_cast<double>(value));
  const std::optional<tensor::Tensor> given = TRY(body.Tensor(name + "_as_tensor"));
  if (!given.has_value()) return numbers;
  return TRY(ContribNumbers(*given));
}

using NodeKey = std::pair<int64_t, int64_t>;

// The nodes by attributes nodes_*; `index` finds them by tree and id.
Status ReadOldNodes(ContribBody& body, Ensemble& ensemble, std::map<NodeKey, int64_t>& index) {
  const std::vector<int64_t> trees = body.Ints("nodes_treeids");
  const std::vector<int64_t> ids = body.Ints("nodes_nodeids");
  const std::vector<int64_t> features = body.Ints("nodes_featureids");
  const std::vector<std::string> modes = body.Strings("nodes_modes");
  const std::vector<int64_t> yes = body.Ints("nodes_truenodeids");
  const std::vector<int64_t> no = body.Ints("nodes_falsenodeids");
  const std::vector<int64_t> missing = body.Ints("nodes_missing_value_tracks_true");
  const std::vector<double> splits = TRY(Numbers(body, "nodes_values"));
  body.Ignore({"nodes_hitrates", "nodes_hitrates_as_tensor"});
  const size_t count = trees.size();
  if (count == 0 || ids.size() != count || features.size() != count || modes.size() != count ||
      yes.size() != count || no.size() != count || splits.size() != count ||
      (!missing.empty() && missing.size() != count)) {
    return Wrong("the lists nodes_* must have one length, above 0");
  }
  for (size_t i = 0; i < count; ++i) {
    if (!index.emplace(NodeKey(trees[i], ids[i]), static_cast<int64_t>(i)).second)
      return Wrong("node " + std::to_string(ids[i]) + " of a tree is listed twice");
  }
  std::vector<uint8_t> is_child(count);
  for (size_t i = 0; i < count; ++i) {
    ReadNode node;
    node.mode = TRY(ModeOf(modes[i]));
    node.feature = features[i];
    node.split = splits[i];
    node.missing_is_yes = !missing.empty() && missing[i] != 0;
    if (node.mode != Mode::kLeaf) {
      const auto to_yes = index.find({trees[i], yes[i]});
      const auto to_no = index.find({trees[i], no[i]});
      if (to_yes == index.end() || to_no == index.end())
        return Wrong("node " + std::to_string(ids[i]) + " leads to a node that is not there");
      node.yes = to_yes->second;
      node.no = to_no->second;
      is_child[static_cast<size_t>(node.yes)] = is_child[static_cast<size_t>(node.no)] = 1;
    }
    ensemble.nodes.push_back(std::move(node));
  }
  std::map<int64_t, int64_t> roots;
  for (size_t i = 0; i < count; ++i) {
    if (is_child[i] != 0) continue;
    if (!roots.emplace(trees[i], static_cast<int64_t>(i)).second)
      return Wrong("tree " + std::to_string(trees[i]) + " has two roots");
    ensemble.roots.push_back(static_cast<int64_t>(i));
  }
  for (const int64_t tree : trees) {
    if (roots.count(tree) == 0) return Wrong("tree " + std::to_string(tree) + " has no root");
  }
  return Ok();
}

// What leaves hold, by attributes target_* or class_*. `only` : every weight is for target 0.
Status ReadOldLeaves(ContribBody& body, const std::string& prefix, bool only,
                     const std::map<NodeKey, int64_t>& index, Ensemble& ensemble) {
  const std::vector<int64_t> trees = body.Ints(prefix + "_treeids");
  const std::vector<int64_t> nodes = body.Ints(prefix + "_nodeids");
  const std::vector<int64_t> ids = body.Ints(prefix + "_ids");
  const std::vector<double> weights = TRY(Numbers(body, prefix + "_weights"));
  if (nodes.size() != trees.size() || ids.size() != trees.size() || weights.size() != trees.size())
    return Wrong("the lists " + prefix + "_* must have one length");
  for (size_t i = 0; i < trees.size(); ++i) {
    const auto found = index.find({trees[i], nodes[i]});
    if (found == index.end()) return Wrong("a weight belongs to no node");
    ReadNode& node = ensemble.nodes[static_cast<size_t>(found->second)];
    if (node.mode != Mode::kLeaf) continue;  // ONNX Runtime ignores what inner nodes hold
    const int64_t target = only ? 0 : ids[i];
    if (target < 0 || target >= ensemble.targets)
      return Wrong("target " + std::to_string(target) + " is out of range");
    node.weights.emplace_back(static_cast<int32_t>(target), weights[i]);
  }
  return Ok();
}

// The features in the type that the splits are compared in.
Result<std::string> Features(ContribBody& body, Ensemble& ensemble) {
  const DType type = body.Type(0);
  ensemble.wide = type == DType::kF64;
  if (type == DType::kF32 || type == DType::kF64) return body.In(0);
  if (type != DType::kI64 && type != DType::kI32)
    return body.Refuse("features of type " + std::string(tensor::DTypeName(type)));
  return body.CastTo(body.In(0), DType::kF32);
}

Result<std::string> AddBase(ContribBody& body, const std::string& sums, int64_t targets,
                            bool wide) {
  const std::vector<double> base = TRY(Numbers(body, "base_values"));
  if (base.empty()) return sums;
  if (static_cast<int64_t>(base.size()) != targets)
    return Wrong("base_values must have an element for each target");
  if (wide) return body.Make("Add", {sums, Elements(body, base, onnx::TensorProto::DOUBLE)});
  const std::vector<float> narrow(base.begin(), base.end());
  return body.Make("Add", {sums, Elements(body, narrow, onnx::TensorProto::FLOAT)});
}

Status ExpandRegressor(ContribBody& body) {
  constexpr int64_t kTargetsMax = 1 << 20;
  Ensemble ensemble;
  ensemble.targets = body.Int("n_targets", 1);
  if (ensemble.targets < 1 || ensemble.targets > kTargetsMax)
    return Wrong("n_targets is out of range");
  std::map<NodeKey, int64_t> index;
  TRY(ReadOldNodes(body, ensemble, index));
  TRY(ReadOldLeaves(body, "target", false, index, ensemble));
  const Aggregate aggregate = TRY(AggregateOf(body.String("aggregate_function", "SUM")));
  const std::string x = TRY(Features(body, ensemble));
  std::string y = TRY(Sums(body, ensemble, x, aggregate));
  y = TRY(AddBase(body, y, ensemble.targets, ensemble.wide));
  y = TRY(ContribPostTransform(body, y, body.String("post_transform", "NONE")));
  body.Output(0, ensemble.wide ? body.CastTo(y, DType::kF32) : y);
  return Ok();
}

// Two classes of which the leaves name one: its score, and what is left for the other. ONNX
// Runtime's rules.
struct BinaryRule {
  bool all_positive = false;  // scores are probabilities
  bool both_bases = false;
};

Status BinaryScores(ContribBody& body, const std::string& score, const BinaryRule& rule,
                    const std::string& labels) {
  const std::string half = body.Number32(rule.all_positive ? 0.5F : 0.0F);
  const std::string is_second = body.CastTo(body.Make("Greater", {score, half}), DType::kI64);
  const std::string at = body.Make("Squeeze", {is_second, body.IntList({1})});
  body.Output(0, body.Make("Gather", {labels, at}));
  const std::string transform = body.String("post_transform", "NONE");
  std::string first;
  if (rule.all_positive && !rule.both_bases) {
    first = body.Make("Sub", {body.Number32(1), score});
  } else {
    first = body.Make("Neg", {score});
  }
  std::string scores = body.Make("Concat", {first, score}, {{"axis", int64_t{1}}});
  const bool pair = rule.both_bases || (!rule.all_positive && transform == "LOGISTIC");
  if (pair) scores = TRY(ContribPostTransform(body, scores, transform));
  if (!pair && transform == "PROBIT") return body.Refuse("post_transform PROBIT is not supported");
  body.Output(1, scores);
  return Ok();
}

Status ExpandClassifier(ContribBody& body) {
  const ContribLabels labels = TRY(ContribClassLabels(body));
  Ensemble ensemble;
  ensemble.targets = labels.count;
  const std::vector<int64_t> ids = body.Ints("class_ids");
  const bool one_id = std::all_of(ids.begin(), ids.end(), [&](int64_t id) { return id == ids[0]; });
  const bool binary = labels.count == 2 && one_id;
  std::map<NodeKey, int64_t> index;
  if (binary) ensemble.targets = 1;
  TRY(ReadOldNodes(body, ensemble, index));
  TRY(ReadOldLeaves(body, "class", binary, index, ensemble));
  const std::vector<double> weights = TRY(Numbers(body, "class_weights"));
  BinaryRule rule;
  rule.all_positive =
      std::none_of(weights.begin(), weights.end(), [](double weight) { return weight < 0; });
  const std::string x = TRY(Features(body, ensemble));
  std::string scores = TRY(Sums(body, ensemble, x, Aggregate::kSum));
  if (ensemble.wide) scores = body.CastTo(scores, DType::kF32);
  if (binary) {
    const std::vector<double> base = TRY(Numbers(body, "base_values"));
    if (base.size() > 2) return Wrong("base_values has more elements than classes");
    rule.both_bases = base.size() == 2;
    if (!base.empty()) {
      const std::string added = body.Number32(static_cast<float>(base.back()));
      scores = body.Make("Add", {scores, added});
    }
    return BinaryScores(body, scores, rule, labels.values);
  }
  scores = TRY(AddBase(body, scores, ensemble.targets, false));
  if (labels.count == 2) {
    // Both classes have scores: the second wins with any that is above 0, as in ONNX Runtime.
    const std::string second =
        body.Make("Gather", {scores, body.IntScalar(1)}, {{"axis", int64_t{1}}});
    const std::string wins = body.Make("Greater", {second, body.Number32(0)});
    body.Output(0, body.Make("Gather", {labels.values, body.CastTo(wins, DType::kI64)}));
  } else {
    const std::string best =
        body.Make("ArgMax", {scores}, {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}});
    body.Output(0, body.Make("Gather", {labels.values, best}));
  }
  body.Output(1, TRY(ContribPostTransform(body, scores, body.String("post_transform", "NONE"))));
  return Ok();
}

// ---- Version 5 ----

// The numbers of each membership test, which NaN ends.
Result<std::vector<std::vector<double>>> Memberships(ContribBody& body) {
  std::vector<std::vector<double>> sets;
  const std::optional<tensor::Tensor> given = TRY(body.Tensor("membership_values"));
  if (!given.has_value()) return sets;
  sets.emplace_back();
  for (const double value : TRY(ContribNumbers(*given))) {
    if (std::isnan(value)) {
      sets.emplace_back();
    } else {
      sets.back().push_back(value);
    }
  }
  sets.pop_back();
  return sets;
}

Result<std::vector<double>> Required(ContribBody& body, const std::string& name) {
  const std::optional<tensor::Tensor> given = TRY(body.Tensor(name));
  if (!given.has_value()) return Wrong("attribute '" + name + "' is missing");
  return TRY(ContribNumbers(*given));
}

struct NewNodes {
  std::vector<int64_t> features, yes, no, yes_leaf, no_leaf, missing;
  std::vector<double> modes, splits;
  int64_t leaves = 0;
  int64_t count() const { return static_cast<int64_t>(features.size()); }
};

// Node `i` of the file; leaves lie behind all nodes.
Result<int64_t> Target(const NewNodes& from, int64_t next, int64_t is_leaf) {
  const int64_t limit = is_leaf != 0 ? from.leaves : from.count();
  if (next < 0 || next >= limit) return Wrong("a node leads to a node that is not there");
  return is_leaf != 0 ? from.count() + next : next;
}

// A test for membership becomes a chain of tests for equality.
Status ReadNewNode(const NewNodes& from, size_t i, const std::vector<double>* set,
                   Ensemble& ensemble) {
  ReadNode node;
  node.feature = from.features[i];
  node.split = from.splits[i];
  node.missing_is_yes = !from.missing.empty() && from.missing[i] != 0;
  node.yes = TRY(Target(from, from.yes[i], from.yes_leaf[i]));
  node.no = TRY(Target(from, from.no[i], from.no_leaf[i]));
  if (set == nullptr) {
    node.mode = static_cast<Mode>(static_cast<int>(from.modes[i]));
    ensemble.nodes[i] = std::move(node);
    return Ok();
  }
  if (set->empty()) return Wrong("a membership test has no values");
  node.mode = Mode::kEqual;
  int64_t no = node.no;
  for (size_t k = set->size(); k-- > 0;) {
    ReadNode link = node;
    link.split = (*set)[k];
    link.no = no;
    if (k == 0) {
      ensemble.nodes[i] = std::move(link);
    } else {
      no = static_cast<int64_t>(ensemble.nodes.size());
      ensemble.nodes.push_back(std::move(link));
    }
  }
  return Ok();
}

Status ReadNewLeaves(ContribBody& body, NewNodes& from, Ensemble& ensemble) {
  const std::vector<int64_t> targets = body.Ints("leaf_targetids");
  const std::vector<double> weights = TRY(Required(body, "leaf_weights"));
  if (targets.size() != weights.size()) return Wrong("the lists leaf_* must have one length");
  from.leaves = static_cast<int64_t>(targets.size());
  ensemble.nodes.resize(from.features.size());
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] < 0 || targets[i] >= ensemble.targets)
      return Wrong("target " + std::to_string(targets[i]) + " is out of range");
    ReadNode leaf;
    leaf.weights.emplace_back(static_cast<int32_t>(targets[i]), weights[i]);
    ensemble.nodes.push_back(std::move(leaf));
  }
  return Ok();
}

Status ReadNewNodes(ContribBody& body, Ensemble& ensemble) {
  NewNodes from;
  from.features = body.Ints("nodes_featureids");
  from.yes = body.Ints("nodes_truenodeids");
  from.no = body.Ints("nodes_falsenodeids");
  from.yes_leaf = body.Ints("nodes_trueleafs");
  from.no_leaf = body.Ints("nodes_falseleafs");
  from.missing = body.Ints("nodes_missing_value_tracks_true");
  from.modes = TRY(Required(body, "nodes_modes"));
  from.splits = TRY(Required(body, "nodes_splits"));
  body.Ignore({"nodes_hitrates"});
  const size_t count = from.features.size();
  if (count == 0 || from.yes.size() != count || from.no.size() != count ||
      from.yes_leaf.size() != count || from.no_leaf.size() != count || from.modes.size() != count ||
      from.splits.size() != count || (!from.missing.empty() && from.missing.size() != count)) {
    return Wrong("the lists nodes_* must have one length, above 0");
  }
  TRY(ReadNewLeaves(body, from, ensemble));
  constexpr double kMember = 6;
  const std::vector<std::vector<double>> sets = TRY(Memberships(body));
  size_t used = 0;
  for (size_t i = 0; i < count; ++i) {
    const double mode = from.modes[i];
    if (!(mode >= 0 && mode <= kMember)) return Wrong("a node mode is not known");
    const bool member = mode == kMember;
    if (member && used >= sets.size()) return Wrong("a membership test has no values");
    TRY(ReadNewNode(from, i, member ? &sets[used] : nullptr, ensemble));
    if (member) ++used;
  }
  for (const int64_t root : body.Ints("tree_roots")) {
    if (root < 0 || root >= from.count()) return Wrong("a root is not there");
    ensemble.roots.push_back(root);
  }
  return Ok();
}

Status ExpandEnsemble(ContribBody& body) {
  constexpr int64_t kTargetsMax = 1 << 20;
  Ensemble ensemble;
  ensemble.targets = body.Int("n_targets", 1);
  if (ensemble.targets < 1 || ensemble.targets > kTargetsMax)
    return Wrong("n_targets is out of range");
  TRY(ReadNewNodes(body, ensemble));
  if (ensemble.roots.empty()) return Wrong("it has no trees");
  const int64_t aggregate = body.Int("aggregate_function", 1);
  if (aggregate < 0 || aggregate > 3) return Wrong("aggregate_function is not known");
  static constexpr std::string_view kTransforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO",
                                                     "PROBIT"};
  const int64_t transform = body.Int("post_transform", 0);
  if (transform < 0 || transform > 4) return Wrong("post_transform is not known");
  if (body.Type(0) == DType::kF16) return body.Refuse("features of type FP16");
  const std::string x = TRY(Features(body, ensemble));
  const std::string y = TRY(Sums(body, ensemble, x, static_cast<Aggregate>(aggregate)));
  body.Output(0, TRY(ContribPostTransform(body, y, kTransforms[transform])));
  return Ok();
}

constexpr auto kOps = std::to_array<ContribOp>({
    {"TreeEnsembleRegressor", ExpandRegressor},
    {"TreeEnsembleClassifier", ExpandClassifier},
    {"TreeEnsemble", ExpandEnsemble},
});

}  // namespace

std::span<const ContribOp> TreeModelOps() {
  return kOps;
}

}  // namespace sluice::graph
