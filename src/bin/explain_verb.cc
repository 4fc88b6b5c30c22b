// `sluice explain`: what a model was compiled to.
#include <cstdio>

#include "base/json.h"
#include "bin/command.h"
#include "bin/open_model.h"
#include "bin/verbs.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {"explain", "MODEL.onnx|FOLDER",
                          "Say what a model was compiled to: what was fused, what was not and why.",
                          "sluice explain demo/models/package_encoder/1 --batch 16 --length 64"};

std::string InterfaceText(const graph::TensorInterface& tensor) {
  std::string text = tensor.name + " " + std::string(tensor::DTypeName(tensor.dtype)) + " [";
  for (size_t i = 0; i < tensor.dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += tensor.dims[i] >= 0         ? std::to_string(tensor.dims[i])
            : tensor.symbols[i].empty() ? "?"
                                        : tensor.symbols[i];
  }
  return text + "]";
}

std::string Bytes(int64_t bytes) {
  char text[32];
  if (bytes >= 10 << 20) {
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  } else {
    std::snprintf(text, sizeof text, "%.1f KiB", static_cast<double>(bytes) / (1 << 10));
  }
  return text;
}

void PrintText(const OpenModel& open) {
  const graph::Model& model = *open.model;
  const graph::Plan& plan = *open.plan;
  std::printf("producer  %s, opset %d\n", model.producer().c_str(), model.opset());
  for (const auto& input : model.inputs())
    std::printf("input     %s\n", InterfaceText(input).c_str());
  for (const auto& output : model.outputs()) {
    std::printf("output    %s\n", InterfaceText(output).c_str());
  }
  std::printf("batching  %s: %s\n", model.batchability().joinable ? "requests are joined" : "alone",
              model.batchability().reason.c_str());
  if (model.interpreted()) {
    std::printf("runs in the interpreter, which allocates: %s\n",
                model.interpreted_reason().c_str());
  }
  std::printf("\npasses\n");
  for (const auto& pass : model.passes().reports) {
    if (pass.changes == 0) continue;
    std::printf("  %-24s %5lld changes %8lld us\n", std::string(pass.name).c_str(),
                static_cast<long long>(pass.changes), static_cast<long long>(pass.elapsed_us));
  }
  if (!model.passes().near_misses.empty()) std::printf("\nnot fused\n");
  for (const auto& miss : model.passes().near_misses) {
    std::printf("  %s: %s\n", miss.node.c_str(), miss.what.c_str());
  }
  std::printf("\nsteps at");
  for (const auto& shape : open.shapes) std::printf(" %s", shape.ToString().c_str());
  std::printf("\n  %3s  %-22s %12s %12s %10s  %s\n", "#", "kind", "flops", "bytes", "predicted",
              "what");
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const graph::StepInfo& info = plan.infos[i];
    std::printf("  %3zu  %-22s %12lld %12lld %7.1f us  %s %s\n", i, info.kind.c_str(),
                static_cast<long long>(info.work.flops), static_cast<long long>(info.work.bytes),
                static_cast<double>(plan.steps[i].predicted_ns) / 1e3, info.label.c_str(),
                info.detail.c_str());
  }
  std::printf("\ntotal     %zu steps, %.3f GFLOP, %s moved, predicted %.1f us\n", plan.steps.size(),
              static_cast<double>(plan.work.flops) / 1e9, Bytes(plan.work.bytes).c_str(),
              plan.predicted_ns / 1e3);
  std::printf("memory    weights %s; activations %s in place of %s without sharing\n",
              Bytes(model.weights_bytes()).c_str(), Bytes(plan.arena_bytes).c_str(),
              Bytes(plan.activations_bytes).c_str());
}

void WriteInterface(base::JsonWriter& json, const std::vector<graph::TensorInterface>& tensors) {
  json.BeginArray();
  for (const auto& tensor : tensors) {
    json.BeginObject().Key("name").String(tensor.name);
    json.Key("datatype").String(tensor::DTypeName(tensor.dtype)).Key("shape").BeginArray();
    for (const int64_t dim : tensor.dims) json.Int(dim);
    json.EndArray().EndObject();
  }
  json.EndArray();
}

void PrintJson(const OpenModel& open) {
  const graph::Model& model = *open.model;
  const graph::Plan& plan = *open.plan;
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("producer").String(model.producer()).Key("opset").Int(model.opset());
  json.Key("inputs");
  WriteInterface(json, model.inputs());
  json.Key("outputs");
  WriteInterface(json, model.outputs());
  json.Key("batching").BeginObject().Key("joined").Bool(model.batchability().joinable);
  json.Key("reason").String(model.batchability().reason).EndObject();
  json.Key("interpreted").Bool(model.interpreted());
  json.Key("interpreted_reason").String(model.interpreted_reason());
  json.Key("passes").BeginArray();
  for (const auto& pass : model.passes().reports) {
    json.BeginObject().Key("name").String(pass.name).Key("changes").Int(pass.changes);
    json.Key("microseconds").Int(pass.elapsed_us).EndObject();
  }
  json.EndArray().Key("not_fused").BeginArray();
  for (const auto& miss : model.passes().near_misses) {
    json.BeginObject().Key("node").String(miss.node).Key("why").String(miss.what).EndObject();
  }
  json.EndArray().Key("steps").BeginArray();
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const graph::StepInfo& info = plan.infos[i];
    json.BeginObject().Key("kind").String(info.kind).Key("label").String(info.label);
    json.Key("detail").String(info.detail).Key("flops").Int(info.work.flops);
    json.Key("bytes").Int(info.work.bytes);
    json.Key("predicted_us").Double(static_cast<double>(plan.steps[i].predicted_ns) / 1e3);
    json.EndObject();
  }
  json.EndArray().Key("flops").Int(plan.work.flops).Key("bytes").Int(plan.work.bytes);
  json.Key("predicted_us").Double(plan.predicted_ns / 1e3);
  json.Key("weights_bytes").Int(model.weights_bytes());
  json.Key("activation_bytes").Int(plan.arena_bytes);
  json.Key("activation_bytes_unshared").Int(plan.activations_bytes).EndObject();
  std::printf("%s\n", out.c_str());
}

}  // namespace

int RunExplain(const Arguments& arguments) {
  OpenSizes sizes;
  bool json = false;
  bool graph = false;
  std::vector<Flag> flags;
  AddSizeFlags(sizes, flags);
  AddSwitch("json", &json, "one JSON object", flags);
  AddSwitch("graph", &graph, "the optimised graph, a line a node", flags);
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  const auto open = OpenForLooking(positional->front(), sizes);
  if (!open.ok()) return Fail(kUsage, open.error());
  if (graph) {
    std::fputs(open->model->DumpGraph().c_str(), stdout);
  } else if (json) {
    PrintJson(*open);
  } else {
    PrintText(*open);
  }
  return kExitOk;
}

}  // namespace sluice::bin
