#include "serve/oip/infer_request.h"

#include <algorithm>

namespace sluice::serve {

using base::InvalidArgument;
using engine::Parameter;

namespace {

std::string Quoted(std::string_view name) {
  return "'" + std::string(name.substr(0, 128)) + "'";
}

base::Result<uint64_t> AsUnsigned(std::string_view key, const Parameter& value) {
  if (const auto* u = std::get_if<uint64_t>(&value)) return *u;
  if (const auto* i = std::get_if<int64_t>(&value)) {
    if (*i >= 0) return static_cast<uint64_t>(*i);
  }
  return InvalidArgument("parameter " + Quoted(key) + ": expected an integer >= 0");
}

base::Result<bool> AsFlag(std::string_view key, const Parameter& value) {
  if (const auto* b = std::get_if<bool>(&value)) return *b;
  return InvalidArgument("parameter " + Quoted(key) + ": expected a boolean");
}

bool IsZero(const Parameter& value) {
  if (const auto* u = std::get_if<uint64_t>(&value)) return *u == 0;
  if (const auto* i = std::get_if<int64_t>(&value)) return *i == 0;
  if (const auto* s = std::get_if<std::string>(&value)) return s->empty();
  if (const auto* b = std::get_if<bool>(&value)) return !*b;
  return false;
}

std::string DimsText(std::span<const int64_t> dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? "," : "") + std::to_string(dims[i]);
  return text + "]";
}

bool Fits(std::span<const int64_t> expected, std::span<const int64_t> got) {
  if (expected.size() != got.size()) return false;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] >= 0 && expected[i] != got[i]) return false;
  }
  return true;
}

const engine::TensorSpec* FindSpec(const std::vector<engine::TensorSpec>& specs,
                                   std::string_view name) {
  for (const engine::TensorSpec& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

base::Error MissingInputs(const engine::Description& d, const engine::Request& request) {
  std::string got;
  std::string missing;
  for (const tensor::NamedTensor& input : request.inputs)
    got += (got.empty() ? "" : ",") + Quoted(input.name);
  for (const engine::TensorSpec& spec : d.inputs) {
    bool present = std::any_of(request.inputs.begin(), request.inputs.end(),
                               [&](const tensor::NamedTensor& t) { return t.name == spec.name; });
    if (!present && !spec.optional) missing += (missing.empty() ? "" : ",") + Quoted(spec.name);
  }
  return InvalidArgument("expected " + std::to_string(d.inputs.size()) + " inputs but got " +
                         std::to_string(request.inputs.size()) + " inputs for model " +
                         Quoted(d.model) + ". Got input(s) [" + got +
                         "], but missing required input(s) [" + missing +
                         "]. Please provide all required input(s).");
}

base::Status CheckInput(const engine::Description& d, const tensor::NamedTensor& input,
                        const InferRequest& infer) {
  const engine::TensorSpec* spec = FindSpec(d.inputs, input.name);
  if (spec == nullptr) {
    return InvalidArgument("unexpected inference input " + Quoted(input.name) + " for model " +
                           Quoted(d.model));
  }
  const std::vector<tensor::NamedTensor>& all = infer.request->inputs;
  if (d.inputs.size() > 1) {
    auto same =
        std::count_if(all.begin(), all.end(), [&](const auto& t) { return t.name == input.name; });
    if (same > 1)
      return InvalidArgument("input " + Quoted(input.name) + " already exists in request");
  }
  if (input.tensor.dtype != spec->dtype) {
    return InvalidArgument("inference input " + Quoted(input.name) + " data-type is '" +
                           std::string(DTypeName(input.tensor.dtype)) + "', but model " +
                           Quoted(d.model) + " expects '" + std::string(DTypeName(spec->dtype)) +
                           "'");
  }
  if (!Fits(spec->dims, input.tensor.shape.dims())) {
    return InvalidArgument("unexpected shape for input " + Quoted(input.name) + " for model " +
                           Quoted(d.model) + ". Expected " + DimsText(spec->dims) + ", got " +
                           DimsText(input.tensor.shape.dims()) + ".");
  }
  if (d.batch_rows_max > 0 && input.tensor.shape.rank() > 0) {
    int64_t rows = input.tensor.shape.dim(0);
    if (rows > d.batch_rows_max && !d.larger_requests) {
      return InvalidArgument(
          "inference request batch-size must be <= " + std::to_string(d.batch_rows_max) + " for " +
          Quoted(d.model) + ", got " + std::to_string(rows));
    }
    if (rows < 1)
      return InvalidArgument("input " + Quoted(input.name) + ": expected at least one row");
    const tensor::Shape& first = all[0].tensor.shape;
    if (first.rank() > 0 && first.dim(0) != rows) {
      return InvalidArgument("input " + Quoted(input.name) +
                             " batch size does not match other inputs for " + Quoted(d.model));
    }
  }
  return base::Ok();
}

}  // namespace

base::Status TakeParameter(std::string_view key, Parameter value, const RequestLimits& limits,
                           InferRequest& infer) {
  if (key == "timeout") {
    uint64_t us = TRY(AsUnsigned(key, value));
    // Zero is Triton's "no timeout".
    if (us > 0)
      infer.timeout =
          base::Duration{static_cast<int64_t>(std::min<uint64_t>(us, INT64_MAX / 1000)) * 1000};
    return base::Ok();
  }
  if (key == "priority") {
    infer.priority =
        static_cast<int64_t>(std::min<uint64_t>(TRY(AsUnsigned(key, value)), INT32_MAX));
    return base::Ok();
  }
  if (key == "binary_data_output") {
    infer.binary_outputs = TRY(AsFlag(key, value));
    return base::Ok();
  }
  if (key == "sequence_id" || key == "sequence_start" || key == "sequence_end") {
    if (IsZero(value)) return base::Ok();
    return base::Unimplemented("parameter " + Quoted(key) + ": sequence batching is not supported");
  }
  if (key == "triton_enable_empty_final_response") {
    infer.empty_final_response = TRY(AsFlag(key, value));
    return base::Ok();
  }
  if (key.starts_with("triton_") || key == "headers") {
    return InvalidArgument("parameter " + Quoted(key) + " is reserved and cannot be specified");
  }
  if (static_cast<int64_t>(infer.request->parameters.size()) >= limits.parameter_count_max) {
    return InvalidArgument("more than " + std::to_string(limits.parameter_count_max) +
                           " parameters");
  }
  if (static_cast<int64_t>(key.size()) > limits.string_bytes_max)
    return InvalidArgument("a parameter's name is too long");
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (static_cast<int64_t>(text->size()) > limits.string_bytes_max) {
      return InvalidArgument("parameter " + Quoted(key) + " is longer than " +
                             std::to_string(limits.string_bytes_max) + " bytes");
    }
  }
  infer.request->parameters.emplace_back(std::string(key), std::move(value));
  return base::Ok();
}

