#include "graph/interpreter.h"

#include <new>
#include <string>
#include <unordered_set>

namespace sluice::graph {

using base::Ok;
using base::Result;
using base::Status;
using tensor::Tensor;

Result<tensor::Buffer> RunBudget::Allocate(const std::shared_ptr<RunBudget>& budget,
                                           int64_t bytes) {
  if (bytes > budget->bytes_left_) {
    return base::ResourceExhausted("a tensor of " + std::to_string(bytes) + " bytes is above the " +
                                   std::to_string(budget->bytes_left_) + " bytes left to this run");
  }
  tensor::Buffer buffer = tensor::Buffer::Allocate(bytes);
  budget->bytes_left_ -= bytes;
  const void* data = buffer.data();
  std::shared_ptr<const void> owner(
      data, [budget, buffer, bytes](const void*) { budget->bytes_left_ += bytes; });
  return tensor::Buffer::Wrap(std::move(owner), data, bytes);
}

Status RunBudget::TakeIteration() {
  if (iterations_left_ == 0)
    return base::ResourceExhausted("the loops of this run make too many iterations");
  --iterations_left_;
  return Ok();
}

Status RunBudget::TakeWork(int64_t operations) {
  if (operations > work_left_)
    return base::ResourceExhausted("this run needs more arithmetic than its limit");
  work_left_ -= operations;
  return Ok();
}

// ---- One node ----

// What a node of the interpreter sees: its input tensors, and heap memory for its outputs.
class InterpreterContext : public RunContext {
 public:
  // `interpreter` and `bindings` may be null where the node has no subgraphs.
  InterpreterContext(const Node& node, std::vector<Tensor> inputs,
                     std::shared_ptr<RunBudget> budget, Interpreter* interpreter,
                     Bindings* bindings)
      : RunContext(node),
        tensors_(std::move(inputs)),
        outputs_(node.outputs.size()),
        budget_(std::move(budget)),
        interpreter_(interpreter),
        bindings_(bindings) {
    for (const Tensor& tensor : tensors_) views_.push_back(tensor.view());
    inputs_ = views_;
  }

  Result<tensor::View> Output(size_t i, tensor::DType dtype, const tensor::Shape& shape) override {
    CHECK(has_output(i));
    TRY(budget_->TakeWork(shape.elements()));
    const int64_t bytes = TRY(tensor::CheckedBytes(shape, tensor::DTypeSize(dtype)));
    outputs_[i] = Tensor{dtype, shape, TRY(RunBudget::Allocate(budget_, bytes))};
    return outputs_[i].mutable_view();
  }

  Status Forward(size_t i, size_t from, const tensor::Shape& shape) override {
    CHECK_EQ(shape.elements(), tensors_[from].shape.elements());
    outputs_[i] = Tensor{tensors_[from].dtype, shape, tensors_[from].buffer};
    return Ok();
  }

  Result<std::byte*> Scratch(int64_t bytes) override {
    scratch_.push_back(TRY(RunBudget::Allocate(budget_, bytes)));
    return scratch_.back().mutable_data();
  }

  Result<std::vector<Tensor>> RunSubgraph(const Graph& graph,
                                          std::span<const Tensor> inputs) override {
    CHECK(interpreter_ != nullptr);
    return interpreter_->RunGraph(graph, inputs, *bindings_);
  }
  Result<Tensor> InputTensor(size_t i) override { return tensors_[i]; }
  Status SetOutput(size_t i, Tensor tensor) override {
    outputs_[i] = std::move(tensor);
    return Ok();
  }
  Status TakeIteration() override { return budget_->TakeIteration(); }
  Status TakeWork(int64_t operations) override { return budget_->TakeWork(operations); }

  // The outputs after the run: present, of the inferred types, strings with storage of their own.
  Result<std::vector<Tensor>> Finish() {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Value* value = node().outputs[i];
      if (value == nullptr) continue;
      Tensor& output = outputs_[i];
      if (!output.buffer)
        return base::Internal(Fail("made no output " + std::to_string(i)).message);
      if (output.dtype != value->dtype) {
        return base::Internal(Fail("made " + std::string(tensor::DTypeName(output.dtype)) +
                                   " where " + std::string(tensor::DTypeName(value->dtype)) +
                                   " was inferred")
                                  .message);
      }
      if (output.dtype == tensor::DType::kBytes) output = CopyStrings(output);
    }
    return std::move(outputs_);
  }

