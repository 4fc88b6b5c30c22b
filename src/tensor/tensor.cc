#include "tensor/tensor.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace sluice::tensor {

Buffer Buffer::Allocate(int64_t bytes) {
  CHECK_GE(bytes, 0);
  // A zero-byte buffer still has an address, so that `operator bool` tells "absent" from "empty".
  const size_t size = bytes > 0 ? static_cast<size_t>(bytes) : 1;
  Buffer buffer;
  std::shared_ptr<void> owner(::operator new (size, std::align_val_t{kAlignment}),
                              [](void* p) { ::operator delete (p, std::align_val_t{kAlignment}); });
  buffer.data_ = static_cast<const std::byte*>(owner.get());
  buffer.owner_ = std::move(owner);
  buffer.bytes_ = bytes;
  return buffer;
}

Buffer Buffer::Wrap(std::shared_ptr<const void> owner, const void* data, int64_t bytes) {
  Buffer buffer;
  buffer.owner_ = std::move(owner);
  buffer.data_ = static_cast<const std::byte*>(data);
  buffer.bytes_ = bytes;
  return buffer;
}

Buffer Buffer::AllocateLarge(int64_t bytes) {
  constexpr size_t kPage = 2 << 20;
  const auto size = static_cast<size_t>(bytes);
  if (size < kPage) return Allocate(bytes);
  const size_t mapped = size + kPage;
  void* const start =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return Allocate(bytes);
  const std::shared_ptr<void> owner(start, [mapped](void* p) { munmap(p, mapped); });
  const size_t before = (kPage - reinterpret_cast<uintptr_t>(start) % kPage) % kPage;
  auto* const data = static_cast<std::byte*>(start) + before;
  (void)madvise(data, size / kPage * kPage, MADV_HUGEPAGE);  // only a wish
  return Wrap(owner, data, bytes);
}

Buffer Buffer::Defer(std::shared_ptr<const DeferredBytes> deferred) {
  Buffer buffer;
  buffer.bytes_ = deferred->bytes();
  buffer.deferred_ = deferred.get();
  buffer.owner_ = std::move(deferred);
  return buffer;
}

Buffer Buffer::Made() const {
  if (deferred_ == nullptr) return *this;
  const std::byte* const made = deferred_->data();
  return Wrap(deferred_->memory(), made, bytes_);
}

void Buffer::Describe(DeferredBytes::Origin& origin) const {
  if (deferred_ != nullptr) return deferred_->Describe(origin);
  origin.pieces.emplace_back(data_, static_cast<size_t>(bytes_));
}

const std::byte* DeferredBytes::Make() const {
  std::call_once(once_, [this] {
    auto made = std::make_shared<Buffer>(Buffer::AllocateLarge(bytes_));
    std::byte* const to = made->mutable_data();
    Write(to);
    memory_ = std::move(made);
    data_.store(to, std::memory_order_release);
  });
  return data_.load(std::memory_order_acquire);
}

base::Result<Tensor> Tensor::Allocate(DType dtype, const Shape& shape, int64_t bytes_max) {
  const int64_t bytes = TRY(CheckedBytes(shape, DTypeSize(dtype)));
  if (bytes > bytes_max) {
    return base::InvalidArgument("a tensor of shape " + shape.ToString() + " needs " +
                                 std::to_string(bytes) + " bytes, above the limit of " +
                                 std::to_string(bytes_max));
  }
  return Tensor{dtype, shape, Buffer::Allocate(bytes)};
}

Tensor Tensor::FromStrings(const Shape& shape, const std::vector<std::string>& elements) {
  CHECK_EQ(shape.elements(), static_cast<int64_t>(elements.size()));
  size_t chars = 0;
  for (const std::string& element : elements) chars += element.size();
  const size_t heads = elements.size() * sizeof(std::string_view);
  Buffer buffer = Buffer::Allocate(static_cast<int64_t>(heads + chars));
  auto* head = reinterpret_cast<std::string_view*>(buffer.mutable_data());
  char* text = reinterpret_cast<char*>(buffer.mutable_data()) + heads;
  for (size_t i = 0; i < elements.size(); ++i) {
    std::memcpy(text, elements[i].data(), elements[i].size());
    new (head + i) std::string_view(text, elements[i].size());
    text += elements[i].size();
  }
  return Tensor{DType::kBytes, shape, std::move(buffer)};
}

}  // namespace sluice::tensor
