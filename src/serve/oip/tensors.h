// Tensors on the wire: raw little-endian bytes and length-prefixed strings, checked before a byte
// is read or allocated.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/config.h"
#include "tensor/tensor.h"

namespace sluice::serve {

// The dtype of this protocol name, or kInvalidArgument naming the tensor.
base::Result<tensor::DType> DTypeOnWire(std::string_view datatype, std::string_view tensor_name);

// Rank, signs, element count and byte size within bounds, or kInvalidArgument naming the tensor.
base::Result<tensor::Shape> ShapeOnWire(std::span<const int64_t> dims, tensor::DType dtype,
                                        std::string_view tensor_name, const RequestLimits& limits);

// A tensor from its wire form. `raw` must hold exactly the shape's elements. Where `owner` (which
// holds `raw`) is set and the bytes are aligned they are looked at in place; otherwise they are
// copied.
base::Result<tensor::Tensor> TensorFromRaw(tensor::DType dtype, const tensor::Shape& shape,
                                           std::string_view raw, const tensor::Buffer& owner,
                                           std::string_view tensor_name);

// Bytes of the wire form.
int64_t RawBytes(const tensor::Tensor& tensor);
// The wire form appended. For all but kBytes these are the tensor's own bytes.
void AppendRaw(const tensor::Tensor& tensor, std::string& out);
// The wire form as a buffer: the tensor's own where it can be.
tensor::Buffer RawBuffer(const tensor::Tensor& tensor);

// Collects strings and makes the kBytes tensor of them with one copy.
class StringTensorBuilder {
 public:
  // Room for `count` strings; the caller has bounded it.
  explicit StringTensorBuilder(int64_t count) { ends_.reserve(static_cast<size_t>(count)); }
  void Add(std::string_view text) {
    bytes_.append(text);
    ends_.push_back(bytes_.size());
  }
  // Exactly as many strings as `shape` has elements must have come.
  tensor::Tensor Build(const tensor::Shape& shape) const;

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

}  // namespace sluice::serve
