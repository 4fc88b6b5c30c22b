// Fused operators of com.microsoft over quantised tensors: integer products with their scales, and
// pointwise operators between a dequantisation and a quantisation.
#include <array>

#include "graph/onnx/contrib.h"
#include "tensor/narrow.h"

namespace sluice::graph {

using base::Ok;
using base::Result;
using base::Status;
using tensor::DType;

std::string ContribIntegerProduct(ContribBody& body, const IntegerFactor& a, const IntegerFactor& b,
                                  const std::string& addend) {
  std::string sums = body.Make("MatMulInteger", {a.x, b.x, a.zero, b.zero});
  sums = body.AddMaybe(sums, addend);
  const std::string scale = body.Make("Mul", {a.scale, b.scale});
  return body.Make("Mul", {body.CastTo(sums, DType::kF32), scale});
}

namespace {

// Inputs i, i + 1, i + 2 as a real tensor.
std::string Real(ContribBody& body, size_t i) {
  return body.Make("DequantizeLinear", {body.In(i), body.In(i + 1), body.In(i + 2)});
}

// `value` with scale and zero point in inputs i and i + 1, of the type of input `like`.
std::string Quantised(ContribBody& body, const std::string& value, size_t i, size_t like) {
  const int64_t code = body.Type(like) == DType::kI8 ? 3 : 2;
  return body.Make("QuantizeLinear", {value, body.In(i), body.In(i + 1)}, {{"output_dtype", code}});
}

Status ExpandMatMulIntegerToFloat(ContribBody& body) {
  const std::string y = ContribIntegerProduct(body, {body.In(0), body.In(2), body.In(4)},
                                              {body.In(1), body.In(3), body.In(5)}, "");
  body.Output(0, body.AddMaybe(y, body.In(6)));
  return Ok();
}

Status ExpandDynamicQuantizeMatMul(ContribBody& body) {
  const std::vector<std::string> a = body.MakeMany("DynamicQuantizeLinear", {body.In(0)}, 3);
  const std::string y =
      ContribIntegerProduct(body, {a[0], a[1], a[2]}, {body.In(1), body.In(2), body.In(3)}, "");
  body.Output(0, body.AddMaybe(y, body.In(4)));
  return Ok();
}

Status ExpandQGemm(ContribBody& body) {
  const std::vector<int64_t> swap = {1, 0};
  const bool transposed[] = {body.Int("transA", 0) != 0, body.Int("transB", 0) != 0};
  std::string operands[2];
  for (size_t i = 0; i < 2; ++i) {
    operands[i] = body.In(3 * i);
    if (transposed[i]) operands[i] = body.Make("Transpose", {operands[i]}, {{"perm", swap}});
  }
  std::string y = ContribIntegerProduct(body, {operands[0], body.In(1), body.In(2)},
                                        {operands[1], body.In(4), body.In(5)}, body.In(6));
  const float alpha = body.Float("alpha", 1);
  if (alpha != 1) y = body.Make("Mul", {y, body.Number(alpha, 1)});
  body.Output(0, body.has(7) ? Quantised(body, y, 7, 0) : y);
  return Ok();
}

template <const char* const* op>
Status ExpandQBinary(ContribBody& body) {
  const std::string y = body.Make(*op, {Real(body, 0), Real(body, 3)});
  body.Output(0, Quantised(body, y, 6, 0));
  return Ok();
}
constexpr const char* kAdd = "Add";
constexpr const char* kMul = "Mul";

Status ExpandQSigmoid(ContribBody& body) {
  body.Output(0, Quantised(body, body.Make("Sigmoid", {Real(body, 0)}), 3, 0));
  return Ok();
}

Status ExpandQLeakyRelu(ContribBody& body) {
  const std::string y =
      body.Make("LeakyRelu", {Real(body, 0)}, {{"alpha", body.Float("alpha", 0.01F)}});
  body.Output(0, Quantised(body, y, 3, 0));
  return Ok();
}

Status ExpandQSoftmax(ContribBody& body) {
  if (body.Int("opset", 13) < 13) return body.Refuse("the softmax of opsets before 13");
  const std::string y = body.Make("Softmax", {Real(body, 0)}, {{"axis", body.Int("axis", -1)}});
  body.Output(0, Quantised(body, y, 3, 0));
  return Ok();
}

// Channels last as ONNX has them, and back.
std::string Channels(ContribBody& body, const std::string& x, int rank, bool first) {
  std::vector<int64_t> perm = {0};
  if (first) perm.push_back(rank - 1);
  for (int i = 1; i + 1 < rank; ++i) perm.push_back(first ? i : i + 1);
  if (!first) perm.push_back(1);
  return body.Make("Transpose", {x}, {{"perm", perm}});
}

Status ExpandQPool(ContribBody& body, std::string_view op,
                   std::initializer_list<std::string_view> attributes) {
  const std::optional<int> rank = body.Rank(0);
  const bool last = body.Int("channels_last", 0) != 0;
  if (last && (!rank.has_value() || *rank < 3))
    return body.Refuse("channels_last with an unknown rank");
  std::string x = Real(body, 0);
  if (last) x = Channels(body, x, *rank, true);
  std::string y = body.Make(op, {x});
  body.PassOn(attributes);
  if (last) y = Channels(body, y, *rank, false);
  body.Output(0, Quantised(body, y, 3, 0));
  return Ok();
}
Status ExpandQAveragePool(ContribBody& body) {
  return ExpandQPool(
      body, "AveragePool",
      {"auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"});
}
Status ExpandQGlobalAveragePool(ContribBody& body) {
  return ExpandQPool(body, "GlobalAveragePool", {});
}

Status ExpandQConcat(ContribBody& body) {
  std::vector<std::string> parts;
  for (size_t i = 2; body.has(i); i += 3) parts.push_back(Real(body, i));
  if (parts.empty()) return body.Refuse("nothing to concatenate");
  const std::string y = body.MakeFrom("Concat", parts, {{"axis", body.Int("axis", 0)}});
  body.Output(0, Quantised(body, y, 0, 2));
  return Ok();
}

Status ExpandQConv(ContribBody& body) {
  const std::optional<int> rank = body.Rank(0);
  const bool last = body.Int("channels_last", 0) != 0;
  if (last && (!rank.has_value() || *rank < 3))
    return body.Refuse("channels_last with an unknown rank");
  const std::string x = last ? Channels(body, body.In(0), *rank, true) : body.In(0);
  std::string y = body.Make("QLinearConv", {x, body.In(1), body.In(2), body.In(3), body.In(4),
                                            body.In(5), body.In(6), body.In(7), body.In(8)});
  body.PassOn({"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"});
  if (last) y = Channels(body, y, *rank, false);
  body.Output(0, y);
  return Ok();
}

Status ExpandNhwcMaxPool(ContribBody& body) {
  const std::optional<int> rank = body.Rank(0);
  if (!rank.has_value() || *rank < 3) return body.Refuse("the rank of its input must be known");
  const std::string y = body.Make("MaxPool", {Channels(body, body.In(0), *rank, true)});
  body.PassOn({"auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"});
  body.Output(0, Channels(body, y, *rank, false));
  return Ok();
}

// ---- MatMulNBits: weights of few bits in blocks along the reduced axis ----

// `rows` times `per_row` elements that lie in `row_bytes` each, packed without the gaps between
// rows, as a constant of the storage type.
Result<std::string> PackedRows(ContribBody& body, const tensor::Tensor& from, DType dtype,
                               int64_t rows, int64_t per_row, int64_t row_bytes) {
  int64_t bytes = 0;
  if (from.dtype != DType::kU8 || __builtin_mul_overflow(rows, row_bytes, &bytes) ||
      from.shape.elements() != bytes) {
    return base::InvalidArgument("packed weights of " + from.shape.ToString() + ", expected " +
                                 std::to_string(rows) + " rows of " + std::to_string(row_bytes) +
                                 " bytes of type UINT8");
  }
  const int bits = dtype == DType::kU8 ? 8 : tensor::StorageBits(dtype);
  std::string packed(static_cast<size_t>((rows * per_row * bits + 7) / 8), '\0');
  const auto* data = reinterpret_cast<const uint8_t*>(from.buffer.data());
  const int mask = (1 << bits) - 1;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < per_row; ++i) {
      const int64_t at = i * bits;
      const int value = data[row * row_bytes + at / 8] >> (at % 8) & mask;
      const int64_t to = (row * per_row + i) * bits;
      char& byte = packed[static_cast<size_t>(to / 8)];
      byte = static_cast<char>(byte | value << (to % 8));
    }
  }
  onnx::TensorProto proto;
  proto.set_data_type(bits == 8   ? onnx::TensorProto::UINT8
                      : bits == 4 ? onnx::TensorProto::UINT4
                                  : onnx::TensorProto::UINT2);
  proto.add_dims(rows);
  proto.add_dims(per_row);
  proto.set_raw_data(std::move(packed));
  return body.TensorConstant(std::move(proto));
}

