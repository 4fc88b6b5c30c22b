// Any bytes as a safetensors file: whatever is read must lie within the bytes, whole and aligned.
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  tensor::Buffer bytes = tensor::Buffer::Allocate(static_cast<int64_t>(size));
  if (size > 0) std::memcpy(bytes.mutable_data(), data, size);
  const auto file = tensor::Safetensors::Parse({bytes.data(), size}, "fuzz");
  if (!file.ok()) {
    CHECK(file.error().code != base::Code::kInternal) << file.error().message;
    return 0;
  }
  int64_t all = 0;
  for (const tensor::SafetensorsEntry& entry : file->entries()) {
    CHECK(file->Find(entry.name) == &entry);
    const auto* const at = static_cast<const unsigned char*>(entry.view.data);
    const int64_t count = entry.view.bytes();
    all += count;
    unsigned sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += at[i];
    CHECK(sum <= 255u * static_cast<unsigned>(count));
    CHECK(count == 0 || reinterpret_cast<uintptr_t>(at) %
                                static_cast<uintptr_t>(tensor::DTypeSize(entry.view.dtype)) ==
                            0);
  }
  CHECK(all <= static_cast<int64_t>(size));
  return 0;
}
