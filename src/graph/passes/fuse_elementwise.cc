// Groups elementwise nodes of one shape whose results nobody else reads into FusedChain nodes:
// memory is then read and written once for the group.
#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "graph/chain_code.h"
#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

using kernels::ChainOp;
using kernels::ChainRef;
using tensor::DType;

constexpr int64_t kExactIntegers = int64_t{1} << 24;  // integers that f32 holds exactly

std::optional<ChainOp> UnaryOf(const Node& node) {
  static const auto* const table = new std::map<std::string_view, ChainOp>{
      {"Neg", ChainOp::kNeg},           {"Abs", ChainOp::kAbs},
      {"Sqrt", ChainOp::kSqrt},         {"Reciprocal", ChainOp::kReciprocal},
      {"Exp", ChainOp::kExp},           {"Log", ChainOp::kLog},
      {"Erf", ChainOp::kErf},           {"Tanh", ChainOp::kTanh},
      {"Sigmoid", ChainOp::kSigmoid},   {"Relu", ChainOp::kRelu},
      {"Softplus", ChainOp::kSoftplus}, {"Floor", ChainOp::kFloor},
      {"Ceil", ChainOp::kCeil},         {"Round", ChainOp::kRound},
      {"Sign", ChainOp::kSign},         {"Not", ChainOp::kNot},
      {"IsNaN", ChainOp::kIsNaN},
  };
  if (node.Is("Gelu")) {
    return node.String("approximate", "none") == "tanh" ? ChainOp::kGeluTanh : ChainOp::kGeluErf;
  }
  const auto found = table->find(node.op_name());
  return found == table->end() ? std::nullopt : std::optional<ChainOp>(found->second);
}

std::optional<ChainOp> BinaryOf(const Node& node) {
  static const auto* const table = new std::map<std::string_view, ChainOp>{
      {"Add", ChainOp::kAdd},
      {"Sub", ChainOp::kSub},
      {"Mul", ChainOp::kMul},
      {"Div", ChainOp::kDiv},
      {"Equal", ChainOp::kEqual},
      {"Less", ChainOp::kLess},
      {"LessOrEqual", ChainOp::kLessOrEqual},
      {"Greater", ChainOp::kGreater},
      {"GreaterOrEqual", ChainOp::kGreaterOrEqual},
      {"And", ChainOp::kAnd},
      {"Or", ChainOp::kOr},
      {"PRelu", ChainOp::kLeakyRelu},
  };
  const auto found = table->find(node.op_name());
  return found == table->end() ? std::nullopt : std::optional<ChainOp>(found->second);
}

std::optional<ChainOp> VariadicOf(const Node& node) {
  if (node.Is("Sum")) return ChainOp::kAdd;
  if (node.Is("Max")) return ChainOp::kMax;
  if (node.Is("Min")) return ChainOp::kMin;
  return std::nullopt;
}

bool IsF32(const Value* value) {
  return value != nullptr && value->dtype == DType::kF32;
}
bool IsBool(const Value* value) {
  return value != nullptr && value->dtype == DType::kBool;
}
bool IsInteger(const Value* value) {
  return value != nullptr &&
         (value->dtype == DType::kI64 || value->dtype == DType::kI32 || value->dtype == DType::kU8);
}

// Comparing integers in f32 is exact when one side is a constant that f32 holds: rounding keeps
// order and never makes a larger integer equal to it.
bool ComparesExactly(const Node& node) {
  const std::optional<double> a = ScalarOf(node.input(0)), b = ScalarOf(node.input(1));
  const auto exact = [](std::optional<double> x) {
    return x.has_value() && std::abs(*x) < static_cast<double>(kExactIntegers);
  };
  return exact(a) || exact(b);
}

bool AllF32(const Node& node) {
  return std::all_of(node.inputs.begin(), node.inputs.end(),
                     [](const Value* v) { return v == nullptr || IsF32(v); });
}

