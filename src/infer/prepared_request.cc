#include "infer/prepared_request.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "infer/planner.h"
#include "infer/ragged_plans.h"
#include "infer/ragged_step.h"
#include "infer/text_input.h"

namespace sluice::infer {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

std::string DimsText(const std::vector<int64_t>& dims) {
  std::string text = "[";
  for (const int64_t dim : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

std::string NamesText(const std::vector<graph::TensorInterface>& tensors) {
  std::string text;
  for (const graph::TensorInterface& tensor : tensors)
    text += (text.empty() ? "'" : ", '") + tensor.name + "'";
  return text;
}

base::Status CheckInput(const graph::TensorInterface& input, const Tensor& tensor) {
  if (tensor.dtype != input.dtype) {
    return base::InvalidArgument("input '" + input.name + "' has datatype " +
                                 std::string(tensor::DTypeName(tensor.dtype)) + ", expected " +
                                 std::string(tensor::DTypeName(input.dtype)));
  }
  bool fits = !input.rank_known || tensor.shape.rank() == static_cast<int>(input.dims.size());
  for (int axis = 0; fits && input.rank_known && axis < tensor.shape.rank(); ++axis) {
    const int64_t wanted = input.dims[static_cast<size_t>(axis)];
    fits = wanted < 0 || wanted == tensor.shape[axis];
  }
  if (fits) return base::Ok();
  return base::InvalidArgument("input '" + input.name + "' has shape " + tensor.shape.ToString() +
                               ", expected " + DimsText(input.dims));
}

// Kernels read elements where they lie, so bytes from a socket may need to move.
Tensor Aligned(const Tensor& tensor) {
  const auto address = reinterpret_cast<uintptr_t>(tensor.buffer.data());
  if (tensor.dtype == DType::kBytes ||
      address % static_cast<uintptr_t>(tensor::DTypeSize(tensor.dtype)) == 0)
    return tensor;
  Tensor copy{tensor.dtype, tensor.shape, tensor::Buffer::Allocate(tensor.buffer.bytes())};
  std::memcpy(copy.buffer.mutable_data(), tensor.buffer.data(),
              static_cast<size_t>(tensor.buffer.bytes()));
  return copy;
}

base::Status CollectInputs(const ServedModel& served, const engine::Request& request,
                           PreparedRequest& prepared) {
  const std::vector<graph::TensorInterface>& inputs = served.graph->inputs();
  prepared.inputs.resize(inputs.size());
  std::vector<bool> given(inputs.size(), false);
  bool has_text = false;
  for (const tensor::NamedTensor& named : request.inputs) {
    if (served.tokenizer != nullptr && (named.name == "text" || named.name == "text_pair")) {
      has_text = true;
      continue;
    }
    const auto found = std::find_if(inputs.begin(), inputs.end(),
                                    [&](const auto& input) { return input.name == named.name; });
    if (found == inputs.end()) {
      return base::InvalidArgument(
          "model '" + served.options.model + "' has no input '" + named.name + "'; it has " +
          (served.tokenizer != nullptr ? "'text', 'text_pair', " : "") + NamesText(inputs));
    }
    const size_t index = static_cast<size_t>(found - inputs.begin());
    if (given[index]) return base::InvalidArgument("input '" + named.name + "' is given twice");
    TRY(CheckInput(*found, named.tensor));
    prepared.inputs[index] = Aligned(named.tensor);
    given[index] = true;
  }
  if (has_text) {
    for (const int filled : {served.ids_input, served.mask_input, served.types_input}) {
      if (filled < 0) continue;
      if (given[static_cast<size_t>(filled)]) {
        return base::InvalidArgument("input '" + inputs[static_cast<size_t>(filled)].name +
                                     "' is given beside 'text', which makes it");
      }
      given[static_cast<size_t>(filled)] = true;
    }
    TRY(EncodeText(served, request, prepared));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (given[i]) continue;
    const bool text = served.TakesFromText(static_cast<int>(i));
    return base::InvalidArgument("input '" + (text ? std::string("text") : inputs[i].name) +
                                 "' of model '" + served.options.model + "' is missing");
  }
  return base::Ok();
}

base::Status ChooseOutputs(const ServedModel& served, const engine::Request& request,
                           PreparedRequest& prepared) {
  const std::vector<graph::TensorInterface>& outputs = served.graph->outputs();
  if (request.outputs.empty()) {
    for (size_t i = 0; i < outputs.size(); ++i) prepared.outputs.push_back(static_cast<int>(i));
  }
  for (const std::string& name : request.outputs) {
    const auto found = std::find_if(outputs.begin(), outputs.end(),
                                    [&](const auto& output) { return output.name == name; });
    if (found == outputs.end()) {
      return base::InvalidArgument("model '" + served.options.model + "' has no output '" + name +
                                   "'; it has " + NamesText(outputs));
    }
    prepared.outputs.push_back(static_cast<int>(found - outputs.begin()));
  }
  return base::Ok();
}

// Rows of dimension 0, one number for all inputs.
base::Status CountRows(const ServedModel& served, PreparedRequest& prepared) {
  prepared.rows = 1;
  if (served.rows_max == 0) return base::Ok();
  for (size_t i = 0; i < prepared.shapes.size(); ++i) {
    const std::string& name = served.graph->inputs()[i].name;
    if (prepared.shapes[i].rank() == 0)
      return base::InvalidArgument("input '" + name + "' has no batch dimension");
    if (i == 0) prepared.rows = prepared.shapes[i][0];
    if (prepared.shapes[i][0] != prepared.rows) {
      return base::InvalidArgument(
          "input '" + name + "' has " + std::to_string(prepared.shapes[i][0]) + " rows, input '" +
          served.graph->inputs()[0].name + "' has " + std::to_string(prepared.rows));
    }
  }
  if (prepared.rows > served.rows_max && !served.rows_open) {
    return base::InvalidArgument("the request has " + std::to_string(prepared.rows) +
                                 " rows, model '" + served.options.model + "' takes at most " +
                                 std::to_string(served.rows_max));
  }
  return base::Ok();
}

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

uint64_t ShapeKey(const ServedModel& served, const PreparedRequest& prepared) {
  uint64_t hash = 0x243F6A8885A308D3u;
  for (const Shape& shape : prepared.shapes) {
    for (int axis = served.rows_max > 0 ? 1 : 0; axis < shape.rank(); ++axis) {
      hash = Mix(hash, static_cast<uint64_t>(shape[axis]));
    }
    hash = Mix(hash, ~static_cast<uint64_t>(shape.rank()));
  }
  // A request that fills a step alone has costs of its own.
  if (prepared.rows > served.rows_max) hash = Mix(hash, static_cast<uint64_t>(prepared.rows));
  return hash;
}

// The answer's size is known now, before any work: it must stay within its limit.
base::Status CheckAnswer(const ServedModel& served, const PreparedRequest& prepared) {
  const graph::Plan& plan = prepared.family->first();
  double bytes = 0;
  for (size_t i = 0; i < plan.output_shapes.size(); ++i) {
    bytes += static_cast<double>(plan.output_shapes[i].elements()) *
             static_cast<double>(tensor::DTypeSize(served.graph->outputs()[i].dtype)) *
             static_cast<double>(prepared.rows);
  }
  if (bytes <= static_cast<double>(served.options.output_bytes_max)) return base::Ok();
  return base::InvalidArgument(
      "the answer would take " + std::to_string(static_cast<int64_t>(bytes)) +
      " bytes, above the limit of " + std::to_string(served.options.output_bytes_max));
}

// What the request costs where steps are counted in tokens; 0: they are counted in rows.
int64_t UnitsOf(const ServedModel& served, const PreparedRequest& prepared) {
  if (served.ragged == nullptr) return 0;
  int64_t units = 0;
  if (!prepared.lengths.empty()) {
    units = served.ragged->Units(prepared.lengths);
  } else {
    // Padded: every row is as long as the mask's.
    const Shape& mask = prepared.shapes[static_cast<size_t>(served.graph->ragged()->mask_input)];
    const int64_t length = mask.rank() == 2 ? std::min<int64_t>(mask[1], INT32_MAX) : 1;
    const int32_t one[] = {static_cast<int32_t>(length)};
    units = static_cast<int64_t>(std::min(
        static_cast<double>(served.units_max),
        static_cast<double>(served.ragged->Units(one)) * static_cast<double>(prepared.rows)));
  }
  return std::clamp<int64_t>(units, 1, served.units_max);
}

}  // namespace

bool SameShapeApartFromRows(const ServedModel& served, const std::vector<Shape>& a,
                            const std::vector<Shape>& b) {
  const int first = served.rows_max > 0 ? 1 : 0;
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const Shape& x, const Shape& y) {
    bool same = x.rank() == y.rank();
    for (int axis = first; same && axis < x.rank(); ++axis) same = x[axis] == y[axis];
    return same;
  });
}

