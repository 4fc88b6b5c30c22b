#include "graph/passes/match_gate.h"

#include <algorithm>
#include <set>

#include "graph/passes/match.h"

namespace sluice::graph {
namespace {

using kernels::RowGate;

constexpr int kReachMax = 16;  // nodes from x on that are looked at

bool SwapsLastTwo(const Node& node) {
  const std::span<const int64_t> perm = node.Ints("perm");
  return perm.size() == 3 && perm[0] == 0 && perm[1] == 2 && perm[2] == 1;
}

// Matches the formula over `base`, which is x or x with its channels in the middle.
class GateMatcher {
 public:
  GateMatcher(const Graph& graph, Value* base, int64_t channels, bool turned)
      : graph_(graph), base_(base), channels_(channels), turned_(turned) {}

  std::optional<GateMatch> Run() {
    for (Node* node : Reached()) {
      seen_.clear();
      GateMatch match;
      if (node->Is("PRelu") && node->input(0) == base_) {
        match.kind = RowGate::kPRelu;
        if (!Numbers(node->input(1), match.slope)) continue;
      } else if (IsDice(*node, match)) {
        match.kind = RowGate::kDice;
      } else {
        continue;
      }
      if (!SameShape(node->output(), base_)) continue;
      seen_.insert(node);
      if (!Closed(node->output())) continue;
      match.result = node->output();
      return match;
    }
    return std::nullopt;
  }

 private:
  // Readers of base and their readers, nearest first.
  std::vector<Node*> Reached() const {
    std::vector<Node*> nodes;
    std::vector<const Value*> values = {base_};
    for (size_t i = 0; i < values.size() && nodes.size() < kReachMax; ++i) {
      for (const Use& use : values[i]->uses) {
        if (std::find(nodes.begin(), nodes.end(), use.node) != nodes.end()) continue;
        if (nodes.size() >= kReachMax) break;
        nodes.push_back(use.node);
        if (use.node->output() != nullptr) values.push_back(use.node->output());
      }
    }
    return nodes;
  }

  // A constant with one number or one for each channel, at the channels' axis.
  bool Numbers(const Value* value, std::vector<float>& to) const {
    if (value == nullptr || !value->is_constant() || value->dtype != tensor::DType::kF32)
      return false;
    const tensor::Shape& shape = value->constant->shape;
    const auto count = static_cast<size_t>(channels_);
    const float* const from = value->constant->view().as<float>();
    if (shape.elements() == 1) {
      to.assign(count, *from);
      return true;
    }
    const int behind = turned_ ? 1 : 0;
    if (shape.elements() != channels_ || shape.rank() <= behind ||
        shape[shape.rank() - 1 - behind] != channels_)
      return false;
    to.assign(from, from + count);
    return true;
  }

  // Past views that keep the rows' channels: x seen as [rows, N] and back.
  const Value* PastViews(const Value* value) {
    for (int i = 0; i < 4; ++i) {
      Node* view = value->producer;
      if (turned_ || view == nullptr ||
          !(view->Is("Reshape") || view->Is("Flatten") || view->Is("Identity")) ||
          LastExtent(view->input(0)) != channels_ || LastExtent(view->output()) != channels_)
        break;
      seen_.insert(view);
      value = view->input(0);
    }
    return value;
  }

  // p = sigmoid(scale x + shift).
  bool IsShare(const Value* value, GateMatch& match) {
    Node* sigmoid = ProducerIf(PastViews(value), "Sigmoid");
    if (sigmoid == nullptr) return false;
    Node* sum = ProducerIf(PastViews(sigmoid->input(0)), "Add");
    if (sum == nullptr) return false;
    const size_t shift = sum->input(1)->is_constant() ? 1 : 0;
    Node* product = ProducerIf(PastViews(sum->input(1 - shift)), "Mul");
    if (product == nullptr || !Numbers(sum->input(shift), match.shift)) return false;
    const size_t scale = product->input(1)->is_constant() ? 1 : 0;
    if (!Numbers(product->input(scale), match.scale) ||
        PastViews(product->input(1 - scale)) != base_)
      return false;
    seen_.insert({sigmoid, sum, product});
    return true;
  }