 private:
  // Moved strings look into an input's storage, which may be released before they are.
  static Tensor CopyStrings(const Tensor& tensor) {
    std::vector<std::string> strings;
    for (const std::string_view s : tensor.view().span<std::string_view>()) strings.emplace_back(s);
    return Tensor::FromStrings(tensor.shape, strings);
  }

  std::vector<Tensor> tensors_;
  std::vector<tensor::ConstView> views_;
  std::vector<Tensor> outputs_;
  std::vector<tensor::Buffer> scratch_;
  std::shared_ptr<RunBudget> budget_;
  Interpreter* interpreter_;
  Bindings* bindings_;
};

namespace {

Result<std::vector<Tensor>> RunNodeWith(const Node& node, std::vector<Tensor> inputs,
                                        const std::shared_ptr<RunBudget>& budget,
                                        Interpreter* interpreter, Bindings* bindings) {
  if (node.op->run == nullptr) {
    return base::Unimplemented("node '" + node.name + "' (" + std::string(node.op_name()) +
                               ") cannot be interpreted");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool wanted = node.inputs[i] != nullptr;
    CHECK_EQ(wanted, static_cast<bool>(inputs[i].buffer));
    CHECK(!wanted || inputs[i].dtype == node.inputs[i]->dtype);
  }
  InterpreterContext context(node, std::move(inputs), budget, interpreter, bindings);
  TRY(node.op->run(context));
  return context.Finish();
}

std::string ShapeText(const Graph& graph, const std::optional<SymShape>& shape) {
  return shape.has_value() ? graph.symbols().ToString(*shape) : "[*]";
}

// Whether `actual` is what inference said, as far as it said something that `bindings` decides.
Status ExpectInferred(const Graph& graph, const Value& value, const tensor::Shape& actual,
                      const Bindings& bindings) {
  if (!value.shape.has_value()) return Ok();
  bool fits = value.shape->size() == static_cast<size_t>(actual.rank());
  for (int i = 0; fits && i < actual.rank(); ++i) {
    const Result<int64_t> extent =
        graph.symbols().Evaluate((*value.shape)[static_cast<size_t>(i)], bindings);
    fits = !extent.ok() || *extent == actual[i];
  }
  if (fits) return Ok();
  return base::Internal("value '" + value.name + "' has shape " + actual.ToString() + " where " +
                        ShapeText(graph, value.shape) + " was inferred");
}

}  // namespace

Result<std::vector<Tensor>> RunNode(const Node& node, std::span<const Tensor> inputs,
                                    const InterpreterLimits& limits) {
  CHECK(node.subgraphs.empty());
  return RunNodeWith(node, {inputs.begin(), inputs.end()}, std::make_shared<RunBudget>(limits),
                     nullptr, nullptr);
}

// ---- A graph ----

Status BindInputs(const Graph& graph, std::span<const tensor::ConstView> inputs,
                  Bindings& bindings) {
  if (inputs.size() != graph.inputs().size()) {
    return base::InvalidArgument("the model takes " + std::to_string(graph.inputs().size()) +
                                 " inputs, got " + std::to_string(inputs.size()));
  }
  bindings.resize(std::max(bindings.size(), graph.symbols().symbol_count()), kUnbound);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = *graph.inputs()[i];
    const tensor::ConstView& input = inputs[i];
    const std::string name = "input '" + value.name + "'";
    if (input.dtype != value.dtype) {
      return base::InvalidArgument(name + " must be " +
                                   std::string(tensor::DTypeName(value.dtype)) + ", got " +
                                   std::string(tensor::DTypeName(input.dtype)));
    }
    if (!value.shape.has_value()) continue;
    bool fits = value.shape->size() == static_cast<size_t>(input.shape.rank());
    for (int k = 0; fits && k < input.shape.rank(); ++k) {
      const Dim dim = (*value.shape)[static_cast<size_t>(k)];
      const std::optional<int32_t> symbol = graph.symbols().SymbolIndex(dim);
      if (symbol.has_value() && bindings[static_cast<size_t>(*symbol)] == kUnbound) {
        bindings[static_cast<size_t>(*symbol)] = input.shape[k];
        continue;
      }
      const Result<int64_t> extent = graph.symbols().Evaluate(dim, bindings);
      if (extent.ok() && *extent != input.shape[k] && !dim.is_constant()) {
        return base::InvalidArgument(name + " has " + std::to_string(input.shape[k]) +
                                     " for dimension '" + graph.symbols().ToString(dim) +
                                     "', which is " + std::to_string(*extent) +
                                     " in another input");
      }
      fits = !extent.ok() || *extent == input.shape[k];
    }
    if (!fits) {
      return base::InvalidArgument(name + " must have shape " + ShapeText(graph, value.shape) +
                                   ", got " + input.shape.ToString());
    }
  }
  return Ok();
}

