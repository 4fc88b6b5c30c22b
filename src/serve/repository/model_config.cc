#include "serve/repository/model_config.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "serve/repository/config_fields.h"
#include "tensor/shape.h"

namespace sluice::serve {

using base::InvalidArgument;
using inference::DataType;
using tensor::DType;

namespace {

constexpr int kConfigDepthMax = 32;
constexpr int kWarmupsMax = 256;
constexpr int64_t kWarmupCountMax = 10000;
constexpr int64_t kBatchMax = 1 << 20;

struct TypePair {
  DataType wire;
  DType dtype;
};
constexpr TypePair kTypes[] = {
    {inference::TYPE_BOOL, DType::kBool},    {inference::TYPE_UINT8, DType::kU8},
    {inference::TYPE_UINT16, DType::kU16},   {inference::TYPE_UINT32, DType::kU32},
    {inference::TYPE_UINT64, DType::kU64},   {inference::TYPE_INT8, DType::kI8},
    {inference::TYPE_INT16, DType::kI16},    {inference::TYPE_INT32, DType::kI32},
    {inference::TYPE_INT64, DType::kI64},    {inference::TYPE_FP16, DType::kF16},
    {inference::TYPE_FP32, DType::kF32},     {inference::TYPE_FP64, DType::kF64},
    {inference::TYPE_STRING, DType::kBytes}, {inference::TYPE_BF16, DType::kBF16},
};

base::Result<DType> TypeOf(DataType wire, const std::string& path) {
  for (const TypePair& pair : kTypes) {
    if (pair.wire == wire) return pair.dtype;
  }
  return InvalidArgument("config field '" + path + ".data_type': expected a type, got " +
                         inference::DataType_Name(wire));
}

DataType WireOf(DType dtype) {
  for (const TypePair& pair : kTypes) {
    if (pair.dtype == dtype) return pair.wire;
  }
  return inference::TYPE_INVALID;
}

// Keeps the first complaint of protobuf's parser.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text.empty()) {
      text = "line " + std::to_string(line + 1) + ", column " + std::to_string(column + 1) + ": " +
             message;
    }
  }
  std::string text;
};

template <class Tensor>
base::Result<engine::TensorSpec> SpecOf(const Tensor& tensor, const std::string& path) {
  engine::TensorSpec spec;
  spec.name = tensor.name();
  if (spec.name.empty()) return InvalidArgument("config field '" + path + ".name' is empty");
  spec.dtype = TRY(TypeOf(tensor.data_type(), path));
  if (tensor.dims_size() > tensor::kMaxRank) {
    return InvalidArgument("config field '" + path + ".dims': expected at most " +
                           std::to_string(tensor::kMaxRank) + " dimensions");
  }
  for (int64_t dim : tensor.dims()) {
    if (dim < -1 || dim == 0)
      return InvalidArgument("config field '" + path + ".dims': expected -1 or > 0");
    spec.dims.push_back(dim);
  }
  return spec;
}

base::Result<VersionChoice> VersionsOf(const inference::ModelVersionPolicy& policy) {
  VersionChoice choice;
  if (policy.has_latest()) {
    choice.latest_count = policy.latest().num_versions();
    if (choice.latest_count == 0) {
      return InvalidArgument("config field 'version_policy.latest.num_versions': expected > 0");
    }
  } else if (policy.has_all()) {
    choice.policy = VersionPolicy::kAll;
  } else if (policy.has_specific()) {
    choice.policy = VersionPolicy::kSpecific;
    choice.versions.assign(policy.specific().versions().begin(),
                           policy.specific().versions().end());
  }
  return choice;
}

base::Status ReadBatching(const inference::ModelDynamicBatching& batching,
                          ModelSettings& settings) {
  auto micros = [](uint64_t us, const char* field) -> base::Result<base::Duration> {
    constexpr uint64_t kDayMicros = 24ull * 3600 * 1000 * 1000;
    if (us > kDayMicros)
      return InvalidArgument("config field '" + std::string(field) + "': expected at most a day");
    return base::Duration::Micros(static_cast<int64_t>(us));
  };
  settings.max_queue_delay = TRY(micros(batching.max_queue_delay_microseconds(),
                                        "dynamic_batching.max_queue_delay_microseconds"));
  const inference::ModelQueuePolicy& policy = batching.default_queue_policy();
  settings.default_timeout =
      TRY(micros(policy.default_timeout_microseconds(),
                 "dynamic_batching.default_queue_policy.default_timeout_microseconds"));
  settings.queue_requests_max = policy.max_queue_size();
  constexpr uint64_t kLevelsMax = 1000;
  if (batching.priority_levels() > kLevelsMax ||
      batching.default_priority_level() > batching.priority_levels()) {
    return InvalidArgument(
        "config field 'dynamic_batching.default_priority_level': expected at most priority_levels, "
        "and those at most " +
        std::to_string(kLevelsMax));
  }
  if (batching.priority_levels() > 0 && batching.default_priority_level() == 0) {
    return InvalidArgument(
        "config field 'dynamic_batching.default_priority_level': expected > 0 with "
        "priority_levels");
  }
  settings.priority_levels = static_cast<int>(batching.priority_levels());
  settings.default_priority = static_cast<int>(batching.default_priority_level());
  return base::Ok();
}