// Whether the chain kernel computes this node exactly as specified, types included.
bool Chainable(const Node& node) {
  const Value* output = node.output();
  if (output == nullptr || node.outputs.size() != 1 || !output->shape.has_value() ||
      !node.op->domain.empty())
    return false;
  if (!IsF32(output) && !IsBool(output)) return false;
  for (const Value* value : node.inputs) {
    if (value != nullptr && !value->shape.has_value()) return false;
  }
  if (node.Is("Not")) return true;
  if (node.Is("Cast")) {
    const Value* input = node.input(0);
    const bool half = input->dtype == DType::kF16 || input->dtype == DType::kBF16;
    return IsF32(input) || IsBool(input) || IsInteger(input) || (half && IsF32(output));
  }
  if (node.Is("Where")) return IsBool(node.input(0)) && IsF32(output);
  if (node.Is("And") || node.Is("Or")) return true;
  if (UnaryOf(node).has_value()) return AllF32(node);
  if (IsBool(output) && BinaryOf(node).has_value()) {
    if (AllF32(node)) return true;
    const bool integers = (IsInteger(node.input(0)) || IsBool(node.input(0))) &&
                          node.inputs[0]->dtype == node.inputs[1]->dtype;
    return integers && (IsBool(node.input(0)) || ComparesExactly(node));
  }
  if (!AllF32(node)) return false;
  if (BinaryOf(node).has_value() || VariadicOf(node).has_value()) return true;
  if (node.Is("Celu")) return node.Float("alpha", 1) > 0;
  static constexpr std::string_view kActivations[] = {
      "Elu",  "HardSigmoid", "HardSwish", "LeakyRelu",       "Mish",
      "Selu", "Softsign",    "Swish",     "ThresholdedRelu",
  };
  for (const std::string_view name : kActivations) {
    if (node.Is(name)) return true;
  }
  if (node.Is("Pow")) {
    const std::optional<double> power = ScalarOf(node.input(1));
    if (!power.has_value() || RankOf(node.input(1)) > RankOf(node.input(0))) return false;
    return *power == 2 || *power == 3 || *power == 0.5 || *power == -0.5 || *power == 1 ||
           *power == -1;
  }
  if (node.Is("Clip")) {
    const auto scalar = [](const Value* v) { return v == nullptr || ScalarOf(v).has_value(); };
    return scalar(node.input(1)) && scalar(node.input(2));
  }
  return false;
}

// Writes the code of a group. Fails softly: a full table makes the caller take a smaller group.
class Emitter {
 public:
  bool Emit(const Node& node);
  const std::vector<Value*>& inputs() const { return inputs_; }
  const ChainCode& code() const { return code_; }
  bool fits() const {
    return inputs_.size() <= kernels::kChainInputs &&
           code_.constants.size() <= kernels::kChainConstants &&
           code_.steps.size() <= kernels::kChainSteps;
  }

 private:
  ChainRef Operand(Value* value);
  ChainRef Constant(float value);
  ChainRef Step(ChainOp op, ChainRef a, ChainRef b = {}, ChainRef c = {});
  ChainRef EmitSpecial(const Node& node);
  ChainRef EmitElu(ChainRef x, float alpha, float scale);

  std::map<const Value*, ChainRef> results_;
  std::vector<Value*> inputs_;
  ChainCode code_;
};

ChainRef Emitter::Constant(float value) {
  for (size_t i = 0; i < code_.constants.size(); ++i) {
    if (std::bit_cast<uint32_t>(code_.constants[i]) == std::bit_cast<uint32_t>(value)) {
      return {ChainRef::Kind::kConstant, static_cast<uint8_t>(i)};
    }
  }
  code_.constants.push_back(value);
  return {ChainRef::Kind::kConstant, static_cast<uint8_t>(code_.constants.size() - 1)};
}

ChainRef Emitter::Operand(Value* value) {
  if (const auto found = results_.find(value); found != results_.end()) return found->second;
  if (const std::optional<double> scalar = ScalarOf(value))
    return Constant(static_cast<float>(*scalar));
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i] == value) return {ChainRef::Kind::kInput, static_cast<uint8_t>(i)};
  }
  inputs_.push_back(value);
  return {ChainRef::Kind::kInput, static_cast<uint8_t>(inputs_.size() - 1)};
}

ChainRef Emitter::Step(ChainOp op, ChainRef a, ChainRef b, ChainRef c) {
  code_.steps.push_back({op, a, b, c});
  return {ChainRef::Kind::kStep, static_cast<uint8_t>(code_.steps.size() - 1)};
}

