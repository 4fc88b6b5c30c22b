// Fused activations, norms, embeddings, products and convolutions of com.microsoft.
#include <algorithm>
#include <array>

#include "graph/onnx/contrib.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Status;

// ---- Activations ----

Status ExpandGelu(ContribBody& body) {
  body.Output(0, body.Make("Gelu", {body.In(0)}));
  return Ok();
}

Status ExpandBiasGelu(ContribBody& body) {
  body.Output(0, body.Make("Gelu", {body.Make("Add", {body.In(0), body.In(1)})}));
  return Ok();
}

Status ExpandFastGelu(ContribBody& body) {
  const std::string x = body.AddMaybe(body.In(0), body.In(1));
  body.Output(0, body.Make("Gelu", {x}, {{"approximate", std::string("tanh")}}));
  return Ok();
}

Status ExpandQuickGelu(ContribBody& body) {
  const std::string alpha = body.Number(body.Float("alpha", 1.702F), 0);
  const std::string gate = body.Make("Sigmoid", {body.Make("Mul", {body.In(0), alpha})});
  body.Output(0, body.Make("Mul", {body.In(0), gate}));
  return Ok();
}

Status ExpandBiasSoftmax(ContribBody& body) {
  body.Ignore({"is_inner_broadcast"});  // the bias has the axes that ONNX's broadcasting needs
  const std::string sum = body.Make("Add", {body.In(0), body.In(1)});
  body.Output(0, body.Make("Softmax", {sum}, {{"axis", body.Int("axis", 1)}}));
  return Ok();
}

// ---- Norms ----

// Outputs 1 and 2 of a layer norm are those of the node.
void NormOutputs(ContribBody& body, const std::vector<std::string>& norm) {
  for (size_t i = 0; i < norm.size(); ++i) body.Output(static_cast<int>(i), norm[i]);
}

Status ExpandSkipLayerNorm(ContribBody& body) {
  std::string sum = body.Make("Add", {body.In(0), body.In(1)});
  sum = body.AddMaybe(sum, body.In(4));
  const float epsilon = body.Float("epsilon", 1e-12F);
  const bool statistics = body.wants(1) || body.wants(2);
  NormOutputs(body,
              body.MakeMany("LayerNormalization", {sum, body.In(2), body.In(3)}, statistics ? 3 : 1,
                            {{"axis", int64_t{-1}}, {"epsilon", epsilon}}));
  body.Output(3, sum);
  return Ok();
}

// x / sqrt(mean(x^2) + epsilon) * scale; `inverse` is the factor.
std::string RmsNorm(ContribBody& body, const std::string& x, const std::string& scale, int64_t axis,
                    float epsilon) {
  return body.Make("RMSNormalization", {x, scale}, {{"axis", axis}, {"epsilon", epsilon}});
}

Status ExpandSkipSimplifiedLayerNorm(ContribBody& body) {
  std::string sum = body.Make("Add", {body.In(0), body.In(1)});
  sum = body.AddMaybe(sum, body.In(3));
  body.Output(0, RmsNorm(body, sum, body.In(2), -1, body.Float("epsilon", 1e-12F)));
  body.Output(3, sum);
  return Ok();
}

Status ExpandSimplifiedLayerNorm(ContribBody& body) {
  if (body.Int("stash_type", 1) != 1) return body.Refuse("a stash_type other than float");
  body.Output(
      0, RmsNorm(body, body.In(0), body.In(1), body.Int("axis", -1), body.Float("epsilon", 1e-5F)));
  return Ok();
}

Status ExpandEmbedLayerNorm(ContribBody& body) {
  enum : size_t { kIds, kSegmentIds, kWords, kPositions, kSegments, kGamma, kBeta, kMask, kAt };
  std::string sum = body.Make("Gather", {body.In(kWords), body.In(kIds)});
  std::string at = body.In(kAt);
  if (at.empty()) {
    const std::string length =
        body.Make("Squeeze", {body.Dimension(body.In(kIds), 1), body.IntList({0})});
    at = body.Make("Range", {body.IntScalar(0), length, body.IntScalar(1)});
  }
  sum = body.Make("Add", {sum, body.Make("Gather", {body.In(kPositions), at})});
  if (body.has(kSegments)) {
    if (!body.has(kSegmentIds)) return body.Refuse("a segment table without segment ids");
    sum = body.Make("Add", {sum, body.Make("Gather", {body.In(kSegments), body.In(kSegmentIds)})});
  }
  const float epsilon = body.Float("epsilon", 1e-12F);
  body.Output(0, body.Make("LayerNormalization", {sum, body.In(kGamma), body.In(kBeta)},
                           {{"axis", int64_t{-1}}, {"epsilon", epsilon}}));
  if (body.wants(1)) {
    if (body.Int("mask_index_type", 1) != 1 && body.has(kMask))
      return body.Refuse("a mask_index_type other than the count of tokens");
    std::string count;
    if (body.has(kMask)) {
      const std::string ones = body.CastTo(body.In(kMask), tensor::DType::kI32);
      count = body.Make("ReduceSum", {ones, body.IntList({1})}, {{"keepdims", int64_t{0}}});
    } else {
      const std::string zeros = body.Make("ConstantOfShape", {body.Dimension(body.In(kIds), 0)});
      count = body.CastTo(zeros, tensor::DType::kI32);
    }
    body.Output(1, count);
  }
  body.Ignore({"mask_index_type"});
  body.Output(2, sum);
  return Ok();
}

