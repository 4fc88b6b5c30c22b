// Buffers and tensors that own their bytes: request payloads, weights, replies. Refcounted,
// immutable once shared.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/deferred_bytes.h"
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
  // The same in a mapping of its own, in pages as large as the machine gives, where bytes are many:
  // that spares thousands of faults, and all of it goes back when it is let go.
  static Buffer AllocateLarge(int64_t bytes);
  // Bytes that somebody else owns; `owner` is kept until the last copy is gone.
  static Buffer Wrap(std::shared_ptr<const void> owner, const void* data, int64_t bytes);
  // Bytes that the first data() makes. They are never written by others.
  static Buffer Defer(std::shared_ptr<const DeferredBytes> deferred);

  const std::byte* data() const { return deferred_ == nullptr ? data_ : deferred_->data(); }
  std::byte* mutable_data() {
    DCHECK(deferred_ == nullptr);
    return const_cast<std::byte*>(data_);
  }
  int64_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr || deferred_ != nullptr; }

  // Whether the first data() makes them, and whether it has.
  bool deferred() const { return deferred_ != nullptr; }
  bool made() const { return deferred_ == nullptr || deferred_->made(); }
  // The same bytes, made, without what they were made of.
  Buffer Made() const;
  // What determines the bytes, told without making them.
  void Describe(DeferredBytes::Origin& origin) const;

 private:
  std::shared_ptr<const void> owner_;
  const DeferredBytes* deferred_ = nullptr;  // the owner, where it makes the bytes
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

  int64_t bytes() const { return shape.elements() * DTypeSize(dtype); }
  ConstView view() const { return {dtype, shape, buffer.data()}; }
  View mutable_view() { return {dtype, shape, buffer.mutable_data()}; }
};

// A tensor as a request or a reply names it.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace sluice::tensor
