#include "report/report.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/json.h"
#include "graph/test_graph.h"
#include "report/compare.h"
#include "report/flow.h"
#include "report/html.h"
#include "report/json.h"
#include "report/text.h"
#include "report/trace.h"

namespace sluice::report {
namespace {

using graph::TestGraph;
using graph::Value;

const std::string kGraphs = "tests/conformance/graphs/";

// Round figures: 100 GFLOP/s, 100 GB/s near, 10 GB/s far.
Roofs TestRoofs() {
  Roofs roofs;
  roofs.gflops = 100;
  roofs.levels = {{"L2", 1 << 20, 100}, {"memory", int64_t{1} << 40, 10}};
  return roofs;
}

Opened Open(const std::string& name, int64_t batch = 4, int64_t length = 16,
            double mean_length = 0) {
  return OpenForLooking(kGraphs + name + ".onnx",
                        {.batch = batch, .length = length, .dims = {}, .mean_length = mean_length})
      .value();
}

// Every step takes `us`.
Timing Even(const Opened& opened, double us) {
  Timing timing;
  timing.runs = 1;
  timing.median_ns.assign(opened.plan->steps.size(), static_cast<int64_t>(us * 1e3));
  timing.begin_ns.resize(opened.plan->steps.size());
  std::iota(timing.begin_ns.begin(), timing.begin_ns.end(), int64_t{0});
  return timing;
}

Report Make(const Opened& opened, const Timing* timing) {
  static const Roofs roofs = TestRoofs();
  ReportArgs args;
  args.model = "m.onnx";
  args.opened = &opened;
  args.roofs = &roofs;
  args.timing = timing;
  return MakeReport(args);
}

const Loss* FindLoss(const Report& report, Cause cause) {
  for (const Loss& loss : report.losses) {
    if (loss.cause == cause) return &loss;
  }
  return nullptr;
}

std::vector<std::string> Names(const std::vector<Group>& groups) {
  std::vector<std::string> names;
  for (const Group& group : groups) names.push_back(group.kind + " " + group.name);
  return names;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

TEST(ReportTest, LossesAndWorkAtTheRoofAddUpToTheTime) {
  for (const char* name : {"bert_encoder_ts15", "deepfm_ts14", "text_convolution_ts14"}) {
    const Opened opened = Open(name, 4, 16, 5);
    const Timing timing = Even(opened, 3);
    const Report report = Make(opened, &timing);
    double layers = 0, lost = 0;
    for (const Group& layer : report.layers) layers += layer.us;
    EXPECT_NEAR(layers, report.us, 1e-6) << name;
    for (const StepRow& step : report.steps) {
      const double sum = std::accumulate(std::begin(step.lost_us), std::end(step.lost_us), 0.0);
      EXPECT_LE(sum, step.us + 1e-9) << name << " " << step.label;
      EXPECT_GE(sum, 0) << name << " " << step.label;
      // What is left is never more than the roof.
      EXPECT_LE(step.us - sum, step.roof_us + 1e-9) << name << " " << step.label;
      lost += sum;
    }
    EXPECT_NEAR(std::accumulate(std::begin(report.lost_us), std::end(report.lost_us), 0.0), lost,
                1e-6);
  }
}

TEST(ReportTest, TheRoofIsTheLowerOfArithmeticAndMemory) {
  TestGraph graph;
  Value* x = graph.Input("x", {graph.Symbol("b"), 512});
  graph.Output("y", graph.Add("MatMul", {x, graph.Weights({512, 64})}));
  const Opened one = OpenForLooking(graph.Compile(), {.batch = 1, .length = 1, .dims = {}}).value();
  const Opened many =
      OpenForLooking(graph.Compile(), {.batch = 256, .length = 1, .dims = {}}).value();
  const Report thin = Make(one, nullptr), thick = Make(many, nullptr);
  ASSERT_EQ(thin.steps.size(), 1u);
  EXPECT_EQ(thin.steps[0].bound, "memory");
  EXPECT_NEAR(thin.steps[0].roof_us, static_cast<double>(thin.steps[0].bytes) / 100e3, 1e-6);
  EXPECT_EQ(thick.steps[0].bound, "arithmetic");
  EXPECT_NEAR(thick.steps[0].roof_us, 2.0 * 256 * 512 * 64 / 100e3, 1e-6);
  EXPECT_NEAR(thick.steps[0].attainable_gflops, 100, 1e-6);
}

TEST(ReportTest, AStepOnAReferenceKernelIsLostToItsOp) {
  const Opened opened = Open("text_convolution_ts14");
  const Timing timing = Even(opened, 50);
  const Report report = Make(opened, &timing);
  const bool any = std::any_of(report.steps.begin(), report.steps.end(),
                               [](const StepRow& step) { return step.reference; });
  const Loss* loss = FindLoss(report, Cause::kReference);
  EXPECT_EQ(loss != nullptr, any);
  if (loss == nullptr) return;
  EXPECT_FALSE(loss->remedy.empty());
  EXPECT_TRUE(report.steps[static_cast<size_t>(loss->steps.front())].reference);
}

TEST(ReportTest, AProductWithOneColumnTooManyLosesItsPaddedColumns) {
  TestGraph graph;
  Value* x = graph.Input("x", {graph.Symbol("b"), 256});
  graph.Output("y", graph.Add("MatMul", {x, graph.Weights({256, 17})}));
  const Opened opened =
      OpenForLooking(graph.Compile(), {.batch = 256, .length = 1, .dims = {}}).value();
  const Timing timing = Even(opened, 1000);
  const Report report = Make(opened, &timing);
  const Loss* loss = FindLoss(report, Cause::kNarrow);
  ASSERT_NE(loss, nullptr);
  EXPECT_NE(loss->what.find("N=17"), std::string::npos) << loss->what;
}

TEST(ReportTest, TrafficBetweenStepsThatOneFusionWouldSaveIsCounted) {
  const Opened opened = Open("bert_encoder_ts15");
  const Report report = Make(opened, nullptr);
  const auto norm = std::find_if(report.steps.begin() + 8, report.steps.end(),
                                 [](const auto& step) { return step.kind == "layer_norm"; });
  ASSERT_NE(norm, report.steps.end());
  // Written by the product before it, read by the norm.
  EXPECT_EQ(norm->unfused_bytes, int64_t{2} * 4 * 16 * 24 * 4);
  EXPECT_GT(report.unfused_bytes, 0);
}

TEST(ReportTest, PaddingCostsTheShareOfRowsThatItIs) {
  // Nothing in this graph tells padding from words, so requests run padded.
  TestGraph graph;
  Value* x = graph.Input("x", {graph.Symbol("b"), graph.Symbol("s"), 8});
  graph.Output("y", graph.Add("Softmax", {x}));
  const auto report = [&](double mean_length) {
    const Opened opened =
        OpenForLooking(graph.Compile(),
                       {.batch = 4, .length = 16, .dims = {}, .mean_length = mean_length})
            .value();
    const Timing timing = Even(opened, 3);
    return Make(opened, &timing);
  };
  const Report padded = report(4);
  EXPECT_FALSE(padded.packed);
  EXPECT_FALSE(padded.packed_reason.empty());
  EXPECT_EQ(PackingText(padded), "");
  EXPECT_NEAR(padded.padding_percent, 75, 1e-9);
  EXPECT_NE(FindLoss(padded, Cause::kPadding), nullptr);
  EXPECT_EQ(FindLoss(report(16), Cause::kPadding), nullptr);
  EXPECT_EQ(FindLoss(report(0), Cause::kPadding), nullptr);
}

TEST(ReportTest, PackedRowsLoseNothingToPadding) {
  const Opened opened = Open("bert_encoder_ts15", 4, 16, 4);
  ASSERT_NE(opened.model->ragged(), nullptr) << opened.model->ragged_reason();
  const Timing timing = Even(opened, 3);
  const Report report = Make(opened, &timing);
  EXPECT_TRUE(report.packed);
  EXPECT_EQ(FindLoss(report, Cause::kPadding), nullptr);
  EXPECT_EQ(report.padding_percent, 0);
  EXPECT_NE(ToText(report, nullptr, {}).find("16 rows packed of 4 sequences"), std::string::npos);
  EXPECT_NE(ToHtml(report, nullptr).find("16 rows packed of 4 sequences"), std::string::npos);
}

TEST(ReportTest, ModelsThatServePackedRowsAreMeasuredOnThem) {
  const Opened full = Open("bert_encoder_ts15", 4, 16);
  EXPECT_EQ(full.lengths, std::vector<int64_t>(4, 16));
  const Opened spread = Open("bert_encoder_ts15", 4, 16, 4);
  const Report all = Make(full, nullptr), part = Make(spread, nullptr);
  EXPECT_EQ(PackingText(all), "64 rows packed of 4 sequences of 16 tokens");
  EXPECT_EQ(part.packed_rows, 16);
  // A quarter of the rows, and less of the pairs that attention compares.
  EXPECT_LT(part.flops * 4, all.flops + 4);
  EXPECT_EQ(all.shapes[0], tensor::Shape({4, 16}));
  EXPECT_TRUE(Measure(full, 1).ok());
  EXPECT_TRUE(Measure(spread, 1).ok());
  // Features are the model's inputs, not what packs the rows.
  for (const Group& feature : part.features) {
    if (feature.kind != "input") continue;
    EXPECT_TRUE(std::any_of(part.inputs.begin(), part.inputs.end(), [&](const auto& input) {
      return input.name == feature.name;
    })) << feature.name;
  }
}

TEST(ReportTest, SpreadLengthsHaveTheMeanThatWasTold) {
  for (const int64_t batch : {1, 2, 7, 32}) {
    for (const double mean : {1.0, 1.5, 5.0, 15.9, 16.0, 40.0}) {
      const Opened opened = Open("bert_encoder_ts15", batch, 16, mean);
      const std::vector<int64_t>& lengths = opened.lengths;
      ASSERT_EQ(static_cast<int64_t>(lengths.size()), batch);
      EXPECT_GE(*std::min_element(lengths.begin(), lengths.end()), 1);
      EXPECT_LE(*std::max_element(lengths.begin(), lengths.end()), 16);
      EXPECT_NEAR(static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0})),
                  std::min(mean, 16.0) * static_cast<double>(batch), 0.51);
    }
  }
}

