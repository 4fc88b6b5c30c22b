// Buffers and tensors that own their bytes: request payloads, weights, replies. Refcounted,
// immutable once shared.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/view.h"

namespace sluice::tensor {

// Alignment of every buffer and arena block: a cache line, and the widest vector.
inline constexpr size_t kAlignment = 64;

// Refcounted bytes. Copying shares them. Written only by whoever made the buffer, before it is
// shared.
class Buffer {
 public:
  Buffer() = default;
  // `bytes` uninitialised bytes, aligned to kAlignment. The caller has bounded `bytes`.
  static Buffer Allocate(int64_t bytes);
  // Bytes that somebody else owns; `owner` is kept until the last copy is gone.
  static Buffer Wrap(std::shared_ptr<const void> owner, const void* data, int64_t bytes);

  const std::byte* data() const { return data_; }
  std::byte* mutable_data() { return const_cast<std::byte*>(data_); }
  int64_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// A dense tensor with its bytes.
struct Tensor {
  DType dtype = DType::kF32;
  Shape shape;
  Buffer buffer;

  // Uninitialised; kInvalidArgument when the byte size overflows or exceeds `bytes_max`.
  static base::Result<Tensor> Allocate(DType dtype, const Shape& shape, int64_t bytes_max);
  // A kBytes tensor that copies `elements`; their count must be shape.elements().
  static Tensor FromStrings(const Shape& shape, const std::vector<std::string>& elements);

  ConstView view() const { return {dtype, shape, buffer.data()}; }
  View mutable_view() { return {dtype, shape, buffer.mutable_data()}; }
};

// A tensor as a request or a reply names it.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace sluice::tensor
