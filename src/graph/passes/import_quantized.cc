// Quantised products as exporters and quantisers write them become linear layers of the int8
// kernels: integer products with their scales, quantised products, and products between a
// dequantisation and a constant.
//
// A dynamic quantisation of the whole tensor (DynamicQuantizeLinear) becomes one of each row. The
// answer is closer to that of the model before it was quantised, and no row's bits depend on its
// company.
#include <cmath>
#include <optional>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"
#include "kernels/low_packing.h"

namespace sluice::graph {
namespace {

using tensor::DType;
using tensor::Tensor;

// The integers of a constant of bytes or words.
std::optional<std::vector<int32_t>> IntegersOf(const Value* value) {
  if (value == nullptr || !value->is_constant()) return std::nullopt;
  const tensor::ConstView view = value->constant->view();
  std::vector<int32_t> integers;
  for (int64_t i = 0; i < view.shape.elements(); ++i) {
    if (view.dtype == DType::kI8) {
      integers.push_back(view.as<int8_t>()[i]);
    } else if (view.dtype == DType::kU8) {
      integers.push_back(view.as<uint8_t>()[i]);
    } else {
      return std::nullopt;
    }
  }
  return integers;
}

std::optional<std::vector<float>> FloatsOf(const Value* value) {
  if (value == nullptr || !value->is_constant() || value->dtype != DType::kF32) return std::nullopt;
  const auto span = value->constant->view().span<float>();
  return std::vector<float>(span.begin(), span.end());
}

// A quantisation of `x`: with one scale that is known, or of what the data turn out to be.
struct Quantised {
  Value* x = nullptr;
  bool fixed = false;
  float scale = 0;
  int32_t zero = 0;
  bool is_signed = false;
};

bool SameScalar(const Value* a, const Value* b) {
  if (a == b) return true;
  const auto ints_a = IntegersOf(a), ints_b = IntegersOf(b);
  if (ints_a.has_value() || ints_b.has_value()) return ints_a == ints_b;
  return FloatsOf(a).has_value() && FloatsOf(a) == FloatsOf(b);
}

// `codes` with `zero` (null: 0) and `scale` as one quantisation; nothing when they do not belong
// together.
std::optional<Quantised> QuantisedBy(const Value* codes, const Value* zero, const Value* scale) {
  Quantised found;
  if (Node* dynamic = ProducerIf(codes, "DynamicQuantizeLinear")) {
    if (codes != dynamic->output(0) || zero != dynamic->output(2) || scale != dynamic->output(1))
      return std::nullopt;
    found.x = dynamic->inputs[0];
    return found;
  }
  Node* quantize = ProducerIf(codes, "QuantizeLinear");
  if (quantize == nullptr || quantize->input(0)->dtype != DType::kF32) return std::nullopt;
  const auto scales = FloatsOf(quantize->input(1));
  if (!scales.has_value() || scales->size() != 1 || !SameScalar(quantize->input(1), scale))
    return std::nullopt;
  if (codes->dtype != DType::kI8 && codes->dtype != DType::kU8) return std::nullopt;
  if (quantize->input(2) != nullptr) {
    const auto zeros = IntegersOf(quantize->input(2));
    if (!zeros.has_value() || zeros->size() != 1) return std::nullopt;
    found.zero = zeros->front();
  }
  if (zero == nullptr ? found.zero != 0
                      : quantize->input(2) != nullptr && !SameScalar(quantize->input(2), zero)) {
    return std::nullopt;
  }
  found.x = quantize->inputs[0];
  found.fixed = true;
  found.scale = scales->front();
  found.is_signed = codes->dtype == DType::kI8;
  if (!(found.scale > 1e-30F) || !std::isfinite(found.scale)) return std::nullopt;
  return found;
}

// (codes - zero) * scale as a [k, n] tensor, scale and zero one or one a column.
std::optional<Tensor> RealWeight(const Value* codes, const Value* zero, const Value* scale) {
  const auto integers = IntegersOf(codes);
  const auto scales = FloatsOf(scale);
  if (!integers.has_value() || !scales.has_value()) return std::nullopt;
  const tensor::Shape& shape = codes->constant->shape;
  if (shape.rank() != 2 || shape.elements() == 0) return std::nullopt;
  std::vector<int32_t> zeros = {0};
  if (zero != nullptr) {
    auto given = IntegersOf(zero);
    if (!given.has_value()) return std::nullopt;
    zeros = std::move(*given);
  }
  const auto n = static_cast<size_t>(shape[1]);
  if ((scales->size() != 1 && scales->size() != n) || (zeros.size() != 1 && zeros.size() != n))
    return std::nullopt;
  Tensor real{DType::kF32, shape, tensor::Buffer::Allocate(shape.elements() * 4)};
  float* const to = real.mutable_view().as<float>();
  for (size_t i = 0; i < integers->size(); ++i) {
    const size_t j = i % n;
    const int32_t code = (*integers)[i] - zeros[zeros.size() == 1 ? 0 : j];
    to[i] = static_cast<float>(code) * (*scales)[scales->size() == 1 ? 0 : j];
  }
  return real;
}

bool IsExact(const Tensor& weight, bool transposed) {
  kernels::MatrixSource source;
  source.data = weight.view().data;
  source.k = weight.shape[transposed ? 1 : 0];
  source.n = weight.shape[transposed ? 0 : 1];
  source.k_stride = transposed ? 1 : source.n;
  source.n_stride = transposed ? source.k : 1;
  return kernels::LowFormTakes(kernels::WeightForm::kInt8, source.k, source.n) &&
         kernels::HoldsInt8Exactly(source);
}

void MarkInt8(Node& linear, const Quantised& rows) {
  linear.Set("weights", std::string(WeightFormName(kernels::WeightForm::kInt8)));
  if (!rows.fixed) return;
  linear.Set("input_scale", rows.scale);
  linear.Set("input_zero", int64_t{rows.zero} + (rows.is_signed ? 128 : 0));
}

// Mul(Cast(MatMulInteger(codes, weight, zero, weight_zero)), Mul(scale, weight_scale)), operands in
// any order. `product` is the outer Mul.
bool ImportIntegerProduct(PassContext& context, Node& product, base::Status& failed) {
  Graph& graph = context.graph;
  if (!product.Is("Mul") || product.inputs.size() != 2) return false;
  for (size_t side = 0; side < 2; ++side) {
    Node* cast = ProducerIf(product.input(side), "Cast");
    Node* sums = cast == nullptr ? nullptr : ProducerIf(cast->input(0), "MatMulInteger");
    Node* scales = ProducerIf(product.input(1 - side), "Mul");
    if (sums == nullptr || scales == nullptr || cast->output()->dtype != DType::kF32) continue;
    for (size_t first = 0; first < 2; ++first) {
      const auto rows = QuantisedBy(sums->input(0), sums->input(2), scales->input(first));
      if (!rows.has_value() || RankOf(rows->x) < 2) continue;
      auto weight = RealWeight(sums->input(1), sums->input(3), scales->input(1 - first));
      if (!weight.has_value()) continue;
      const bool exact = IsExact(*weight, false);
      if (!exact && rows->fixed) {
        context.Miss(product,
                     "integer product left to the reference kernel: the weight's zero "
                     "points do not leave 8 bits");
        return false;
      }
      Node* linear = graph.AddNode(
          RequireOp("FusedLinear"), kOpsetMax,
          {rows->x, graph.AddConstant(sums->input(1)->name, std::move(*weight))}, 1, &product);
      linear->name = sums->name;
      linear->Set("trans_b", int64_t{0});
      if (exact) MarkInt8(*linear, *rows);
      failed = InferNode(graph, *linear);
      graph.ReplaceUses(product.output(), linear->output());
      graph.Erase(&product);
      return true;
    }
  }
  return false;
}

// QLinearMatMul with a constant second operand: dequantise, multiply, quantise.
bool ImportQuantisedProduct(PassContext& context, Node& product, base::Status& failed) {
  Graph& graph = context.graph;
  if (!product.Is("QLinearMatMul")) return false;
  if (RankOf(product.input(0)) < 2 || product.input(1)->dtype != DType::kF32) return false;
  if (!product.input(1)->is_constant() || product.input(1)->constant->shape.elements() != 1)
    return false;
  auto weight = RealWeight(product.input(3), product.input(5), product.input(4));
  if (!weight.has_value()) return false;
  const auto add = [&](const char* op, std::vector<Value*> inputs, int opset) {
    Node* node = graph.AddNode(FindOp("", op, opset), opset, std::move(inputs), 1, &product);
    node->name = product.name;
    if (failed.ok()) failed = InferNode(graph, *node);
    return node;
  };
  Node* real =
      add("DequantizeLinear", {product.inputs[0], product.inputs[1], product.inputs[2]}, 13);
  Node* matmul =
      add("MatMul", {real->output(), graph.AddConstant(product.input(3)->name, std::move(*weight))},
          13);
  Node* codes = add("QuantizeLinear", {matmul->output(), product.inputs[6], product.inputs[7]}, 13);
  graph.ReplaceUses(product.output(), codes->output());
  graph.Erase(&product);
  return true;
}

}  // namespace

base::Result<int64_t> ImportQuantized(PassContext& context) {
  int64_t count = 0;
  for (Node* node : context.graph.Nodes()) {
    base::Status failed = base::Ok();
    const bool changed = ImportIntegerProduct(context, *node, failed) ||
                         ImportQuantisedProduct(context, *node, failed);
    TRY(failed);
    count += changed ? 1 : 0;
  }
  return count;
}

base::Result<int64_t> AbsorbQuantized(PassContext& context) {
  Graph& graph = context.graph;
  int64_t count = 0;
  for (Node* node : graph.Nodes()) {
    if (!node->Is("FusedLinear") || node->Has("weights")) continue;
    Node* real = ProducerIf(node->input(0), "DequantizeLinear");
    if (real == nullptr) continue;
    const auto rows = QuantisedBy(real->input(0), real->input(2), real->input(1));
    if (!rows.has_value() || !rows->fixed) continue;
    if (!IsExact(*node->input(1)->constant, node->Int("trans_b", 0) != 0)) {
      context.Miss(*node,
                   "product of a dequantised tensor left in f32: its weight does not come "
                   "from 8 bits");
      continue;
    }
    MarkInt8(*node, *rows);
    graph.SetInput(node, 0, rows->x);
    ++count;
  }
  return count;
}

}  // namespace sluice::graph
