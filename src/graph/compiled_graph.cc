#include "graph/compiled_graph.h"

#include <algorithm>
#include <set>
#include <vector>

#include "graph/constant_store.h"
#include "graph/op.h"
#include "graph/weight_choice.h"

namespace sluice::graph {
namespace {

// The same nodes over constants for dimensions, in a symbol table of its own, so that plans are
// made side by side.
base::Result<std::unique_ptr<Graph>> Specialize(const Graph& graph,
                                                std::span<const tensor::Shape> shapes) {
  auto copy = std::make_unique<Graph>(std::make_shared<SymbolTable>());
  std::vector<Value*> image(graph.value_id_limit(), nullptr);
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value* input = graph.inputs()[i];
    SymShape dims;
    for (const int64_t dim : shapes[i].dims()) dims.push_back(Dim(dim));
    image[static_cast<size_t>(input->id)] =
        copy->AddInput(input->name, input->dtype, std::move(dims));
  }
  for (const Value* constant : graph.Constants()) {
    image[static_cast<size_t>(constant->id)] =
        copy->AddConstant(constant->name, constant->constant);
  }
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    std::vector<Value*> inputs;
    for (const Value* input : node->inputs) {
      inputs.push_back(input == nullptr ? nullptr : image[static_cast<size_t>(input->id)]);
    }
    Node* twin = copy->AddNode(node->op, node->opset, std::move(inputs), 0);
    twin->name = node->name;
    twin->attributes = node->attributes;
    for (const Value* output : node->outputs) {
      if (output == nullptr) {
        copy->SkipNodeOutput(twin);
      } else {
        image[static_cast<size_t>(output->id)] = copy->AddNodeOutput(twin, output->name);
      }
    }
    TRY(InferNode(*copy, *twin));
  }
  for (const GraphOutput& output : graph.outputs()) {
    copy->AddOutput(output.name, image[static_cast<size_t>(output.value->id)]);
  }
  return copy;
}

// Whether a node reads this input as a matrix packed at load.
bool IsPackedWeight(const Node& node, size_t input) {
  if (node.Is("FusedLinear")) return input == 1;
  if (node.Is("FusedRowMlp")) return input == 2 || (input >= 3 && input % 2 == 1);
  if (node.Is("FusedRecurrent")) return input == 1 || input >= 7;
  return node.Is("FusedConv") && input >= 3 && node.Int("depthwise", 0) == 0;
}

bool OnlyProductsRead(const Graph& graph, const Value* value) {
  if (graph.IsOutput(value)) return false;
  for (const Use& use : value->uses) {
    if (!IsPackedWeight(*use.node, static_cast<size_t>(use.index))) return false;
  }
  return true;
}

// The form that the node asks for, once for all that read the constant so.
base::Status PackWeight(Node& node, const Value& b, CompiledGraph& compiled) {
  const bool transposed = node.Int("trans_b", 0) != 0;
  const kernels::WeightForm form = TRY(ParseWeightForm(node.String("weights", "f32")));
  if (form == kernels::WeightForm::kF32 &&
      compiled.weights.count({b.constant.get(), transposed}) > 0) {
    return base::Ok();
  }
  const tensor::Shape& shape = b.constant->shape;
  kernels::MatrixSource source;
  source.data = b.constant->buffer.data();
  source.dtype = b.dtype;
  source.k = shape[transposed ? 1 : 0];
  source.n = shape[transposed ? 0 : 1];
  source.k_stride = transposed ? 1 : source.n;
  source.n_stride = transposed ? source.k : 1;
  if (form != kernels::WeightForm::kF32) {
    node.Set("low_weight", static_cast<int64_t>(compiled.low_weights.size()));
    compiled.low_weights.push_back(TRY(kernels::WeightStore::Process().PackLow(source, form)));
    compiled.weights_bytes += compiled.low_weights.back()->bytes();
    return base::Ok();
  }
  std::shared_ptr<const kernels::PackedWeight> packed =
      TRY(kernels::WeightStore::Process().Pack(source));
  compiled.weights_bytes += packed->bytes();
  compiled.weights[{b.constant.get(), transposed}] = packed;
  return base::Ok();
}

}  // namespace

base::Result<std::unique_ptr<CompiledGraph>> PackGraph(std::unique_ptr<Graph> graph) {
  auto compiled = std::make_unique<CompiledGraph>();
  for (Node* node = graph->first(); node != nullptr; node = node->next) {
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      if (IsPackedWeight(*node, i)) TRY(PackWeight(*node, *node->inputs[i], *compiled));
    }
  }
  for (Value* value : graph->Constants()) {
    if (!OnlyProductsRead(*graph, value)) {
      compiled->weights_bytes += value->constant->view().bytes();
      const bool packed = std::any_of(value->uses.begin(), value->uses.end(), [](const Use& use) {
        return IsPackedWeight(*use.node, static_cast<size_t>(use.index));
      });
      // Packed forms are found by the constant's address, which must then stay.
      if (!packed) value->constant = ConstantStore::Process().Share(value->constant);
      continue;
    }
    // Packed in every form that is read: only its shape is needed from here on.
    auto shell = std::make_shared<tensor::Tensor>();
    shell->dtype = value->constant->dtype;
    shell->shape = value->constant->shape;
    for (const bool transposed : {false, true}) {
      const auto found = compiled->weights.find({value->constant.get(), transposed});
      if (found == compiled->weights.end()) continue;
      compiled->weights[{shell.get(), transposed}] = found->second;
      compiled->weights.erase({value->constant.get(), transposed});
    }
    value->constant = std::move(shell);
  }
  compiled->graph = std::move(graph);
  return compiled;
}

base::Result<std::unique_ptr<Plan>> MakePlan(const CompiledGraph& compiled,
                                             std::span<const tensor::Shape> shapes,
                                             MachineRates rates) {
  auto plan = std::make_unique<Plan>();
  plan->graph = TRY(Specialize(*compiled.graph, shapes));
  Lowering lowering(*plan->graph, compiled.weights, compiled.low_weights, *plan, rates);
  TRY(lowering.Run());
  return plan;
}

}  // namespace sluice::graph
