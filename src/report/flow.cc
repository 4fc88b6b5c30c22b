#include "report/flow.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace sluice::report {
namespace {

using graph::Graph;
using graph::Node;
using graph::Value;

int64_t Extent(const Value* value, size_t axis) {
  const graph::Dim& dim = (*value->shape)[axis];
  return dim.is_constant() ? dim.constant() : 0;
}

int64_t Elements(const Value* value) {
  if (!value->shape.has_value()) return 0;
  int64_t elements = 1;
  for (size_t axis = 0; axis < value->shape->size(); ++axis) elements *= Extent(value, axis);
  return elements;
}

int64_t BytesOf(const Value* value) {
  return Elements(value) * tensor::DTypeSize(value->dtype);
}

// What is known of each value, by its id.
struct Side {
  explicit Side(size_t values) : source(values, -1), inputs(values, 0), outputs(values, 0) {}
  std::vector<int> source;  // the step that wrote it
  std::vector<InterfaceSet> inputs;
  std::vector<InterfaceSet> outputs;
};

size_t Id(const Value* value) {
  return static_cast<size_t>(value->id);
}

void FollowForward(const Graph& graph, const std::map<const Node*, int>& last_step, Side& side) {
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    side.inputs[Id(graph.inputs()[i])] = InterfaceBit(i);
  }
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    InterfaceSet inputs = 0;
    if (!node->Is("Shape") && !node->Is("Size")) {
      for (const Value* value : node->inputs) {
        if (value != nullptr) inputs |= side.inputs[Id(value)];
      }
    }
    const auto found = last_step.find(node);
    for (const Value* value : node->outputs) {
      if (value == nullptr) continue;
      side.inputs[Id(value)] = inputs;
      if (found != last_step.end()) {
        side.source[Id(value)] = found->second;
      } else if (node->input(0) != nullptr) {
        side.source[Id(value)] = side.source[Id(node->input(0))];
      }
    }
  }
}

void FollowBackward(const Graph& graph, Side& side) {
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    side.outputs[Id(graph.outputs()[i].value)] |= InterfaceBit(i);
  }
  for (const Node* node = graph.last(); node != nullptr; node = node->previous) {
    InterfaceSet outputs = 0;
    for (const Value* value : node->outputs) {
      if (value != nullptr) outputs |= side.outputs[Id(value)];
    }
    for (const Value* value : node->inputs) {
      if (value != nullptr) side.outputs[Id(value)] |= outputs;
    }
  }
}

bool LooksUp(const graph::StepInfo& info) {
  return info.kind.find("gather") != std::string::npos ||
         info.kind.find("bag") != std::string::npos;
}

bool IsTable(const Value* value) {
  return value != nullptr && value->is_constant() && value->shape.has_value() &&
         !value->shape->empty() && tensor::IsFloat(value->dtype);
}

// The tables of a step that looks up rows; empty for the others.
std::vector<TableRead> TablesOf(const graph::StepInfo& info) {
  std::vector<TableRead> tables;
  const Node& node = *info.node;
  if (node.Is("FusedLookups")) {
    for (const int32_t i : info.lookups) {
      const size_t at = 4 * static_cast<size_t>(i);
      if (!IsTable(node.input(at)) || node.input(at + 1) == nullptr) continue;
      tables.push_back({node.input(at), Elements(node.input(at + 1))});
    }
    return tables;
  }
  if (!LooksUp(info)) return tables;
  int64_t look_ups = 0;
  for (const Value* value : node.inputs) {
    if (value == nullptr) continue;
    if (IsTable(value) && tables.empty()) tables.push_back({value, 0});
    if (!tensor::IsFloat(value->dtype)) look_ups = std::max(look_ups, Elements(value));
  }
  for (TableRead& read : tables) read.look_ups = look_ups;
  return tables;
}

// Bytes of a linear layer's weight as it is kept; 0 where the node is none or keeps f32.
int64_t LowWeightBytes(const Node& node) {
  const std::string_view form = node.String("weights", "f32");
  if (!node.Is("FusedLinear") || form == "f32" || node.input(1) == nullptr) return 0;
  return Elements(node.input(1)) * (form.substr(0, 4) == "bf16" ? 2 : 1);
}

