// `sluice quantize`: measures what narrower weights change in a model's answers and, within bounds,
// writes the choice beside the model, where every verb and the server find it.
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "bin/answer_change.h"
#include "bin/calibration.h"
#include "bin/command.h"
#include "bin/look_flags.h"
#include "bin/verbs.h"
#include "graph/model.h"
#include "graph/weight_choice.h"

namespace sluice::bin {
namespace {

constexpr Usage kUsage = {
    "quantize", "MODEL.onnx|FOLDER",
    "Keep a model's weights in 8 or 16 bits if its answers stay the same within bounds.",
    "sluice quantize models/click/1 --to int8 --calibration clicks.npz --labels clicked"};

struct QuantizeFlags {
  std::string to = "int8";
  std::string calibration;
  std::string labels;
  std::string out;
  double cosine_min = 0.995;
  double loss_max = 0.001;
  int64_t exceptions_max = 0;
  bool json = false;
};

// One way to keep the weights, loaded and measured.
struct Candidate {
  graph::WeightChoice choice;
  std::shared_ptr<const graph::Model> model;
  AnswerChange change;
};

struct Bench {
  std::string path;
  Calibration calibration;
  Answers before;
  int64_t bytes_before = 0;
};

std::string ModelFile(const std::string& path) {
  struct stat info {};
  const bool folder = stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  return folder ? path + "/model.onnx" : path;
}

base::Result<std::shared_ptr<const graph::Model>> LoadAs(const std::string& path,
                                                         graph::WeightChoice choice) {
  graph::CompileOptions options;
  options.weights = std::move(choice);
  return graph::Model::Load(path, options);
}

base::Result<Candidate> Try(const Bench& bench, graph::WeightChoice choice) {
  Candidate candidate;
  candidate.choice = choice;
  candidate.model = TRY(LoadAs(bench.path, std::move(choice)));
  const Answers after = TRY(AnswerAll(*candidate.model, bench.calibration));
  candidate.change = Compare(bench.before, after, bench.calibration.labels);
  return candidate;
}

// Why the change is too much, or nothing.
std::string Excess(const AnswerChange& change, const QuantizeFlags& flags) {
  char text[160];
  if (!(change.cosine >= flags.cosine_min)) {
    std::snprintf(text, sizeof text, "the cosine to f32 is %.6f, below --min-cosine %g",
                  change.cosine, flags.cosine_min);
    return text;
  }
  if (!change.auc_before.has_value() || !change.auc_after.has_value()) return {};
  const double loss = *change.auc_before - *change.auc_after;
  if (loss <= flags.loss_max) return {};
  std::snprintf(text, sizeof text, "the AUC falls by %.6f, more than --max-loss %g", loss,
                flags.loss_max);
  return text;
}

// The layers that the candidate keeps narrow, by node name.
base::Result<std::vector<std::string>> NarrowLayers(const Candidate& candidate,
                                                    const Bench& bench) {
  std::vector<tensor::Shape> shapes;
  for (const tensor::Tensor& input : bench.calibration.requests.front())
    shapes.push_back(input.shape);
  const auto plan = TRY(candidate.model->PlanFor(shapes));
  const std::string kind = std::string("linear ") + WeightFormName(candidate.choice.form);
  std::vector<std::string> layers;
  std::set<std::string> seen;
  for (const graph::StepInfo& info : plan->infos) {
    if (info.kind == kind && seen.insert(info.label).second) layers.push_back(info.label);
  }
  return layers;
}

// Leaves the layers in f32 that alone change the answers most, one after the other, until the rest
// is within the bounds or `exceptions_max` are spent.
base::Result<Candidate> LeaveWorst(const Bench& bench, Candidate all, const QuantizeFlags& flags) {
  const std::vector<std::string> layers = TRY(NarrowLayers(all, bench));
  std::vector<std::pair<double, std::string>> harm;
  for (const std::string& layer : layers) {
    graph::WeightChoice alone;
    alone.nodes[layer] = all.choice.form;
    const Candidate one = TRY(Try(bench, std::move(alone)));
    harm.emplace_back(one.change.cosine, layer);
  }
  std::sort(harm.begin(), harm.end());
  Candidate best = std::move(all);
  for (size_t i = 0; i < harm.size() && static_cast<int64_t>(i) < flags.exceptions_max; ++i) {
    graph::WeightChoice choice = best.choice;
    choice.nodes[harm[i].second] = kernels::WeightForm::kF32;
    best = TRY(Try(bench, std::move(choice)));
    if (Excess(best.change, flags).empty()) break;
  }
  return best;
}

// What is kept beside the model: the choice, and what it was measured to change.
std::string ChoiceJson(const Candidate& candidate, const Bench& bench) {
  std::string out;
  base::JsonWriter json(out);
  json.BeginObject().Key("weights").String(WeightFormName(candidate.choice.form));
  json.Key("nodes").BeginObject();
  for (const auto& [node, form] : candidate.choice.nodes)
    json.Key(node).String(WeightFormName(form));
  json.EndObject().Key("measured").BeginObject();
  json.Key("rows").Int(bench.calibration.row_count);
  json.Key("cosine").Double(candidate.change.cosine);
  json.Key("cosine_row_min").Double(candidate.change.cosine_row);
  json.Key("error_max").Double(candidate.change.error_max);
  if (candidate.change.auc_before.has_value() && candidate.change.auc_after.has_value()) {
    json.Key("auc_f32").Double(*candidate.change.auc_before);
    json.Key("auc").Double(*candidate.change.auc_after);
  }
  json.Key("weights_bytes_f32").Int(bench.bytes_before);
  json.Key("weights_bytes").Int(candidate.model->weights_bytes());
  json.EndObject().EndObject();
  return out;
}

void PrintTable(const Candidate& candidate, const Bench& bench) {
  const AnswerChange& change = candidate.change;
  std::printf("%-28s %14s %14s\n", "", "f32", WeightFormName(candidate.choice.form));
  std::printf("%-28s %14lld %14lld\n", "weights, bytes", static_cast<long long>(bench.bytes_before),
              static_cast<long long>(candidate.model->weights_bytes()));
  std::printf("%-28s %14s %14.6f\n", "cosine of the answers", "1", change.cosine);
  std::printf("%-28s %14s %14.6f\n", "  of the worst row", "1", change.cosine_row);
  std::printf("%-28s %14s %14.6f\n", "largest error, of the range", "0", change.error_max);
  if (change.auc_before.has_value() && change.auc_after.has_value()) {
    std::printf("%-28s %14.6f %14.6f\n", "AUC", *change.auc_before, *change.auc_after);
  }
  std::printf("%-28s %14lld\n", "rows", static_cast<long long>(bench.calibration.row_count));
  for (const auto& [node, form] : candidate.choice.nodes)
    std::printf("left in %-4s %s\n", WeightFormName(form), node.c_str());
}

base::Status Run(const std::string& path, const QuantizeFlags& flags) {
  graph::WeightChoice choice;
  choice.form = TRY(graph::ParseWeightForm(flags.to));
  if (flags.calibration.empty()) {
    return base::InvalidArgument(
        "--calibration FILE is needed: requests like those that the model gets");
  }
  Bench bench;
  bench.path = ModelFile(path);
  const auto model = TRY(LoadAs(bench.path, {}));
  bench.bytes_before = model->weights_bytes();
  bench.calibration = TRY(ReadCalibration(flags.calibration, flags.labels, *model));
  bench.before = TRY(AnswerAll(*model, bench.calibration));
  Candidate candidate = TRY(Try(bench, std::move(choice)));
  if (!Excess(candidate.change, flags).empty() && flags.exceptions_max > 0)
    candidate = TRY(LeaveWorst(bench, std::move(candidate), flags));
  const std::string json = ChoiceJson(candidate, bench);
  flags.json ? void(std::puts(json.c_str())) : PrintTable(candidate, bench);
  if (const std::string excess = Excess(candidate.change, flags); !excess.empty())
    return base::InvalidArgument("nothing is written: " + excess);
  const std::string out = flags.out.empty() ? graph::WeightChoicePath(bench.path) : flags.out;
  TRY(WriteFile(out, json + "\n"));
  if (!flags.json) std::printf("written to %s\n", out.c_str());
  return base::Ok();
}

}  // namespace

int RunQuantize(const Arguments& arguments) {
  QuantizeFlags values;
  std::vector<Flag> flags = {
      {"to", &values.to, "FORM", "int8, bf16, int8-storage or bf16-storage"},
      {"calibration", &values.calibration, "FILE",
       "requests: .npz with an array an input, or JSON as infer sends it"},
      {"labels", &values.labels, "NAME", "of the labels in it; \"labels\" is found without"},
      {"min-cosine", &values.cosine_min, "X", "of the answers to those of f32, at least"},
      {"max-loss", &values.loss_max, "X", "of AUC, where there are labels"},
      {"exceptions", &values.exceptions_max, "N",
       "layers that may stay in f32 to keep the bounds, the most harmful first"},
      {"out", &values.out, "FILE", "instead of MODEL.onnx.weights.json, where it takes effect"},
  };
  AddSwitch("json", &values.json, "one JSON object instead of the table", flags);
  int exit_code = kExitOk;
  const auto positional = ParseCommand(kUsage, flags, arguments, 1, 1, exit_code);
  if (!positional) return exit_code;
  const auto done = Run(positional->front(), values);
  return done.ok() ? kExitOk : Fail(kUsage, done.error());
}

}  // namespace sluice::bin
