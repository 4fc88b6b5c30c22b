// `sluice profile`: runs a model on one thread and measures every step against the machine's roof.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <numeric>

#include "base/json.h"
#include "bin/command.h"
#include "bin/open_model.h"
#include "bin/verbs.h"
#include "graph/executor.h"
#include "kernels/roof.h"
#include "tensor/arena.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {
    "profile", "MODEL.onnx|FOLDER", "Measure a model step by step against the machine's roof.",
    "sluice profile demo/models/package_encoder/1 --batch 16 --length 64 --trace trace.json"};

// Reading this much over and over comes from memory or the last cache: the roof of bytes.
constexpr int64_t kRoofBytes = int64_t{64} << 20;

struct Measured {
  std::vector<int64_t> begin_ns;   // of the last run, by step
  std::vector<int64_t> median_ns;  // by step
  int64_t total_ns = 0;            // median of whole runs
  double gflops = 0;               // roof of multiply-adds
  double gbytes = 0;               // roof of reading
};

int64_t Median(std::vector<int64_t>& values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

base::Result<Measured> Measure(const OpenModel& open, int64_t runs) {
  const std::vector<tensor::Tensor> inputs = TRY(SyntheticInputs(open));
  std::vector<const void*> input_data;
  for (const auto& input : inputs) input_data.push_back(input.buffer.data());
  std::vector<tensor::Tensor> outputs;
  std::vector<void*> output_data;
  for (size_t i = 0; i < open.plan->output_shapes.size(); ++i) {
    outputs.push_back(TRY(tensor::Tensor::Allocate(open.model->outputs()[i].dtype,
                                                   open.plan->output_shapes[i], int64_t{1} << 32)));
    output_data.push_back(outputs.back().buffer.mutable_data());
  }
  tensor::Arena arena = TRY(tensor::Arena::Create(open.plan->memory_bytes));
  const size_t steps = open.plan->steps.size();
  std::vector<int64_t> begin(steps), elapsed(steps), totals;
  graph::StepTimes times{begin, elapsed};
  graph::ExecuteArgs args;
  args.inputs = input_data;
  args.outputs = output_data;
  args.memory = arena.data();
  args.memory_bytes = arena.capacity();
  args.times = &times;
  TRY(graph::Execute(*open.plan, args));
  std::vector<std::vector<int64_t>> samples(steps);
  std::vector<double> gflops, gbytes;
  for (int64_t run = 0; run < runs; ++run) {
    gflops.push_back(kernels::MultiplyAddRoof());
    if (run < 3) gbytes.push_back(kernels::ReadRoof(kRoofBytes));
    TRY(graph::Execute(*open.plan, args));
    totals.push_back(std::accumulate(elapsed.begin(), elapsed.end(), int64_t{0}));
    for (size_t i = 0; i < steps; ++i) samples[i].push_back(elapsed[i]);
  }
  Measured measured;
  measured.begin_ns = begin;
  for (auto& sample : samples) measured.median_ns.push_back(Median(sample));
  measured.total_ns = Median(totals);
  measured.gflops = *std::max_element(gflops.begin(), gflops.end());
  measured.gbytes = *std::max_element(gbytes.begin(), gbytes.end());
  return measured;
}

// Time at the roof over the time taken, in percent: whichever of arithmetic and memory binds.
double RoofPercent(const kernels::Work& work, int64_t ns, const Measured& measured) {
  if (ns <= 0) return 0;
  const double arithmetic = static_cast<double>(work.flops) / measured.gflops;
  const double memory = static_cast<double>(work.bytes) / measured.gbytes;
  return 100 * std::max(arithmetic, memory) / static_cast<double>(ns);
}

void PrintText(const OpenModel& open, const Measured& measured) {
  const graph::Plan& plan = *open.plan;
  std::printf("%3s  %-22s %10s %6s %7s  %s\n", "#", "kind", "time", "share", "roof", "what");
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const int64_t ns = measured.median_ns[i];
    std::printf("%3zu  %-22s %7.1f us %4.1f %% %5.1f %%  %s %s\n", i, plan.infos[i].kind.c_str(),
                static_cast<double>(ns) / 1e3,
                100 * static_cast<double>(ns) / static_cast<double>(measured.total_ns),
                RoofPercent(plan.infos[i].work, ns, measured), plan.infos[i].label.c_str(),
                plan.infos[i].detail.c_str());
  }
  std::printf("\ntotal %.1f us on one thread, %.1f GFLOP/s; roof %.0f GFLOP/s, %.1f GB/s\n",
              static_cast<double>(measured.total_ns) / 1e3,
              static_cast<double>(plan.work.flops) / static_cast<double>(measured.total_ns),
              measured.gflops, measured.gbytes);
}