void DescribeReads(const graph::StepInfo& info, const Side& side, StepFlow& flow) {
  flow.tables = TablesOf(info);
  for (const Value* value : info.node->inputs) {
    if (value == nullptr) continue;
    flow.inputs |= side.inputs[Id(value)];
    if (value->is_constant()) {
      const int64_t low = value == info.node->input(1) ? LowWeightBytes(*info.node) : 0;
      if (low > 0) {
        flow.weight_bytes += low;
      } else if (flow.tables.empty() || !IsTable(value)) {
        flow.weight_bytes += BytesOf(value);
      }
      continue;
    }
    const int source = side.source[Id(value)];
    if (source < 0) continue;
    const int64_t bytes = BytesOf(value);
    if (bytes > flow.read_bytes || (bytes == flow.read_bytes && source > flow.producer)) {
      flow.producer = source;
      flow.read_bytes = bytes;
    }
  }
}

bool HasLength(const Value* value, int64_t length) {
  if (value == nullptr || !value->shape.has_value() || length <= 1) return false;
  for (size_t axis = 0; axis + 1 < value->shape->size(); ++axis) {
    if (Extent(value, axis) == length) return true;
  }
  return false;
}

// The parts of a name between separators, the last (the op or "weight") left out.
std::vector<std::string> Scopes(const std::string& name, char separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at < name.size()) {
    const size_t end = std::min(name.find(separator, at), name.size());
    if (end > at) parts.push_back(name.substr(at, end - at));
    at = end + 1;
  }
  if (!parts.empty()) parts.pop_back();
  return parts;
}

// Where the first word of a part ends that is a number alone, as in "blocks.7.attention" after the
// 7; npos: none counts.
size_t EndOfCount(const std::string& part) {
  size_t at = 0;
  while (at < part.size()) {
    const size_t end = std::min(part.find_first_of("._", at), part.size());
    if (end > at && part.find_first_not_of("0123456789", at) >= end) return end;
    at = end + 1;
  }
  return std::string::npos;
}

// The parts up to the first number, or the first word alone.
std::string LayerOf(const std::vector<std::string>& parts, size_t skipped, char separator) {
  if (parts.size() <= skipped) return {};
  std::string prefix;
  for (size_t i = skipped; i < parts.size(); ++i) {
    if (i > skipped) prefix += separator;
    const size_t end = EndOfCount(parts[i]);
    if (end != std::string::npos) return prefix + parts[i].substr(0, end);
    prefix += parts[i];
  }
  return parts[skipped].substr(0, parts[skipped].find('.'));
}

// How many leading parts all names share. Every name keeps at least one.
size_t SharedParts(const std::vector<std::vector<std::string>>& names) {
  const std::vector<std::string>* first = nullptr;
  size_t shared = 0;
  for (const auto& parts : names) {
    if (parts.empty()) continue;
    if (first == nullptr) {
      first = &parts;
      shared = parts.size() - 1;
      continue;
    }
    size_t same = 0;
    while (same < shared && same + 1 < parts.size() && parts[same] == (*first)[same]) ++same;
    shared = same;
  }
  // A bare number says nothing without the word before it.
  const auto bare = [&](const std::vector<std::string>& parts) {
    return parts.size() > shared &&
           parts[shared].find_first_not_of("0123456789") == std::string::npos;
  };
  if (shared > 0 && std::any_of(names.begin(), names.end(), bare)) --shared;
  return shared;
}

}  // namespace

int64_t TableRead::bytes() const {
  return BytesOf(table);
}

std::vector<LowWeight> LowWeights(const graph::Plan& plan) {
  std::vector<LowWeight> weights;
  if (plan.graph == nullptr) return weights;
  std::set<std::pair<const void*, std::string>> seen;
  for (const Node* node = plan.graph->first(); node != nullptr; node = node->next) {
    const int64_t bytes = LowWeightBytes(*node);
    if (bytes == 0) continue;
    const std::string form(node->String("weights", "f32"));
    if (seen.insert({node->input(1)->constant.get(), form}).second)
      weights.push_back({form, bytes});
  }
  return weights;
}

