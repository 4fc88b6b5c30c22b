#include "graph/explain.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "base/json.h"

namespace sluice::graph {
namespace {

template <class... Args>
void AppendFormat(std::string& out, const char* format, Args... args) {
  char line[512];
  const int length = std::snprintf(line, sizeof(line), format, args...);
  out.append(line, static_cast<size_t>(std::clamp(length, 0, static_cast<int>(sizeof(line)) - 1)));
}

std::string InterfaceText(const TensorInterface& tensor) {
  std::string text = "'" + tensor.name + "' " + std::string(tensor::DTypeName(tensor.dtype)) + " [";
  for (size_t i = 0; i < tensor.dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += tensor.dims[i] >= 0 ? std::to_string(tensor.dims[i]) : tensor.symbols[i];
  }
  return text + "]";
}

// Passes by name, their rounds added up, in the order of their first run.
std::vector<PassReport> Combined(const PassResult& passes) {
  std::vector<PassReport> combined;
  for (const PassReport& report : passes.reports) {
    auto found = std::find_if(combined.begin(), combined.end(),
                              [&](const PassReport& r) { return r.name == report.name; });
    if (found == combined.end()) {
      combined.push_back(report);
    } else {
      found->changes += report.changes;
      found->elapsed_us += report.elapsed_us;
    }
  }
  return combined;
}

// Steps that no fast kernel takes.
std::vector<const StepInfo*> SlowSteps(const Plan& plan) {
  std::vector<const StepInfo*> slow;
  for (const StepInfo& info : plan.infos) {
    if (info.kind.rfind("reference ", 0) == 0) slow.push_back(&info);
  }
  return slow;
}

void WriteInterfaces(base::JsonWriter& json, const char* key,
                     const std::vector<TensorInterface>& tensors) {
  json.Key(key).BeginArray();
  for (const TensorInterface& tensor : tensors) {
    json.BeginObject()
        .Key("name")
        .String(tensor.name)
        .Key("datatype")
        .String(tensor::DTypeName(tensor.dtype));
    json.Key("shape").BeginArray();
    for (size_t i = 0; i < tensor.dims.size(); ++i) {
      if (tensor.dims[i] >= 0) {
        json.Int(tensor.dims[i]);
      } else {
        json.String(tensor.symbols[i]);
      }
    }
    json.EndArray().EndObject();
  }
  json.EndArray();
}

void WriteShapes(base::JsonWriter& json, const char* key,
                 const std::vector<tensor::Shape>& shapes) {
  json.Key(key).BeginArray();
  for (const tensor::Shape& shape : shapes) json.Numbers(shape.dims());
  json.EndArray();
}

}  // namespace

base::Result<std::vector<tensor::Shape>> ShapesFor(const Model& model, const OpenDims& dims) {
  std::set<std::string> known;
  std::vector<tensor::Shape> shapes;
  for (const TensorInterface& input : model.inputs()) {
    std::vector<int64_t> extents;
    for (size_t i = 0; i < input.dims.size(); ++i) {
      known.insert(input.symbols[i]);
      const auto given = dims.extents.find(input.symbols[i]);
      extents.push_back(input.dims[i] >= 0            ? input.dims[i]
                        : given != dims.extents.end() ? given->second
                                                      : dims.fallback);
    }
    shapes.push_back(TRY(tensor::Shape::FromDims(extents)));
  }
  for (const auto& [name, extent] : dims.extents) {
    if (known.count(name) > 0) continue;
    std::string names;
    for (const std::string& symbol : known) {
      if (!symbol.empty()) names += (names.empty() ? "'" : ", '") + symbol + "'";
    }
    return base::InvalidArgument("no input has a dimension called '" + name + "'; open are " +
                                 (names.empty() ? "none" : names));
  }
  return shapes;
}

std::string ExplainText(const Model& model, const Plan& plan) {
  std::string out;
  AppendFormat(out, "from %s, opset %d\n",
               model.producer().empty() ? "an unnamed producer" : model.producer().c_str(),
               model.opset());
  for (const TensorInterface& input : model.inputs())
    out += "input   " + InterfaceText(input) + "\n";
  for (const TensorInterface& output : model.outputs())
    out += "output  " + InterfaceText(output) + "\n";
  out += std::string("joining ") + (model.batchability().joinable ? "yes: " : "no: ") +
         model.batchability().reason + "\n";
  if (model.interpreted()) {
    return out + "interpreted, node by node and with memory from the heap: " +
           model.interpreted_reason() + "\n";
  }
  AppendFormat(
      out,
      "memory  %.2f MB of weights and constants, %.3f MB of activations (%.3f MB before sharing)\n",
      static_cast<double>(model.weights_bytes()) / 1e6,
      static_cast<double>(plan.memory_bytes) / 1e6,
      static_cast<double>(plan.activations_bytes) / 1e6);
  out += "\npass                     changes        us\n";
  for (const PassReport& report : Combined(model.passes())) {
    AppendFormat(out, "%-24s %7lld %9lld\n", std::string(report.name).c_str(),
                 static_cast<long long>(report.changes), static_cast<long long>(report.elapsed_us));
  }
  out += "\nnot fused\n";
  const std::vector<const StepInfo*> slow = SlowSteps(plan);
  for (const NearMiss& miss : model.passes().near_misses)
    out += "  " + miss.node + ": " + miss.what + "\n";
  for (const StepInfo* info : slow)
    out += "  " + info->label + ": " + info->kind + " kernel (plain loops)\n";
  if (slow.empty() && model.passes().near_misses.empty())
    out += "  nothing that we know how to fuse\n";
  out += "\nplan for";
  for (const tensor::Shape& shape : plan.input_shapes) out += " " + shape.ToString();
  AppendFormat(out, ": %lld steps, %.3f MFLOP, %.3f MB moved, %.1f us predicted\n",
               static_cast<long long>(plan.steps.size()),
               static_cast<double>(plan.work.flops) / 1e6,
               static_cast<double>(plan.work.bytes) / 1e6, plan.predicted_ns / 1e3);
  out += "step  kind                       MFLOP        MB  what\n";
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const StepInfo& info = plan.infos[i];
    AppendFormat(out, "%4zu  %-22s %9.3f %9.3f  ", i, info.kind.c_str(),
                 static_cast<double>(info.work.flops) / 1e6,
                 static_cast<double>(info.work.bytes) / 1e6);
    out += info.label + "  " + info.detail + "\n";
  }
  return out;
}

