#include "infer/served_model.h"

#include <algorithm>

#include "base/files.h"
#include "infer/planner.h"
#include "infer/ragged_plans.h"
#include "infer/serve_step.h"

namespace sluice::infer {
namespace {

constexpr int64_t kTokensProbeMax = 32768;  // no model is tried with longer texts than this
constexpr int64_t kTokensUsual = 512;       // the table of positions of most encoders
constexpr int64_t kActivationFloor = int64_t{1} << 20;
constexpr int64_t kActivationUsual = int64_t{128} << 20;
constexpr int64_t kUnitsMax = 16384;  // tokens' worth of work of a step
constexpr int64_t kFill = 512;  // what an open dimension is taken for, when memory is reserved

bool HasTokenizer(const std::string& folder) {
  const base::Result<std::vector<base::FolderEntry>> entries = base::ListFolder(folder);
  if (!entries.ok()) return false;
  return std::any_of(entries->begin(), entries->end(), [](const base::FolderEntry& entry) {
    return !entry.is_folder && entry.name == "tokenizer.json";
  });
}

// The model's input shapes with every open dimension at `fill`, the first at `rows`.
std::vector<tensor::Shape> ShapesFilled(const graph::Model& model, int64_t rows, int64_t fill) {
  std::vector<tensor::Shape> shapes;
  for (const graph::TensorInterface& input : model.inputs()) {
    tensor::Shape shape;
    for (size_t axis = 0; axis < input.dims.size(); ++axis) {
      shape.Append(input.dims[axis] >= 0 ? input.dims[axis] : axis == 0 ? rows : fill);
    }
    shapes.push_back(shape);
  }
  return shapes;
}

// The longest text that the model can be planned for: beyond its table of positions no plan exists.
int64_t LongestText(const graph::Model& model) {
  const auto takes = [&](int64_t length) {
    return model.NewPlan(ShapesFilled(model, 1, length)).ok();
  };
  if (takes(kTokensUsual) && !takes(kTokensUsual + 1)) return kTokensUsual;
  if (takes(kTokensProbeMax)) return kTokensProbeMax;
  int64_t good = 0, bad = kTokensProbeMax;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    (takes(middle) ? good : bad) = middle;
  }
  return good;
}

int FindInput(const graph::Model& model, std::string_view name) {
  for (size_t i = 0; i < model.inputs().size(); ++i) {
    const graph::TensorInterface& input = model.inputs()[i];
    if (input.name == name &&
        (input.dtype == tensor::DType::kI64 || input.dtype == tensor::DType::kI32) &&
        input.dims.size() == 2) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

base::Status ReadTokenizer(const std::string& folder, ServedModel& served) {
  served.tokenizer = TRY(text::Tokenizer::Load(folder + "/tokenizer.json"));
  served.ids_input = FindInput(*served.graph, "input_ids");
  served.mask_input = FindInput(*served.graph, "attention_mask");
  served.types_input = FindInput(*served.graph, "token_type_ids");
  if (served.ids_input < 0) {
    return base::InvalidArgument(
        folder +
        " has a tokenizer.json, but the model has no integer input 'input_ids' of two dimensions");
  }
  const int64_t length = LongestText(*served.graph);
  served.text_tokens_max = length;
  if (const auto& truncation = served.tokenizer->truncation();
      truncation.has_value() && truncation->length_max > 0) {
    served.text_tokens_max = std::min(length, truncation->length_max);
  }
  if (served.options.text_tokens_max > 0)
    served.text_tokens_max = std::min(length, served.options.text_tokens_max);
  if (served.text_tokens_max <= served.tokenizer->fixed_tokens(true)) {
    return base::InvalidArgument(folder + ": the model takes texts of " +
                                 std::to_string(served.text_tokens_max) +
                                 " tokens, fewer than its tokenizer adds");
  }
  return base::Ok();
}

void Describe(ServedModel& served) {
  engine::Description& description = served.description;
  description.model = served.options.model;
  description.version = served.options.version;
  description.platform = "onnx";
  if (served.tokenizer != nullptr) {
    description.inputs.push_back({"text", tensor::DType::kBytes, {-1}, false});
    description.inputs.push_back({"text_pair", tensor::DType::kBytes, {-1}, true});
  }
  for (size_t i = 0; i < served.graph->inputs().size(); ++i) {
    if (served.TakesFromText(static_cast<int>(i))) continue;
    const graph::TensorInterface& input = served.graph->inputs()[i];
    description.inputs.push_back({input.name, input.dtype, input.dims, false});
  }
  for (const graph::TensorInterface& output : served.graph->outputs()) {
    description.outputs.push_back({output.name, output.dtype, output.dims, false});
  }
  description.batch_rows_max = served.rows_max;
  description.larger_requests = served.rows_open;
  description.batch_reason = served.graph->batchability().reason;
}

// As many rows as may be answered at once, where the answers are large.
int64_t RowsAnswered(const ServedModel& served) {
  const int64_t fill = served.tokenizer != nullptr ? served.text_tokens_max : kFill;
  const auto plan = served.graph->NewPlan(ShapesFilled(*served.graph, 1, fill));
  if (!plan.ok()) return served.rows_max;
  int64_t bytes = 0;  // of one row
  for (size_t i = 0; i < (*plan)->output_shapes.size(); ++i) {
    bytes +=
        (*plan)->output_shapes[i].elements() * tensor::DTypeSize(served.graph->outputs()[i].dtype);
  }
  const int64_t rows = served.options.output_bytes_max / std::max<int64_t>(1, bytes);
  return std::clamp<int64_t>(rows, 1, served.rows_max);
}

// Memory of a slot: what the largest usual step takes, at most kActivationUsual, unless one row
// needs more, and never above the limit. Larger steps run in parts, which are no slower beyond some
// thousand tokens.
int64_t ActivationBytes(const ServedModel& served) {
  if (served.graph->interpreted()) return kActivationFloor;
  const int64_t fill = served.tokenizer != nullptr ? served.text_tokens_max : kFill;
  const auto needed = [&](int64_t rows) {
    for (const int64_t length : {fill, int64_t{1}}) {
      const auto plan = served.graph->NewPlan(ShapesFilled(*served.graph, rows, length));
      if (plan.ok()) return RunBytes(served, **plan);
    }
    return kActivationFloor;
  };
  int64_t bytes = needed(std::max<int64_t>(served.rows_max, 1));
  if (bytes > kActivationUsual && served.rows_max > 0) {
    bytes = std::max(kActivationUsual, needed(1));
  }
  return std::clamp(bytes, kActivationFloor, served.options.activation_bytes_max);
}

// Plans that any traffic will want: where only the rows vary, powers of two of them.
void PlanUsualSteps(const ServedModel& served) {
  if (served.graph->interpreted()) return;
  const bool rows_apart = served.rows_max > 0;
  for (const graph::TensorInterface& input : served.graph->inputs()) {
    if (!input.rank_known) return;
    for (size_t axis = rows_apart ? 1 : 0; axis < input.dims.size(); ++axis) {
      if (input.dims[axis] < 0) return;
    }
  }
  const std::shared_ptr<PlanFamily> family =
      served.plans->Get(ShapesFilled(*served.graph, 1, 1), rows_apart);
  for (int64_t rows = 1; rows <= std::max<int64_t>(served.rows_max, 1); rows *= 2) {
    AddPlans(served, *family, rows);
  }
}

std::string OwnerOf(const Options& options, const char* what) {
  return "model " + options.model + "/" + std::to_string(options.version) + " " + what;
}

// No message carries a storage type.
base::Status CheckInterface(const std::vector<graph::TensorInterface>& tensors,
                            std::string_view kind) {
  for (const graph::TensorInterface& tensor : tensors) {
    if (!tensor::IsStorage(tensor.dtype)) continue;
    return base::Unimplemented(std::string(kind) + " '" + tensor.name + "' has the element type " +
                               std::string(tensor::DTypeName(tensor.dtype)) +
                               ", which no request carries");
  }
  return base::Ok();
}

}  // namespace

ServedModel::ServedModel() = default;
ServedModel::~ServedModel() = default;

base::Result<std::shared_ptr<const ServedModel>> LoadServedModel(const std::string& folder,
                                                                 const Options& options) {
  auto served = std::make_shared<ServedModel>();
  served->options = options;
  graph::CompileOptions compile = options.compile;
  using Batch = graph::CompileOptions::Batch;
  compile.batch = options.batch_rows_max > 0    ? Batch::kDeclare
                  : options.batch_rows_max == 0 ? Batch::kNever
                                                : Batch::kProve;
  served->graph = TRY(graph::Model::Load(folder + "/" + options.model_file, compile));
  TRY(CheckInterface(served->graph->inputs(), "input"));
  TRY(CheckInterface(served->graph->outputs(), "output"));
  const bool joinable = served->graph->batchability().joinable && !served->graph->interpreted();
  if (joinable)
    served->rows_max = options.batch_rows_max > 0 ? options.batch_rows_max : Options::kRowsDefault;
  served->rows_open = options.batch_rows_max < 0;
  if (HasTokenizer(folder)) TRY(ReadTokenizer(folder, *served));
  if (served->rows_max > 0 && served->rows_open) served->rows_max = RowsAnswered(*served);
  Describe(*served);
  served->activation_bytes = ActivationBytes(*served);
  PlanFamilies::Options plans;
  plans.bytes_max = options.plan_bytes_max;
  plans.ledger = options.ledger;
  plans.owner = OwnerOf(options, "plans");
  served->plans = std::make_unique<PlanFamilies>(std::move(plans));
  if (served->graph->ragged() != nullptr) {
    served->ragged = TRY(RaggedPlans::Create(*served->graph, served->activation_bytes));
  }
  if (served->ragged != nullptr) {
    served->units_max = kUnitsMax;
    if (options.batch_rows_max > 0) {
      const int64_t longest = std::min(served->graph->ragged()->length_max, kUnitsMax);
      served->units_max = std::min(kUnitsMax, options.batch_rows_max * longest);
    }
  }
  PlanUsualSteps(*served);
  return std::shared_ptr<const ServedModel>(std::move(served));
}

}  // namespace sluice::infer
