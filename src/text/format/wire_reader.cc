#include "text/format/wire_reader.h"

namespace sluice::text {

base::Result<uint64_t> WireReader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return base::InvalidArgument("a message ends within a number");
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return base::InvalidArgument("a number has more than ten bytes");
}

base::Result<std::string_view> WireReader::Take(uint64_t bytes) {
  if (bytes > rest_.size()) {
    return base::InvalidArgument("a field of " + std::to_string(bytes) + " bytes, " +
                                 std::to_string(rest_.size()) + " are left");
  }
  const std::string_view taken = rest_.substr(0, static_cast<size_t>(bytes));
  rest_.remove_prefix(static_cast<size_t>(bytes));
  return taken;
}

base::Result<WireField> WireReader::Next() {
  const uint64_t tag = TRY(Varint());
  if ((tag >> 3) == 0 || (tag >> 3) > 0x1FFFFFFF) {
    return base::InvalidArgument("field number " + std::to_string(tag >> 3) + " is out of range");
  }
  WireField field;
  field.number = static_cast<uint32_t>(tag >> 3);
  switch (tag & 7) {
    case 0:
      field.varint = TRY(Varint());
      break;
    case 1:
      field.type = WireField::Type::kBytes8;
      field.bytes = TRY(Take(8));
      break;
    case 2: {
      const uint64_t bytes = TRY(Varint());
      field.type = WireField::Type::kBytes;
      field.bytes = TRY(Take(bytes));
      break;
    }
    case 5:
      field.type = WireField::Type::kBytes4;
      field.bytes = TRY(Take(4));
      break;
    default:
      return base::InvalidArgument("field " + std::to_string(field.number) + " has wire type " +
                                   std::to_string(tag & 7) + ", expected 0, 1, 2 or 5");
  }
  return field;
}

}  // namespace sluice::text
