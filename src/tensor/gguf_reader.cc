#include "tensor/gguf_reader.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <utility>

namespace sluice::tensor {
namespace {

using base::InvalidArgument;
using base::Result;
using base::Status;

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kAlignmentDefault = 32;
constexpr uint64_t kAlignmentMin = 8;
constexpr uint64_t kAlignmentMax = 1 << 20;
constexpr uint32_t kRankMax = 4;

// Bytes of a number or bool; 0 for strings and arrays.
size_t NumberBytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

// ggml's numbers of tensor types. Those without a format are named in the message that refuses
// them.
struct TypeRow {
  uint32_t number;
  const char* name;
  std::optional<BlockFormat> format;
};
constexpr std::array kTypes = {
    TypeRow{0, "F32", BlockFormat::kF32},    TypeRow{1, "F16", BlockFormat::kF16},
    TypeRow{2, "Q4_0", BlockFormat::kQ4_0},  TypeRow{3, "Q4_1", BlockFormat::kQ4_1},
    TypeRow{6, "Q5_0", BlockFormat::kQ5_0},  TypeRow{7, "Q5_1", BlockFormat::kQ5_1},
    TypeRow{8, "Q8_0", BlockFormat::kQ8_0},  TypeRow{9, "Q8_1", std::nullopt},
    TypeRow{10, "Q2_K", std::nullopt},       TypeRow{11, "Q3_K", std::nullopt},
    TypeRow{12, "Q4_K", BlockFormat::kQ4_K}, TypeRow{13, "Q5_K", BlockFormat::kQ5_K},
    TypeRow{14, "Q6_K", BlockFormat::kQ6_K}, TypeRow{15, "Q8_K", std::nullopt},
    TypeRow{16, "IQ2_XXS", std::nullopt},    TypeRow{17, "IQ2_XS", std::nullopt},
    TypeRow{18, "IQ3_XXS", std::nullopt},    TypeRow{19, "IQ1_S", std::nullopt},
    TypeRow{20, "IQ4_NL", std::nullopt},     TypeRow{21, "IQ3_S", std::nullopt},
    TypeRow{22, "IQ2_S", std::nullopt},      TypeRow{23, "IQ4_XS", std::nullopt},
    TypeRow{24, "I8", BlockFormat::kI8},     TypeRow{25, "I16", BlockFormat::kI16},
    TypeRow{26, "I32", BlockFormat::kI32},   TypeRow{27, "I64", BlockFormat::kI64},
    TypeRow{28, "F64", BlockFormat::kF64},   TypeRow{29, "IQ1_M", std::nullopt},
    TypeRow{30, "BF16", BlockFormat::kBF16}, TypeRow{34, "TQ1_0", std::nullopt},
    TypeRow{35, "TQ2_0", std::nullopt},      TypeRow{39, "MXFP4", std::nullopt},
};

std::string Quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

}  // namespace

base::Error GgufReader::Wrong(const std::string& what) const {
  return InvalidArgument("'" + name_ + "' at byte " + std::to_string(at_) + ": " + what);
}

Result<std::span<const std::byte>> GgufReader::Take(uint64_t count, const char* what) {
  const uint64_t left = bytes_.size() - at_;
  if (count > left) {
    return Wrong("expected " + std::to_string(count) + " bytes of " + what + ", the file has " +
                 std::to_string(left) + " more");
  }
  const auto taken = bytes_.subspan(at_, count);
  at_ += count;
  return taken;
}

Result<std::string_view> GgufReader::String(uint64_t bytes_max, const char* what) {
  const auto length = TRY(Number<uint64_t>(what));
  if (length > bytes_max) {
    return Wrong("expected at most " + std::to_string(bytes_max) + " bytes of " + what +
                 ", it has " + std::to_string(length));
  }
  const auto bytes = TRY(Take(length, what));
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<GgufType> GgufReader::Type(const std::string& where) {
  const auto number = TRY(Number<uint32_t>("a value's type"));
  if (number >= kGgufTypeCount) {
    return Wrong("expected a value's type (0 to 12) for " + where + ", it is " +
                 std::to_string(number));
  }
  return static_cast<GgufType>(number);
}

// Every element takes a byte or more, so that the file's size bounds the work.
Status GgufReader::SkipValue(GgufType type, const std::string& key, int depth) {
  if (type == GgufType::kString) {
    TRY(String(bytes_.size(), "a string"));
    return base::Ok();
  }
  if (type != GgufType::kArray) {
    const auto bytes = TRY(Take(NumberBytes(type), "a number"));
    if (type == GgufType::kBool && bytes[0] > std::byte{1}) {
      return Wrong(Quoted(key) + " holds a bool that is neither 0 nor 1");
    }
    return base::Ok();
  }
  if (depth >= limits_.nesting_max) {
    return Wrong(Quoted(key) + " nests arrays deeper than " + std::to_string(limits_.nesting_max));
  }
  const GgufType element = TRY(Type(Quoted(key)));
  const auto count = TRY(Number<uint64_t>("an array's length"));
  const size_t element_bytes = NumberBytes(element);
  // The smallest string has 8 bytes, the smallest array 12.
  const size_t least = element_bytes != 0 ? element_bytes : element == GgufType::kString ? 8 : 12;
  if (count > (bytes_.size() - at_) / least) {
    return Wrong(Quoted(key) + " has " + std::to_string(count) + " elements of " +
                 GgufTypeName(element) + ", the file only " + std::to_string(bytes_.size() - at_) +
                 " more bytes");
  }
  if (element_bytes != 0 && element != GgufType::kBool) {
    TRY(Take(count * element_bytes, "an array"));
    return base::Ok();
  }
  for (uint64_t i = 0; i < count; ++i) TRY(SkipValue(element, key, depth + 1));
  return base::Ok();
}

GgufValue GgufReader::ValueAt(GgufType type, std::span<const std::byte> bytes, size_t& at) {
  const auto read = [&](auto value) {
    std::memcpy(&value, bytes.data() + at, sizeof(value));
    at += sizeof(value);
    return value;
  };
  GgufValue value;
  value.type_ = type;
  if (type == GgufType::kString) {
    const auto length = read(uint64_t{0});
    value.bytes_ = bytes.subspan(at, length);
    at += length;
    return value;
  }
  if (type != GgufType::kArray) {
    value.bytes_ = bytes.subspan(at, NumberBytes(type));
    at += NumberBytes(type);
    return value;
  }
  value.element_type_ = static_cast<GgufType>(read(uint32_t{0}));
  value.count_ = static_cast<int64_t>(read(uint64_t{0}));
  const size_t begin = at;
  const size_t element_bytes = NumberBytes(value.element_type_);
  if (element_bytes != 0) {
    at += element_bytes * static_cast<size_t>(value.count_);
  } else {
    for (int64_t i = 0; i < value.count_; ++i) (void)ValueAt(value.element_type_, bytes, at);
  }
  value.bytes_ = bytes.subspan(begin, at - begin);
  return value;
}

Result<uint64_t> GgufReader::Alignment(const Gguf& gguf) const {
  for (const auto& [key, value] : gguf.metadata_) {
    if (key != "general.alignment") continue;
    const auto alignment = value.AsUint();
    if (value.type() != GgufType::kU32 || *alignment < kAlignmentMin ||
        *alignment > kAlignmentMax || (*alignment & (*alignment - 1)) != 0) {
      return InvalidArgument("'" + name_ +
                             "': expected general.alignment to be a uint32 that is a power of two "
                             "from 8 to 1048576, it is " +
                             (alignment.ok() ? std::to_string(*alignment) : "none") + " (" +
                             GgufTypeName(value.type()) + ")");
    }
    return *alignment;
  }
  return kAlignmentDefault;
}

Result<GgufReader::Info> GgufReader::TensorInfo() {
  Info info;
  info.tensor.name =
      std::string(TRY(String(static_cast<uint64_t>(limits_.name_bytes_max), "a tensor's name")));
  const std::string where = "tensor " + Quoted(info.tensor.name);
  const auto rank = TRY(Number<uint32_t>("a tensor's rank"));
  if (rank > kRankMax) {
    return Wrong(where + ": expected at most 4 dimensions, it has " + std::to_string(rank));
  }
  std::array<int64_t, kRankMax> dims = {};
  for (uint32_t i = 0; i < rank; ++i) {
    const auto extent = TRY(Number<uint64_t>("a tensor's extent"));
    if (extent > static_cast<uint64_t>(INT64_MAX)) return Wrong(where + ": an extent is too large");
    dims[rank - 1 - i] = static_cast<int64_t>(extent);
  }
  const auto shape = Shape::FromDims(std::span(dims).first(rank));
  if (!shape.ok()) return Wrong(where + ": " + shape.error().message);
  info.tensor.shape = *shape;
  const auto number = TRY(Number<uint32_t>("a tensor's type"));
  const auto* const row = std::find_if(kTypes.begin(), kTypes.end(),
                                       [&](const TypeRow& r) { return r.number == number; });
  if (row == kTypes.end() || !row->format.has_value()) {
    return base::Unimplemented(
        "'" + name_ + "': " + where + " has the type " +
        (row == kTypes.end() ? "number " + std::to_string(number) : std::string(row->name)) +
        "; read are F64, F32, F16, BF16, integers, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K");
  }
  info.tensor.format = *row->format;
  const int64_t columns = rank == 0 ? 1 : dims[rank - 1];
  const auto row_bytes = BlockRowBytes(info.tensor.format, columns);
  if (!row_bytes.ok()) return Wrong(where + ": " + row_bytes.error().message);
  const int64_t elements = info.tensor.shape.elements();
  const int64_t rows = columns == 0 ? 0 : elements / columns;
  if (__builtin_mul_overflow(rows, *row_bytes, &info.tensor.bytes)) {
    return Wrong(where + ": its size overflows");
  }
  info.offset = TRY(Number<uint64_t>("a tensor's offset"));
  return info;
}

Status GgufReader::PlaceTensors(std::vector<Info>& infos, uint64_t alignment, Gguf& gguf) {
  const uint64_t begin = (at_ + alignment - 1) / alignment * alignment;
  if (infos.empty()) return base::Ok();
  if (begin > bytes_.size()) {
    return Wrong("expected the tensors' data from byte " + std::to_string(begin) +
                 " on, the file ends before");
  }
  const uint64_t room = bytes_.size() - begin;
  for (Info& info : infos) {
    const std::string where = "'" + name_ + "': tensor " + Quoted(info.tensor.name);
    if (info.offset % alignment != 0) {
      return InvalidArgument(where + ": expected an offset that is a multiple of " +
                             std::to_string(alignment) + ", it is " + std::to_string(info.offset));
    }
    const auto bytes = static_cast<uint64_t>(info.tensor.bytes);
    if (info.offset > room || bytes > room - info.offset) {
      return InvalidArgument(where + ": expected " + std::to_string(bytes) + " bytes at offset " +
                             std::to_string(info.offset) + ", the file has " +
                             std::to_string(room) + " bytes of data");
    }
    info.tensor.data = bytes_.data() + begin + info.offset;
  }
  std::vector<size_t> order(infos.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(infos[a].offset, infos[a].tensor.bytes) <
           std::pair(infos[b].offset, infos[b].tensor.bytes);
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const Info& before = infos[order[i - 1]];
    const Info& after = infos[order[i]];
    if (before.offset + static_cast<uint64_t>(before.tensor.bytes) <= after.offset) continue;
    return InvalidArgument("'" + name_ + "': tensors " + Quoted(before.tensor.name) + " and " +
                           Quoted(after.tensor.name) + " overlap");
  }
  for (Info& info : infos) gguf.tensors_.push_back(std::move(info.tensor));
  return base::Ok();
}

Result<Gguf> GgufReader::Read() {
  Gguf gguf;
  const auto magic = TRY(Number<uint32_t>("the magic number"));
  if (magic != kMagic) return Wrong("expected a GGUF file, its first bytes are not 'GGUF'");
  gguf.version_ = TRY(Number<uint32_t>("the version"));
  if (gguf.version_ != 2 && gguf.version_ != 3) {
    return base::Unimplemented("'" + name_ +
                               "': expected GGUF version 2 or 3, little-endian, it is version " +
                               std::to_string(gguf.version_));
  }
  const auto tensor_count = TRY(Number<uint64_t>("the number of tensors"));
  const auto entry_count = TRY(Number<uint64_t>("the number of metadata entries"));
  if (tensor_count > static_cast<uint64_t>(limits_.tensors_max) ||
      entry_count > static_cast<uint64_t>(limits_.entries_max)) {
    return Wrong("expected at most " + std::to_string(limits_.tensors_max) + " tensors and " +
                 std::to_string(limits_.entries_max) + " metadata entries, there are " +
                 std::to_string(tensor_count) + " and " + std::to_string(entry_count));
  }
  for (uint64_t i = 0; i < entry_count; ++i) {
    std::string key(TRY(String(static_cast<uint64_t>(limits_.key_bytes_max), "a key")));
    if (key.empty()) return Wrong("a key of the metadata is empty");
    const GgufType type = TRY(Type(Quoted(key)));
    size_t begin = at_;
    TRY(SkipValue(type, key, 0));
    gguf.metadata_.emplace_back(std::move(key), ValueAt(type, bytes_, begin));
  }
  std::vector<Info> infos;
  for (uint64_t i = 0; i < tensor_count; ++i) infos.push_back(TRY(TensorInfo()));
  const uint64_t alignment = TRY(Alignment(gguf));
  TRY(PlaceTensors(infos, alignment, gguf));
  return gguf;
}

}  // namespace sluice::tensor
