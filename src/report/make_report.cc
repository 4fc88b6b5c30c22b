// Builds the report: roofs of each step, layers, features, memory; where time is lost is losses.cc.
#include <algorithm>
#include <map>
#include <numeric>

#include "base/machine.h"
#include "kernels/low_gemm.h"
#include "kernels/target.h"
#include "report/flow.h"
#include "report/losses.h"
#include "report/report.h"

namespace sluice::report {
namespace {

// What our kernels typically reach of a roof, for predictions: products from bench/results, the
// others from profiles of the demo's models.
constexpr double kProductShare = 0.75;
constexpr double kOtherShare = 0.35;
constexpr double kCallUs = 0.05;
constexpr size_t kFeaturesMax = 256;

bool Has(std::string_view kind, std::string_view part) {
  return kind.find(part) != std::string_view::npos;
}

std::string ShapeText(const graph::Value& value) {
  std::string text;
  if (!value.shape.has_value()) return text;
  for (const graph::Dim& dim : *value.shape) {
    if (!text.empty()) text += "x";
    text += dim.is_constant() ? std::to_string(dim.constant()) : "?";
  }
  return text;
}

int64_t ConstantBytes(const graph::Value& value) {
  int64_t bytes = tensor::DTypeSize(value.dtype);
  for (const graph::Dim& dim : *value.shape) bytes *= dim.is_constant() ? dim.constant() : 0;
  return bytes;
}

double PeakOf(const Roofs& roofs, const graph::StepInfo& info) {
  if (!info.path.has_value()) return roofs.gflops;
  const double measured = roofs.dots_gflops[static_cast<size_t>(*info.path)];
  return measured > 0 ? measured : roofs.gflops * kernels::LowPathSpeedup(*info.path);
}

void FillRoof(const Roofs& roofs, int64_t footprint, const StepFlow& flow, StepRow& step) {
  const int64_t weights = std::min(flow.weight_bytes, step.bytes);
  const MemoryLevel& far = roofs.LevelOf(footprint);
  // What a step writes may take the place of what it read.
  const MemoryLevel& near = roofs.LevelOf((step.bytes - weights) / 2);
  const double far_us = static_cast<double>(weights) / far.gbytes / 1e3;
  const double near_us = static_cast<double>(step.bytes - weights) / near.gbytes / 1e3;
  const double arithmetic_us = static_cast<double>(step.flops) / step.peak_gflops / 1e3;
  const double memory_us = far_us + near_us;
  step.level = far_us > near_us ? far.name : near.name;
  step.roof_us = std::max(arithmetic_us, memory_us);
  step.bound = arithmetic_us > memory_us ? "arithmetic" : "memory";
  if (step.bytes > 0) {
    step.intensity = static_cast<double>(step.flops) / static_cast<double>(step.bytes);
  }
  if (step.roof_us > 0) {
    step.attainable_gflops = static_cast<double>(step.flops) / step.roof_us / 1e3;
  }
}

double PredictUs(const StepRow& step, const graph::Step& planned) {
  if (step.reference) return static_cast<double>(planned.predicted_ns) / 1e3;
  const bool product = FamilyOf(step.kind) == "products";
  return step.roof_us / (product ? kProductShare : kOtherShare) + kCallUs;
}

// Bytes of the rows that are read.
double ReadBytes(const TableRead& read) {
  const graph::Dim& rows = read.table->shape->front();
  const double row_count = rows.is_constant() ? static_cast<double>(rows.constant()) : 0;
  if (row_count <= 0) return 0;
  return static_cast<double>(read.look_ups) * static_cast<double>(read.bytes()) / row_count;
}

// What a share of a step costs: one table's of a step that reads several.
StepRow PartOf(const StepRow& step, double share) {
  StepRow part = step;
  const auto scale = [&](int64_t& value) {
    value = static_cast<int64_t>(static_cast<double>(value) * share);
  };
  scale(part.flops);
  scale(part.bytes);
  scale(part.unfused_bytes);
  part.us *= share;
  part.roof_us *= share;
  return part;
}

void AddTo(Group& group, const StepRow& step) {
  ++group.steps;
  group.flops += step.flops;
  group.bytes += step.bytes;
  group.unfused_bytes += step.unfused_bytes;
  group.us += step.us;
  group.roof_us += step.roof_us;
}

void MakeLayers(const graph::Plan& plan, Report& report) {
  for (const StepRow& step : report.steps) {
    const std::string family(FamilyOf(step.kind));
    if (std::find(report.families.begin(), report.families.end(), family) ==
        report.families.end()) {
      report.families.push_back(family);
    }
  }
  const std::vector<std::string> names = LayerNames(plan);
  std::map<std::string, int> known;
  for (size_t i = 0; i < report.steps.size(); ++i) {
    StepRow& step = report.steps[i];
    const std::string name = names[i].empty() ? "(top level)" : names[i];
    const auto [at, added] = known.emplace(name, static_cast<int>(report.layers.size()));
    if (added) {
      report.layers.push_back({});
      report.layers.back().name = name;
      report.layers.back().kind = "layer";
      report.layers.back().family_us.resize(report.families.size());
    }
    step.layer = at->second;
    Group& layer = report.layers[static_cast<size_t>(step.layer)];
    AddTo(layer, step);
    const auto family =
        std::find(report.families.begin(), report.families.end(), std::string(FamilyOf(step.kind)));
    layer.family_us[static_cast<size_t>(family - report.families.begin())] += step.us;
  }
}

// The names of a set of interface tensors: "user + item".
std::string NamesOf(const std::vector<graph::TensorInterface>& tensors, InterfaceSet set) {
  std::string text;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if ((set & InterfaceBit(i)) == 0) continue;
    if (!text.empty()) text += " + ";
    text += tensors[i].name;
  }
  return text;
}

void MakeFeatures(const std::vector<StepFlow>& flows, Report& report) {
  std::map<std::pair<std::string, std::string>, size_t> known;
  const auto add = [&](const std::string& kind, const std::string& name, const std::string& detail,
                       const StepRow& step) {
    const auto found = known.find({kind, name});
    if (found == known.end() && report.features.size() >= kFeaturesMax) return;
    const size_t at = found == known.end() ? report.features.size() : found->second;
    if (found == known.end()) {
      known[{kind, name}] = at;
      report.features.push_back({});
      report.features.back().name = name;
      report.features.back().kind = kind;
      report.features.back().detail = detail;
    }
    AddTo(report.features[at], step);
  };
  InterfaceSet all_inputs = 0, all_outputs = 0;
  for (const StepFlow& flow : flows) {
    all_inputs |= flow.inputs;
    all_outputs |= flow.outputs;
  }
  const auto single = [](InterfaceSet set) { return set != 0 && (set & (set - 1)) == 0; };
  for (size_t i = 0; i < flows.size(); ++i) {
    const StepFlow& flow = flows[i];
    const StepRow& step = report.steps[i];
    double read = 0;
    for (const TableRead& table : flow.tables) read += ReadBytes(table);
    for (const TableRead& table : flow.tables) {
      const std::string detail = ShapeText(*table.table) + " " +
                                 std::string(tensor::DTypeName(table.table->dtype)) + ", " +
                                 std::to_string(table.look_ups) + " look-ups";
      add("table", table.table->name, detail,
          read > 0 ? PartOf(step, ReadBytes(table) / read) : step);
    }
    if (flow.inputs != 0 && flow.inputs != all_inputs) {
      add(single(flow.inputs) ? "input" : "inputs", NamesOf(report.inputs, flow.inputs), "", step);
    }
    if (single(flow.outputs) && flow.outputs != all_outputs) {
      add("output", NamesOf(report.outputs, flow.outputs), "", step);
    }
  }
  const auto order = [](const Group& group) {
    return group.kind == "table" ? 0 : group.kind == "output" ? 2 : 1;
  };
  std::stable_sort(report.features.begin(), report.features.end(),
                   [&](const Group& a, const Group& b) { return order(a) < order(b); });
}

void MakeMemory(const Opened& opened, Report& report) {
  const graph::Plan& plan = *opened.plan;
  std::map<std::string, int64_t> plain;
  int64_t plain_bytes = 0;
  if (plan.graph != nullptr) {
    for (const graph::Value* value : plan.graph->Constants()) {
      if (value->constant == nullptr || !value->constant->buffer) continue;
      const int64_t bytes = ConstantBytes(*value);
      plain[std::string(tensor::DTypeName(value->dtype))] += bytes;
      plain_bytes += bytes;
    }
  }
  report.weights_bytes = opened.model->weights_bytes();
  for (const auto& [name, bytes] : plain) report.weights.push_back({name, bytes});
  std::map<std::string, int64_t> low;
  for (const LowWeight& weight : LowWeights(plan)) {
    low[weight.form] += weight.bytes;
    plain_bytes += weight.bytes;
  }
  for (const auto& [form, bytes] : low) report.weights.push_back({"packed " + form, bytes});
  if (report.weights_bytes > plain_bytes) {
    report.weights.push_back({"packed FP32", report.weights_bytes - plain_bytes});
  }
  report.activation_bytes = plan.arena_bytes;
  report.activation_bytes_unshared = plan.activations_bytes;
  const std::vector<tensor::Shape>& shapes =
      opened.lengths.empty() ? opened.shapes : plan.input_shapes;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const int input = ModelInput(opened, i);
    if (input < 0) continue;
    report.interface_bytes +=
        shapes[i].elements() * tensor::DTypeSize(report.inputs[static_cast<size_t>(input)].dtype);
  }
  for (size_t i = 0; i < plan.output_shapes.size(); ++i) {
    report.interface_bytes +=
        plan.output_shapes[i].elements() * tensor::DTypeSize(report.outputs[i].dtype);
  }
}