TEST(ReportTest, LayersAreTheModulesThatNodeNamesTell) {
  const std::vector<std::string> names = Names(Make(Open("bert_encoder_ts15"), nullptr).layers);
  EXPECT_TRUE(Contains(names, "layer blocks.0"));
  EXPECT_TRUE(Contains(names, "layer blocks.1"));
}

TEST(ReportTest, DottedScopesAreCutBehindTheirNumber) {
  TestGraph graph;
  Value* x = graph.Input("x", {graph.Symbol("b"), 8});
  const char* const names[] = {"/embeddings.word/node_a", "/blocks.0.attention.query/node_b",
                               "/blocks.0.norm/node_c", "/blocks.11/node_d", "/head/node_e"};
  for (const char* name : names) {
    x = graph.Add("Softmax", {x});
    x->producer->name = name;
  }
  graph.Output("y", x);
  const Opened opened =
      OpenForLooking(graph.Compile(), {.batch = 2, .length = 1, .dims = {}}).value();
  EXPECT_EQ(Names(Make(opened, nullptr).layers),
            (std::vector<std::string>{"layer embeddings", "layer blocks.0", "layer blocks.11",
                                      "layer head"}));
}

TEST(ReportTest, WithoutScopesLayersAreTheModulesThatWeightsTell) {
  TestGraph graph;
  const auto weight = [&](const char* name, int seed) {
    tensor::Tensor tensor =
        tensor::Tensor::Allocate(tensor::DType::kF32, tensor::Shape({8, 8}), 1 << 20).value();
    for (float& x : tensor.mutable_view().span<float>()) x = static_cast<float>(++seed);
    return graph.graph().AddConstant(name, std::move(tensor));
  };
  Value* x = graph.Input("x", {graph.Symbol("b"), 8});
  x = graph.Add("Softmax", {graph.Add("MatMul", {x, weight("net.blocks.0.first.weight", 1)})});
  x = graph.Add("MatMul", {x, weight("net.blocks.1.second.weight", 2)});
  graph.Output("y", graph.Add("Softmax", {x}));
  const Opened opened =
      OpenForLooking(graph.Compile(), {.batch = 2, .length = 1, .dims = {}}).value();
  const Report report = Make(opened, nullptr);
  EXPECT_EQ(Names(report.layers),
            (std::vector<std::string>{"layer blocks.0", "layer blocks.1", "layer (top level)"}));
  EXPECT_EQ(report.layers[0].steps, 2);
}

