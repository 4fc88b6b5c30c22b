// Computes what has only constant inputs, and integer and bool values whose elements inference has
// proven constant.
#include <algorithm>

#include "graph/interpreter.h"
#include "graph/op.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// Multiply-adds of one folded node: seconds in the reference kernels. What needs more stays a node.
constexpr int64_t kFoldedWorkMax = int64_t{1} << 32;

int64_t OutputBytes(const Node& node) {
  int64_t bytes = 0;
  for (const Value* value : node.outputs) {
    if (value == nullptr) continue;
    if (!value->shape.has_value()) return INT64_MAX;
    int64_t size = tensor::DTypeSize(value->dtype);
    for (const Dim& dim : *value->shape) {
      if (!dim.is_constant() || __builtin_mul_overflow(size, dim.constant(), &size))
        return INT64_MAX;
    }
    if (__builtin_add_overflow(bytes, size, &bytes)) return INT64_MAX;
  }
  return bytes;
}

// The tensor of a value whose elements are all proven constants, or null.
std::shared_ptr<const tensor::Tensor> KnownTensor(const Value& value) {
  const bool is_bool = value.dtype == tensor::DType::kBool;
  if (!value.elements.has_value() || !value.shape.has_value()) return nullptr;
  if (!is_bool && value.dtype != tensor::DType::kI64) return nullptr;
  auto tensor = std::make_shared<tensor::Tensor>();
  tensor->dtype = value.dtype;
  for (const Dim& dim : *value.shape) {
    if (!dim.is_constant()) return nullptr;
    tensor->shape.Append(dim.constant());
  }
  if (tensor->shape.elements() != static_cast<int64_t>(value.elements->size())) return nullptr;
  tensor->buffer = tensor::Buffer::Allocate(tensor->view().bytes());
  for (size_t i = 0; i < value.elements->size(); ++i) {
    const Dim dim = (*value.elements)[i];
    if (!dim.is_constant()) return nullptr;
    if (is_bool) {
      tensor->mutable_view().as<bool>()[i] = dim.constant() != 0;
    } else {
      tensor->mutable_view().as<int64_t>()[i] = dim.constant();
    }
  }
  return tensor;
}

void Replace(Graph& graph, Value* value, std::shared_ptr<const tensor::Tensor> tensor) {
  graph.ReplaceUses(value, graph.AddConstant(value->name, std::move(tensor)));
}

bool FoldElements(Graph& graph, Node& node) {
  bool all = !node.outputs.empty();
  for (Value* value : node.outputs) {
    if (value == nullptr) continue;
    std::shared_ptr<const tensor::Tensor> tensor = KnownTensor(*value);
    if (tensor == nullptr) {
      all = false;
      continue;
    }
    if (graph.UseCount(value) > 0) Replace(graph, value, std::move(tensor));
  }
  return all;
}

// Whether only a run can tell the shape of some output, as far as inference knew.
bool HasOpenShape(const Graph& graph, const Node& node) {
  for (const Value* value : node.outputs) {
    if (value == nullptr) continue;
    if (!value->shape.has_value()) return true;
    for (const Dim& dim : *value->shape) {
      if (graph.symbols().IsDataDependent(dim)) return true;
    }
  }
  return false;
}

}  // namespace

base::Result<int64_t> FoldConstants(PassContext& context) {
  int64_t folded = 0;
  for (Node* node : context.graph.Nodes()) {
    if ((node->op->traits & (kControlFlow | kNotDeterministic)) != 0 || !node->subgraphs.empty())
      continue;
    // An input that has become a constant may tell a shape that was open before: exporters compute
    // pads so.
    if (HasOpenShape(context.graph, *node)) TRY(InferNode(context.graph, *node));
    if (FoldElements(context.graph, *node)) {
      context.graph.Erase(node);
      ++folded;
      continue;
    }
    std::vector<tensor::Tensor> inputs;
    bool constant = true;
    for (const Value* value : node->inputs) {
      if (value != nullptr && !value->is_constant()) constant = false;
      inputs.push_back(value == nullptr || !constant ? tensor::Tensor() : *value->constant);
    }
    if (!constant || node->op->run == nullptr) continue;
    // A cast or a transpose of a weight is never much larger than the weight, which the file has
    // paid for.
    int64_t input_bytes = 0;
    for (const tensor::Tensor& input : inputs) input_bytes += input.buffer.bytes();
    const int64_t bytes_max = std::max(context.options.folded_bytes_max, 4 * input_bytes);
    if (OutputBytes(*node) > bytes_max) continue;
    base::Result<std::vector<tensor::Tensor>> outputs =
        RunNode(*node, inputs, {.bytes_max = 4 * bytes_max, .work_max = kFoldedWorkMax});
    if (!outputs.ok()) continue;  // it fails, or not, when it runs
    for (size_t i = 0; i < node->outputs.size(); ++i) {
      if (node->outputs[i] == nullptr || context.graph.UseCount(node->outputs[i]) == 0) continue;
      Replace(context.graph, node->outputs[i],
              std::make_shared<const tensor::Tensor>(std::move(outputs.value()[i])));
    }
    context.graph.Erase(node);
    ++folded;
  }
  return folded;
}

}  // namespace sluice::graph
