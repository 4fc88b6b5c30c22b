// Writes GGUF bytes for tests: what the format allows and what it does not.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/gguf.h"

namespace sluice::tensor {

class GgufTestWriter {
 public:
  template <class T>
  static std::string Raw(T value) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
  }
  static std::string Text(std::string_view text) {
    return Raw<uint64_t>(text.size()) + std::string(text);
  }
  static std::string Array(GgufType element, uint64_t count, const std::string& elements) {
    return Raw(static_cast<uint32_t>(element)) + Raw(count) + elements;
  }

  GgufTestWriter& Entry(std::string_view key, GgufType type, const std::string& value) {
    entries_.push_back(Text(key) + Raw(static_cast<uint32_t>(type)) + value);
    return *this;
  }
  // `extents` as in the file, the innermost first.
  GgufTestWriter& Tensor(std::string_view name, const std::vector<uint64_t>& extents, uint32_t type,
                         uint64_t offset) {
    std::string info = Text(name) + Raw(static_cast<uint32_t>(extents.size()));
    for (const uint64_t extent : extents) info += Raw(extent);
    tensors_.push_back(info + Raw(type) + Raw(offset));
    return *this;
  }
  std::string Finish(size_t data_bytes, uint32_t version = 3, size_t alignment = 32) const {
    std::string file =
        "GGUF" + Raw(version) + Raw<uint64_t>(tensors_.size()) + Raw<uint64_t>(entries_.size());
    for (const std::string& entry : entries_) file += entry;
    for (const std::string& info : tensors_) file += info;
    file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
    return file;
  }

 private:
  std::vector<std::string> entries_;
  std::vector<std::string> tensors_;
};

}  // namespace sluice::tensor