TEST(ReportTest, FeaturesAreTablesInputsAndOutputs) {
  const std::vector<std::string> names =
      Names(Make(Open("two_tower_cosine_ts14"), nullptr).features);
  EXPECT_TRUE(Contains(names, "table users.weight"));
  EXPECT_TRUE(Contains(names, "table items.weight"));
  EXPECT_TRUE(Contains(names, "input user"));
  EXPECT_TRUE(Contains(names, "input item"));
}

TEST(ReportTest, FilesCannotWriteToTheTerminal) {
  TestGraph graph;
  Value* x = graph.Input("x\x1b[2J\nline", {graph.Symbol("b"), 8});
  Value* y = graph.Add("Softmax", {x});
  y->producer->name = "a\x1b]0;title\x07\u202Eb\xff";
  graph.Output("y", y);
  const Opened opened =
      OpenForLooking(graph.Compile(), {.batch = 2, .length = 1, .dims = {}}).value();
  Report report = Make(opened, nullptr);
  report.not_fused.push_back(
      {"n\r\x9b"
       "31m",
       "w\x1b[31m"});
  const std::string text = ToText(report, nullptr, {.colour = false, .all_steps = true});
  for (const char c : text) {
    EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << static_cast<int>(c);
  }
  EXPECT_EQ(text.find("\u202E"), std::string::npos);
  EXPECT_EQ(text.find("\x7f"), std::string::npos);
}

