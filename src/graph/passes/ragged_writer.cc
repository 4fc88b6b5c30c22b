#include "graph/passes/ragged_writer.h"

#include <algorithm>

namespace sluice::graph {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

RaggedWriter::RaggedWriter() : graph_(std::make_unique<Graph>(std::make_shared<SymbolTable>())) {
  SymbolTable& symbols = graph_->symbols();
  tokens_ = symbols.Ragged("sequence_starts");
  sequences_ = symbols.Symbol("sequences");
  starts_ =
      graph_->AddInput("sequence_starts", DType::kI32, SymShape{symbols.Add(sequences_, Dim(1))});
  feeds_.push_back({starts_, {RaggedForm::Feed::kStarts, -1}});
}

Value* RaggedWriter::AddFeed(const Value& input, int index, RaggedForm::Feed feed) {
  SymShape shape = *input.shape;
  if (feed == RaggedForm::Feed::kTokens) {
    shape[0] = Dim(1);
    shape[1] = tokens_;
  } else {
    shape[0] = sequences_;
  }
  Value* value = graph_->AddInput(input.name, input.dtype, std::move(shape));
  feeds_.push_back({value, {feed, index}});
  return value;
}

Value* RaggedWriter::Positions() {
  if (positions_ == nullptr) {
    positions_ = graph_->AddInput("positions", DType::kI64, SymShape{tokens_});
    feeds_.push_back({positions_, {RaggedForm::Feed::kPositions, -1}});
  }
  return positions_;
}

Value* RaggedWriter::Constant(const Value& value) {
  return graph_->AddConstant(value.name, value.constant);
}

Value* RaggedWriter::Constant(Tensor tensor) {
  return graph_->AddConstant("known", std::move(tensor));
}

Value* RaggedWriter::Ints(const std::vector<int64_t>& values) {
  const int64_t count = static_cast<int64_t>(values.size());
  Tensor tensor{DType::kI64, Shape({count}), tensor::Buffer::Allocate(count * 8)};
  std::copy(values.begin(), values.end(), tensor.mutable_view().as<int64_t>());
  return graph_->AddConstant("ints", std::move(tensor));
}

base::Result<Value*> RaggedWriter::Add(std::string_view op, std::vector<Value*> inputs,
                                       const Node& like) {
  Node* node = graph_->AddNode(RequireOp(op), kOpsetMax, std::move(inputs), 1);
  node->name = like.name;
  TRY(InferNode(*graph_, *node));
  return node->output();
}

base::Result<Value*> RaggedWriter::Reshape(Value* value, const std::vector<int64_t>& target,
                                           const Node& like) {
  return Add("Reshape", {value, Ints(target)}, like);
}

base::Result<std::vector<Value*>> RaggedWriter::Copy(const Node& node, std::vector<Value*> inputs) {
  Node* twin = graph_->AddNode(node.op, node.opset, std::move(inputs), 0);
  twin->name = node.name;
  twin->attributes = node.attributes;
  for (const Value* output : node.outputs) {
    if (output == nullptr) {
      graph_->SkipNodeOutput(twin);
    } else {
      graph_->AddNodeOutput(twin, output->name);
    }
  }
  TRY(InferNode(*graph_, *twin));
  return twin->outputs;
}

void RaggedWriter::Finish(RaggedForm& form) {
  graph_->RemoveDead();
  std::vector<Value*>& inputs = graph_->mutable_inputs();
  inputs.clear();
  for (const auto& [value, feed] : feeds_) {
    if (value->uses.empty() && !graph_->IsOutput(value)) continue;
    inputs.push_back(value);
    form.inputs.push_back(feed);
  }
}

}  // namespace sluice::graph
