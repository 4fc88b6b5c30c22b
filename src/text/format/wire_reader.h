// Protobuf's wire format, as much of it as reading a message's fields in order takes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice::text {

// One field: a varint, or bytes of fixed or told length.
struct WireField {
  enum class Type { kVarint, kBytes8, kBytes, kBytes4 };
  uint32_t number = 0;
  Type type = Type::kVarint;
  uint64_t varint = 0;
  std::string_view bytes;  // into the message

  base::Result<uint64_t> Varint() const {
    if (type != Type::kVarint) return Mismatch("a varint");
    return varint;
  }
  base::Result<std::string_view> Bytes() const {
    if (type != Type::kBytes) return Mismatch("bytes");
    return bytes;
  }
  base::Result<float> Float() const {
    if (type != Type::kBytes4) return Mismatch("a float");
    float value = 0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }

 private:
  base::Error Mismatch(const char* expected) const {
    return base::InvalidArgument("field " + std::to_string(number) + ": expected " + expected);
  }
};

// Walks over a message that its owner keeps.
class WireReader {
 public:
  explicit WireReader(std::string_view message) : rest_(message) {}
  bool done() const { return rest_.empty(); }
  // The next field; kInvalidArgument when the message ends within it or it is of an unknown type.
  base::Result<WireField> Next();

 private:
  base::Result<uint64_t> Varint();
  base::Result<std::string_view> Take(uint64_t bytes);

  std::string_view rest_;
};

}  // namespace sluice::text