  bool IsRest(const Value* value, GateMatch& match) {
    Node* difference = ProducerIf(value, "Sub");
    if (difference == nullptr || !IsScalar(difference->input(0), 1)) return false;
    seen_.insert(difference);
    return IsShare(difference->input(1), match);
  }

  // The factors of a product of products.
  void Factors(const Value* value, std::vector<const Value*>& to, int depth = 3) {
    Node* product = depth > 0 ? ProducerIf(value, "Mul") : nullptr;
    if (product == nullptr) {
      to.push_back(value);
      return;
    }
    seen_.insert(product);
    Factors(product->input(0), to, depth - 1);
    Factors(product->input(1), to, depth - 1);
  }

  // p x + alpha (1 - p) x, or (p + alpha (1 - p)) x; factors in any order.
  bool IsDice(Node& node, GateMatch& match) {
    if (node.Is("Add")) return IsSum(node, match, true);
    if (!node.Is("Mul")) return false;
    const Value* other = OtherOperand(node, base_);
    Node* sum = ProducerIf(other, "Add");
    if (sum == nullptr || !IsSum(*sum, match, false)) return false;
    seen_.insert(sum);
    return true;
  }
  bool IsSum(const Node& sum, GateMatch& match, bool with_x) {
    for (size_t side = 0; side < 2; ++side) {
      seen_.clear();
      std::vector<const Value*> share, rest;
      Factors(sum.input(side), share);
      Factors(sum.input(1 - side), rest);
      if (with_x && (!Drop(share) || !Drop(rest))) continue;
      if (share.size() != 1 || rest.size() != 2 || !IsShare(share[0], match)) continue;
      const std::vector<float> scale = match.scale, shift = match.shift;
      const size_t at = Numbers(rest[0], match.slope) ? 0 : 1;
      if (!Numbers(rest[at], match.slope) || !IsRest(rest[1 - at], match)) continue;
      if (match.scale == scale && match.shift == shift) return true;
    }
    return false;
  }
  bool Drop(std::vector<const Value*>& factors) const {
    const auto found = std::find(factors.begin(), factors.end(), base_);
    if (found == factors.end()) return false;
    factors.erase(found);
    return true;
  }

  // Whether nobody else reads x or what lies between it and the result.
  bool Closed(const Value* result) const {
    const auto inside = [&](const Value* value) {
      return !graph_.IsOutput(value) &&
             std::all_of(value->uses.begin(), value->uses.end(), [&](const Use& use) {
               return LooksAtShape(use) || seen_.count(use.node) > 0;
             });
    };
    if (!inside(base_)) return false;
    for (const Node* node : seen_) {
      if (node->output() != result && !inside(node->output())) return false;
    }
    return true;
  }

  const Graph& graph_;
  Value* const base_;
  const int64_t channels_;
  const bool turned_;
  std::set<const Node*> seen_;
};

}  // namespace

std::optional<GateMatch> MatchGate(const Graph& graph, Value* x) {
  const std::optional<int64_t> channels = LastExtent(x);
  if (!channels.has_value() || graph.IsOutput(x)) return std::nullopt;
  if (std::optional<GateMatch> match = GateMatcher(graph, x, *channels, false).Run()) return match;
  Node* const turn = OnlyReader(graph, x);
  if (turn == nullptr || !turn->Is("Transpose") || RankOf(x) != 3 || !SwapsLastTwo(*turn))
    return std::nullopt;
  std::optional<GateMatch> match = GateMatcher(graph, turn->output(), *channels, true).Run();
  if (!match.has_value()) return std::nullopt;
  Node* const back = OnlyReader(graph, match->result);
  if (back == nullptr || !back->Is("Transpose") || !SwapsLastTwo(*back)) return std::nullopt;
  match->result = back->output();
  return match;
}

}  // namespace sluice::graph
