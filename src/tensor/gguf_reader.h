// Reads the bytes of one GGUF file with bounds: what gguf.cc builds a Gguf from. Not for others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/gguf.h"

namespace sluice::tensor {

// One file. Views of `bytes` go into what it reads.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, const std::string& name, const GgufLimits& limits)
      : bytes_(bytes), name_(name), limits_(limits) {}
  // Everything but the index of names and what concerns other parts.
  base::Result<Gguf> Read();
  // One value of `type` that starts at `bytes`; a range that was read before.
  static GgufValue ValueAt(GgufType type, std::span<const std::byte> bytes, size_t& at);

 private:
  struct Info {
    GgufTensor tensor;
    uint64_t offset = 0;
  };

  base::Error Wrong(const std::string& what) const;
  base::Result<std::span<const std::byte>> Take(uint64_t count, const char* what);
  template <class T>
  base::Result<T> Number(const char* what) {
    T value;
    std::memcpy(&value, TRY(Take(sizeof(T), what)).data(), sizeof(T));
    return value;
  }
  base::Result<std::string_view> String(uint64_t bytes_max, const char* what);
  base::Result<GgufType> Type(const std::string& where);
  base::Status SkipValue(GgufType type, const std::string& key, int depth);
  base::Result<uint64_t> Alignment(const Gguf& gguf) const;
  base::Result<Info> TensorInfo();
  base::Status PlaceTensors(std::vector<Info>& infos, uint64_t alignment, Gguf& gguf);

  std::span<const std::byte> bytes_;
  const std::string& name_;
  const GgufLimits& limits_;
  size_t at_ = 0;
};

}  // namespace sluice::tensor
