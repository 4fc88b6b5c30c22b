#include "tensor/tensor.h"

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
