#include "graph/op.h"

#include <algorithm>
#include <map>

#include "graph/ops/tables.h"

namespace sluice::graph {
namespace {

constexpr size_t kKnownElementsMax = 64;

using Tables = std::map<std::pair<std::string_view, std::string_view>, std::vector<const OpDef*>>;

const Tables& AllTables() {
  static const Tables* const tables = [] {
    auto* built = new Tables();
    for (const std::span<const OpDef> table :
         {ElementwiseOps(), SelectionOps(), ReductionOps(), ShapeOps(), MovementOps(), GatherOps(),
          MatmulOps(), NormOps(), ConvOps(), ResizeOps(), QuantizeOps(), AttentionOps(),
          RecurrentOps(), ControlFlowOps(), EmbeddingOps(), TreeOps(), FusedOps()}) {
      for (const OpDef& row : table) (*built)[{row.domain, row.name}].push_back(&row);
    }
    return built;
  }();
  return *tables;
}

std::string NodeText(const Node& node, std::string_view text) {
  return "node '" + node.name + "' (" + std::string(node.op_name()) + "): " + std::string(text);
}

}  // namespace

const OpDef* FindOp(std::string_view domain, std::string_view name, int opset) {
  if (domain == "ai.onnx") domain = "";
  const auto found = AllTables().find({domain, name});
  if (found == AllTables().end()) return nullptr;
  const OpDef* best = nullptr;
  for (const OpDef* row : found->second) {
    if (row->since <= opset && (best == nullptr || row->since > best->since)) best = row;
  }
  return best;
}

const OpDef* RequireOp(std::string_view name) {
  const OpDef* op = FindOp("", name, kOpsetMax);
  if (op == nullptr) op = FindOp(kOurDomain, name, kOpsetMax);
  CHECK(op != nullptr) << name;
  return op;
}

std::vector<const OpDef*> AllOps() {
  std::vector<const OpDef*> all;
  for (const auto& [key, rows] : AllTables()) all.insert(all.end(), rows.begin(), rows.end());
  return all;
}

// ---- InferContext ----

const SymShape* InferContext::shape(size_t i) const {
  const Value* value = node_.input(i);
  return value == nullptr || !value->shape.has_value() ? nullptr : &*value->shape;
}

const tensor::Tensor* InferContext::constant(size_t i) const {
  const Value* value = node_.input(i);
  return value == nullptr ? nullptr : value->constant.get();
}

std::optional<std::vector<Dim>> InferContext::elements(size_t i) const {
  const Value* value = node_.input(i);
  if (value == nullptr) return std::nullopt;
  if (value->elements.has_value()) return value->elements;
  if (value->constant == nullptr) return std::nullopt;
  const tensor::Shape& shape = value->constant->shape;
  const int64_t count = shape.elements();
  if (shape.rank() > 1 || count > static_cast<int64_t>(kKnownElementsMax)) return std::nullopt;
  const tensor::ConstView view = value->constant->view();
  std::vector<Dim> dims;
  for (int64_t k = 0; k < count; ++k) {
    switch (view.dtype) {
      case tensor::DType::kI64:
        dims.emplace_back(view.as<int64_t>()[k]);
        break;
      case tensor::DType::kI32:
        dims.emplace_back(int64_t{view.as<int32_t>()[k]});
        break;
      case tensor::DType::kBool:
        dims.emplace_back(int64_t{view.as<bool>()[k]});
        break;
      default:
        return std::nullopt;
    }
  }
  return dims;
}

std::optional<std::vector<int64_t>> InferContext::ints(size_t i) const {
  const std::optional<std::vector<Dim>> dims = elements(i);
  if (!dims.has_value()) return std::nullopt;
  std::vector<int64_t> values;
  for (const Dim& dim : *dims) {
    if (!dim.is_constant()) return std::nullopt;
    values.push_back(dim.constant());
  }
  return values;
}

void InferContext::SetOutput(size_t i, tensor::DType dtype, std::optional<SymShape> shape) {
  Value* output = node_.output(i);
  if (output == nullptr) return;
  output->typed = true;
  output->dtype = dtype;
  if (shape.has_value() && output->shape.has_value() && output->shape->size() == shape->size()) {
    // Inferring again must not replace what is known by a new unknown, which would equal nothing
    // downstream.
    for (size_t k = 0; k < shape->size(); ++k) {
      const std::optional<int32_t> symbol = symbols().SymbolIndex((*shape)[k]);
      if (symbol.has_value() && symbols().IsDataDependent((*shape)[k]))
        (*shape)[k] = (*output->shape)[k];
    }
  }
  if (shape.has_value() || !output->shape.has_value()) output->shape = std::move(shape);
}

void InferContext::SetElements(size_t i, std::vector<Dim> elements) {
  Value* output = node_.output(i);
  if (output == nullptr || elements.size() > kKnownElementsMax) return;
  output->elements = std::move(elements);
}

base::Error InferContext::Fail(std::string_view text) const {
  return base::InvalidArgument(NodeText(node_, text));
}

base::Error RunContext::Fail(std::string_view text) const {
  return base::InvalidArgument(NodeText(node_, text));
}

const tensor::Shape& RunShapes::input_shape(size_t i) const {
  static const tensor::Shape kAbsent;
  return i < inputs.size() ? inputs[i].shape : kAbsent;
}

int64_t ScratchBytes(std::initializer_list<int64_t> pieces) {
  constexpr auto kAlign = static_cast<int64_t>(tensor::kAlignment);
  int64_t bytes = 0;
  for (const int64_t piece : pieces) bytes += (piece + kAlign - 1) / kAlign * kAlign;
  return bytes;
}

// ---- Inference ----

namespace {

base::Status CheckStorage(const InferContext& context, const Value* value) {
  if (value == nullptr || !tensor::IsStorage(value->dtype)) return base::Ok();
  return base::Unimplemented(
      NodeText(context.node(), "'" + value->name + "' has the element type " +
                                   std::string(tensor::DTypeName(value->dtype)) +
                                   ", which is stored and converted only: cast or dequantise it"));
}

}  // namespace

base::Status InferNode(Graph& graph, Node& node) {
  InferContext context(graph, node);
  const auto inputs = static_cast<int>(node.inputs.size()) - node.captures;
  if (inputs < node.op->inputs_min || (node.op->inputs_max >= 0 && inputs > node.op->inputs_max)) {
    return context.Fail("has " + std::to_string(inputs) + " inputs");
  }
  const auto outputs = static_cast<int>(node.outputs.size());
  if (outputs < node.op->outputs_min ||
      (node.op->outputs_max >= 0 && outputs > node.op->outputs_max)) {
    return context.Fail("has " + std::to_string(outputs) + " outputs");
  }
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == nullptr) {
      if (static_cast<int>(i) < node.op->inputs_min)
        return context.Fail("lacks input " + std::to_string(i));
    } else if (!node.inputs[i]->typed) {
      return context.Fail("reads '" + node.inputs[i]->name + "', which has no type");
    }
    if ((node.op->traits & kTakesStorage) == 0) TRY(CheckStorage(context, node.inputs[i]));
  }
  TRY(node.op->infer(context));
  for (Value* output : node.outputs) {
    if (output == nullptr) continue;
    if (!output->typed)
      return context.Fail("has an output that nothing is known of: '" + output->name + "'");
    if ((node.op->traits & kTakesStorage) == 0) TRY(CheckStorage(context, output));
    if (!output->shape.has_value()) continue;
    if (output->shape->size() > static_cast<size_t>(tensor::kMaxRank)) {
      return context.Fail("makes a tensor of rank " + std::to_string(output->shape->size()) +
                          ", above the limit of " + std::to_string(tensor::kMaxRank));
    }
    for (const Dim& dim : *output->shape) {
      if (dim.is_constant() && dim.constant() < 0)
        return context.Fail("makes a tensor with a negative dimension");
    }
    // An op may have guessed elements that its own shape contradicts when the model is wrong.
    const SymShape& shape = *output->shape;
    if (output->elements.has_value() &&
        (shape.size() > 1 || (shape.empty() && output->elements->size() != 1) ||
         (shape.size() == 1 && shape[0].is_constant() &&
          !shape[0].Is(static_cast<int64_t>(output->elements->size()))))) {
      output->elements.reset();
    }
  }
  return base::Ok();
}

base::Status InferGraph(Graph& graph) {
  for (Node* node = graph.first(); node != nullptr; node = node->next) TRY(InferNode(graph, *node));
  return base::Ok();
}

}  // namespace sluice::graph
