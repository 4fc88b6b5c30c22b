// JSON from a client: parsing, every accessor, reading numbers and strings, and writing what was
// read.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"

namespace {

using sluice::base::JsonDocument;
using sluice::base::JsonKind;
using sluice::base::JsonValue;
using sluice::base::JsonWriter;
using sluice::base::Ok;
using sluice::base::Status;

void Write(JsonValue value, JsonWriter& writer) {
  switch (value.kind()) {
    case JsonKind::kNull:
      writer.Null();
      break;
    case JsonKind::kBool:
      writer.Bool(value.AsBool().value());
      break;
    case JsonKind::kInt:
      writer.Int(value.AsInt().value());
      break;
    case JsonKind::kUint:
      writer.Uint(value.AsUint().value());
      break;
    case JsonKind::kDouble:
      writer.Double(value.AsDouble().value());
      break;
    case JsonKind::kString:
      writer.String(value.AsString().value());
      break;
    case JsonKind::kArray:
      writer.BeginArray();
      value
          .ForEachElement([&](JsonValue element) -> Status {
            Write(element, writer);
            return Ok();
          })
          .value();
      writer.EndArray();
      break;
    case JsonKind::kObject:
      writer.BeginObject();
      value
          .ForEachMember([&](std::string_view key, JsonValue member) -> Status {
            writer.Key(key);
            Write(member, writer);
            return Ok();
          })
          .value();
      writer.EndObject();
      break;
  }
}

template <class T>
void Read(JsonValue value, int64_t count) {
  std::vector<T> numbers(static_cast<size_t>(count));
  (void)value.ReadNumbers(std::span<T>(numbers));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  JsonDocument document;
  const auto root = document.Parse({reinterpret_cast<const char*>(data), size});
  if (!root.ok()) return 0;
  const int64_t count = root->CountScalars();
  CHECK(count >= 0 && count <= static_cast<int64_t>(size));
  Read<float>(*root, count);
  Read<int8_t>(*root, count);
  Read<uint64_t>(*root, count);
  (void)root->ReadStrings(count, [](std::string_view) {});
  (void)root->Find("data");
  std::string once;
  JsonWriter first(once);
  Write(*root, first);
  // What was written is valid, and writing it again changes nothing.
  const auto again = document.Parse(once);
  CHECK(again.ok()) << once;
  std::string twice;
  JsonWriter second(twice);
  Write(*again, second);
  CHECK(once == twice) << once << " " << twice;
  return 0;
}
