#include "infer/text_input.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace sluice::infer {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

// Tokens of one request, all texts padded to the longest: short texts beside a long one take many
// times their bytes.
constexpr int64_t kTokensMax = int64_t{4} << 20;
constexpr int64_t kRowsMax = int64_t{1} << 20;  // texts of one request

const Tensor* Find(const engine::Request& request, std::string_view name) {
  for (const tensor::NamedTensor& named : request.inputs) {
    if (named.name == name) return &named.tensor;
  }
  return nullptr;
}

// The texts of an input of shape [rows] or [rows, 1].
base::Result<std::span<const std::string_view>> Texts(const Tensor& tensor, std::string_view name) {
  const std::string quoted = "input '" + std::string(name) + "'";
  if (tensor.dtype != DType::kBytes) {
    return base::InvalidArgument(quoted + " has datatype " +
                                 std::string(tensor::DTypeName(tensor.dtype)) + ", expected BYTES");
  }
  const bool fits = tensor.shape.rank() == 1 || (tensor.shape.rank() == 2 && tensor.shape[1] == 1);
  if (!fits)
    return base::InvalidArgument(quoted + " has shape " + tensor.shape.ToString() +
                                 ", expected [-1] or [-1, 1]");
  if (tensor.shape[0] < 1 || tensor.shape[0] > kRowsMax) {
    return base::InvalidArgument(quoted + " has " + std::to_string(tensor.shape[0]) +
                                 " texts, expected 1 to " + std::to_string(kRowsMax));
  }
  return tensor.view().span<std::string_view>();
}

// One of the encoding's three lists as a tensor of the model's type.
Tensor MakeTensor(const std::vector<text::Encoding>& encodings,
                  std::vector<int32_t> text::Encoding::*list, DType dtype, int64_t length) {
  const int64_t rows = static_cast<int64_t>(encodings.size());
  Tensor tensor{dtype, Shape({rows, length}),
                tensor::Buffer::Allocate(rows * length * tensor::DTypeSize(dtype))};
  const tensor::View view = tensor.mutable_view();
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int32_t>& from = encodings[static_cast<size_t>(row)].*list;
    for (int64_t i = 0; i < length; ++i) {
      const int32_t value = from[static_cast<size_t>(i)];
      if (dtype == DType::kI64) view.as<int64_t>()[row * length + i] = value;
      if (dtype == DType::kI32) view.as<int32_t>()[row * length + i] = value;
    }
  }
  return tensor;
}

}  // namespace

base::Status EncodeText(const ServedModel& served, const engine::Request& request,
                        PreparedRequest& prepared) {
  const Tensor* first = Find(request, "text");
  const Tensor* second = Find(request, "text_pair");
  if (first == nullptr) {
    return base::InvalidArgument("input 'text' of model '" + served.options.model + "' is missing");
  }
  const std::span<const std::string_view> texts = TRY(Texts(*first, "text"));
  std::span<const std::string_view> pairs;
  if (second != nullptr) {
    pairs = TRY(Texts(*second, "text_pair"));
    if (pairs.size() != texts.size()) {
      return base::InvalidArgument("input 'text' has " + std::to_string(texts.size()) +
                                   " rows, input 'text_pair' has " + std::to_string(pairs.size()));
    }
  }
  const text::EncodeOptions options{.length_max = served.text_tokens_max};
  std::vector<text::Encoding> encodings;
  encodings.reserve(texts.size());
  int64_t longest = 1;
  for (size_t i = 0; i < texts.size(); ++i) {
    encodings.push_back(second == nullptr
                            ? TRY(served.tokenizer->Encode(texts[i], options))
                            : TRY(served.tokenizer->EncodePair(texts[i], pairs[i], options)));
    longest = std::max(longest, static_cast<int64_t>(encodings.back().ids.size()));
    prepared.truncated = prepared.truncated || encodings.back().truncated;
  }
  // A tokenizer without fixed tokens makes nothing of an empty text; the model still needs one
  // position.
  const int64_t rows = static_cast<int64_t>(encodings.size());
  if (rows > kTokensMax / longest) {
    return base::InvalidArgument("input 'text' has " + std::to_string(rows) +
                                 " texts, the longest " + std::to_string(longest) +
                                 " tokens: padded, they are above " + std::to_string(kTokensMax) +
                                 " tokens");
  }
  for (text::Encoding& encoding : encodings) served.tokenizer->Pad(longest, encoding);
  const auto fill = [&](int input, std::vector<int32_t> text::Encoding::*list) {
    if (input < 0) return;
    const DType dtype = served.graph->inputs()[static_cast<size_t>(input)].dtype;
    prepared.inputs[static_cast<size_t>(input)] = MakeTensor(encodings, list, dtype, longest);
  };
  fill(served.ids_input, &text::Encoding::ids);
  fill(served.mask_input, &text::Encoding::attention_mask);
  fill(served.types_input, &text::Encoding::type_ids);
  return base::Ok();
}

int64_t TextBytes(const engine::Request& request) {
  int64_t bytes = 0;
  for (const tensor::NamedTensor& named : request.inputs) {
    if (named.tensor.dtype == DType::kBytes) bytes += named.tensor.buffer.bytes();
  }
  return bytes;
}

}  // namespace sluice::infer
