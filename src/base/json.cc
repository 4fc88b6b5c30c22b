// Reading. simdjson parses and validates; what it leaves is its tape, whose documented format
// (simdjson's doc/tape.md) is walked here: each value starts with a word that has its type in the
// top byte and a payload below; numbers have a second word with their bits; a bracket's payload is
// the index behind the matching bracket and, above bit 32, a count that stops at 2^24 - 1; a
// string's payload is an offset into a buffer of (32-bit length, bytes).
#include "base/json.h"

#include <simdjson.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace sluice::base {
namespace {

constexpr uint64_t kPayload = (uint64_t{1} << 56) - 1;
constexpr int64_t kCountSaturated = 0xFFFFFF;

char Type(uint64_t word) {
  return static_cast<char>(word >> 56);
}
bool IsNumber(char type) {
  return type == 'l' || type == 'u' || type == 'd';
}
bool IsOpen(char type) {
  return type == '[' || type == '{';
}
bool IsClose(char type) {
  return type == ']' || type == '}';
}

const simdjson::dom::document& Document(const void* document) {
  return *static_cast<const simdjson::dom::document*>(document);
}

// The index behind the value that starts at `index`.
size_t Behind(const uint64_t* tape, size_t index) {
  const char type = Type(tape[index]);
  if (IsOpen(type)) return static_cast<size_t>(tape[index] & 0xFFFFFFFFu);
  return index + (IsNumber(type) ? 2 : 1);
}

std::string_view StringAt(const simdjson::dom::document& document, uint64_t word) {
  const uint8_t* at = document.string_buf.get() + (word & kPayload);
  uint32_t length = 0;
  std::memcpy(&length, at, sizeof(length));
  return {reinterpret_cast<const char*>(at + sizeof(length)), length};
}

JsonKind KindOf(char type) {
  switch (type) {
    case 't':
    case 'f':
      return JsonKind::kBool;
    case 'l':
      return JsonKind::kInt;
    case 'u':
      return JsonKind::kUint;
    case 'd':
      return JsonKind::kDouble;
    case '"':
      return JsonKind::kString;
    case '[':
      return JsonKind::kArray;
    case '{':
      return JsonKind::kObject;
    default:
      return JsonKind::kNull;
  }
}

// Converts the number or bool of `type` with the bits `raw` to T; false when it does not fit.
template <class T>
bool Convert(char type, uint64_t raw, T& out) {
  if constexpr (std::is_same_v<T, bool>) {
    if (type == 't' || type == 'f') {
      out = type == 't';
      return true;
    }
    out = raw == 1;
    return type == 'l' && raw <= 1;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (type == 'd') {
      const double value = std::bit_cast<double>(raw);
      out = static_cast<T>(value);
      return std::isfinite(out);
    }
    out = type == 'l' ? static_cast<T>(std::bit_cast<int64_t>(raw)) : static_cast<T>(raw);
    return type == 'l' || type == 'u';
  } else {
    if (type == 'd') {
      // Whole values up to 2^53 are exact in binary64; beyond, the text had digits that are lost.
      const double value = std::bit_cast<double>(raw);
      if (!(std::fabs(value) <= 0x1p53) || value != std::trunc(value)) return false;
      const auto whole = static_cast<int64_t>(value);
      if (!std::in_range<T>(whole)) return false;
      out = static_cast<T>(whole);
      return true;
    }
    if (type == 'l') {
      const auto value = std::bit_cast<int64_t>(raw);
      out = static_cast<T>(value);
      return std::in_range<T>(value);
    }
    out = static_cast<T>(raw);
    return type == 'u' && std::in_range<T>(raw);
  }
}

Error WrongCount(int64_t expected, const char* what) {
  return InvalidArgument("expected " + std::to_string(expected) + " " + what +
                         ", the array holds another number of them");
}

}  // namespace

const char* JsonKindName(JsonKind kind) {
  switch (kind) {
    case JsonKind::kNull:
      return "null";
    case JsonKind::kBool:
      return "a bool";
    case JsonKind::kInt:
    case JsonKind::kUint:
      return "an integer";
    case JsonKind::kDouble:
      return "a number";
    case JsonKind::kString:
      return "a string";
    case JsonKind::kArray:
      return "an array";
    case JsonKind::kObject:
      return "an object";
  }
  return "null";
}

uint64_t JsonValue::word() const {
  return Document(document_).tape[index_];
}
JsonKind JsonValue::kind() const {
  return KindOf(Type(word()));
}

Error JsonValue::Mismatch(const char* expected) const {
  return InvalidArgument(std::string("expected ") + expected + ", got " + JsonKindName(kind()));
}

