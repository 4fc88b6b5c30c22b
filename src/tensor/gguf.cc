#include "tensor/gguf.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "tensor/gguf_reader.h"

namespace sluice::tensor {
namespace {

using base::InvalidArgument;
using base::Result;
using base::Status;

constexpr std::string_view kSuffix = ".gguf";
// "-00001-of-00003"
constexpr size_t kPartDigits = 5;
constexpr size_t kPartChars = 1 + kPartDigits + 4 + kPartDigits;

std::optional<int64_t> Digits(std::string_view text) {
  int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

struct PartName {
  std::string stem;
  int64_t number = 0;  // from 1 on
  int64_t count = 0;
};

std::optional<PartName> ParsePartName(const std::string& path) {
  if (path.size() < kPartChars + kSuffix.size() || !path.ends_with(kSuffix)) return std::nullopt;
  const size_t at = path.size() - kSuffix.size() - kPartChars;
  const std::string_view part = std::string_view(path).substr(at, kPartChars);
  if (part[0] != '-' || part.substr(1 + kPartDigits, 4) != "-of-") return std::nullopt;
  const auto number = Digits(part.substr(1, kPartDigits));
  const auto count = Digits(part.substr(1 + kPartDigits + 4));
  if (!number.has_value() || !count.has_value()) return std::nullopt;
  return PartName{path.substr(0, at), *number, *count};
}

std::string NameOfPart(const PartName& first, int64_t number) {
  const auto padded = [](int64_t n) {
    const std::string text = std::to_string(n);
    return std::string(kPartDigits - std::min(kPartDigits, text.size()), '0') + text;
  };
  return first.stem + "-" + padded(number) + "-of-" + padded(first.count) + std::string(kSuffix);
}

// How many parts the metadata tells of: 1 where it tells nothing.
Result<int64_t> PartCount(const Gguf& part, const std::string& name) {
  const GgufValue* const count = part.Find("split.count");
  if (count == nullptr) return int64_t{1};
  const auto value = count->AsUint();
  if (!value.ok() || *value > 65535) {
    return InvalidArgument("'" + name + "': split.count is no count of parts");
  }
  return std::max<int64_t>(1, static_cast<int64_t>(*value));
}

Status ExpectPart(const Gguf& part, const std::string& name, int64_t number, int64_t count) {
  const uint64_t at = TRY(part.Uint("split.no"));
  const int64_t told = TRY(PartCount(part, name));
  if (at != static_cast<uint64_t>(number - 1) || told != count) {
    return InvalidArgument("'" + name + "': expected part " + std::to_string(number) + " of " +
                           std::to_string(count) + " (split.no " + std::to_string(number - 1) +
                           "), the file says split.no " + std::to_string(at) + ", split.count " +
                           std::to_string(told));
  }
  return base::Ok();
}

}  // namespace

Status Gguf::Index(const std::string& name) {
  for (size_t i = 0; i < metadata_.size(); ++i) {
    if (!key_index_.emplace(metadata_[i].first, i).second) {
      return InvalidArgument("'" + name + "': the metadata has '" + metadata_[i].first + "' twice");
    }
  }
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (!tensor_index_.emplace(tensors_[i].name, i).second) {
      return InvalidArgument("'" + name + "': there are two tensors '" + tensors_[i].name + "'");
    }
  }
  return base::Ok();
}

Result<Gguf> Gguf::Parse(std::span<const std::byte> bytes, const std::string& name,
                         const GgufLimits& limits) {
  Gguf gguf = TRY(GgufReader(bytes, name, limits).Read());
  TRY(gguf.Index(name));
  const int64_t parts = TRY(PartCount(gguf, name));
  if (parts != 1) {
    return InvalidArgument("'" + name + "' is one part of " + std::to_string(parts) +
                           ": open the file by its path");
  }
  return gguf;
}

Result<Gguf> Gguf::Open(const std::string& path, const GgufLimits& limits) {
  std::optional<PartName> part = ParsePartName(path);
  if (part.has_value() && (part->count < 1 || part->count > limits.parts_max)) {
    return InvalidArgument("'" + path + "': expected 1 to " + std::to_string(limits.parts_max) +
                           " parts, the name says " + std::to_string(part->count));
  }
  const std::string first = part.has_value() ? NameOfPart(*part, 1) : path;
  base::MappedFile file = TRY(base::MappedFile::Open(first));
  Gguf gguf = TRY(GgufReader(file.bytes(), first, limits).Read());
  gguf.files_.push_back(std::move(file));
  TRY(gguf.Index(first));
  const int64_t count = TRY(PartCount(gguf, first));
  if (count == 1) return gguf;
  if (!part.has_value() || part->count != count) {
    return InvalidArgument("'" + first + "' is one part of " + std::to_string(count) +
                           ": expected a name that ends in '-00001-of-" +
                           NameOfPart({"", 1, count}, 1).substr(10, kPartDigits) + ".gguf'");
  }
  TRY(ExpectPart(gguf, first, 1, count));
  for (int64_t number = 2; number <= count; ++number) {
    const std::string name = NameOfPart(*part, number);
    base::MappedFile next = TRY(base::MappedFile::Open(name));
    Gguf other = TRY(GgufReader(next.bytes(), name, limits).Read());
    TRY(other.Index(name));
    TRY(ExpectPart(other, name, number, count));
    gguf.files_.push_back(std::move(next));
    std::move(other.tensors_.begin(), other.tensors_.end(), std::back_inserter(gguf.tensors_));
    if (static_cast<int64_t>(gguf.tensors_.size()) > limits.tensors_max) {
      return InvalidArgument("'" + name + "': more than " + std::to_string(limits.tensors_max) +
                             " tensors in all parts");
    }
  }
  gguf.key_index_.clear();
  gguf.tensor_index_.clear();
  TRY(gguf.Index(first));
  if (gguf.Find("split.tensors.count") != nullptr) {
    const uint64_t told = TRY(gguf.Uint("split.tensors.count"));
    if (told != gguf.tensors_.size()) {
      return InvalidArgument("'" + first + "': expected " + std::to_string(told) +
                             " tensors in all parts (split.tensors.count), found " +
                             std::to_string(gguf.tensors_.size()));
    }
  }
  return gguf;
}

const GgufValue* Gguf::Find(std::string_view key) const {
  const auto found = key_index_.find(std::string(key));
  return found == key_index_.end() ? nullptr : &metadata_[found->second].second;
}

const GgufTensor* Gguf::FindTensor(std::string_view name) const {
  const auto found = tensor_index_.find(std::string(name));
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

namespace {

template <class T>
Result<T> Named(std::string_view key, Result<T> value) {
  if (value.ok()) return value;
  return base::Error{value.error().code, "'" + std::string(key) + "': " + value.error().message};
}
base::Error Absent(std::string_view key) {
  return InvalidArgument("expected '" + std::string(key) + "' in the metadata, it is not there");
}

}  // namespace

Result<uint64_t> Gguf::Uint(std::string_view key) const {
  const GgufValue* const value = Find(key);
  return value == nullptr ? Absent(key) : Named(key, value->AsUint());
}
Result<double> Gguf::Double(std::string_view key) const {
  const GgufValue* const value = Find(key);
  return value == nullptr ? Absent(key) : Named(key, value->AsDouble());
}
Result<std::string_view> Gguf::String(std::string_view key) const {
  const GgufValue* const value = Find(key);
  return value == nullptr ? Absent(key) : Named(key, value->AsString());
}

}  // namespace sluice::tensor