void PrintJson(const OpenModel& open, const Measured& measured) {
  const graph::Plan& plan = *open.plan;
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("total_us").Double(static_cast<double>(measured.total_ns) / 1e3);
  json.Key("roof_gflops").Double(measured.gflops).Key("roof_gbytes").Double(measured.gbytes);
  json.Key("steps").BeginArray();
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const int64_t ns = measured.median_ns[i];
    json.BeginObject().Key("kind").String(plan.infos[i].kind);
    json.Key("label").String(plan.infos[i].label).Key("detail").String(plan.infos[i].detail);
    json.Key("us").Double(static_cast<double>(ns) / 1e3);
    json.Key("flops").Int(plan.infos[i].work.flops).Key("bytes").Int(plan.infos[i].work.bytes);
    json.Key("roof_percent").Double(RoofPercent(plan.infos[i].work, ns, measured)).EndObject();
  }
  json.EndArray().EndObject();
  std::printf("%s\n", out.c_str());
}

// Chrome's trace event format, complete events in microseconds: chrome://tracing and Perfetto read
// it.
base::Status WriteTrace(const std::string& path, const OpenModel& open, const Measured& measured) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("displayTimeUnit").String("ns").Key("traceEvents").BeginArray();
  const int64_t start = measured.begin_ns.empty() ? 0 : measured.begin_ns[0];
  for (size_t i = 0; i < open.plan->infos.size(); ++i) {
    const graph::StepInfo& info = open.plan->infos[i];
    json.BeginObject().Key("name").String(info.kind).Key("ph").String("X");
    json.Key("pid").Int(1).Key("tid").Int(1);
    json.Key("ts").Double(static_cast<double>(measured.begin_ns[i] - start) / 1e3);
    json.Key("dur").Double(static_cast<double>(measured.median_ns[i]) / 1e3);
    json.Key("args").BeginObject().Key("label").String(info.label);
    json.Key("detail").String(info.detail).Key("flops").Int(info.work.flops);
    json.Key("bytes").Int(info.work.bytes).EndObject().EndObject();
  }
  json.EndArray().EndObject();
  std::ofstream file(path, std::ios::binary);
  file << out;
  file.close();
  if (!file) return base::Unavailable("cannot write the trace to '" + path + "'");
  return base::Ok();
}

}  // namespace

int RunProfile(const Arguments& arguments) {
  OpenSizes sizes;
  bool json = false;
  int64_t runs = 15;
  std::string trace;
  std::vector<Flag> flags;
  AddSizeFlags(sizes, flags);
  flags.push_back({"runs", &runs, "N", "runs; times are medians over them"});
  flags.push_back({"trace", &trace, "FILE", "write one run as a Chrome trace"});
  AddSwitch("json", &json, "one JSON object", flags);
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  const auto open = OpenForLooking(positional->front(), sizes);
  if (!open.ok()) return Fail(kUsage, open.error());
  if (open->model->interpreted()) {
    return Fail(kUsage,
                base::Unimplemented("the model runs in the interpreter, which has no steps: " +
                                    open->model->interpreted_reason()));
  }
  const auto measured = Measure(*open, std::max<int64_t>(runs, 1));
  if (!measured.ok()) return Fail(kUsage, measured.error());
  if (!trace.empty()) {
    if (const auto wrote = WriteTrace(trace, *open, *measured); !wrote.ok()) {
      return Fail(kUsage, wrote.error());
    }
  }
  json ? PrintJson(*open, *measured) : PrintText(*open, *measured);
  return kExitOk;
}

}  // namespace sluice::bin