base::Result<WarmupRequest> WarmupOf(const inference::ModelWarmup& warmup) {
  WarmupRequest request;
  request.name = warmup.name();
  request.batch_rows = warmup.batch_size();
  request.count = std::max<int64_t>(1, warmup.count());
  if (request.count > kWarmupCountMax || request.batch_rows > kBatchMax) {
    return InvalidArgument("config field 'model_warmup': count or batch_size is too large");
  }
  for (const auto& [name, input] : warmup.inputs()) {
    WarmupRequest::Input out;
    out.dtype = TRY(TypeOf(input.data_type(), "model_warmup.inputs"));
    for (int64_t dim : input.dims()) {
      if (dim < 0) return InvalidArgument("config field 'model_warmup.inputs.dims': expected >= 0");
      out.dims.push_back(dim);
    }
    out.random = input.random_data();
    out.file = input.input_data_file();
    request.inputs[name] = std::move(out);
  }
  return request;
}

base::Status CheckPlatform(const inference::ModelConfig& config) {
  constexpr std::string_view kPlatforms[] = {"", "onnx", "onnxruntime_onnx"};
  constexpr std::string_view kBackends[] = {"", "onnxruntime", "sluice", "openvino"};
  if (std::find(std::begin(kPlatforms), std::end(kPlatforms), config.platform()) ==
      std::end(kPlatforms)) {
    return base::Unimplemented("config field 'platform': expected onnxruntime_onnx or none, got '" +
                               config.platform() + "'");
  }
  if (std::find(std::begin(kBackends), std::end(kBackends), config.backend()) ==
      std::end(kBackends)) {
    return base::Unimplemented("config field 'backend': expected onnxruntime or none, got '" +
                               config.backend() + "'");
  }
  return base::Ok();
}

bool SameDims(const std::vector<int64_t>& declared, std::vector<int64_t> actual, bool has_batch) {
  if (has_batch && !actual.empty()) actual.erase(actual.begin());
  if (declared.size() != actual.size()) return false;
  for (size_t i = 0; i < declared.size(); ++i) {
    if (declared[i] >= 0 && actual[i] >= 0 && declared[i] != actual[i]) return false;
  }
  return true;
}

std::string DimsText(const std::vector<int64_t>& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

base::Status CheckSpecs(const std::vector<engine::TensorSpec>& declared,
                        const std::vector<engine::TensorSpec>& actual, bool has_batch,
                        const char* field) {
  for (const engine::TensorSpec& spec : declared) {
    auto found = std::find_if(actual.begin(), actual.end(),
                              [&](const auto& a) { return a.name == spec.name; });
    std::string at = std::string("config field '") + field + "': tensor '" + spec.name + "' ";
    if (found == actual.end()) return InvalidArgument(at + "is not in the model");
    if (found->dtype != spec.dtype) {
      return InvalidArgument(at + "has data type " + std::string(DTypeName(found->dtype)) +
                             " in the model, not " + std::string(DTypeName(spec.dtype)));
    }
    if (!SameDims(spec.dims, found->dims, has_batch)) {
      return InvalidArgument(at + "has dims " + DimsText(found->dims) +
                             (has_batch ? " with the batch" : "") + " in the model, not " +
                             DimsText(spec.dims));
    }
  }
  return base::Ok();
}

}  // namespace

base::Result<inference::ModelConfig> ParseConfigText(std::string_view text) {
  if (static_cast<int64_t>(text.size()) > kConfigBytesMax) {
    return InvalidArgument("the configuration is longer than " + std::to_string(kConfigBytesMax) +
                           " bytes");
  }
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kConfigDepthMax);
  inference::ModelConfig config;
  if (!parser.ParseFromString(std::string(text), &config))
    return InvalidArgument("config.pbtxt: " + error.text);
  return config;
}

base::Result<inference::ModelConfig> ParseConfigJson(std::string_view json) {
  if (static_cast<int64_t>(json.size()) > kConfigBytesMax) {
    return InvalidArgument("the configuration is longer than " + std::to_string(kConfigBytesMax) +
                           " bytes");
  }
  inference::ModelConfig config;
  auto status = google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, &config);
  if (!status.ok()) {
    return InvalidArgument("load parameter 'config': " +
                           std::string(status.message().data(), status.message().size()));
  }
  return config;
}

