#include "tensor/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>

#include "base/files.h"
#include "base/json.h"

namespace sluice::tensor {
namespace {

using base::InvalidArgument;
using base::JsonDocument;
using base::JsonValue;
using base::Result;
using base::Status;

constexpr std::string_view kMetadata = "__metadata__";
constexpr size_t kLengthBytes = 8;

struct TypeRow {
  std::string_view name;
  std::optional<DType> dtype;  // none: known, not stored here
};
constexpr std::array kTypes = {
    TypeRow{"F64", DType::kF64},
    TypeRow{"F32", DType::kF32},
    TypeRow{"F16", DType::kF16},
    TypeRow{"BF16", DType::kBF16},
    TypeRow{"I64", DType::kI64},
    TypeRow{"I32", DType::kI32},
    TypeRow{"I16", DType::kI16},
    TypeRow{"I8", DType::kI8},
    TypeRow{"U64", DType::kU64},
    TypeRow{"U32", DType::kU32},
    TypeRow{"U16", DType::kU16},
    TypeRow{"U8", DType::kU8},
    TypeRow{"BOOL", DType::kBool},
    TypeRow{"F8_E4M3", DType::kF8E4M3FN},
    TypeRow{"F8_E4M3FNUZ", DType::kF8E4M3FNUZ},
    TypeRow{"F8_E5M2", DType::kF8E5M2},
    TypeRow{"F8_E5M2FNUZ", DType::kF8E5M2FNUZ},
    TypeRow{"F8_E8M0", DType::kF8E8M0},
    TypeRow{"F4", std::nullopt},
    TypeRow{"F6_E2M3", std::nullopt},
    TypeRow{"F6_E3M2", std::nullopt},
    TypeRow{"C64", std::nullopt},
};

base::Error At(const std::string& where, const base::Error& error) {
  return {error.code, where + ": " + error.message};
}

// A tensor's line of the header, checked by itself.
struct Line {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t begin = 0, end = 0;  // of the bytes behind the header
};

Result<DType> ReadType(JsonValue value) {
  const JsonValue held = TRY(value.Get("dtype"));
  const std::string_view name = TRY(held.AsString());
  const auto* const row =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeRow& r) { return r.name == name; });
  if (row == kTypes.end()) return InvalidArgument("unknown dtype '" + std::string(name) + "'");
  if (!row->dtype.has_value())
    return base::Unimplemented("the dtype " + std::string(name) + " is not read");
  return *row->dtype;
}

Result<Shape> ReadShape(JsonValue value) {
  const JsonValue list = TRY(value.Get("shape"));
  if (!list.is_array()) return InvalidArgument("expected an array as its shape");
  std::array<int64_t, kMaxRank> dims = {};
  if (list.size() > kMaxRank) {
    return InvalidArgument("expected at most " + std::to_string(kMaxRank) + " dimensions, it has " +
                           std::to_string(list.size()));
  }
  int rank = 0;
  const Status read = list.ForEachElement([&](JsonValue extent) -> Status {
    dims[static_cast<size_t>(rank++)] = TRY(extent.AsInt());
    return base::Ok();
  });
  if (!read.ok()) return read.error();
  return Shape::FromDims(std::span(dims).first(static_cast<size_t>(rank)));
}

Result<Line> ReadLine(std::string_view name, JsonValue value, uint64_t data_bytes) {
  Line line;
  line.name = std::string(name);
  line.dtype = TRY(ReadType(value));
  line.shape = TRY(ReadShape(value));
  const JsonValue offsets = TRY(value.Get("data_offsets"));
  std::array<uint64_t, 2> range = {};
  if (!offsets.is_array() || offsets.size() != 2) {
    return InvalidArgument("expected two numbers as its data_offsets");
  }
  size_t at = 0;
  const Status read = offsets.ForEachElement([&](JsonValue offset) -> Status {
    range[at++] = TRY(offset.AsUint());
    return base::Ok();
  });
  if (!read.ok()) return read.error();
  line.begin = range[0];
  line.end = range[1];
  const int64_t bytes = TRY(CheckedBytes(line.shape, DTypeSize(line.dtype)));
  if (line.begin > line.end || line.end > data_bytes) {
    return InvalidArgument("expected data_offsets within the " + std::to_string(data_bytes) +
                           " bytes behind the header, they are [" + std::to_string(line.begin) +
                           ", " + std::to_string(line.end) + "]");
  }
  if (line.end - line.begin != static_cast<uint64_t>(bytes)) {
    return InvalidArgument("expected " + std::to_string(bytes) + " bytes for " +
                           line.shape.ToString() + " of " + std::string(DTypeName(line.dtype)) +
                           ", data_offsets span " + std::to_string(line.end - line.begin));
  }
  return line;
}

