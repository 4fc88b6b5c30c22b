#include "graph/model.h"

#include <utility>

#include "graph/bound_length.h"
#include "graph/compiled_graph.h"
#include "graph/interpreter.h"
#include "graph/plan_cache.h"

namespace sluice::graph {
namespace {

TensorInterface InterfaceOf(const SymbolTable& symbols, const std::string& name,
                            const Value& value) {
  TensorInterface interface;
  interface.name = name;
  interface.dtype = value.dtype;
  interface.rank_known = value.shape.has_value();
  if (!value.shape.has_value()) return interface;
  for (const Dim& dim : *value.shape) {
    interface.dims.push_back(dim.is_constant() ? dim.constant() : -1);
    interface.symbols.push_back(dim.is_constant() ? std::string() : symbols.ToString(dim));
  }
  return interface;
}

// Why the graph cannot be compiled to a program, or nothing.
std::string NeedsInterpreter(const Graph& graph) {
  const auto check = [&](const Value* value, const std::string& what) -> std::string {
    if (value == nullptr) return {};
    if (value->dtype == tensor::DType::kBytes) return what + " holds strings";
    if (!value->shape.has_value()) return "the rank of " + what + " is not known before it runs";
    if (value->shape->size() > tensor::kMaxRank) return "the rank of " + what + " is above 8";
    for (const Dim& dim : *value->shape) {
      if (graph.symbols().IsDataDependent(dim)) return "the shape of " + what + " depends on data";
    }
    return {};
  };
  for (const Value* value : graph.inputs()) {
    if (!value->shape.has_value()) return "the rank of input '" + value->name + "' is open";
    if (std::string why = check(value, "input '" + value->name + "'"); !why.empty()) return why;
  }
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    const std::string what = "node '" + node->name + "' (" + std::string(node->op_name()) + ")";
    if (!node->subgraphs.empty()) return what + " is control flow";
    for (const Value* value : node->inputs) {
      if (value != nullptr && value->dtype == tensor::DType::kBytes) return what + " reads strings";
    }
    for (const Value* value : node->outputs) {
      if (std::string why = check(value, what); !why.empty()) return why;
    }
  }
  for (const GraphOutput& output : graph.outputs()) {
    const std::string what = "output '" + output.name + "'";
    if (std::string why = check(output.value, what); !why.empty()) return why;
  }
  return {};
}

// Makes the bytes of all constants, also those that subgraphs alone read: a file is not read while
// the model runs. The sum of the outermost graph's.
int64_t MakeConstants(const Graph& graph) {
  int64_t bytes = 0;
  for (const Value* value : graph.Constants()) {
    (void)value->constant->buffer.data();
    bytes += value->constant->bytes();
  }
  for (const Node* node = graph.first(); node != nullptr; node = node->next) {
    for (const Subgraph& subgraph : node->subgraphs) MakeConstants(*subgraph.graph);
  }
  return bytes;
}

base::Status CheckShapes(const std::vector<TensorInterface>& inputs,
                         std::span<const tensor::Shape> shapes) {
  if (shapes.size() != inputs.size()) {
    return base::InvalidArgument("expected " + std::to_string(inputs.size()) + " inputs, got " +
                                 std::to_string(shapes.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorInterface& input = inputs[i];
    bool fits = !input.rank_known || shapes[i].rank() == static_cast<int>(input.dims.size());
    for (int axis = 0; fits && input.rank_known && axis < shapes[i].rank(); ++axis) {
      const int64_t wanted = input.dims[static_cast<size_t>(axis)];
      fits = wanted < 0 || wanted == shapes[i][axis];
    }
    if (fits) continue;
    std::string expected = "[";
    for (const int64_t dim : input.dims)
      expected += (expected.size() > 1 ? ", " : "") + std::to_string(dim);
    return base::InvalidArgument("input '" + input.name + "' has shape " + shapes[i].ToString() +
                                 ", expected " + expected + "]");
  }
  return base::Ok();
}

}  // namespace

Model::Model() = default;
Model::~Model() = default;

base::Result<std::shared_ptr<const Model>> Model::Load(const std::string& path,
                                                       const CompileOptions& options) {
  CompileOptions resolved = options;
  if (!options.weights.has_value()) resolved.weights = TRY(ReadWeightChoice(path));
  return Compile(TRY(ReadOnnxFile(path, options.read)), resolved);
}

base::Result<std::shared_ptr<const Model>> Model::LoadBytes(std::string_view bytes,
                                                            const CompileOptions& options) {
  return Compile(TRY(ReadOnnx(bytes, nullptr, options.read)), options);
}

base::Result<std::shared_ptr<const Model>> Model::Compile(OnnxModel source,
                                                          const CompileOptions& options) {
  std::unique_ptr<Graph> graph = std::move(source.graph);
  std::shared_ptr<Model> model(new Model());
  model->options_ = options;
  model->producer_ = source.producer;
  model->opset_ = source.opset;
  for (const Value* input : graph->inputs()) {
    model->inputs_.push_back(InterfaceOf(graph->symbols(), input->name, *input));
  }
  for (const GraphOutput& output : graph->outputs()) {
    model->outputs_.push_back(InterfaceOf(graph->symbols(), output.name, *output.value));
  }
  PassOptions cleaning = options.passes;
  cleaning.fuse = false;
  model->passes_ = TRY(RunPasses(*graph, cleaning));
  PassOptions fusing = options.passes;
  if (options.passes.fuse) {
    BoundedLength bounded = TRY(BoundLength(*graph));
    if (bounded.graph != nullptr) {
      graph = std::move(bounded.graph);
      fusing.length_max = bounded.length_max;
      (void)TRY(RunPasses(*graph, cleaning));
    }
  }
  model->batchability_ = ProveBatchability(*graph);
  if (options.batch == CompileOptions::Batch::kNever)
    model->batchability_ = {false, "the configuration says so"};
  if (options.batch == CompileOptions::Batch::kDeclare) {
    model->batchability_ = {
        true, "declared by the configuration" +
                  (model->batchability_.joinable ? std::string()
                                                 : "; not proven: " + model->batchability_.reason)};
  }
  model->interpreted_reason_ = NeedsInterpreter(*graph);
  model->interpreted_ = !model->interpreted_reason_.empty();
  if (model->interpreted_) {
    if (FindPaddingMask(*graph) != nullptr) {
      model->ragged_reason_ = "the interpreter runs it: " + model->interpreted_reason_;
    }
    model->compiled_ = std::make_unique<CompiledGraph>();
    model->weights_bytes_ = MakeConstants(*graph);
    model->compiled_->graph = std::move(graph);
  } else {
    fusing.weights = options.weights.value_or(WeightChoice());
    PassResult fused = TRY(RunPasses(*graph, fusing));
    for (PassReport& report : fused.reports) model->passes_.reports.push_back(report);
    for (NearMiss& miss : fused.near_misses) model->passes_.near_misses.push_back(std::move(miss));
    if (!fused.ragged.reason.empty()) model->ragged_reason_ = fused.ragged.reason;
    if (fused.ragged.graph != nullptr && options.batch == CompileOptions::Batch::kProve &&
        !model->batchability_.joinable) {
      // What keeps tokens apart keeps sequences apart.
      model->batchability_ = {true, "the ragged form keeps sequences apart"};
    }
    TRY(PackGraphs(std::move(graph), std::move(fused.ragged.graph), model->compiled_,
                   model->ragged_));
    model->ragged_form_ = std::move(fused.ragged.form);
    model->weights_bytes_ = model->compiled_->weights_bytes;
  }
  model->plans_ = std::make_unique<PlanCache>(options.plans_max);
  return std::shared_ptr<const Model>(std::move(model));
}

base::Result<std::shared_ptr<const Plan>> Model::PlanFor(
    std::span<const tensor::Shape> shapes) const {
  if (std::shared_ptr<const Plan> plan = plans_->Find(shapes)) return plan;
  return plans_->Add(TRY(NewPlan(shapes)));
}

base::Result<std::unique_ptr<const Plan>> Model::NewPlan(
    std::span<const tensor::Shape> shapes) const {
  TRY(CheckShapes(inputs_, shapes));
  std::unique_ptr<Plan> plan;
  if (interpreted_) {
    plan = std::make_unique<Plan>();
    plan->interpreted = true;
    plan->input_shapes.assign(shapes.begin(), shapes.end());
  } else {
    plan = TRY(MakePlan(*compiled_, shapes, options_.rates));
  }
  return std::unique_ptr<const Plan>(std::move(plan));
}

base::Result<std::unique_ptr<const Plan>> Model::NewRaggedPlan(int64_t tokens,
                                                               int64_t sequences) const {
  CHECK(ragged_ != nullptr);
  std::vector<tensor::Shape> shapes;
  for (const RaggedForm::Input& input : ragged_form_.inputs) {
    tensor::Shape shape;
    switch (input.feed) {
      case RaggedForm::Feed::kStarts:
        shape.Append(sequences + 1);
        break;
      case RaggedForm::Feed::kPositions:
        shape.Append(tokens);
        break;
      case RaggedForm::Feed::kTokens:
      case RaggedForm::Feed::kSequences: {
        const bool packed = input.feed == RaggedForm::Feed::kTokens;
        const std::vector<int64_t>& dims = inputs_[static_cast<size_t>(input.index)].dims;
        shape.Append(packed ? 1 : sequences);
        if (packed) shape.Append(tokens);
        for (size_t axis = packed ? 2 : 1; axis < dims.size(); ++axis) shape.Append(dims[axis]);
        break;
      }
    }
    shapes.push_back(shape);
  }
  return std::unique_ptr<const Plan>(TRY(MakePlan(*ragged_, shapes, options_.rates)));
}

base::Result<std::vector<tensor::Tensor>> Model::Interpret(
    std::span<const tensor::Tensor> inputs) const {
  CHECK(interpreted_);
  Interpreter interpreter(*compiled_->graph, {.bytes_max = options_.interpreted_bytes_max});
  return interpreter.Run(inputs);
}

std::string Model::DumpGraph() const {
  return Dump(*compiled_->graph);
}

std::string Model::DumpRagged() const {
  return ragged_ == nullptr ? std::string() : Dump(*ragged_->graph);
}

}  // namespace sluice::graph