// ---- Products ----

// An operand of a product: its first axis moved behind the other batch axes, then its last two
// swapped, as asked for.
base::Result<std::string> Operand(ContribBody& body, size_t input, bool batch, bool swap) {
  if (!batch && !swap) return body.In(input);
  const std::optional<int> rank = body.Rank(input);
  if (!rank.has_value() || *rank < 2)
    return body.Refuse("the rank of a transposed operand must be known and at least 2");
  std::vector<int64_t> perm;
  for (int i = 0; i < *rank; ++i) perm.push_back(i);
  if (batch) std::rotate(perm.begin(), perm.begin() + 1, perm.end() - 1);
  if (swap) std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return body.Make("Transpose", {body.In(input)}, {{"perm", perm}});
}

Status ExpandFusedMatMul(ContribBody& body) {
  const std::string a =
      TRY(Operand(body, 0, body.Int("transBatchA", 0) != 0, body.Int("transA", 0) != 0));
  const std::string b =
      TRY(Operand(body, 1, body.Int("transBatchB", 0) != 0, body.Int("transB", 0) != 0));
  std::string y = body.Make("MatMul", {a, b});
  const float alpha = body.Float("alpha", 1);
  if (alpha != 1) y = body.Make("Mul", {y, body.Number(alpha, 0)});
  body.Output(0, y);
  return Ok();
}

Status ExpandFusedGemm(ContribBody& body) {
  const std::string y = body.Make("Gemm", {body.In(0), body.In(1), body.In(2)});
  body.PassOn({"alpha", "beta", "transA", "transB"});
  body.Ignore({"activation_gamma"});
  body.Output(0, TRY(ContribActivation(body, y, "activation_alpha", "activation_beta")));
  return Ok();
}

Status ExpandFusedConv(ContribBody& body) {
  std::string y = body.Make("Conv", {body.In(0), body.In(1), body.In(2)});
  body.PassOn({"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"});
  y = body.AddMaybe(y, body.In(3));
  const std::string name = body.String("activation", "");
  const std::vector<float> numbers = body.Floats("activation_params");
  const float alpha = numbers.empty() ? 0.01F : numbers[0];
  const float beta = numbers.size() > 1 ? numbers[1] : 0;
  if (name == "LeakyRelu") {
    y = body.Make(name, {y}, {{"alpha", alpha}});
  } else if (name == "HardSigmoid") {
    y = body.Make(name, {y}, {{"alpha", alpha}, {"beta", beta}});
  } else if (name == "Clip") {
    y = body.Make(name, {y, body.Number(alpha, 0), body.Number(beta, 0)});
  } else {
    y = TRY(ContribActivation(body, y, "", ""));
  }
  body.Output(0, y);
  return Ok();
}

constexpr auto kOps = std::to_array<ContribOp>({
    {"Gelu", ExpandGelu},
    {"BiasGelu", ExpandBiasGelu},
    {"FastGelu", ExpandFastGelu},
    {"QuickGelu", ExpandQuickGelu},
    {"BiasSoftmax", ExpandBiasSoftmax},
    {"SkipLayerNormalization", ExpandSkipLayerNorm},
    {"SkipSimplifiedLayerNormalization", ExpandSkipSimplifiedLayerNorm},
    {"SimplifiedLayerNormalization", ExpandSimplifiedLayerNorm},
    {"EmbedLayerNormalization", ExpandEmbedLayerNorm},
    {"FusedMatMul", ExpandFusedMatMul},
    {"TransposeMatMul", ExpandFusedMatMul},
    {"FusedGemm", ExpandFusedGemm},
    {"FusedConv", ExpandFusedConv},
});

}  // namespace

std::span<const ContribOp> ContribDenseOps() {
  return kOps;
}

}  // namespace sluice::graph
