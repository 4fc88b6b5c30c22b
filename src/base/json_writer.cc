#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "base/json.h"
#include "base/utf8.h"

namespace sluice::base {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

bool IsPlain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

void AppendEscape(char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
  }
}

template <class T>
void AppendNumber(T value, std::string& out) {
  if constexpr (std::is_same_v<T, bool>) {
    out += value ? "true" : "false";
  } else {
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(value)) {
        out += "null";
        return;
      }
      if (value == 0 && std::signbit(value)) {
        out += "-0.0";  // readers take "-0" for an integer, which has no sign
        return;
      }
    }
    std::array<char, 32> text;  // the longest is -1.7976931348623157e+308
    std::to_chars_result end = std::to_chars(text.data(), text.data() + text.size(), value);
    if constexpr (std::is_floating_point_v<T>) {
      // Readers take a long run of digits for an integer, and refuse it beyond 64 bits.
      if (std::fabs(static_cast<double>(value)) >= 1e16) {
        end = std::to_chars(text.data(), text.data() + text.size(), value,
                            std::chars_format::scientific);
      }
    }
    out.append(text.data(), static_cast<size_t>(end.ptr - text.data()));
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && IsPlain(text[end])) ++end;
    out.append(text.substr(i, end - i));
    i = end;
    if (i == text.size()) break;
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      AppendEscape(text[i], out);
      ++i;
      continue;
    }
    const Rune rune = DecodeRune(text, i);
    const auto length = static_cast<size_t>(rune.bytes);
    out.append(rune.valid ? text.substr(i, length) : std::string_view("\xEF\xBF\xBD"));
    i += length;
  }
  out += '"';
}

void AppendJsonDouble(double value, std::string& out) {
  AppendNumber(value, out);
}
void AppendJsonFloat(float value, std::string& out) {
  AppendNumber(value, out);
}

void JsonWriter::Comma() {
  if (comma_) out_ += ',';
  comma_ = true;
}

JsonWriter& JsonWriter::Open(char bracket) {
  Comma();
  out_ += bracket;
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view key) {
  Comma();
  AppendJsonString(key, out_);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view value) {
  Comma();
  AppendJsonString(value, out_);
  return *this;
}
JsonWriter& JsonWriter::Int(int64_t value) {
  Comma();
  AppendNumber(value, out_);
  return *this;
}
JsonWriter& JsonWriter::Uint(uint64_t value) {
  Comma();
  AppendNumber(value, out_);
  return *this;
}
JsonWriter& JsonWriter::Double(double value) {
  Comma();
  AppendNumber(value, out_);
  return *this;
}
JsonWriter& JsonWriter::Float(float value) {
  Comma();
  AppendNumber(value, out_);
  return *this;
}
JsonWriter& JsonWriter::Bool(bool value) {
  Comma();
  AppendNumber(value, out_);
  return *this;
}
JsonWriter& JsonWriter::Null() {
  return Raw("null");
}

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Comma();
  out_.append(json);
  return *this;
}

template <class T>
JsonWriter& JsonWriter::Numbers(std::span<const T> values) {
  Comma();
  out_ += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out_ += ',';
    AppendNumber(values[i], out_);
  }
  out_ += ']';
  return *this;
}

template JsonWriter& JsonWriter::Numbers(std::span<const float>);
template JsonWriter& JsonWriter::Numbers(std::span<const double>);
template JsonWriter& JsonWriter::Numbers(std::span<const bool>);
template JsonWriter& JsonWriter::Numbers(std::span<const int8_t>);
template JsonWriter& JsonWriter::Numbers(std::span<const int16_t>);
template JsonWriter& JsonWriter::Numbers(std::span<const int32_t>);
template JsonWriter& JsonWriter::Numbers(std::span<const int64_t>);
template JsonWriter& JsonWriter::Numbers(std::span<const uint8_t>);
template JsonWriter& JsonWriter::Numbers(std::span<const uint16_t>);
template JsonWriter& JsonWriter::Numbers(std::span<const uint32_t>);
template JsonWriter& JsonWriter::Numbers(std::span<const uint64_t>);

}  // namespace sluice::base