void MakeSteps(const ReportArgs& args, const std::vector<StepFlow>& flows, Report& report) {
  const graph::Plan& plan = *args.opened->plan;
  int64_t footprint = plan.arena_bytes;
  for (const StepFlow& flow : flows) footprint += flow.weight_bytes;
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const graph::StepInfo& info = plan.infos[i];
    StepRow step;
    step.kind = info.kind;
    step.label = info.label;
    step.detail = info.detail;
    step.flops = info.work.flops;
    step.bytes = info.work.bytes;
    step.reference = step.kind.substr(0, 9) == "reference";
    step.peak_gflops = PeakOf(report.roofs, info);
    FillRoof(report.roofs, footprint, flows[i], step);
    step.us = report.measured ? static_cast<double>(args.timing->median_ns[i]) / 1e3
                              : PredictUs(step, plan.steps[i]);
    if (report.measured && plan.steps[i].tiles == 0) step.us = 0;
    report.steps.push_back(std::move(step));
  }
}

// The model's inputs that a set of the plan's inputs is filled from.
InterfaceSet ModelInputs(const Opened& opened, InterfaceSet planned) {
  if (opened.lengths.empty()) return planned;
  InterfaceSet set = 0;
  for (size_t i = 0; i < opened.plan->input_shapes.size(); ++i) {
    const int input = ModelInput(opened, i);
    if (input >= 0 && (planned & InterfaceBit(i)) != 0) {
      set |= InterfaceBit(static_cast<size_t>(input));
    }
  }
  return set;
}

