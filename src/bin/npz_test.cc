#include "bin/npz.h"

#include <gtest/gtest.h>

namespace sluice::bin {
namespace {

void Put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::string Npy(const std::string& header, const std::string& data) {
  std::string file = "\x93NUMPY";
  Put(file, 1, 2);
  Put(file, header.size(), 2);
  return file + header + data;
}

// A ZIP archive of one file, stored as `method` says.
std::string Archive(const std::string& name, const std::string& file, int method = 0) {
  std::string out;
  Put(out, 0x04034b50, 4);
  out += std::string(22, '\0');
  Put(out, name.size(), 2);
  Put(out, 0, 2);
  out += name + file;
  const size_t directory = out.size();
  Put(out, 0x02014b50, 4);
  out += std::string(6, '\0');
  Put(out, static_cast<uint64_t>(method), 2);
  out += std::string(8, '\0');
  Put(out, file.size(), 4);
  Put(out, file.size(), 4);
  Put(out, name.size(), 2);
  out += std::string(16, '\0');
  out += name;
  const size_t size = out.size() - directory;
  Put(out, 0x06054b50, 4);
  out += std::string(4, '\0');
  Put(out, 1, 2);
  Put(out, 1, 2);
  Put(out, size, 4);
  Put(out, directory, 4);
  Put(out, 0, 2);
  return out;
}

const std::string kHeader = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }\n";

std::string SixIntegers() {
  std::string data;
  for (int i = 0; i < 6; ++i) Put(data, static_cast<uint64_t>(i * 10), 4);
  return data;
}

TEST(Npz, ReadsWhatNumpySaves) {
  const auto arrays = ReadNpz(Archive("x.npy", Npy(kHeader, SixIntegers())));
  ASSERT_TRUE(arrays.ok()) << arrays.error().message;
  const tensor::Tensor& x = arrays->at("x");
  EXPECT_EQ(x.dtype, tensor::DType::kI32);
  EXPECT_EQ(x.shape, tensor::Shape({2, 3}));
  EXPECT_EQ(x.view().as<int32_t>()[5], 50);
}

TEST(Npz, RefusesWhatItCannotReadByName) {
  const struct {
    std::string file, part;
  } cases[] = {
      {"", "ZIP directory"},
      {Archive("x.npy", Npy(kHeader, SixIntegers()), 8), "compressed"},
      {Archive("x.npy", Npy(kHeader, "short")), "cut off"},
      {Archive("x.npy", "\x93NUMPY"), "no .npy header"},
      {Archive("x.npy", Npy("{'descr': '|O', 'fortran_order': False, 'shape': (), }", "")), "'|O'"},
      {Archive("x.npy", Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "1234")),
       "Fortran"},
  };
  for (const auto& c : cases) {
    const auto arrays = ReadNpz(c.file);
    ASSERT_FALSE(arrays.ok()) << c.part;
    EXPECT_NE(arrays.error().message.find(c.part), std::string::npos) << arrays.error().message;
  }
}

TEST(Npz, SurvivesEveryTruncationAndEveryChangedByte) {
  const std::string file = Archive("x.npy", Npy(kHeader, SixIntegers()));
  for (size_t i = 0; i < file.size(); ++i) {
    (void)ReadNpz(std::string_view(file).substr(0, i));
    std::string changed = file;
    changed[i] = static_cast<char>(changed[i] ^ 0xff);
    (void)ReadNpz(changed);
  }
}

}  // namespace
}  // namespace sluice::bin
