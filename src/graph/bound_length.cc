#include "graph/bound_length.h"

#include <utility>

#include "graph/op.h"

namespace sluice::graph {

base::Result<std::unique_ptr<Graph>> Retype(const Graph& graph, const std::vector<SymShape>& shapes,
                                            std::shared_ptr<SymbolTable> symbols) {
  auto copy = std::make_unique<Graph>(std::move(symbols));
  copy->name = graph.name;
  std::vector<Value*> image(graph.value_id_limit(), nullptr);
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value* input = graph.inputs()[i];
    image[static_cast<size_t>(input->id)] = copy->AddInput(input->name, input->dtype, shapes[i]);
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

const Value* FindPaddingMask(const Graph& graph) {
  for (const Value* input : graph.inputs()) {
    if (input->name.find("mask") == std::string::npos) continue;
    if (!input->shape.has_value() || input->shape->size() != 2) continue;
    if (input->dtype != tensor::DType::kI64 && input->dtype != tensor::DType::kI32 &&
        input->dtype != tensor::DType::kF32 && input->dtype != tensor::DType::kBool) {
      continue;
    }
    const Dim batch = (*input->shape)[0], length = (*input->shape)[1];
    const SymbolTable& symbols = graph.symbols();
    if (!symbols.SymbolIndex(batch).has_value() || !symbols.SymbolIndex(length).has_value() ||
        batch == length) {
      continue;
    }
    return input;
  }
  return nullptr;
}

base::Result<BoundedLength> BoundLength(const Graph& graph) {
  BoundedLength result;
  const Value* mask = FindPaddingMask(graph);
  if (mask == nullptr) return result;
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    if (!node->subgraphs.empty()) return result;
  }
  const Dim length = (*mask->shape)[1];
  const auto shapes = [&](SymbolTable& symbols, auto symbol_of) {
    std::vector<SymShape> all;
    for (const Value* input : graph.inputs()) {
      SymShape shape;
      for (const Dim dim : *input->shape) {
        shape.push_back(dim.is_constant() ? dim : symbol_of(symbols, dim));
      }
      all.push_back(std::move(shape));
    }
    return all;
  };
  for (const Value* input : graph.inputs()) {
    if (!input->shape.has_value()) return result;
  }
  // Two rows, so that nothing passes by broadcasting one.
  const auto takes = [&](int64_t wanted) {
    auto symbols = std::make_shared<SymbolTable>();
    const std::vector<SymShape> all = shapes(
        *symbols, [&](SymbolTable&, Dim dim) { return dim == length ? Dim(wanted) : Dim(2); });
    return Retype(graph, all, symbols).ok();
  };
  int64_t good = 0, bad = kSequenceLengthMax + 1;
  if (takes(kSequenceLengthMax)) good = kSequenceLengthMax;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    (takes(middle) ? good : bad) = middle;
  }
  if (good == 0) return result;
  auto symbols = std::make_shared<SymbolTable>();
  const std::vector<SymShape> all = shapes(*symbols, [&](SymbolTable& table, Dim dim) {
    const Dim symbol = table.Symbol(graph.symbols().ToString(dim));
    // At the limit nothing is known of longer sequences, which run padded.
    if (dim == length && good < kSequenceLengthMax) table.SetBounds(symbol, 0, good);
    return symbol;
  });
  result.length_max = good;
  result.graph = TRY(Retype(graph, all, symbols));
  return result;
}

}  // namespace sluice::graph
