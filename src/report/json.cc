#include "report/json.h"

#include "base/json.h"

namespace sluice::report {
namespace {

using base::JsonWriter;

void WriteInterface(JsonWriter& json, std::string_view key,
                    const std::vector<graph::TensorInterface>& tensors) {
  json.Key(key).BeginArray();
  for (const auto& tensor : tensors) {
    json.BeginObject().Key("name").String(tensor.name);
    json.Key("datatype").String(tensor::DTypeName(tensor.dtype)).Key("shape").BeginArray();
    for (const int64_t dim : tensor.dims) json.Int(dim);
    json.EndArray().EndObject();
  }
  json.EndArray();
}

// Causes that lost something, in microseconds.
void WriteLost(JsonWriter& json, const double (&lost)[kCauseCount]) {
  json.Key("lost_us").BeginObject();
  for (int c = 0; c < kCauseCount; ++c) {
    if (lost[c] > 0) json.Key(CauseName(static_cast<Cause>(c))).Double(lost[c]);
  }
  json.EndObject();
}

void WriteMachine(JsonWriter& json, const Report& report) {
  json.Key("machine").BeginObject().Key("name").String(report.machine);
  json.Key("target").String(report.target);
  json.Key("roof_gflops").Double(report.roofs.gflops);
  json.Key("levels").BeginArray();
  for (const MemoryLevel& level : report.roofs.levels) {
    json.BeginObject().Key("name").String(level.name).Key("bytes").Int(level.bytes);
    json.Key("gbytes_per_s").Double(level.gbytes).EndObject();
  }
  json.EndArray().EndObject();
}

void WriteTotal(JsonWriter& json, const Report& report) {
  json.Key("total").BeginObject().Key("us").Double(report.us);
  json.Key("roof_us").Double(report.roof_us);
  json.Key("roof_percent").Double(report.us > 0 ? 100 * report.roof_us / report.us : 0);
  json.Key("flops").Int(report.flops).Key("bytes").Int(report.bytes);
  json.Key("unfused_bytes").Int(report.unfused_bytes);
  json.Key("padding_percent").Double(report.padding_percent);
  WriteLost(json, report.lost_us);
  json.EndObject();
}

void WriteSteps(JsonWriter& json, const Report& report) {
  json.Key("steps").BeginArray();
  for (const StepRow& step : report.steps) {
    json.BeginObject().Key("kind").String(step.kind).Key("label").String(step.label);
    json.Key("detail").String(step.detail);
    json.Key("layer").String(report.layers[static_cast<size_t>(step.layer)].name);
    json.Key("flops").Int(step.flops).Key("bytes").Int(step.bytes);
    json.Key("us").Double(step.us).Key("roof_us").Double(step.roof_us);
    json.Key("roof_percent").Double(step.roof_percent());
    json.Key("flops_per_byte").Double(step.intensity);
    json.Key("attainable_gflops").Double(step.attainable_gflops);
    json.Key("bound").String(step.bound).Key("level").String(step.level);
    json.Key("reference").Bool(step.reference);
    json.Key("unfused_bytes").Int(step.unfused_bytes);
    if (!step.unfused_why.empty()) json.Key("unfused_why").String(step.unfused_why);
    WriteLost(json, step.lost_us);
    json.EndObject();
  }
  json.EndArray();
}

void WriteGroups(JsonWriter& json, std::string_view key, const Report& report,
                 const std::vector<Group>& groups) {
  json.Key(key).BeginArray();
  for (const Group& group : groups) {
    json.BeginObject().Key("name").String(group.name);
    if (key == "features") {
      json.Key("kind").String(group.kind);
      if (!group.detail.empty()) json.Key("detail").String(group.detail);
    }
    json.Key("steps").Int(group.steps).Key("us").Double(group.us);
    json.Key("roof_us").Double(group.roof_us).Key("roof_percent").Double(group.roof_percent());
    json.Key("flops").Int(group.flops).Key("bytes").Int(group.bytes);
    json.Key("unfused_bytes").Int(group.unfused_bytes);
    if (!group.family_us.empty()) {
      json.Key("families_us").BeginObject();
      for (size_t i = 0; i < group.family_us.size(); ++i) {
        if (group.family_us[i] > 0) json.Key(report.families[i]).Double(group.family_us[i]);
      }
      json.EndObject();
    }
    json.EndObject();
  }
  json.EndArray();
}

void WriteLosses(JsonWriter& json, const Report& report) {
  json.Key("losses").BeginArray();
  for (const Loss& loss : report.losses) {
    json.BeginObject().Key("cause").String(CauseName(loss.cause)).Key("us").Double(loss.us);
    json.Key("what").String(loss.what).Key("remedy").String(loss.remedy);
    json.Key("steps").BeginArray();
    for (const int step : loss.steps) json.Int(step);
    json.EndArray().EndObject();
  }
  json.EndArray();
}

void WriteMemory(JsonWriter& json, const Report& report) {
  json.Key("memory").BeginObject().Key("weights_bytes").Int(report.weights_bytes);
  json.Key("weights").BeginArray();
  for (const Bytes& each : report.weights) {
    json.BeginObject().Key("type").String(each.name).Key("bytes").Int(each.bytes).EndObject();
  }
  json.EndArray().Key("activation_bytes").Int(report.activation_bytes);
  json.Key("activation_bytes_unshared").Int(report.activation_bytes_unshared);
  json.Key("interface_bytes").Int(report.interface_bytes).EndObject();
}

void WriteCompilation(JsonWriter& json, const Report& report) {
  json.Key("passes").BeginArray();
  for (const auto& pass : report.passes) {
    json.BeginObject().Key("name").String(pass.name).Key("changes").Int(pass.changes);
    json.Key("microseconds").Int(pass.elapsed_us).EndObject();
  }
  json.EndArray().Key("not_fused").BeginArray();
  for (const auto& miss : report.not_fused) {
    json.BeginObject().Key("node").String(miss.node).Key("why").String(miss.what).EndObject();
  }
  json.EndArray();
}

}  // namespace

std::string ToJson(const Report& report, const Comparison* comparison) {
  std::string out;
  JsonWriter json(out);
  json.BeginObject().Key("schema").String(kSchema).Key("model").String(report.model);
  json.Key("producer").String(report.producer).Key("opset").Int(report.opset);
  json.Key("timing").String(report.measured ? "measured" : "predicted");
  json.Key("runs").Int(report.runs);
  WriteMachine(json, report);
  WriteInterface(json, "inputs", report.inputs);
  WriteInterface(json, "outputs", report.outputs);
  json.Key("sizes").BeginArray();
  for (const tensor::Shape& shape : report.shapes) json.Numbers(shape.dims());
  json.EndArray();
  json.Key("batching").BeginObject().Key("joined").Bool(report.joined);
  json.Key("reason").String(report.batching).EndObject();
  json.Key("packed_rows").BeginObject().Key("used").Bool(report.packed);
  json.Key("reason").String(report.packed_reason);
  json.Key("sequences").Int(report.packed_sequences).Key("rows").Int(report.packed_rows);
  json.Key("shortest").Int(report.packed_shortest).Key("longest").Int(report.packed_longest);
  json.EndObject();
  json.Key("interpreted").Bool(report.interpreted);
  json.Key("interpreted_reason").String(report.interpreted_reason);
  WriteTotal(json, report);
  WriteLosses(json, report);
  WriteGroups(json, "layers", report, report.layers);
  WriteGroups(json, "features", report, report.features);
  WriteSteps(json, report);
  WriteMemory(json, report);
  WriteCompilation(json, report);
  if (comparison != nullptr) {
    json.Key("against").BeginObject().Key("name").String(comparison->name);
    json.Key("us").Double(comparison->before_us).Key("layers").BeginArray();
    for (size_t i = 1; i < comparison->rows.size(); ++i) {
      const Comparison::Row& row = comparison->rows[i];
      json.BeginObject().Key("name").String(row.name).Key("before_us").Double(row.before_us);
      json.Key("us").Double(row.now_us).EndObject();
    }
    json.EndArray().EndObject();
  }
  json.EndObject();
  return out;
}

}  // namespace sluice::report
