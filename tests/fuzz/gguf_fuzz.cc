// Any bytes as a GGUF file: whatever is read must lie within the bytes, whole and aligned.
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "base/check.h"
#include "tensor/gguf.h"
#include "tensor/tensor.h"

namespace sluice {
namespace {

using tensor::GgufValue;

void Look(const GgufValue& value) {
  (void)value.AsUint();
  (void)value.AsInt();
  (void)value.AsDouble();
  (void)value.AsBool();
  (void)value.PackedElements();
  if (const auto text = value.AsString(); text.ok() && !text->empty())
    CHECK(text->front() == text->data()[0]);
  int64_t count = 0;
  const base::Status all = value.ForEachElement([&](const GgufValue& element) -> base::Status {
    Look(element);
    ++count;
    return base::Ok();
  });
  if (all.ok()) CHECK_EQ(count, value.count());
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  tensor::Buffer bytes = tensor::Buffer::Allocate(static_cast<int64_t>(size));
  if (size > 0) std::memcpy(bytes.mutable_data(), data, size);
  const auto gguf = tensor::Gguf::Parse({bytes.data(), size}, "fuzz");
  if (!gguf.ok()) {
    CHECK(gguf.error().code != base::Code::kInternal) << gguf.error().message;
    return 0;
  }
  for (const auto& [key, value] : gguf->metadata()) {
    CHECK(gguf->Find(key) != nullptr);
    Look(value);
  }
  for (const tensor::GgufTensor& t : gguf->tensors()) {
    CHECK(gguf->FindTensor(t.name) == &t);
    CHECK(t.data >= bytes.data() && t.bytes <= bytes.data() + size - t.data);
    CHECK_EQ((t.data - bytes.data()) % 8, 0);
    unsigned sum = 0;
    for (int64_t i = 0; i < t.bytes; ++i) sum += static_cast<unsigned>(t.data[i]);
    CHECK(sum <= 255u * static_cast<unsigned>(t.bytes));
  }
  return 0;
}