base::Duration ParseGrpcTimeout(std::string_view text) {
  // One to eight digits and a unit: the gRPC wire specification.
  if (text.size() < 2 || text.size() > 9) return base::Duration::Max();
  int64_t value = 0;
  for (char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return base::Duration::Max();
    value = value * 10 + (c - '0');
  }
  switch (text.back()) {
    case 'H':
      return base::Duration::Seconds(3600) * value;
    case 'M':
      return base::Duration::Seconds(60) * value;
    case 'S':
      return base::Duration::Seconds(1) * value;
    case 'm':
      return base::Duration::Millis(1) * value;
    case 'u':
      return base::Duration::Micros(1) * value;
    case 'n':
      return base::Duration{value};
    default:
      return base::Duration::Max();
  }
}

base::Duration ParseMillis(std::string_view text) {
  if (text.empty() || text.size() > 12) return base::Duration::Max();
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return base::Duration::Max();
    value = value * 10 + (c - '0');
  }
  return base::Duration::Millis(1) * value;
}

base::Status CheckAgainstModel(const engine::Description& d, const InferRequest& infer) {
  const engine::Request& request = *infer.request;
  for (const tensor::NamedTensor& input : request.inputs) TRY(CheckInput(d, input, infer));
  size_t required = 0;
  size_t found = 0;
  for (const engine::TensorSpec& spec : d.inputs) {
    if (spec.optional) continue;
    ++required;
    for (const tensor::NamedTensor& input : request.inputs) {
      if (input.name == spec.name) {
        ++found;
        break;
      }
    }
  }
  if (found < required) return MissingInputs(d, request);
  // With one input in the model the loop above cannot see a duplicate; counting does.
  if (request.inputs.size() > d.inputs.size()) {
    return InvalidArgument("input " + Quoted(request.inputs.back().name) +
                           " already exists in request");
  }
  for (size_t i = 0; i < infer.outputs.size(); ++i) {
    const std::string& name = infer.outputs[i].name;
    if (FindSpec(d.outputs, name) == nullptr) {
      return InvalidArgument("unexpected inference output " + Quoted(name) + " for model " +
                             Quoted(d.model));
    }
    for (size_t j = 0; j < i; ++j) {
      if (infer.outputs[j].name == name)
        return InvalidArgument("output " + Quoted(name) + " already requested");
    }
  }
  return base::Ok();
}

base::Status Ready(const CallContext& context, InferRequest& infer) {
  const ServedModel& model = *infer.model;
  const ModelSettings& settings = model.settings;
  base::Duration allowed = std::min(infer.timeout, context.transport_timeout);
  if (allowed == base::Duration::Max() && settings.default_timeout.ns > 0)
    allowed = settings.default_timeout;
  engine::Call::Options options;
  if (allowed != base::Duration::Max()) options.deadline = context.arrival + allowed;
  int64_t priority = infer.priority > 0 ? infer.priority : settings.default_priority;
  if (settings.priority_levels > 0)
    priority = std::min<int64_t>(priority, settings.priority_levels);
  options.priority = static_cast<int>(priority);
  options.tenant = context.tenant;
  options.trace_parent = context.trace_parent;
  options.takes_chunks = context.takes_chunks;
  options.ttft = context.ttft;
  options.tpot = context.tpot;
  engine::Request& request = *infer.request;
  request.call = std::make_shared<engine::Call>(std::move(options));
  request.arrival = context.arrival;
  TRY(CheckAgainstModel(model.description(), infer));
  for (const WantedOutput& output : infer.outputs) request.outputs.push_back(output.name);
  return base::Ok();
}

}  // namespace sluice::serve