// max(x, 0) + alpha (exp(min(x, 0) / scale) - 1)
ChainRef Emitter::EmitElu(ChainRef x, float alpha, float scale) {
  ChainRef below = Step(ChainOp::kMin, x, Constant(0));
  if (scale != 1) below = Step(ChainOp::kDiv, below, Constant(scale));
  const ChainRef decay = Step(ChainOp::kSub, Step(ChainOp::kExp, below), Constant(1));
  return Step(ChainOp::kMulAdd, decay, Constant(alpha), Step(ChainOp::kMax, x, Constant(0)));
}

ChainRef Emitter::EmitSpecial(const Node& node) {
  const ChainRef x = Operand(node.inputs[0]);
  if (node.Is("Cast")) {
    if (IsBool(node.output()) && !IsBool(node.input(0)))
      return Step(ChainOp::kNot, Step(ChainOp::kEqual, x, Constant(0)));
    return Step(ChainOp::kCopy, x);
  }
  if (node.Is("LeakyRelu"))
    return Step(ChainOp::kLeakyRelu, x, Constant(node.Float("alpha", 0.01F)));
  if (node.Is("Clip")) {
    ChainRef at = x;
    if (node.input(1) != nullptr) at = Step(ChainOp::kMax, at, Operand(node.inputs[1]));
    if (node.input(2) != nullptr) at = Step(ChainOp::kMin, at, Operand(node.inputs[2]));
    if (node.inputs.size() == 1) {  // before opset 11: attributes
      if (node.Has("min")) at = Step(ChainOp::kMax, at, Constant(node.Float("min", 0)));
      if (node.Has("max")) at = Step(ChainOp::kMin, at, Constant(node.Float("max", 0)));
    }
    return at.kind == ChainRef::Kind::kStep ? at : Step(ChainOp::kCopy, x);
  }
  if (node.Is("Pow")) {
    const double power = *ScalarOf(node.input(1));
    if (power == 2) return Step(ChainOp::kSquare, x);
    if (power == 3) return Step(ChainOp::kMul, Step(ChainOp::kSquare, x), x);
    if (power == 0.5) return Step(ChainOp::kSqrt, x);
    if (power == -0.5) return Step(ChainOp::kReciprocalSqrt, x);
    return Step(power == -1 ? ChainOp::kReciprocal : ChainOp::kCopy, x);
  }
  if (node.Is("Swish")) {
    const float alpha = node.Float("alpha", 1);
    if (alpha == 1) return Step(ChainOp::kSilu, x);
    return Step(ChainOp::kMul, x, Step(ChainOp::kSigmoid, Step(ChainOp::kMul, x, Constant(alpha))));
  }
  if (node.Is("Mish"))
    return Step(ChainOp::kMul, x, Step(ChainOp::kTanh, Step(ChainOp::kSoftplus, x)));
  if (node.Is("Elu")) return EmitElu(x, node.Float("alpha", 1), 1);
  if (node.Is("Celu")) return EmitElu(x, node.Float("alpha", 1), node.Float("alpha", 1));
  if (node.Is("Selu")) {
    const ChainRef elu = EmitElu(x, node.Float("alpha", 1.67326319217681884765625F), 1);
    return Step(ChainOp::kMul, elu, Constant(node.Float("gamma", 1.05070102214813232421875F)));
  }
  if (node.Is("Softsign"))
    return Step(ChainOp::kDiv, x, Step(ChainOp::kAdd, Step(ChainOp::kAbs, x), Constant(1)));
  if (node.Is("ThresholdedRelu")) {
    const ChainRef above = Step(ChainOp::kGreater, x, Constant(node.Float("alpha", 1)));
    return Step(ChainOp::kSelect, above, x, Constant(0));
  }
  // HardSigmoid, and HardSwish, which is x times HardSigmoid(1/6, 1/2).
  const bool swish = node.Is("HardSwish");
  const ChainRef slope = Constant(swish ? 1.0F / 6 : node.Float("alpha", 0.2F));
  const ChainRef shift = Constant(swish ? 0.5F : node.Float("beta", 0.5F));
  const ChainRef line = Step(ChainOp::kAdd, Step(ChainOp::kMul, x, slope), shift);
  const ChainRef clipped = Step(ChainOp::kMin, Step(ChainOp::kMax, line, Constant(0)), Constant(1));
  return swish ? Step(ChainOp::kMul, x, clipped) : clipped;
}