const Interpreter::Releases& Interpreter::ReleasesOf(const Graph& graph) {
  const auto found = releases_.find(&graph);
  if (found != releases_.end()) return found->second;
  std::unordered_set<const Value*> seen;
  for (const GraphOutput& output : graph.outputs()) seen.insert(output.value);
  Releases reversed;
  for (const Node* node = graph.last(); node != nullptr; node = node->previous) {
    std::vector<const Value*> released;
    for (const Value* input : node->inputs) {
      if (input != nullptr && input->constant == nullptr && seen.insert(input).second)
        released.push_back(input);
    }
    for (const Value* output : node->outputs) {
      if (output != nullptr && seen.insert(output).second) released.push_back(output);
    }
    reversed.push_back(std::move(released));
  }
  return releases_.emplace(&graph, Releases(reversed.rbegin(), reversed.rend())).first->second;
}

Result<std::vector<Tensor>> Interpreter::RunGraph(const Graph& graph,
                                                  std::span<const Tensor> inputs,
                                                  Bindings& bindings) {
  if (inputs.size() != graph.inputs().size()) {
    return base::Internal("a subgraph takes " + std::to_string(graph.inputs().size()) +
                          " inputs, got " + std::to_string(inputs.size()));
  }
  std::vector<Tensor> tensors(graph.value_id_limit());
  const auto tensor_of = [&tensors](const Value* value) -> Tensor {
    if (value == nullptr) return {};
    if (value->constant != nullptr) return *value->constant;
    return tensors[static_cast<size_t>(value->id)];
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& value = *graph.inputs()[i];
    if (inputs[i].dtype != value.dtype) {
      return base::InvalidArgument("value '" + value.name + "' must be " +
                                   std::string(tensor::DTypeName(value.dtype)) + ", got " +
                                   std::string(tensor::DTypeName(inputs[i].dtype)));
    }
    TRY(ExpectInferred(graph, value, inputs[i].shape, bindings));
    tensors[static_cast<size_t>(value.id)] = inputs[i];
  }
  const Releases& releases = ReleasesOf(graph);
  size_t position = 0;
  for (const Node* node = graph.first(); node != nullptr; node = node->next, ++position) {
    std::vector<Tensor> node_inputs;
    for (const Value* input : node->inputs) node_inputs.push_back(tensor_of(input));
    std::vector<Tensor> outputs =
        TRY(RunNodeWith(*node, std::move(node_inputs), budget_, this, &bindings));
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (node->outputs[i] == nullptr) continue;
      TRY(ExpectInferred(graph, *node->outputs[i], outputs[i].shape, bindings));
      tensors[static_cast<size_t>(node->outputs[i]->id)] = std::move(outputs[i]);
    }
    for (const Value* value : releases[position])
      tensors[static_cast<size_t>(value->id)] = Tensor();
  }
  std::vector<Tensor> results;
  for (const GraphOutput& output : graph.outputs()) results.push_back(tensor_of(output.value));
  return results;
}

Result<std::vector<Tensor>> Interpreter::Run(std::span<const Tensor> inputs) {
  std::vector<tensor::ConstView> views;
  for (const Tensor& input : inputs) views.push_back(input.view());
  Bindings bindings(graph_.symbols().symbol_count(), kUnbound);
  TRY(BindInputs(graph_, views, bindings));
  budget_ = std::make_shared<RunBudget>(limits_);
  return RunGraph(graph_, inputs, bindings);
}

}  // namespace sluice::graph