Status ExpandMatMulNBits(ContribBody& body) {
  enum : size_t { kA, kB, kScales, kZeros, kOrder, kBias };
  constexpr int64_t kExtentMax = int64_t{1} << 30;
  const int64_t k = body.Int("K", 0), n = body.Int("N", 0);
  const int64_t bits = body.Int("bits", 4), block = body.Int("block_size", 0);
  body.Ignore({"accuracy_level", "weight_prepacked"});
  if (body.has(kOrder)) return body.Refuse("g_idx is not supported");
  if (bits != 2 && bits != 4 && bits != 8) return body.Refuse("bits other than 2, 4 and 8");
  if (k < 1 || n < 1 || block < 1 || k > kExtentMax || n > kExtentMax || block > kExtentMax)
    return base::InvalidArgument("K, N or block_size is out of range");
  const tensor::Tensor* weights = body.Constant(kB);
  if (weights == nullptr) return body.Refuse("weights that are not constant");
  const DType dtype = bits == 8 ? DType::kU8 : bits == 4 ? DType::kU4 : DType::kU2;
  const int64_t blocks = (k + block - 1) / block;
  const std::string b =
      TRY(PackedRows(body, *weights, dtype, n, k, blocks * ((block * bits + 7) / 8)));
  std::string zeros;
  if (body.has(kZeros)) {
    const tensor::Tensor* packed = body.Constant(kZeros);
    if (packed == nullptr || packed->dtype != DType::kU8)
      return body.Refuse("zero points that are not constant bytes");
    zeros = TRY(PackedRows(body, *packed, dtype, n, blocks, (blocks * bits + 7) / 8));
  } else {
    // The middle of the range for all.
    const int64_t row_bytes = (blocks * bits + 7) / 8;
    const int middle = 1 << (bits - 1);
    int byte = 0;
    for (int64_t at = 0; at < 8; at += bits) byte |= middle << at;
    tensor::Tensor all{DType::kU8, tensor::Shape({n, row_bytes}),
                       tensor::Buffer::Allocate(n * row_bytes)};
    std::fill_n(all.buffer.mutable_data(), n * row_bytes, static_cast<std::byte>(byte));
    zeros = TRY(PackedRows(body, all, dtype, n, blocks, row_bytes));
  }
  const std::string scales = body.Make("Reshape", {body.In(kScales), body.IntList({n, blocks})});
  const std::string real = body.Make("DequantizeLinear", {b, scales, zeros},
                                     {{"axis", int64_t{1}}, {"block_size", block}});
  const std::string columns =
      body.Make("Transpose", {real}, {{"perm", std::vector<int64_t>{1, 0}}});
  const std::string y = body.Make("MatMul", {body.In(kA), columns});
  body.Output(0, body.AddMaybe(y, body.In(kBias)));
  return Ok();
}

constexpr auto kOps = std::to_array<ContribOp>({
    {"MatMulIntegerToFloat", ExpandMatMulIntegerToFloat},
    {"DynamicQuantizeMatMul", ExpandDynamicQuantizeMatMul},
    {"QGemm", ExpandQGemm},
    {"QLinearAdd", ExpandQBinary<&kAdd>},
    {"QLinearMul", ExpandQBinary<&kMul>},
    {"QLinearSigmoid", ExpandQSigmoid},
    {"QLinearLeakyRelu", ExpandQLeakyRelu},
    {"QLinearSoftmax", ExpandQSoftmax},
    {"QLinearAveragePool", ExpandQAveragePool},
    {"QLinearGlobalAveragePool", ExpandQGlobalAveragePool},
    {"QLinearConcat", ExpandQConcat},
    {"QLinearConv", ExpandQConv},
    {"NhwcMaxPool", ExpandNhwcMaxPool},
    {"MatMulNBits", ExpandMatMulNBits},
});

}  // namespace

std::span<const ContribOp> ContribQuantizedOps() {
  return kOps;
}

}  // namespace sluice::graph