// Lines by place; each begins where the one before ends, and the last ends with the file.
Status CheckPlaces(std::vector<Line>& lines, uint64_t data_bytes) {
  std::sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const Line& line : lines) {
    if (line.begin != end) {
      return InvalidArgument(
          "tensor '" + line.name + "' " +
          (line.begin < end ? "overlaps the one before it: " : "leaves a hole before it: ") +
          "expected it to begin at " + std::to_string(end) + ", it begins at " +
          std::to_string(line.begin));
    }
    end = line.end;
  }
  if (end != data_bytes) {
    return InvalidArgument("expected " + std::to_string(end) +
                           " bytes behind the header, there are " + std::to_string(data_bytes));
  }
  return base::Ok();
}

// The name of a shard for each tensor of an index.
Result<std::map<std::string, std::vector<std::string>>> ReadIndex(const std::string& path,
                                                                  const SafetensorsLimits& limits) {
  const std::string text = TRY(base::ReadFile(path, limits.index_bytes_max));
  JsonDocument document;
  const JsonValue root = TRY(document.Parse(text));
  std::map<std::string, std::vector<std::string>> shards;
  int64_t tensors = 0;
  const JsonValue map = TRY(root.Get("weight_map"));
  const Status read = map.ForEachMember([&](std::string_view tensor, JsonValue file) -> Status {
    const std::string name(TRY(file.AsString()));
    if (!base::IsPathComponent(name)) {
      return base::PermissionDenied("the shard '" + name +
                                    "' is no name of a file in the same folder");
    }
    shards[name].emplace_back(tensor);
    if (++tensors > limits.tensors_max || static_cast<int64_t>(shards.size()) > limits.shards_max) {
      return InvalidArgument("expected at most " + std::to_string(limits.tensors_max) +
                             " tensors in " + std::to_string(limits.shards_max) + " shards");
    }
    return base::Ok();
  });
  if (!read.ok()) return read.error();
  if (shards.empty()) return InvalidArgument("weight_map is empty");
  return shards;
}

}  // namespace