std::vector<StepFlow> FollowSteps(const graph::Plan& plan, int64_t length) {
  std::vector<StepFlow> flows(plan.infos.size());
  if (plan.graph == nullptr) return flows;
  const Graph& graph = *plan.graph;
  std::map<const Node*, int> last_step;
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    if (plan.infos[i].node != nullptr) last_step[plan.infos[i].node] = static_cast<int>(i);
  }
  Side side(graph.value_id_limit());
  FollowForward(graph, last_step, side);
  FollowBackward(graph, side);
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const graph::StepInfo& info = plan.infos[i];
    StepFlow& flow = flows[i];
    if (info.node == nullptr) {
      // A copy is called after the value that it rearranges.
      if (const Value* value = graph.FindValue(info.label)) {
        flow.inputs = side.inputs[Id(value)];
        flow.outputs = side.outputs[Id(value)];
        flow.producer = side.source[Id(value)];
        flow.read_bytes = BytesOf(value);
        flow.has_length = HasLength(value, length);
      }
      continue;
    }
    DescribeReads(info, side, flow);
    if (flow.producer == static_cast<int>(i)) flow.producer = -1;
    flow.has_length = HasLength(info.node->output(), length);
    for (const Value* value : info.node->outputs) {
      if (value != nullptr) flow.outputs |= side.outputs[Id(value)];
    }
    std::vector<int> sources;
    for (const Value* value : info.node->inputs) {
      if (value != nullptr && !value->is_constant()) sources.push_back(side.source[Id(value)]);
    }
    for (const int source : sources) {
      if (source < 0 || source == static_cast<int>(i)) continue;
      std::vector<int>& readers = flows[static_cast<size_t>(source)].readers;
      if (readers.empty() || readers.back() != static_cast<int>(i)) {
        readers.push_back(static_cast<int>(i));
      }
    }
  }
  for (const graph::GraphOutput& output : graph.outputs()) {
    const int source = side.source[Id(output.value)];
    if (source >= 0) flows[static_cast<size_t>(source)].is_output = true;
  }
  return flows;
}

std::vector<std::string> LayerNames(const graph::Plan& plan) {
  const size_t count = plan.infos.size();
  std::vector<std::vector<std::string>> scopes(count), weights(count);
  for (size_t i = 0; i < count; ++i) {
    scopes[i] = Scopes(plan.infos[i].label, '/');
    if (plan.infos[i].node == nullptr) continue;
    for (const Value* value : plan.infos[i].node->inputs) {
      if (value == nullptr || !value->is_constant() || !weights[i].empty()) continue;
      // Initializers are called after modules; constants that a pass or exporter made are not.
      // Vectors of equal content (biases, the scales of norms) may be another module's.
      const bool matrix = value->shape.has_value() && value->shape->size() >= 2;
      if (matrix && value->name.find('.') != std::string::npos &&
          value->name.find('/') == std::string::npos) {
        weights[i] = Scopes(value->name, '.');
      }
    }
  }
  const size_t shared_scopes = SharedParts(scopes);
  const size_t shared_weights = SharedParts(weights);
  const bool scoped =
      std::any_of(scopes.begin(), scopes.end(), [](const auto& parts) { return !parts.empty(); });
  std::vector<std::string> names(count);
  for (size_t i = 0; i < count; ++i) {
    names[i] =
        scoped ? LayerOf(scopes[i], shared_scopes, '/') : LayerOf(weights[i], shared_weights, '.');
  }
  if (scoped) return names;
  // Without scopes a step without weights belongs to the module before it; after the last one, to
  // none.
  const auto last = std::find_if(names.rbegin(), names.rend(),
                                 [](const std::string& name) { return !name.empty(); });
  std::string before;
  for (size_t i = 0; i < static_cast<size_t>(names.rend() - last); ++i) {
    if (names[i].empty()) names[i] = before;
    before = names[i];
  }
  return names;
}

}  // namespace sluice::report