void TellPacking(const Opened& opened, Report& report) {
  if (opened.lengths.empty()) return;
  const auto [shortest, longest] =
      std::minmax_element(opened.lengths.begin(), opened.lengths.end());
  report.packed_sequences = static_cast<int64_t>(opened.lengths.size());
  report.packed_rows = std::accumulate(opened.lengths.begin(), opened.lengths.end(), int64_t{0});
  report.packed_shortest = *shortest;
  report.packed_longest = *longest;
}

}  // namespace

std::string ProducerOf(const Report& report) {
  const bool told = report.producer.find_first_not_of(' ') != std::string::npos;
  return told ? report.producer : "unknown";
}

std::string PackingText(const Report& report) {
  if (report.packed_sequences == 0) return {};
  const int64_t low = report.packed_shortest, high = report.packed_longest;
  const std::string count = std::to_string(report.packed_sequences);
  return std::to_string(report.packed_rows) + " rows packed of " + count +
         (report.packed_sequences == 1 ? " sequence of " : " sequences of ") +
         (low == high ? "" : std::to_string(low) + " to ") + std::to_string(high) + " tokens";
}

std::string_view FamilyOf(std::string_view kind) {
  if (kind.substr(0, 9) == "reference") return "reference";
  if (Has(kind, "linear") || Has(kind, "matmul") || Has(kind, "conv") || Has(kind, "network")) {
    return "products";
  }
  if (Has(kind, "attention")) return "attention";
  if (Has(kind, "look-up") || Has(kind, "gather") || Has(kind, "bag")) return "look-ups";
  if (Has(kind, "norm") || Has(kind, "softmax") || Has(kind, "reduce") || Has(kind, "mean") ||
      Has(kind, "pool")) {
    return "rows";
  }
  if (kind == "elementwise" || kind == "integers") return "elementwise";
  if (kind == "concat" || kind == "copy" || kind == "prepare rows") return "moves";
  if (kind == "second order" || kind == "pair dots") return "interactions";
  return "other";
}