bool Emitter::Emit(const Node& node) {
  ChainRef result;
  if (const std::optional<ChainOp> unary = UnaryOf(node)) {
    result = Step(*unary, Operand(node.inputs[0]));
  } else if (const std::optional<ChainOp> binary = BinaryOf(node)) {
    const ChainRef a = Operand(node.inputs[0]);
    result = Step(*binary, a, Operand(node.inputs[1]));
  } else if (const std::optional<ChainOp> variadic = VariadicOf(node)) {
    ChainRef at = Operand(node.inputs[0]);
    if (node.inputs.size() == 1) at = Step(ChainOp::kCopy, at);
    for (size_t i = 1; i < node.inputs.size(); ++i)
      at = Step(*variadic, at, Operand(node.inputs[i]));
    result = at;
  } else if (node.Is("Where")) {
    const ChainRef condition = Operand(node.inputs[0]);
    const ChainRef a = Operand(node.inputs[1]);
    result = Step(ChainOp::kSelect, condition, a, Operand(node.inputs[2]));
  } else {
    result = EmitSpecial(node);
  }
  results_[node.output()] = result;
  return fits();
}

// Nodes of `group` in topological order as code; null when it does not fit.
std::unique_ptr<Emitter> EmitGroup(const std::set<const Node*>& group,
                                   const std::vector<Node*>& order,
                                   const std::map<const Node*, size_t>& place) {
  std::vector<size_t> places;
  for (const Node* node : group) places.push_back(place.at(node));
  std::sort(places.begin(), places.end());
  auto emitter = std::make_unique<Emitter>();
  for (const size_t at : places) {
    if (!emitter->Emit(*order[at])) return nullptr;
  }
  return emitter;
}

bool AllUsesInside(const Graph& graph, const Value* value, const std::set<const Node*>& group) {
  if (graph.IsOutput(value)) return false;
  return std::all_of(value->uses.begin(), value->uses.end(), [&](const Use& use) {
    return LooksAtShape(use) || group.count(use.node) > 0;
  });
}

}  // namespace

base::Result<int64_t> FuseElementwise(PassContext& context) {
  Graph& graph = context.graph;
  const std::vector<Node*> order = graph.Nodes();
  std::map<const Node*, size_t> place;
  for (size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
  int64_t fused = 0;
  // From the last node up: a group then takes every producer that only it reads.
  for (size_t i = order.size(); i-- > 0;) {
    Node* const last = order[i];
    if (last->erased || !Chainable(*last)) continue;
    std::set<const Node*> group = {last};
    std::unique_ptr<Emitter> emitter = EmitGroup(group, order, place);
    if (emitter == nullptr || emitter->inputs().empty()) continue;
    for (bool grown = true; grown;) {
      grown = false;
      for (const Value* input : std::vector<Value*>(emitter->inputs())) {
        const Node* producer = input->producer;
        if (producer == nullptr || group.count(producer) > 0 || !Chainable(*producer)) continue;
        if (!SameShape(input, last->output()) || !AllUsesInside(graph, input, group)) continue;
        group.insert(producer);
        std::unique_ptr<Emitter> larger = EmitGroup(group, order, place);
        if (larger == nullptr || larger->inputs().empty()) {
          group.erase(producer);
          continue;
        }
        emitter = std::move(larger);
        grown = true;
      }
    }
    Node* chain = graph.AddNode(RequireOp("FusedChain"), kOpsetMax, emitter->inputs(), 1, last);
    chain->name = last->name;
    SetChainCode(*chain, emitter->code());
    chain->Set("type", std::string(tensor::DTypeName(last->output()->dtype)));
    TRY(InferNode(graph, *chain));
    if (!SameShape(chain->output(), last->output())) {
      // A constant of one element but higher rank has shaped the result.
      graph.Erase(chain);
      continue;
    }
    graph.ReplaceUses(last->output(), chain->output());
    graph.RemoveDead();
    fused += static_cast<int64_t>(group.size());
  }
  return fused;
}

}  // namespace sluice::graph
