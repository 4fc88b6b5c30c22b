#include "serve/oip/metadata.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "base/json.h"

namespace sluice::serve {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void WriteMessage(const Message& message, base::JsonWriter& json);

// One value: of a singular field when index is -1, else of a repeated one.
void WriteValue(const Message& message, const FieldDescriptor& field, int index,
                base::JsonWriter& json) {
  const Reflection& r = *message.GetReflection();
  bool single = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      json.Int(single ? r.GetInt32(message, &field) : r.GetRepeatedInt32(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      json.Int(single ? r.GetInt64(message, &field) : r.GetRepeatedInt64(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      json.Uint(single ? r.GetUInt32(message, &field)
                       : r.GetRepeatedUInt32(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      json.Uint(single ? r.GetUInt64(message, &field)
                       : r.GetRepeatedUInt64(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      json.Double(single ? r.GetDouble(message, &field)
                         : r.GetRepeatedDouble(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      json.Float(single ? r.GetFloat(message, &field) : r.GetRepeatedFloat(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      json.Bool(single ? r.GetBool(message, &field) : r.GetRepeatedBool(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      json.String(single ? r.GetEnum(message, &field)->name()
                         : r.GetRepeatedEnum(message, &field, index)->name());
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      json.String(single ? r.GetString(message, &field)
                         : r.GetRepeatedString(message, &field, index));
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      WriteMessage(
          single ? r.GetMessage(message, &field) : r.GetRepeatedMessage(message, &field, index),
          json);
      break;
  }
}

std::string MapKey(const Message& entry, const FieldDescriptor& key) {
  const Reflection& r = *entry.GetReflection();
  switch (key.cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(r.GetUInt64(entry, &key));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(r.GetInt64(entry, &key));
    default:
      return r.GetString(entry, &key);
  }
}

void WriteField(const Message& message, const FieldDescriptor& field, base::JsonWriter& json) {
  const Reflection& r = *message.GetReflection();
  json.Key(field.name());
  if (field.is_map()) {
    json.BeginObject();
    for (int i = 0; i < r.FieldSize(message, &field); ++i) {
      const Message& entry = r.GetRepeatedMessage(message, &field, i);
      json.Key(MapKey(entry, *entry.GetDescriptor()->map_key()));
      WriteValue(entry, *entry.GetDescriptor()->map_value(), -1, json);
    }
    json.EndObject();
  } else if (field.is_repeated()) {
    json.BeginArray();
    for (int i = 0; i < r.FieldSize(message, &field); ++i) WriteValue(message, field, i, json);
    json.EndArray();
  } else {
    WriteValue(message, field, -1, json);
  }
}

void WriteMessage(const Message& message, base::JsonWriter& json) {
  const Reflection& r = *message.GetReflection();
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  json.BeginObject();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    bool optional =
        field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE || field.containing_oneof() != nullptr;
    if (!field.is_repeated() && optional && !r.HasField(message, &field)) continue;
    WriteField(message, field, json);
  }
  json.EndObject();
}

void FillTensor(const engine::TensorSpec& spec,
                inference::ModelMetadataResponse::TensorMetadata& out) {
  out.set_name(spec.name);
  out.set_datatype(std::string(DTypeName(spec.dtype)));
  for (int64_t dim : spec.dims) out.add_shape(dim);
}

void Fill(const engine::CountTime& from, inference::StatisticDuration& to) {
  to.set_count(static_cast<uint64_t>(from.count));
  to.set_ns(static_cast<uint64_t>(from.ns));
}

void FillStatistics(const ServedModel& model, inference::ModelStatistics& out) {
  engine::Statistics::Snapshot s = model.Counts();
  out.set_name(model.name);
  out.set_version(model.version_text);
  out.set_last_inference(static_cast<uint64_t>(s.last_inference_ms));
  out.set_inference_count(static_cast<uint64_t>(s.inference_count));
  out.set_execution_count(static_cast<uint64_t>(s.execution_count));
  inference::InferStatistics& stats = *out.mutable_inference_stats();
  engine::CountTime failed = s.fail;
  failed.count += model.malformed.value();
  Fill(s.success, *stats.mutable_success());
  Fill(failed, *stats.mutable_fail());
  Fill(s.queue, *stats.mutable_queue());
  Fill(s.input, *stats.mutable_compute_input());
  Fill(s.infer, *stats.mutable_compute_infer());
  Fill(s.output, *stats.mutable_compute_output());
  stats.mutable_cache_hit();
  stats.mutable_cache_miss();
  for (const engine::Statistics::Batch& batch : s.batches) {
    inference::InferBatchStatistics& b = *out.add_batch_stats();
    b.set_batch_size(static_cast<uint64_t>(batch.rows));
    Fill(batch.input, *b.mutable_compute_input());
    Fill(batch.infer, *b.mutable_compute_infer());
    Fill(batch.output, *b.mutable_compute_output());
  }
  engine::MemoryUse memory = model.engine->engine().memory();
  inference::MemoryUsage& use = *out.add_memory_usage();
  use.set_type("CPU");
  use.set_byte_size(
      static_cast<uint64_t>(memory.weights_bytes + memory.activation_bytes + memory.state_bytes));
}

}  // namespace

void FillServerMetadata(const Service& service, inference::ServerMetadataResponse& out) {
  out.set_name(std::string(kServerName));
  out.set_version(std::string(kServerVersion));
  for (std::string& name : ServerExtensions(*service.config)) out.add_extensions(std::move(name));
}

base::Status FillModelMetadata(const Service& service, std::string_view name,
                               std::string_view version, inference::ModelMetadataResponse& out) {
  Router::Pin pin = TRY(service.router->Find(name, version));
  out.set_name(pin->name);
  for (const Router::Pin& v : service.router->VersionsOf(name)) out.add_versions(v->version_text);
  out.set_platform(pin->description().platform);
  for (const engine::TensorSpec& spec : pin->description().inputs)
    FillTensor(spec, *out.add_inputs());
  for (const engine::TensorSpec& spec : pin->description().outputs)
    FillTensor(spec, *out.add_outputs());
  return base::Ok();
}

base::Status FillStatistics(const Service& service, std::string_view name, std::string_view version,
                            inference::ModelStatisticsResponse& out) {
  if (!name.empty() && !version.empty()) {
    Router::Pin pin = TRY(service.router->Find(name, version));
    FillStatistics(*pin, *out.add_model_stats());
    return base::Ok();
  }
  if (!name.empty()) TRY(service.router->Find(name, ""));
  std::vector<Router::Pin> pins =
      name.empty() ? service.router->All() : service.router->VersionsOf(name);
  for (const Router::Pin& pin : pins) FillStatistics(*pin, *out.add_model_stats());
  return base::Ok();
}

void FillIndex(const Service& service, bool ready_only, inference::RepositoryIndexResponse& out) {
  for (IndexRow& row : service.control->Index(ready_only)) {
    inference::RepositoryIndexResponse::ModelIndex& index = *out.add_models();
    index.set_name(std::move(row.name));
    index.set_version(std::move(row.version));
    index.set_state(std::move(row.state));
    index.set_reason(std::move(row.reason));
  }
}

void AppendJson(const Message& message, std::string& out) {
  base::JsonWriter json(out);
  WriteMessage(message, json);
}

}  // namespace sluice::serve