Result<bool> JsonValue::AsBool() const {
  if (kind() != JsonKind::kBool) return Mismatch("a bool");
  return Type(word()) == 't';
}

Result<int64_t> JsonValue::AsInt() const {
  if (kind() != JsonKind::kInt) return Mismatch("an integer in the range of int64");
  return std::bit_cast<int64_t>(Document(document_).tape[index_ + 1]);
}

Result<uint64_t> JsonValue::AsUint() const {
  const uint64_t raw = kind() == JsonKind::kInt || kind() == JsonKind::kUint
                           ? Document(document_).tape[index_ + 1]
                           : 0;
  if (kind() == JsonKind::kUint) return raw;
  if (kind() != JsonKind::kInt) return Mismatch("an integer in the range of uint64");
  if (std::bit_cast<int64_t>(raw) < 0) {
    return InvalidArgument("expected an integer of at least 0, got " +
                           std::to_string(std::bit_cast<int64_t>(raw)));
  }
  return raw;
}

Result<double> JsonValue::AsDouble() const {
  if (!IsNumber(Type(word()))) return Mismatch("a number");
  double value = 0;
  Convert(Type(word()), Document(document_).tape[index_ + 1], value);
  return value;
}

Result<std::string_view> JsonValue::AsString() const {
  if (kind() != JsonKind::kString) return Mismatch("a string");
  return StringAt(Document(document_), word());
}

Result<std::optional<JsonValue>> JsonValue::Find(std::string_view key) const {
  std::optional<JsonValue> found;
  bool twice = false;
  TRY(ForEachMember([&](std::string_view name, JsonValue value) -> Status {
    if (name == key) {
      twice = found.has_value();
      if (twice) return InvalidArgument("the key '" + std::string(key) + "' occurs twice");
      found = value;
    }
    return Ok();
  }));
  return found;
}

Result<JsonValue> JsonValue::Get(std::string_view key) const {
  const std::optional<JsonValue> found = TRY(Find(key));
  if (!found.has_value()) return InvalidArgument("expected a key '" + std::string(key) + "'");
  return *found;
}

int64_t JsonValue::size() const {
  const uint64_t head = word();
  if (!IsOpen(Type(head))) return 0;
  auto count = static_cast<int64_t>((head >> 32) & kCountSaturated);
  if (count < kCountSaturated) return count;
  // The tape's count stopped: walk.
  const uint64_t* tape = Document(document_).tape.get();
  const size_t end = Behind(tape, index_) - 1;
  int64_t values = 0;
  for (size_t i = index_ + 1; i < end; i = Behind(tape, i)) ++values;
  return Type(head) == '{' ? values / 2 : values;
}

Status JsonValue::ForEachElement(FunctionRef<Status(JsonValue)> visit) const {
  if (!is_array()) return Mismatch("an array");
  const uint64_t* tape = Document(document_).tape.get();
  const size_t end = Behind(tape, index_) - 1;
  for (size_t i = index_ + 1; i < end; i = Behind(tape, i)) TRY(visit(JsonValue(document_, i)));
  return Ok();
}

Status JsonValue::ForEachMember(FunctionRef<Status(std::string_view, JsonValue)> visit) const {
  if (!is_object()) return Mismatch("an object");
  const simdjson::dom::document& document = Document(document_);
  const uint64_t* tape = document.tape.get();
  const size_t end = Behind(tape, index_) - 1;
  for (size_t i = index_ + 1; i < end;) {
    const std::string_view key = StringAt(document, tape[i]);
    TRY(visit(key, JsonValue(document_, i + 1)));
    i = Behind(tape, i + 1);
  }
  return Ok();
}

template <class T>
Status JsonValue::ReadNumbers(std::span<T> out) const {
  const uint64_t* tape = Document(document_).tape.get();
  const size_t end = Behind(tape, index_);
  size_t count = 0;
  for (size_t i = index_; i < end;) {
    const char type = Type(tape[i]);
    if (type == '[' || type == ']') {
      ++i;
      continue;
    }
    const bool bits = IsNumber(type);
    if (!bits && type != 't' && type != 'f') {
      return InvalidArgument("element " + std::to_string(count) + ": " +
                             JsonValue(document_, i).Mismatch("a number").message);
    }
    if (count == out.size()) return WrongCount(static_cast<int64_t>(out.size()), "elements");
    if (!Convert(type, bits ? tape[i + 1] : 0, out[count])) {
      return InvalidArgument("element " + std::to_string(count) + ": " +
                             JsonKindName(KindOf(type)) +
                             " that the data type of the tensor cannot hold");
    }
    ++count;
    i += bits ? 2 : 1;
  }
  if (count != out.size()) return WrongCount(static_cast<int64_t>(out.size()), "elements");
  return Ok();
}

