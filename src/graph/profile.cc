#include "graph/profile.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/clock.h"
#include "base/json.h"
#include "graph/executor.h"

namespace sluice::graph {
namespace {

constexpr int64_t kBytesMax = int64_t{16} << 30;

// Share of what the machine could do at best: the larger of arithmetic and memory, in percent; 0
// where the roof is not known.
double RoofPercent(const kernels::Work& work, int64_t elapsed_ns, const Roof& roof) {
  if (elapsed_ns <= 0) return 0;
  const double ns = static_cast<double>(elapsed_ns);
  double percent = 0;
  if (roof.gflops > 0) percent = 100 * static_cast<double>(work.flops) / ns / roof.gflops;
  if (roof.gbytes > 0)
    percent = std::max(percent, 100 * static_cast<double>(work.bytes) / ns / roof.gbytes);
  return percent;
}

double PerNs(int64_t count, int64_t ns) {
  return ns <= 0 ? 0 : static_cast<double>(count) / static_cast<double>(ns);
}

}  // namespace

base::Result<Profile> ProfilePlan(const Model& model, const Plan& plan,
                                  std::span<const tensor::Tensor> inputs, int64_t runs,
                                  base::ThreadPool* pool) {
  if (plan.interpreted)
    return base::Unimplemented("an interpreted model has no steps to measure: " +
                               model.interpreted_reason());
  std::vector<tensor::Tensor> zeros, outputs;
  std::vector<const void*> sources;
  std::vector<void*> places;
  for (size_t i = 0; i < plan.input_shapes.size(); ++i) {
    if (!inputs.empty()) {
      sources.push_back(inputs[i].buffer.data());
      continue;
    }
    zeros.push_back(
        TRY(tensor::Tensor::Allocate(model.inputs()[i].dtype, plan.input_shapes[i], kBytesMax)));
    std::memset(zeros.back().buffer.mutable_data(), 0,
                static_cast<size_t>(zeros.back().buffer.bytes()));
    sources.push_back(zeros.back().buffer.data());
  }
  for (size_t i = 0; i < plan.output_shapes.size(); ++i) {
    outputs.push_back(
        TRY(tensor::Tensor::Allocate(model.outputs()[i].dtype, plan.output_shapes[i], kBytesMax)));
    places.push_back(outputs.back().buffer.mutable_data());
  }
  tensor::Buffer memory = tensor::Buffer::Allocate(plan.memory_bytes);
  Profile profile;
  profile.runs = std::max<int64_t>(1, runs);
  profile.begin_ns.resize(plan.steps.size());
  profile.elapsed_ns.assign(plan.steps.size(), INT64_MAX);
  profile.run_ns = INT64_MAX;
  std::vector<int64_t> elapsed(plan.steps.size());
  StepTimes times{profile.begin_ns, elapsed};
  ExecuteArgs args;
  args.inputs = sources;
  args.outputs = places;
  args.memory = memory.mutable_data();
  args.memory_bytes = plan.memory_bytes;
  args.pool = pool;
  args.times = &times;
  TRY(Execute(plan, args));  // warms caches up
  base::Time start;
  for (int64_t run = 0; run < profile.runs; ++run) {
    start = base::SystemClock::Get().Now();
    TRY(Execute(plan, args));
    profile.run_ns = std::min(profile.run_ns, (base::SystemClock::Get().Now() - start).ns);
    for (size_t i = 0; i < elapsed.size(); ++i)
      profile.elapsed_ns[i] = std::min(profile.elapsed_ns[i], elapsed[i]);
  }
  for (int64_t& begin : profile.begin_ns) begin = std::max<int64_t>(0, begin - start.ns);
  return profile;
}

std::string ProfileText(const Plan& plan, const Profile& profile, const Roof& roof) {
  std::string out;
  char line[256];
  std::snprintf(line, sizeof(line), "%lld runs, the fastest %.1f us: %.1f GFLOP/s",
                static_cast<long long>(profile.runs), static_cast<double>(profile.run_ns) / 1e3,
                PerNs(plan.work.flops, profile.run_ns));
  out += line;
  if (roof.gflops > 0) {
    std::snprintf(line, sizeof(line), ", %.0f %% of the roof",
                  RoofPercent(plan.work, profile.run_ns, {roof.gflops, 0}));
    out += line;
  }
  out += "\n       us  share  GFLOP/s   GB/s  roof  step\n";
  int64_t total = 0;
  for (const int64_t ns : profile.elapsed_ns) total += ns;
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const StepInfo& info = plan.infos[i];
    const int64_t ns = profile.elapsed_ns[i];
    std::snprintf(line, sizeof(line), "%9.2f  %4.1f%%  %7.1f %6.1f %4.0f%%  ",
                  static_cast<double>(ns) / 1e3, 100 * PerNs(ns, total), PerNs(info.work.flops, ns),
                  PerNs(info.work.bytes, ns), RoofPercent(info.work, ns, roof));
    out += line + info.kind + "  " + info.label + "  " + info.detail + "\n";
  }
  return out;
}

std::string ProfileJson(const Plan& plan, const Profile& profile, const Roof& roof) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject()
      .Key("runs")
      .Int(profile.runs)
      .Key("run_us")
      .Double(static_cast<double>(profile.run_ns) / 1e3);
  json.Key("gflops").Double(PerNs(plan.work.flops, profile.run_ns));
  json.Key("roof_gflops").Double(roof.gflops).Key("roof_gbytes").Double(roof.gbytes);
  json.Key("steps").BeginArray();
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const StepInfo& info = plan.infos[i];
    const int64_t ns = profile.elapsed_ns[i];
    json.BeginObject()
        .Key("kind")
        .String(info.kind)
        .Key("node")
        .String(info.label)
        .Key("detail")
        .String(info.detail);
    json.Key("us")
        .Double(static_cast<double>(ns) / 1e3)
        .Key("flops")
        .Int(info.work.flops)
        .Key("bytes")
        .Int(info.work.bytes);
    json.Key("gflops")
        .Double(PerNs(info.work.flops, ns))
        .Key("gbytes")
        .Double(PerNs(info.work.bytes, ns));
    json.Key("roof_percent").Double(RoofPercent(info.work, ns, roof)).EndObject();
  }
  json.EndArray().EndObject();
  return out;
}

std::string ProfileTrace(const Plan& plan, const Profile& profile) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("displayTimeUnit").String("ns").Key("traceEvents").BeginArray();
  for (size_t i = 0; i < plan.infos.size(); ++i) {
    const StepInfo& info = plan.infos[i];
    json.BeginObject().Key("ph").String("X").Key("pid").Int(1).Key("tid").Int(1);
    json.Key("name").String(info.kind + " " + info.label);
    json.Key("ts").Double(static_cast<double>(profile.begin_ns[i]) / 1e3);
    json.Key("dur").Double(static_cast<double>(profile.elapsed_ns[i]) / 1e3);
    json.Key("args")
        .BeginObject()
        .Key("detail")
        .String(info.detail)
        .Key("flops")
        .Int(info.work.flops);
    json.Key("bytes").Int(info.work.bytes).EndObject().EndObject();
  }
  json.EndArray().EndObject();
  return out;
}

}  // namespace sluice::graph