base::Result<ConfigReading> ReadConfig(const inference::ModelConfig& config,
                                       std::string_view folder_name) {
  ConfigReading reading;
  reading.notices = TRY(CheckConfigFields(config));
  TRY(CheckPlatform(config));
  if (!config.name().empty() && config.name() != folder_name) {
    return InvalidArgument("config field 'name': expected '" + std::string(folder_name) +
                           "', the folder's, got '" + config.name() + "'");
  }
  ModelSettings& settings = reading.settings;
  if (config.max_batch_size() < 0 || config.max_batch_size() > kBatchMax) {
    return InvalidArgument("config field 'max_batch_size': expected 0 to " +
                           std::to_string(kBatchMax));
  }
  // A configuration that spells out its tensors and no batch size means "no batch"; one that does
  // not leaves it open.
  bool spelled = config.input_size() > 0;
  settings.max_batch_size = config.max_batch_size() > 0 || spelled ? config.max_batch_size() : -1;
  for (const auto& input : config.input()) {
    engine::TensorSpec spec = TRY(SpecOf(input, "input"));
    spec.optional = input.optional();
    settings.inputs.push_back(std::move(spec));
  }
  for (const auto& output : config.output()) {
    engine::TensorSpec spec = TRY(SpecOf(output, "output"));
    settings.outputs.push_back(std::move(spec));
  }
  TRY(ReadBatching(config.dynamic_batching(), settings));
  for (const auto& [key, value] : config.parameters())
    settings.parameters[key] = value.string_value();
  if (config.model_warmup_size() > kWarmupsMax) {
    return InvalidArgument("config field 'model_warmup': more than " + std::to_string(kWarmupsMax));
  }
  for (const auto& warmup : config.model_warmup()) {
    WarmupRequest request = TRY(WarmupOf(warmup));
    settings.warmups.push_back(std::move(request));
  }
  for (const auto& group : config.instance_group()) {
    settings.instance_count = std::max<int64_t>(settings.instance_count, group.count());
  }
  reading.versions = TRY(VersionsOf(config.version_policy()));
  if (!config.default_model_filename().empty())
    reading.model_file = config.default_model_filename();
  reading.platform = config.platform();
  return reading;
}

base::Status CheckDeclared(const ModelSettings& settings, const engine::Description& d) {
  if (settings.max_batch_size > 0 && d.batch_rows_max == 0) {
    return InvalidArgument(
        "config field 'max_batch_size': the rows of this model cannot be joined: " +
        d.batch_reason);
  }
  TRY(CheckSpecs(settings.inputs, d.inputs, d.batch_rows_max > 0, "input"));
  if (!settings.inputs.empty() && settings.inputs.size() != d.inputs.size()) {
    return InvalidArgument("config field 'input': the model has " +
                           std::to_string(d.inputs.size()) + " inputs, the configuration " +
                           std::to_string(settings.inputs.size()));
  }
  return CheckSpecs(settings.outputs, d.outputs, d.batch_rows_max > 0, "output");
}

void CompleteConfig(const engine::Description& d, inference::ModelConfig& config) {
  bool has_batch = d.batch_rows_max > 0;
  config.set_name(d.model);
  if (config.platform().empty())
    config.set_platform(d.platform == "onnx" ? "onnxruntime_onnx" : d.platform);
  if (config.backend().empty()) config.set_backend(std::string("sluice"));
  config.set_max_batch_size(static_cast<int32_t>(std::min<int64_t>(d.batch_rows_max, INT32_MAX)));
  if (!config.has_version_policy())
    config.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  auto fill = [&](const engine::TensorSpec& spec, auto& out) {
    out.set_name(spec.name);
    out.set_data_type(WireOf(spec.dtype));
    for (size_t i = has_batch ? 1 : 0; i < spec.dims.size(); ++i) out.add_dims(spec.dims[i]);
  };
  if (config.input_size() == 0) {
    for (const engine::TensorSpec& spec : d.inputs) {
      auto& input = *config.add_input();
      fill(spec, input);
      input.set_optional(spec.optional);
    }
  }
  if (config.output_size() == 0) {
    for (const engine::TensorSpec& spec : d.outputs) fill(spec, *config.add_output());
  }
  if (config.instance_group_size() == 0) {
    auto& group = *config.add_instance_group();
    group.set_name(d.model);
    group.set_kind(inference::ModelInstanceGroup::KIND_CPU);
    group.set_count(1);
  }
  if (has_batch && !config.has_dynamic_batching()) config.mutable_dynamic_batching();
  if (config.default_model_filename().empty()) config.set_default_model_filename("model.onnx");
}

}  // namespace sluice::serve