Report MakeReport(const ReportArgs& args) {
  const graph::Model& model = *args.opened->model;
  const graph::Plan& plan = *args.opened->plan;
  Report report;
  report.model = args.model;
  report.producer = model.producer();
  report.opset = model.opset();
  report.machine = base::MachineLine(base::DescribeMachine());
  report.target = kernels::TargetName(kernels::ActiveTarget());
  report.roofs = *args.roofs;
  report.measured = args.timing != nullptr;
  report.runs = report.measured ? args.timing->runs : 0;
  report.inputs = model.inputs();
  report.outputs = model.outputs();
  report.shapes = args.opened->shapes;
  report.joined = model.batchability().joinable;
  report.batching = model.batchability().reason;
  if (!model.interpreted()) {
    report.batching += model.ragged() != nullptr ? "; requests run without their padding: "
                                                 : "; requests run padded: ";
    report.batching += model.ragged_reason();
  }
  report.packed = model.ragged() != nullptr;
  report.packed_reason = report.packed ? "" : model.ragged_reason();
  report.interpreted = model.interpreted();
  report.interpreted_reason = model.interpreted_reason();
  report.passes = model.passes().reports;
  report.not_fused = model.passes().near_misses;

  TellPacking(*args.opened, report);

  const double mean_length = args.opened->sizes.mean_length;
  const int64_t length = mean_length > 0 ? args.opened->sizes.length : 0;
  std::vector<StepFlow> flows = FollowSteps(plan, length);
  for (StepFlow& flow : flows) flow.inputs = ModelInputs(*args.opened, flow.inputs);
  MakeSteps(args, flows, report);
  FindUnfused(plan, flows, report.not_fused, report.steps);
  LossContext context;
  context.plan = &plan;
  context.flows = &flows;
  context.roofs = args.roofs;
  context.length = length;
  context.mean_length = mean_length;
  // Packed rows have no padding to lose time on.
  if (length > 0 && report.packed_sequences == 0) {
    context.padding = std::clamp(1 - mean_length / static_cast<double>(length), 0.0, 1.0);
  }
  for (size_t i = 0; i < report.steps.size(); ++i) {
    StepRow& step = report.steps[i];
    DivideTime(context, i, step);
    report.us += step.us;
    report.roof_us += std::min(step.roof_us, step.us);
    report.flops += step.flops;
    report.bytes += step.bytes;
    report.unfused_bytes += step.unfused_bytes;
    for (int c = 0; c < kCauseCount; ++c) report.lost_us[c] += step.lost_us[c];
  }
  report.padding_percent = 100 * context.padding;
  report.losses = GatherLosses(context, report.steps);
  if (!report.joined && args.alone_us > 0) {
    Loss alone;
    alone.cause = Cause::kAlone;
    alone.us = args.alone_us;
    alone.what = "requests are not joined: " + report.batching;
    alone.remedy = "keep rows apart in that node, or declare max_batch_size if they are";
    report.losses.push_back(std::move(alone));
    report.lost_us[static_cast<int>(Cause::kAlone)] = args.alone_us;
    std::stable_sort(report.losses.begin(), report.losses.end(),
                     [](const Loss& a, const Loss& b) { return a.us > b.us; });
  }
  MakeLayers(plan, report);
  MakeFeatures(flows, report);
  MakeMemory(*args.opened, report);
  return report;
}

}  // namespace sluice::report
