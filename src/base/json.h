// JSON: reading with bounds (simdjson underneath, seen only by json.cc) and writing by appending to
// a string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/function_ref.h"
#include "base/result.h"

namespace sluice::base {

enum class JsonKind { kNull, kBool, kInt, kUint, kDouble, kString, kArray, kObject };
const char* JsonKindName(JsonKind kind);  // "an array" and so on, for messages

// A value inside a JsonDocument, valid until the document parses again or goes. Cheap to copy.
// Whatever does not fit is kInvalidArgument. Integers beyond 64 bits and numbers beyond binary64 do
// not parse at all.
class JsonValue {
 public:
  JsonKind kind() const;
  bool is_null() const { return kind() == JsonKind::kNull; }
  bool is_string() const { return kind() == JsonKind::kString; }
  bool is_array() const { return kind() == JsonKind::kArray; }
  bool is_object() const { return kind() == JsonKind::kObject; }

  Result<bool> AsBool() const;
  Result<int64_t> AsInt() const;  // an integer that fits; 1.0 is none
  Result<uint64_t> AsUint() const;
  Result<double> AsDouble() const;            // any number
  Result<std::string_view> AsString() const;  // unescaped, valid UTF-8; may contain NUL

  // The member `key` of an object. A key that occurs twice is refused when it is looked up. Linear
  // in the members.
  Result<JsonValue> Get(std::string_view key) const;  // absent: kInvalidArgument naming it
  Result<std::optional<JsonValue>> Find(
      std::string_view key) const;  // absent or not an object: see the Result
  // Elements of an array or members of an object; 0 for the rest.
  int64_t size() const;
  // Calls visit for each, in order, until it fails; its error is returned. Another kind than asked
  // for is refused.
  Status ForEachElement(FunctionRef<Status(JsonValue)> visit) const;
  Status ForEachMember(FunctionRef<Status(std::string_view key, JsonValue value)> visit) const;

  // Reads the numbers of an array, nested to any depth or flat, in order into `out`, in one walk;
  // this value itself may be a single number. Exactly out.size() numbers must come. T is float,
  // double, bool or an integer type of 8 to 64 bits. Integers must be in T's range and whole (1.0
  // is taken, 1.5 is not); a bool is true, false, 0 or 1; a finite number that overflows a float is
  // refused. On an error `out` is partly written.
  template <class T>
  Status ReadNumbers(std::span<T> out) const;
  // The same for strings, each passed to `visit`.
  Status ReadStrings(int64_t count, FunctionRef<void(std::string_view)> visit) const;
  // How many scalars stand in this value, at any depth; 1 for a scalar.
  int64_t CountScalars() const;

 private:
  friend class JsonDocument;
  JsonValue(const void* document, size_t index) : document_(document), index_(index) {}
  uint64_t word() const;
  Error Mismatch(const char* expected) const;

  const void* document_;  // simdjson's document
  size_t index_;          // of this value on its tape
};

struct JsonLimits {
  size_t depth_max = 100;  // nested arrays and objects
  size_t bytes_max =
      size_t{256} << 20;  // of the text; parsing needs about three times as much memory
};

// A parser and what it parsed last. One thread at a time. Reuse one where many texts are parsed: it
// keeps its memory.
class JsonDocument {
 public:
  explicit JsonDocument(JsonLimits limits = {});
  ~JsonDocument();
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;

  // Copies `text`; earlier values become invalid. kInvalidArgument: no JSON, too deep, or text
  // behind the value; kResourceExhausted: longer than bytes_max.
  Result<JsonValue> Parse(std::string_view text);
  // Frees the memory of a large parse.
  void Shrink();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Appends `text` in quotes, escaped. Invalid UTF-8 becomes U+FFFD, so the output is always valid.
void AppendJsonString(std::string_view text, std::string& out);
// Appends the shortest text that reads back as the same value. JSON has no NaN and no infinity:
// both become null.
void AppendJsonDouble(double value, std::string& out);
void AppendJsonFloat(float value, std::string& out);

// Writes JSON in order and puts the commas. Wrong nesting is our bug and is not detected.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key);
  JsonWriter& String(std::string_view value);
  JsonWriter& Int(int64_t value);
  JsonWriter& Uint(uint64_t value);
  JsonWriter& Double(double value);
  JsonWriter& Float(float value);
  JsonWriter& Bool(bool value);
  JsonWriter& Null();
  // `json` is a whole value already.
  JsonWriter& Raw(std::string_view json);
  // A flat array of numbers, in one go. T as in JsonValue::ReadNumbers.
  template <class T>
  JsonWriter& Numbers(std::span<const T> values);

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char bracket);
  void Comma();

  std::string& out_;
  bool comma_ = false;  // a value stands before on this level
};

}  // namespace sluice::base
