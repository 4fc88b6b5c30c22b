#include "graph/compiled_graph.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "graph/bound_length.h"
#include "graph/constant_store.h"
#include "graph/op.h"
#include "graph/weight_choice.h"

namespace sluice::graph {
namespace {

// The same nodes over constants for dimensions, in a symbol table of its own, so that plans are
// made side by side.
base::Result<std::unique_ptr<Graph>> Specialize(const Graph& graph,
                                                std::span<const tensor::Shape> shapes) {
  std::vector<SymShape> symbolic;
  for (const tensor::Shape& shape : shapes) {
    symbolic.emplace_back(shape.dims().begin(), shape.dims().end());
  }
  return Retype(graph, symbolic, std::make_shared<SymbolTable>());
}

// Whether a node reads this input as a matrix packed at load.
bool IsPackedWeight(const Node& node, size_t input) {
  if (node.Is("FusedLinear")) return input == 1;
  if (node.Is("FusedRowMlp")) {
    const size_t gates = 3 + 2 * node.Strings("activations").size();  // vectors from here on
    return input == 2 || (input >= 3 && input < gates && input % 2 == 1);
  }
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
  source.buffer = &b.constant->buffer;
  if (b.constant->buffer.made()) source.data = b.constant->buffer.data();
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

// Packs what the products of compiled.graph read, unless `others` has it.
base::Status PackWeights(CompiledGraph& compiled, const PackedWeights& others) {
  for (Node* node = compiled.graph->first(); node != nullptr; node = node->next) {
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      if (!IsPackedWeight(*node, i)) continue;
      const Value& b = *node->inputs[i];
      const auto found = others.find({b.constant.get(), node->Int("trans_b", 0) != 0});
      if (found != others.end()) compiled.weights[found->first] = found->second;
      TRY(PackWeight(*node, b, compiled));
    }
  }
  return base::Ok();
}

// What the store made of a model's constants, by what they were, which stays alive so long: the
// model's graphs have them in common.
using SharedConstants =
    std::map<std::shared_ptr<const tensor::Tensor>, std::shared_ptr<const tensor::Tensor>>;

// Constants that products alone read keep their shape alone: they are packed in every form.
void DropPacked(CompiledGraph& compiled, SharedConstants& shared) {
  for (Value* value : compiled.graph->Constants()) {
    if (!OnlyProductsRead(*compiled.graph, value)) {
      compiled.weights_bytes += value->constant->bytes();
      const bool packed = std::any_of(value->uses.begin(), value->uses.end(), [](const Use& use) {
        return IsPackedWeight(*use.node, static_cast<size_t>(use.index));
      });
      // Packed forms are found by the constant's address, which must then stay.
      if (packed) {
        (void)value->constant->buffer.data();  // made now, not by a step
      } else {
        std::shared_ptr<const tensor::Tensor>& same = shared[value->constant];
        if (same == nullptr) same = ConstantStore::Process().Share(value->constant);
        value->constant = same;
      }
      continue;
    }
    auto shell = std::make_shared<tensor::Tensor>();
    shell->dtype = value->constant->dtype;
    shell->shape = value->constant->shape;
    for (const bool transposed : {false, true}) {
      const auto found = compiled.weights.find({value->constant.get(), transposed});
      if (found == compiled.weights.end()) continue;
      compiled.weights[{shell.get(), transposed}] = found->second;
      compiled.weights.erase({value->constant.get(), transposed});
    }
    value->constant = std::move(shell);
  }
}

}  // namespace

base::Status PackGraphs(std::unique_ptr<Graph> graph, std::unique_ptr<Graph> ragged,
                        std::unique_ptr<CompiledGraph>& compiled,
                        std::unique_ptr<CompiledGraph>& compiled_ragged) {
  compiled = std::make_unique<CompiledGraph>();
  compiled->graph = std::move(graph);
  SharedConstants shared;
  TRY(PackWeights(*compiled, {}));
  if (ragged != nullptr) {
    compiled_ragged = std::make_unique<CompiledGraph>();
    compiled_ragged->graph = std::move(ragged);
    TRY(PackWeights(*compiled_ragged, compiled->weights));
    DropPacked(*compiled_ragged, shared);
  }
  DropPacked(*compiled, shared);
  return base::Ok();
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
