#include "bin/npz.h"

#include <charconv>
#include <cstring>
#include <optional>
#include <vector>

namespace sluice::bin {
namespace {

// Little-endian numbers at fixed places of a record.
template <class T>
T At(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

constexpr size_t kEndBytes = 22;    // of the end-of-directory record
constexpr size_t kEntryBytes = 46;  // of a directory entry, before its name
constexpr size_t kLocalBytes = 30;  // of a file's own header, before its name
constexpr uint32_t kEndMark = 0x06054b50;
constexpr uint32_t kEntryMark = 0x02014b50;
constexpr int64_t kArrayBytesMax = int64_t{4} << 30;

base::Error Broken(const std::string& what) {
  return base::InvalidArgument("no .npz file: " + what);
}

std::optional<tensor::DType> DTypeOf(std::string_view descr) {
  using tensor::DType;
  const struct {
    std::string_view descr;
    DType dtype;
  } kTypes[] = {{"<f4", DType::kF32}, {"<f8", DType::kF64}, {"<f2", DType::kF16},
                {"<i8", DType::kI64}, {"<i4", DType::kI32}, {"<i2", DType::kI16},
                {"|i1", DType::kI8},  {"|u1", DType::kU8},  {"|b1", DType::kBool}};
  for (const auto& type : kTypes) {
    if (type.descr == descr) return type.dtype;
  }
  return std::nullopt;
}

// What stands behind `key` in the header, a Python dictionary: up to `end`.
std::string_view Field(std::string_view header, std::string_view key, char end) {
  const size_t at = header.find(key);
  if (at == std::string_view::npos) return {};
  const size_t from = at + key.size();
  const size_t to = header.find(end, from);
  return to == std::string_view::npos ? std::string_view() : header.substr(from, to - from);
}

base::Result<tensor::Tensor> ReadArray(const std::string& name, std::string_view file) {
  const auto fail = [&](const std::string& what) {
    return base::InvalidArgument("array '" + name + "': " + what);
  };
  if (file.size() < 12 || file.substr(0, 6) != "\x93NUMPY") return fail("no .npy header");
  const bool wide = file[6] != 1;
  const size_t start = wide ? 12 : 10;
  const size_t length = wide ? At<uint32_t>(file, 8) : At<uint16_t>(file, 8);
  if (length > file.size() - start) return fail("the header is cut off");
  const std::string_view header = file.substr(start, length);
  const std::string_view descr = Field(header, "'descr': '", '\'');
  const std::optional<tensor::DType> dtype = DTypeOf(descr);
  if (!dtype.has_value()) return fail("elements of type '" + std::string(descr) + "'");
  if (Field(header, "'fortran_order': ", ',') != "False") return fail("Fortran order");
  std::string_view dims_text = Field(header, "'shape': (", ')');
  std::vector<int64_t> dims;
  while (!dims_text.empty()) {
    int64_t dim = 0;
    const char* const end = dims_text.data() + dims_text.size();
    const auto read = std::from_chars(dims_text.data(), end, dim);
    if (read.ec != std::errc() || dim < 0) return fail("a shape that cannot be read");
    dims.push_back(dim);
    const size_t next =
        dims_text.find_first_of("0123456789", static_cast<size_t>(read.ptr - dims_text.data()));
    if (next == std::string_view::npos) break;
    dims_text.remove_prefix(next);
  }
  const tensor::Shape shape = TRY(tensor::Shape::FromDims(dims));
  tensor::Tensor array = TRY(tensor::Tensor::Allocate(*dtype, shape, kArrayBytesMax));
  const std::string_view data = file.substr(start + length);
  const auto bytes = static_cast<size_t>(array.view().bytes());
  if (data.size() < bytes) return fail("the elements are cut off");
  if (bytes > 0) std::memcpy(array.buffer.mutable_data(), data.data(), bytes);
  return array;
}

}  // namespace

base::Result<std::map<std::string, tensor::Tensor>> ReadNpz(std::string_view file) {
  if (file.size() < kEndBytes || At<uint32_t>(file, file.size() - kEndBytes) != kEndMark)
    return Broken("it does not end with a ZIP directory");
  const std::string_view end = file.substr(file.size() - kEndBytes);
  const size_t count = At<uint16_t>(end, 10);
  size_t at = At<uint32_t>(end, 16);
  std::map<std::string, tensor::Tensor> arrays;
  for (size_t i = 0; i < count; ++i) {
    if (at > file.size() || file.size() - at < kEntryBytes ||
        At<uint32_t>(file, at) != kEntryMark) {
      return Broken("a directory entry is cut off");
    }
    const std::string_view entry = file.substr(at);
    const size_t bytes = At<uint32_t>(entry, 20);
    const size_t name_bytes = At<uint16_t>(entry, 28);
    const size_t local = At<uint32_t>(entry, 42);
    if (entry.size() - kEntryBytes < name_bytes) return Broken("a name is cut off");
    std::string name(entry.substr(kEntryBytes, name_bytes));
    if (name.size() > 4 && name.substr(name.size() - 4) == ".npy") name.resize(name.size() - 4);
    if (At<uint16_t>(entry, 10) != 0) {
      return base::InvalidArgument("array '" + name +
                                   "' is compressed: write the file with np.savez");
    }
    at += kEntryBytes + name_bytes + At<uint16_t>(entry, 30) + At<uint16_t>(entry, 32);
    if (local > file.size() || file.size() - local < kLocalBytes)
      return Broken("a file is cut off");
    const size_t data =
        local + kLocalBytes + At<uint16_t>(file, local + 26) + At<uint16_t>(file, local + 28);
    if (data > file.size() || file.size() - data < bytes) return Broken("a file is cut off");
    arrays[name] = TRY(ReadArray(name, file.substr(data, bytes)));
  }
  return arrays;
}

}  // namespace sluice::bin