template Status JsonValue::ReadNumbers(std::span<float>) const;
template Status JsonValue::ReadNumbers(std::span<double>) const;
template Status JsonValue::ReadNumbers(std::span<bool>) const;
template Status JsonValue::ReadNumbers(std::span<int8_t>) const;
template Status JsonValue::ReadNumbers(std::span<int16_t>) const;
template Status JsonValue::ReadNumbers(std::span<int32_t>) const;
template Status JsonValue::ReadNumbers(std::span<int64_t>) const;
template Status JsonValue::ReadNumbers(std::span<uint8_t>) const;
template Status JsonValue::ReadNumbers(std::span<uint16_t>) const;
template Status JsonValue::ReadNumbers(std::span<uint32_t>) const;
template Status JsonValue::ReadNumbers(std::span<uint64_t>) const;

Status JsonValue::ReadStrings(int64_t count, FunctionRef<void(std::string_view)> visit) const {
  const simdjson::dom::document& document = Document(document_);
  const uint64_t* tape = document.tape.get();
  const size_t end = Behind(tape, index_);
  int64_t seen = 0;
  for (size_t i = index_; i < end; ++i) {
    const char type = Type(tape[i]);
    if (type == '[' || type == ']') continue;
    if (type != '"') {
      return InvalidArgument("element " + std::to_string(seen) + ": " +
                             JsonValue(document_, i).Mismatch("a string").message);
    }
    if (seen == count) return WrongCount(count, "strings");
    visit(StringAt(document, tape[i]));
    ++seen;
  }
  if (seen != count) return WrongCount(count, "strings");
  return Ok();
}

int64_t JsonValue::CountScalars() const {
  const uint64_t* tape = Document(document_).tape.get();
  const size_t end = Behind(tape, index_);
  int64_t count = 0;
  for (size_t i = index_; i < end;) {
    const char type = Type(tape[i]);
    if (type == '{') {  // keys are no scalars of the value: descend by members
      const size_t object_end = Behind(tape, i);
      for (size_t member = i + 1; member + 1 < object_end; member = Behind(tape, member + 1)) {
        count +=
            IsOpen(Type(tape[member + 1])) ? JsonValue(document_, member + 1).CountScalars() : 1;
      }
      i = object_end;
      continue;
    }
    if (!IsOpen(type) && !IsClose(type)) ++count;
    i += IsNumber(type) ? 2 : 1;
  }
  return count;
}

struct JsonDocument::State {
  JsonLimits limits;
  simdjson::dom::parser parser;
  std::string text;  // the padded copy that simdjson reads
};

JsonDocument::JsonDocument(JsonLimits limits) : state_(std::make_unique<State>()) {
  state_->limits = limits;
}
JsonDocument::~JsonDocument() = default;
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;

Result<JsonValue> JsonDocument::Parse(std::string_view text) {
  State& state = *state_;
  if (text.size() > state.limits.bytes_max) {
    return ResourceExhausted("JSON of " + std::to_string(text.size()) +
                             " bytes is longer than the limit of " +
                             std::to_string(state.limits.bytes_max));
  }
  // simdjson counts the document itself as a level.
  if (text.size() > state.parser.capacity() || state.parser.capacity() == 0) {
    const size_t capacity = std::max<size_t>(text.size(), 1024);
    if (state.parser.allocate(capacity, state.limits.depth_max + 1) != simdjson::SUCCESS) {
      return ResourceExhausted("no memory to parse JSON of " + std::to_string(text.size()) +
                               " bytes");
    }
  }
  state.text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
  state.text.assign(text);
  state.text.append(simdjson::SIMDJSON_PADDING, ' ');
  simdjson::dom::element root;
  const simdjson::error_code error =
      state.parser.parse(state.text.data(), text.size(), /*realloc_if_needed=*/false).get(root);
  if (error == simdjson::DEPTH_ERROR) {
    return InvalidArgument("JSON is nested deeper than the limit of " +
                           std::to_string(state.limits.depth_max));
  }
  if (error != simdjson::SUCCESS) {
    return InvalidArgument(std::string("not valid JSON: ") + simdjson::error_message(error));
  }
  return JsonValue(&state.parser.doc, 1);
}

void JsonDocument::Shrink() {
  const JsonLimits limits = state_->limits;
  state_ = std::make_unique<State>();
  state_->limits = limits;
}

}  // namespace sluice::base
