// Attention with fewer heads of keys than of queries: what it becomes, and that a past with rows of
// different lengths answers as the whole sequences do. Against ONNX Runtime:
// tests/conformance/cases/optimised.py.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/onnx/model_builder.h"
#include "graph/passes/compare_compiled.h"

namespace sluice::graph {
namespace {

constexpr int kFloat = onnx::TensorProto::FLOAT;
constexpr int64_t kHeads = 4, kKeyHeads = 2, kWidth = 16;

// GroupQueryAttention with every extent but the widths left open.
std::shared_ptr<const Model> Grouped(bool past) {
  OnnxModelBuilder builder;
  onnx::OperatorSetIdProto* contrib = builder.model.add_opset_import();
  contrib->set_domain("com.microsoft");
  contrib->set_version(1);
  const auto rows = [&](const std::string& name, int64_t width) {
    onnx::ValueInfoProto* info = builder.Input(name, kFloat, {-1, -1, width});
    OnnxModelBuilder::NameDim(info, 0, "batch");
    OnnxModelBuilder::NameDim(info, 1, "new");
  };
  rows("q", kHeads * kWidth);
  rows("k", kKeyHeads * kWidth);
  rows("v", kKeyHeads * kWidth);
  for (const std::string name : {"pk", "pv"}) {
    if (!past) break;
    onnx::ValueInfoProto* info = builder.Input(name, kFloat, {-1, kKeyHeads, -1, kWidth});
    OnnxModelBuilder::NameDim(info, 0, "batch");
    OnnxModelBuilder::NameDim(info, 2, "past");
  }
  OnnxModelBuilder::NameDim(builder.Input("lengths", onnx::TensorProto::INT32, {-1}), 0, "batch");
  builder.Input("total", onnx::TensorProto::INT32, {});
  onnx::NodeProto* node =
      builder.Node("GroupQueryAttention",
                   {"q", "k", "v", past ? "pk" : "", past ? "pv" : "", "lengths", "total"},
                   {"y", "present_k", "present_v"});
  node->set_domain("com.microsoft");
  OnnxModelBuilder::Int(node, "num_heads", kHeads);
  OnnxModelBuilder::Int(node, "kv_num_heads", kKeyHeads);
  builder.Output("y", kFloat, {-1, -1, kHeads * kWidth});
  builder.Output("present_k", kFloat, {-1, kKeyHeads, -1, kWidth});
  builder.Output("present_v", kFloat, {-1, kKeyHeads, -1, kWidth});
  auto model = Model::LoadBytes(builder.Bytes(), {});
  CHECK(model.ok()) << model.error().message;
  return std::move(model).value();
}

tensor::Tensor Ints32(const tensor::Shape& shape, std::vector<int32_t> values) {
  tensor::Tensor made = tensor::Tensor::Allocate(tensor::DType::kI32, shape, 1 << 10).value();
  std::copy(values.begin(), values.end(), made.mutable_view().as<int32_t>());
  return made;
}

// Tokens [begin, begin + count) of every row of [rows, tokens, width]; each row has its own begin.
tensor::Tensor Tokens(const tensor::Tensor& x, const std::vector<int64_t>& begins, int64_t count) {
  const int64_t rows = x.shape[0], tokens = x.shape[1], width = x.shape[2];
  tensor::Tensor cut =
      tensor::Tensor::Allocate(tensor::DType::kF32, tensor::Shape({rows, count, width}), 1 << 20)
          .value();
  for (int64_t row = 0; row < rows; ++row) {
    const float* from =
        x.view().as<float>() + (row * tokens + begins[static_cast<size_t>(row)]) * width;
    std::copy_n(from, count * width, cut.mutable_view().as<float>() + row * count * width);
  }
  return cut;
}

TEST(GroupedAttentionTest, BecomesOneAttentionThatReadsTheFewHeadsOfKeys) {
  const auto model = Grouped(false);
  EXPECT_EQ(CountOps(*model, "sluice.FusedAttention"), 1) << model->DumpGraph();
  EXPECT_EQ(CountOps(*model, "Expand"), 0) << model->DumpGraph();
  EXPECT_EQ(CountOps(*model, "Softmax"), 0);
}

TEST(GroupedAttentionTest, OnnxAttentionWithFewKeyHeadsBecomesTheSame) {
  OnnxModelBuilder builder(24);
  builder.Input("q", kFloat, {2, 5, kHeads * kWidth});
  builder.Input("k", kFloat, {2, 7, kKeyHeads * kWidth});
  builder.Input("v", kFloat, {2, 7, kKeyHeads * kWidth});
  onnx::NodeProto* node = builder.Node("Attention", {"q", "k", "v"}, {"y"});
  OnnxModelBuilder::Int(node, "q_num_heads", kHeads);
  OnnxModelBuilder::Int(node, "kv_num_heads", kKeyHeads);
  builder.Output("y", kFloat, {2, 5, kHeads * kWidth});
  const auto model = Model::LoadBytes(builder.Bytes(), {});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(CountOps(**model, "sluice.FusedAttention"), 1) << (*model)->DumpGraph();
  EXPECT_EQ(CountOps(**model, "Expand"), 0) << (*model)->DumpGraph();
}

TEST(GroupedAttentionTest, RowsWithPastsOfDifferentLengthsAnswerAsTheWholeSequences) {
  const std::vector<int64_t> lengths = {3, 5};  // of the prompts; one token follows each
  const int64_t longest = 6;
  const tensor::Tensor q = RandomFloats(tensor::Shape({2, longest, kHeads * kWidth}), 1);
  const tensor::Tensor k = RandomFloats(tensor::Shape({2, longest, kKeyHeads * kWidth}), 2);
  const tensor::Tensor v = RandomFloats(tensor::Shape({2, longest, kKeyHeads * kWidth}), 3);
  const auto whole_model = Grouped(false);
  const auto whole = RunCompiled(
      *whole_model, {q, k, v, Ints32(tensor::Shape({2}), {3, 5}), Ints32(tensor::Shape(), {6})});
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  // The prompt: five tokens a row, those of row 0 behind its third are padding.
  const auto prompt =
      RunCompiled(*whole_model, {Tokens(q, {0, 0}, 5), Tokens(k, {0, 0}, 5), Tokens(v, {0, 0}, 5),
                                 Ints32(tensor::Shape({2}), {2, 4}), Ints32(tensor::Shape(), {5})});
  ASSERT_TRUE(prompt.ok()) << prompt.error().message;
  const auto next = RunCompiled(
      *Grouped(true),
      {Tokens(q, lengths, 1), Tokens(k, lengths, 1), Tokens(v, lengths, 1), (*prompt)[1],
       (*prompt)[2], Ints32(tensor::Shape({2}), {3, 5}), Ints32(tensor::Shape(), {6})});
  ASSERT_TRUE(next.ok()) << next.error().message;
  const tensor::Tensor expected = Tokens((*whole)[0], lengths, 1);
  for (int64_t i = 0; i < expected.shape.elements(); ++i) {
    EXPECT_NEAR((*next)[0].view().as<float>()[i], expected.view().as<float>()[i], 1e-5F) << i;
  }
  // The new row lies behind what each sequence has, not behind the padding.
  for (int64_t row = 0; row < 2; ++row) {
    const int64_t at = lengths[static_cast<size_t>(row)];
    for (int64_t head = 0; head < kKeyHeads; ++head) {
      for (int64_t i = 0; i < kWidth; ++i) {
        EXPECT_EQ(
            (*next)[1].view().as<float>()[((row * kKeyHeads + head) * 6 + at) * kWidth + i],
            k.view().as<float>()[(row * longest + at) * kKeyHeads * kWidth + head * kWidth + i]);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::graph