TEST(ReportTest, ATextIsAtMostAHundredColumnsWide) {
  for (const char* name : {"bert_encoder_ts15", "din_attention_dynamo20", "mmoe_ts13"}) {
    const std::string text =
        ToText(Make(Open(name), nullptr), nullptr, {.colour = false, .all_steps = true});
    size_t columns = 0;
    for (const char c : text) {
      if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++columns;
      if (c == '\n') columns = 0;
      ASSERT_LE(columns, 100u) << name;
    }
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
  }
}

TEST(ReportTest, FilesCannotWriteMarkup) {
  const std::string attack = "\"'><script>alert(1)</script>&<img src=x onerror=alert(1)>\x1b\u202E";
  TestGraph graph;
  Value* x = graph.Input(attack.c_str(), {graph.Symbol(attack.c_str()), 8});
  Value* y = graph.Add("Softmax", {x});
  y->producer->name = "/" + attack + "/op";
  graph.Output(attack.c_str(), y);
  const Opened opened =
      OpenForLooking(graph.Compile(), {.batch = 2, .length = 1, .dims = {}}).value();
  Report report = Make(opened, nullptr);
  report.model = report.producer = attack;
  report.not_fused.push_back({attack, attack});
  report.losses.push_back({Cause::kKernel, 1, attack, attack, {0}});
  const Comparison comparison = CompareWith(report, attack, ToJson(report, nullptr)).value();
  const std::string page = ToHtml(report, &comparison);
  size_t scripts = 0;
  for (size_t at = page.find("<script"); at != std::string::npos;
       at = page.find("<script", at + 1)) {
    ++scripts;
  }
  EXPECT_EQ(scripts, 1u);
  EXPECT_EQ(page.find("<img"), std::string::npos);
  EXPECT_EQ(page.find('\x1b'), std::string::npos);
  EXPECT_EQ(page.find("\u202E"), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;alert(1)"), std::string::npos);
}

TEST(ReportTest, ThePageAsksNothingOfTheNetwork) {
  const Opened opened = Open("bert_encoder_ts15");
  const std::string page = ToHtml(Make(opened, nullptr), nullptr);
  for (const char* each : {"http:", "https:", "//cdn", "url(", "@import", "src="}) {
    EXPECT_EQ(page.find(each), std::string::npos) << each;
  }
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
}

TEST(ReportTest, AnEarlierReportIsComparedLayerByLayer) {
  const Opened opened = Open("bert_encoder_ts15");
  const Timing slow = Even(opened, 4), fast = Even(opened, 1);
  const std::string earlier = ToJson(Make(opened, &slow), nullptr);
  const Report now = Make(opened, &fast);
  const Comparison comparison = CompareWith(now, "earlier", earlier).value();
  ASSERT_EQ(comparison.rows.size(), now.layers.size() + 1);
  for (const Comparison::Row& row : comparison.rows) {
    EXPECT_NEAR(row.before_us, 4 * row.now_us, 1e-6) << row.name;
  }
  EXPECT_FALSE(CompareWith(now, "earlier", "{\"schema\":\"other\"}").ok());
  EXPECT_FALSE(CompareWith(now, "earlier", "[]").ok());
  EXPECT_FALSE(CompareWith(now, "earlier", earlier.substr(0, 100)).ok());
}

TEST(ReportTest, TheJsonHasEveryStepAndSumsToTheTotal) {
  const Report report = Make(Open("deepfm_ts14"), nullptr);
  const std::string json = ToJson(report, nullptr);
  base::JsonDocument document;
  const base::JsonValue root = document.Parse(json).value();
  EXPECT_EQ(root.Get("schema").value().AsString().value(), kSchema);
  double sum = 0;
  EXPECT_TRUE(root.Get("steps")
                  .value()
                  .ForEachElement([&](base::JsonValue step) {
                    sum += step.Get("us").value().AsDouble().value();
                    return base::Ok();
                  })
                  .ok());
  EXPECT_NEAR(sum, root.Get("total").value().Get("us").value().AsDouble().value(), 1e-6);
}

TEST(ReportTest, MeasuringTimesEveryStepThatHasWork) {
  const Opened opened = Open("deepfm_ts14", 64);
  const Timing timing = Measure(opened, 3).value();
  ASSERT_EQ(timing.median_ns.size(), opened.plan->steps.size());
  EXPECT_EQ(timing.runs, 3);
  EXPECT_GT(timing.total_ns, 0);
  base::JsonDocument document;
  EXPECT_TRUE(document.Parse(ToChromeTrace(opened, timing)).ok());
}

TEST(ReportTest, SyntheticIdsStayWithinTheTablesThatTheyIndex) {
  for (const char* name : {"deepfm_ts14", "two_tower_cosine_dynamo21", "din_attention_ts17"}) {
    const Opened opened = Open(name, 64);
    EXPECT_TRUE(Measure(opened, 1).ok()) << name;
    bool varied = false;
    const std::vector<tensor::Tensor> inputs = SyntheticInputs(opened).value();
    for (const tensor::Tensor& input : inputs) {
      if (input.dtype != tensor::DType::kI64) continue;
      for (const int64_t id : input.view().span<int64_t>()) varied = varied || id > 0;
    }
    EXPECT_TRUE(varied) << name;
  }
}

TEST(ReportTest, RoofsOfNearerLevelsAreNotLower) {
  const Roofs roofs = MeasureRoofs();
  ASSERT_FALSE(roofs.levels.empty());
  EXPECT_GT(roofs.gflops, 0);
  for (size_t i = 1; i < roofs.levels.size(); ++i) {
    EXPECT_GE(roofs.levels[i - 1].gbytes, roofs.levels[i].gbytes);
    EXPECT_LT(roofs.levels[i - 1].bytes, roofs.levels[i].bytes);
  }
  EXPECT_EQ(roofs.LevelOf(int64_t{1} << 50).name, roofs.levels.back().name);
}

}  // namespace
}  // namespace sluice::report
