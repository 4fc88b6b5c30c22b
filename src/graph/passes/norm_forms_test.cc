// Root mean square norms and rotary embeddings however a file spells them: in parts, as both
// exporters write them, as ONNX's operator, as ONNX Runtime's. Their answers against ONNX Runtime:
// tests/conformance/cases/optimised.py.
#include <gtest/gtest.h>

#include "graph/onnx/model_builder.h"
#include "graph/passes/compare_compiled.h"

namespace sluice::graph {
namespace {

using tensor::Shape;
using tensor::Tensor;

constexpr int kFloat = onnx::TensorProto::FLOAT;
constexpr int kWidth = 8;

int Norms(const Model& model) {
  return CountOps(model, "RMSNormalization") + CountOps(model, "sluice.FusedNorm");
}

TEST(NormFormsTest, EveryWayToDivideByTheRootMeanSquareIsOneNorm) {
  for (int form = 0; form < 12; ++form) {
    TestGraph g;
    Value* x = g.Input("x", {g.Symbol("B"), g.Symbol("S"), Dim(kWidth)});
    Value* square = form % 2 == 0 ? g.Add("Pow", {x, g.Scalar(2)}) : g.Add("Mul", {x, x});
    Value* mean = g.Add("ReduceMean", {square}, {{"axes", std::vector<int64_t>{-1}}});
    Value* shifted = form % 2 == 0 ? g.Add("Add", {mean, g.Scalar(1e-6F)})
                                   : g.Add("Add", {g.Scalar(1e-6F), mean});
    Value* root = g.Add("Sqrt", {shifted});
    Value* normal = nullptr;
    if (form / 2 == 0) normal = g.Add("Div", {x, root});
    if (form / 2 == 1) normal = g.Add("Mul", {x, g.Add("Reciprocal", {root})});
    if (form / 2 == 2) normal = g.Add("Mul", {g.Add("Div", {g.Scalar(1), root}), x});
    if (form / 2 == 3) normal = g.Add("Mul", {x, g.Add("Pow", {shifted, g.Scalar(-0.5F)})});
    if (form / 2 == 4) normal = g.Add("Div", {x, g.Add("Pow", {shifted, g.Scalar(0.5F)})});
    if (form / 2 == 5) normal = g.Add("Mul", {g.Add("Reciprocal", {root}), x});
    Value* weight = g.Weights({kWidth});
    g.Output("y", g.Add("Mul", form % 2 == 0 ? std::vector<Value*>{weight, normal}
                                             : std::vector<Value*>{normal, weight}));
    const auto model = CompileAndCompare(g, {RandomFloats({2, 3, kWidth}, 4)});
    EXPECT_EQ(Norms(*model), 1) << "form " << form << "\n" << model->DumpGraph();
    EXPECT_EQ(model->PlanFor(std::vector<Shape>{{2, 3, kWidth}}).value()->steps.size(), 1U)
        << "form " << form;
  }
}

TEST(NormFormsTest, BothExportersNormsAreFoundAndNothingOfThemIsLeft) {
  for (const char* const name : {"feed_forward_gated_ts16", "feed_forward_gated_dynamo22"}) {
    const auto model =
        Model::Load("tests/conformance/graphs/" + std::string(name) + ".onnx", {}).value();
    EXPECT_EQ(Norms(*model), 1) << name << "\n" << model->DumpGraph();
    EXPECT_EQ(CountOps(*model, "ReduceMean"), 0) << name;
    EXPECT_EQ(CountOps(*model, "Sqrt"), 0) << name;
  }
}

// A model of one operator over x [batch, 5, width], its other inputs constants or x again.
std::shared_ptr<const Model> OneOperator(const std::string& domain, const std::string& op,
                                         std::initializer_list<std::string> inputs,
                                         size_t outputs) {
  OnnxModelBuilder builder(23);
  onnx::OperatorSetIdProto* contrib = builder.model.add_opset_import();
  contrib->set_domain("com.microsoft");
  contrib->set_version(1);
  OnnxModelBuilder::NameDim(builder.Input("x", kFloat, {-1, 5, kWidth}), 0, "batch");
  builder.Floats("scale", {kWidth}, {1, 2, 3, 4, 0.5F, 0.25F, -1, -2});
  builder.Floats("bias", {kWidth}, {1, 0, 1, 0, 1, 0, 1, 0});
  onnx::NodeProto* node = builder.Node(op, inputs, {"y"});
  node->set_domain(domain);
  builder.Output("y", kFloat, {-1, 5, kWidth});
  while (static_cast<size_t>(node->output_size()) < outputs) node->add_output("");
  if (outputs == 4) {
    node->set_output(3, "sum");
    builder.Output("sum", kFloat, {-1, 5, kWidth});
  }
  auto model = Model::LoadBytes(builder.Bytes(), {});
  CHECK(model.ok()) << model.error().message;
  return std::move(model).value();
}

// x / root(mean(x^2) + epsilon) * scale of one row, plainly.
void ExpectNormOf(const float* x, double epsilon, const float* y) {
  const double scale[] = {1, 2, 3, 4, 0.5, 0.25, -1, -2};
  double squares = 0;
  for (int i = 0; i < kWidth; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double root = std::sqrt(squares / kWidth + epsilon);
  for (int i = 0; i < kWidth; ++i)
    EXPECT_NEAR(y[i], static_cast<double>(x[i]) / root * scale[i], 1e-5) << i;
}

TEST(NormFormsTest, OnnxsOperatorAndOnnxRuntimesRunAsOneStep) {
  for (const auto& [domain, op] :
       {std::pair("", "RMSNormalization"), std::pair("", "SimplifiedLayerNormalization"),
        std::pair("com.microsoft", "SimplifiedLayerNormalization")}) {
    const auto model = OneOperator(domain, op, {"x", "scale"}, 1);
    const Tensor x = RandomFloats({3, 5, kWidth}, 6);
    EXPECT_EQ(model->PlanFor(std::vector<Shape>{x.shape}).value()->steps.size(), 1U) << op;
    const auto y = RunCompiled(*model, {x});
    ASSERT_TRUE(y.ok()) << y.error().message;
    for (int row = 0; row < 15; ++row) {
      ExpectNormOf(x.view().as<float>() + row * kWidth, 1e-5,
                   (*y)[0].view().as<float>() + row * kWidth);
    }
  }
}

TEST(NormFormsTest, ASkippedNormAddsNormalisesAndGivesTheSum) {
  const auto model = OneOperator("com.microsoft", "SkipSimplifiedLayerNormalization",
                                 {"x", "x", "scale", "bias"}, 4);
  EXPECT_EQ(Norms(*model), 1) << model->DumpGraph();
  const Tensor x = RandomFloats({2, 5, kWidth}, 7);
  const auto y = RunCompiled(*model, {x});
  ASSERT_TRUE(y.ok()) << y.error().message;
  for (int row = 0; row < 10; ++row) {
    float sum[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      sum[i] = 2 * x.view().as<float>()[row * kWidth + i] + (i % 2 == 0 ? 1.0F : 0.0F);
      EXPECT_NEAR((*y)[1].view().as<float>()[row * kWidth + i], sum[i], 1e-6);
    }
    ExpectNormOf(sum, 1e-12, (*y)[0].view().as<float>() + row * kWidth);
  }
}

TEST(NormFormsTest, OnnxRuntimesRotaryEmbeddingIsTheKernel) {
  for (const int64_t interleaved : {0, 1}) {
    OnnxModelBuilder builder;
    onnx::OperatorSetIdProto* contrib = builder.model.add_opset_import();
    contrib->set_domain("com.microsoft");
    contrib->set_version(1);
    OnnxModelBuilder::NameDim(builder.Input("x", kFloat, {-1, 2, 3, 4}), 0, "batch");
    onnx::ValueInfoProto* positions = builder.Input("p", onnx::TensorProto::INT64, {-1, 3});
    OnnxModelBuilder::NameDim(positions, 0, "batch");
    builder.Floats("cos", {4, 2}, {1, 1, 0.5F, 0.6F, -0.5F, 0, 0.3F, -1});
    builder.Floats("sin", {4, 2}, {0, 0, 0.8F, 0.7F, 0.1F, 1, 0.2F, 0.4F});
    onnx::NodeProto* node = builder.Node("RotaryEmbedding", {"x", "p", "cos", "sin"}, {"y"});
    node->set_domain("com.microsoft");
    OnnxModelBuilder::Int(node, "interleaved", interleaved);
    builder.Output("y", kFloat, {-1, 2, 3, 4});
    const auto model = Model::LoadBytes(builder.Bytes(), {}).value();
    EXPECT_EQ(CountOps(*model, "sluice.FusedRotary"), 1) << model->DumpGraph();
    const float cos[] = {1, 1, 0.5F, 0.6F, -0.5F, 0, 0.3F, -1};
    const float sin[] = {0, 0, 0.8F, 0.7F, 0.1F, 1, 0.2F, 0.4F};
    const Tensor x = RandomFloats({2, 2, 3, 4}, 8);
    const Tensor p = RandomIds({2, 3}, 4, 9);
    const auto y = RunCompiled(*model, {x, p});
    ASSERT_TRUE(y.ok()) << y.error().message;
    for (int row = 0; row < 12; ++row) {  // batch, head, token
      const auto at = static_cast<size_t>(p.view().as<int64_t>()[row / 6 * 3 + row % 3]);
      const float* in = x.view().as<float>() + row * 4;
      const float* out = (*y)[0].view().as<float>() + row * 4;
      for (size_t i = 0; i < 2; ++i) {
        const size_t a = interleaved == 0 ? i : 2 * i;
        const size_t b = interleaved == 0 ? i + 2 : 2 * i + 1;
        EXPECT_NEAR(out[a], in[a] * cos[at * 2 + i] - in[b] * sin[at * 2 + i], 1e-6);
        EXPECT_NEAR(out[b], in[b] * cos[at * 2 + i] + in[a] * sin[at * 2 + i], 1e-6);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::graph
