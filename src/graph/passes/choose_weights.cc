// Marks the linear layers whose weight is kept in 16 or 8 bits, as the loader chose.
#include <cstring>
#include <span>

#include "graph/op.h"
#include "graph/passes/pass.h"
#include "kernels/low_packing.h"

namespace sluice::graph {
namespace {

// Layers below this gain nothing: a head of few outputs decides the answer and costs little.
constexpr int64_t kWidthMin = 16;
constexpr int64_t kDepthMin = 32;

bool IsFinite(const tensor::Tensor& weight) {
  tensor::DeferredBytes::Origin origin;  // however joined, the same elements
  weight.buffer.Describe(origin);
  constexpr uint32_t kExponent = 0x7f800000;  // all set: inf or NaN
  bool odd = false;
  for (const std::span<const std::byte> piece : origin.pieces) {
    for (size_t at = 0; at < piece.size(); at += sizeof(uint32_t)) {
      uint32_t bits;
      std::memcpy(&bits, piece.data() + at, sizeof bits);
      odd |= (bits & kExponent) == kExponent;
    }
  }
  return !odd;
}

}  // namespace

base::Result<int64_t> ChooseWeights(PassContext& context) {
  const WeightChoice& choice = context.options.weights;
  if (choice.form == kernels::WeightForm::kF32 && choice.nodes.empty()) return 0;
  int64_t count = 0;
  for (Node* node : context.graph.Nodes()) {
    if (!node->Is("FusedLinear") || node->Has("weights")) continue;
    const kernels::WeightForm form =
        choice.For(node->name.empty() ? node->output()->name : node->name);
    if (form == kernels::WeightForm::kF32) continue;
    const tensor::Tensor& weight = *node->input(1)->constant;
    const bool transposed = node->Int("trans_b", 0) != 0;
    const int64_t k = weight.shape[transposed ? 1 : 0];
    const int64_t n = weight.shape[transposed ? 0 : 1];
    if (n < kWidthMin || k < kDepthMin) continue;
    const bool int8 =
        form == kernels::WeightForm::kInt8 || form == kernels::WeightForm::kInt8Storage;
    if (int8 && k > kernels::kLowDepthMax) {
      context.Miss(*node, "weight left in f32: int8 sums of " + std::to_string(k) +
                              " products could overflow");
      continue;
    }
    if (int8 && !IsFinite(weight)) {
      context.Miss(*node, "weight left in f32: it holds a value that is not finite");
      continue;
    }
    node->Set("weights", std::string(kernels::WeightFormName(form)));
    ++count;
  }
  return count;
}

}  // namespace sluice::graph
