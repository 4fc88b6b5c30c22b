// Builds small graphs for tests: one line a node, types inferred at once.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/ir.h"
#include "graph/model.h"
#include "graph/op.h"

namespace sluice::graph {

class TestGraph {
 public:
  TestGraph()
      : symbols_(std::make_shared<SymbolTable>()), graph_(std::make_unique<Graph>(symbols_)) {}

  Dim Symbol(const char* name) { return symbols_->Symbol(name); }
  Value* Input(const char* name, SymShape shape, tensor::DType dtype = tensor::DType::kF32) {
    return graph_->AddInput(name, dtype, std::move(shape));
  }
  Value* Scalar(float value) { return Floats({}, {value}); }
  Value* Floats(const tensor::Shape& shape, const std::vector<float>& values) {
    tensor::Tensor tensor = tensor::Tensor::Allocate(tensor::DType::kF32, shape, 1 << 30).value();
    for (size_t i = 0; i < values.size(); ++i) tensor.mutable_view().as<float>()[i] = values[i];
    return graph_->AddConstant("c", std::move(tensor));
  }
  // Reproducible values around zero.
  Value* Weights(const tensor::Shape& shape) {
    std::vector<float> values;
    for (int64_t i = 0; i < shape.elements(); ++i) {
      values.push_back(static_cast<float>((i * 7919 + 13 * ++seed_) % 200 - 100) / 400.0F);
    }
    return Floats(shape, values);
  }
  Value* Ints(const std::vector<int64_t>& values) {
    tensor::Tensor tensor =
        tensor::Tensor::Allocate(tensor::DType::kI64,
                                 tensor::Shape({static_cast<int64_t>(values.size())}), 1 << 20)
            .value();
    for (size_t i = 0; i < values.size(); ++i) tensor.mutable_view().as<int64_t>()[i] = values[i];
    return graph_->AddConstant("i", std::move(tensor));
  }
  using Attributes = std::initializer_list<std::pair<const char*, AttributeValue>>;
  Value* Add(const char* op, std::vector<Value*> inputs, Attributes attributes = {},
             int opset = 17) {
    Node* node = graph_->AddNode(FindOp("", op, opset), opset, std::move(inputs), 1);
    node->name = std::string(op) + std::to_string(++count_);
    for (const auto& [key, value] : attributes) node->Set(key, value);
    const base::Status inferred = InferNode(*graph_, *node);
    CHECK(inferred.ok()) << inferred.error().message;
    return node->output();
  }
  void Output(const char* name, Value* value) { graph_->AddOutput(name, value); }

  Graph& graph() { return *graph_; }
  std::unique_ptr<Graph> Take() { return std::move(graph_); }
  // Compiled as the server would.
  std::shared_ptr<const Model> Compile(const CompileOptions& options = {}) {
    OnnxModel source;
    source.graph = Clone(*graph_);
    base::Result<std::shared_ptr<const Model>> model = Model::Compile(std::move(source), options);
    CHECK(model.ok()) << model.error().message;
    return std::move(model).value();
  }

 private:
  std::shared_ptr<SymbolTable> symbols_;
  std::unique_ptr<Graph> graph_;
  int64_t seed_ = 0;
  int count_ = 0;
};

// How many nodes of `op` the optimised graph has.
inline int CountOps(const Model& model, const std::string& op) {
  const std::string dump = model.DumpGraph();
  int count = 0;
  for (size_t at = dump.find(op + "("); at != std::string::npos; at = dump.find(op + "(", at + 1)) {
    if (at == 0 || dump[at - 1] == ' ') ++count;
  }
  return count;
}

// Runs the compiled program on `inputs`.
inline base::Result<std::vector<tensor::Tensor>> RunCompiled(
    const Model& model, const std::vector<tensor::Tensor>& inputs) {
  std::vector<tensor::Shape> shapes;
  std::vector<const void*> sources;
  for (const tensor::Tensor& input : inputs) {
    shapes.push_back(input.shape);
    sources.push_back(input.buffer.data());
  }
  const std::shared_ptr<const Plan> plan = TRY(model.PlanFor(shapes));
  if (plan->interpreted) return model.Interpret(inputs);
  std::vector<tensor::Tensor> outputs;
  std::vector<void*> places;
  for (size_t i = 0; i < plan->output_shapes.size(); ++i) {
    outputs.push_back(
        TRY(tensor::Tensor::Allocate(model.outputs()[i].dtype, plan->output_shapes[i], 1 << 30)));
    places.push_back(outputs.back().buffer.mutable_data());
  }
  tensor::Buffer memory = tensor::Buffer::Allocate(plan->memory_bytes);
  ExecuteArgs args;
  args.inputs = sources;
  args.outputs = places;
  args.memory = memory.mutable_data();
  args.memory_bytes = plan->memory_bytes;
  TRY(Execute(*plan, args));
  return outputs;
}

}  // namespace sluice::graph