std::string ExplainJson(const Model& model, const Plan& plan) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("producer").String(model.producer()).Key("opset").Int(model.opset());
  WriteInterfaces(json, "inputs", model.inputs());
  WriteInterfaces(json, "outputs", model.outputs());
  json.Key("joins_requests").Bool(model.batchability().joinable);
  json.Key("joins_reason").String(model.batchability().reason);
  json.Key("interpreted")
      .Bool(model.interpreted())
      .Key("interpreted_reason")
      .String(model.interpreted_reason());
  json.Key("weights_bytes").Int(model.weights_bytes());
  json.Key("passes").BeginArray();
  for (const PassReport& report : Combined(model.passes())) {
    json.BeginObject().Key("name").String(report.name).Key("changes").Int(report.changes);
    json.Key("us").Int(report.elapsed_us).EndObject();
  }
  json.EndArray().Key("not_fused").BeginArray();
  for (const NearMiss& miss : model.passes().near_misses) {
    json.BeginObject().Key("node").String(miss.node).Key("why").String(miss.what).EndObject();
  }
  for (const StepInfo* info : SlowSteps(plan)) {
    json.BeginObject()
        .Key("node")
        .String(info->label)
        .Key("why")
        .String(info->kind + " kernel")
        .EndObject();
  }
  json.EndArray().Key("plan").BeginObject();
  WriteShapes(json, "input_shapes", plan.input_shapes);
  WriteShapes(json, "output_shapes", plan.output_shapes);
  json.Key("memory_bytes").Int(plan.memory_bytes).Key("unshared_bytes").Int(plan.activations_bytes);
  json.Key("flops").Int(plan.work.flops).Key("bytes").Int(plan.work.bytes);
  json.Key("predicted_us").Double(plan.predicted_ns / 1e3);
  json.Key("steps").BeginArray();
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const StepInfo& info = plan.infos[i];
    json.BeginObject()
        .Key("kind")
        .String(info.kind)
        .Key("node")
        .String(info.label)
        .Key("detail")
        .String(info.detail);
    json.Key("flops").Int(info.work.flops).Key("bytes").Int(info.work.bytes);
    json.Key("predicted_us")
        .Double(static_cast<double>(plan.steps[i].predicted_ns) / 1e3)
        .EndObject();
  }
  json.EndArray().EndObject().EndObject();
  return out;
}

}  // namespace sluice::graph