Status Safetensors::Add(std::span<const std::byte> bytes, const std::string& name,
                        const SafetensorsLimits& limits) {
  const std::string where = "'" + name + "'";
  if (bytes.size() < kLengthBytes) {
    return InvalidArgument(where +
                           ": expected a header behind its length of 8 bytes, the file has " +
                           std::to_string(bytes.size()));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > static_cast<uint64_t>(limits.header_bytes_max) ||
      header_bytes > bytes.size() - kLengthBytes) {
    return InvalidArgument(where + ": the header says it has " + std::to_string(header_bytes) +
                           " bytes; expected at most " + std::to_string(limits.header_bytes_max) +
                           " and no more than the file's " + std::to_string(bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                              header_bytes);
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  if (text.empty() || text.front() != '{') {
    return InvalidArgument(where + ": expected a JSON object as the header");
  }
  JsonDocument document;
  auto root = document.Parse(text);
  if (!root.ok()) return At(where + ": header", root.error());
  std::vector<Line> lines;
  const bool is_first = files_.size() <= 1;
  const Status read_all = root->ForEachMember([&](std::string_view key, JsonValue value) -> Status {
    if (key == kMetadata) {
      const Status read = value.ForEachMember([&](std::string_view k, JsonValue v) -> Status {
        std::string held(TRY(v.AsString()));
        if (is_first) metadata_.emplace_back(std::string(k), std::move(held));
        return base::Ok();
      });
      return read.ok() ? read : Status(At(where + ": __metadata__", read.error()));
    }
    auto line = ReadLine(key, value, data.size());
    if (!line.ok()) return At(where + ": tensor '" + std::string(key) + "'", line.error());
    lines.push_back(*std::move(line));
    if (static_cast<int64_t>(lines.size() + entries_.size()) > limits.tensors_max) {
      return InvalidArgument(where + ": expected at most " + std::to_string(limits.tensors_max) +
                             " tensors");
    }
    return base::Ok();
  });
  if (!read_all.ok()) return read_all.error();
  const Status placed = CheckPlaces(lines, data.size());
  if (!placed.ok()) return At(where, placed.error());
  for (Line& line : lines) {
    const std::byte* at = data.data() + line.begin;
    const auto size = static_cast<uintptr_t>(DTypeSize(line.dtype));
    if (reinterpret_cast<uintptr_t>(at) % size != 0 && line.end > line.begin) {
      Buffer copy = Buffer::Allocate(static_cast<int64_t>(line.end - line.begin));
      std::memcpy(copy.mutable_data(), at, line.end - line.begin);
      at = copy.data();
      copies_.push_back(std::move(copy));
    }
    const bool mapped = !files_.empty() && at == data.data() + line.begin;
    entries_.push_back({std::move(line.name), {line.dtype, line.shape, at}, mapped});
  }
  return base::Ok();
}

Status Safetensors::Index(const std::string& name) {
  index_.clear();
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (!index_.emplace(entries_[i].name, i).second) {
      return InvalidArgument("'" + name + "': there are two tensors '" + entries_[i].name + "'");
    }
  }
  return base::Ok();
}

Result<Safetensors> Safetensors::Parse(std::span<const std::byte> bytes, const std::string& name,
                                       const SafetensorsLimits& limits) {
  Safetensors made;
  TRY(made.Add(bytes, name, limits));
  TRY(made.Index(name));
  return made;
}

Result<Safetensors> Safetensors::Open(const std::string& path, const SafetensorsLimits& limits) {
  Safetensors made;
  made.files_.push_back(TRY(base::MappedFile::Open(path)));
  TRY(made.Add(made.files_.back().bytes(), path, limits));
  TRY(made.Index(path));
  return made;
}

Result<Safetensors> Safetensors::OpenFolder(const std::string& folder,
                                            const SafetensorsLimits& limits) {
  const std::string index_path = folder + "/" + kSafetensorsIndex;
  const auto index = base::OpenFile(index_path);
  if (!index.ok() && index.error().code == base::Code::kNotFound)
    return Open(folder + "/" + kSafetensorsFile, limits);
  if (!index.ok()) return index.error();
  const auto shards = ReadIndex(index_path, limits);
  if (!shards.ok()) return At("'" + index_path + "'", shards.error());
  Safetensors made;
  for (const auto& [file, names] : *shards) {
    const std::string path = folder + "/" + file;
    const size_t before = made.entries_.size();
    made.files_.push_back(TRY(base::MappedFile::Open(path)));
    TRY(made.Add(made.files_.back().bytes(), path, limits));
    std::unordered_map<std::string_view, size_t> found;
    for (size_t i = before; i < made.entries_.size(); ++i) {
      if (!found.emplace(made.entries_[i].name, i).second) {
        return InvalidArgument("'" + path + "': there are two tensors '" + made.entries_[i].name +
                               "'");
      }
    }
    std::vector<bool> wanted(made.entries_.size() - before, false);
    for (const std::string& name : names) {
      const auto at = found.find(name);
      if (at == found.end()) {
        return InvalidArgument("'" + index_path + "': expected tensor '" + name + "' in '" + file +
                               "', it is not there");
      }
      wanted[at->second - before] = true;
    }
    size_t kept = before;
    for (size_t i = before; i < made.entries_.size(); ++i) {
      if (!wanted[i - before]) continue;
      if (kept != i) made.entries_[kept] = std::move(made.entries_[i]);
      ++kept;
    }
    made.entries_.resize(kept);
  }
  TRY(made.Index(index_path));
  return made;
}

const SafetensorsEntry* Safetensors::Find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

}  // namespace sluice::tensor