base::Status Complete(const ServedModel& served, PreparedRequest& prepared) {
  if (prepared.complete) return base::Ok();
  if (prepared.family->state() == PlanFamily::State::kFailed) return prepared.family->failure();
  TRY(CheckAnswer(served, prepared));
  const graph::Plan& plan = prepared.family->first();
  for (size_t i = 0; i < prepared.outputs.size(); ++i) {
    Shape& shape = prepared.answer[i].tensor.shape;
    shape = plan.output_shapes[static_cast<size_t>(prepared.outputs[i])];
    if (served.rows_max > 0) shape.set_dim(0, prepared.rows);
  }
  prepared.complete = true;
  return base::Ok();
}

base::Status PrepareRequest(const ServedModel& served, engine::Request& request) {
  auto prepared = std::make_unique<PreparedRequest>();
  TRY(CollectInputs(served, request, *prepared));
  TRY(ChooseOutputs(served, request, *prepared));
  for (const Tensor& tensor : prepared->inputs) prepared->shapes.push_back(tensor.shape);
  TRY(CountRows(served, *prepared));
  prepared->shape = ShapeKey(served, *prepared);
  if (prepared->truncated) {
    prepared->notices.push_back({"truncated", true});
    prepared->notices.push_back({"tokens_max", served.text_tokens_max});
  }
  request.rows = served.rows_max == 0 ? 1 : std::clamp<int64_t>(prepared->rows, 1, served.rows_max);
  if (served.graph->interpreted()) {
    prepared->complete = true;
  } else {
    for (const int output : prepared->outputs) {
      const graph::TensorInterface& interface =
          served.graph->outputs()[static_cast<size_t>(output)];
      prepared->answer.push_back({interface.name, {interface.dtype, {}, {}}});
    }
    TRY(PrepareRagged(served, *prepared));
    request.units = UnitsOf(served, *prepared);
    if (prepared->complete) {
      request.prepared = std::move(prepared);
      return base::Ok();
    }
    prepared->family = served.plans->Get(prepared->shapes, served.rows_max > 0);
    if (served.options.planner == nullptr && prepared->family->state() == PlanFamily::State::kNew) {
      AddPlans(served, *prepared->family, prepared->rows);
    }
    if (prepared->family->state() != PlanFamily::State::kNew) TRY(Complete(served, *prepared));
  }
  request.prepared = std::move(prepared);
  return base::Ok();
}

}  // namespace sluice::infer
