#include "tensor/safetensors.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace sluice::tensor {
namespace {

std::string File(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
  return file;
}

std::string Line(const std::string& name, const std::string& dtype, const std::string& shape,
                 uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// Bytes aligned as a mapping is, kept with what looks into them.
struct Held {
  Buffer bytes;
  base::Result<Safetensors> file;
  explicit Held(const std::string& text)
      : bytes(Copy(text)), file(Safetensors::Parse({bytes.data(), text.size()}, "test")) {}
  static Buffer Copy(const std::string& text) {
    Buffer buffer = Buffer::Allocate(static_cast<int64_t>(text.size()) + 1);
    std::memcpy(buffer.mutable_data(), text.data(), text.size());
    return buffer;
  }
};

TEST(Safetensors, EveryElementTypeIsAView) {
  const struct {
    const char* name;
    DType dtype;
  } types[] = {{"F64", DType::kF64},
               {"F32", DType::kF32},
               {"F16", DType::kF16},
               {"BF16", DType::kBF16},
               {"I64", DType::kI64},
               {"I32", DType::kI32},
               {"I16", DType::kI16},
               {"I8", DType::kI8},
               {"U64", DType::kU64},
               {"U32", DType::kU32},
               {"U16", DType::kU16},
               {"U8", DType::kU8},
               {"BOOL", DType::kBool},
               {"F8_E4M3", DType::kF8E4M3FN},
               {"F8_E5M2", DType::kF8E5M2},
               {"F8_E8M0", DType::kF8E8M0},
               {"F8_E4M3FNUZ", DType::kF8E4M3FNUZ},
               {"F8_E5M2FNUZ", DType::kF8E5M2FNUZ}};
  for (const auto& type : types) {
    const auto bytes = static_cast<uint64_t>(6 * DTypeSize(type.dtype));
    std::string header = "{" + Line("t", type.name, "[2,3]", 0, bytes) + "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const Held held(File(header, bytes));
    ASSERT_TRUE(held.file.ok()) << held.file.error().message;
    const SafetensorsEntry* const t = held.file->Find("t");
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(t->view.dtype, type.dtype);
    EXPECT_EQ(t->view.shape, (Shape{2, 3}));
    EXPECT_EQ(t->view.data, held.bytes.data() + 8 + header.size()) << "copied";
  }
}

TEST(Safetensors, MetadataScalarsAndEmptyTensorsAreRead) {
  const Held held(File("{\"__metadata__\":{\"format\":\"pt\"}," + Line("e", "F32", "[0,4]", 0, 0) +
                           "," + Line("s", "I64", "[]", 0, 8) + "}",
                       8));
  ASSERT_TRUE(held.file.ok()) << held.file.error().message;
  ASSERT_EQ(held.file->metadata().size(), 1u);
  EXPECT_EQ(held.file->metadata()[0].second, "pt");
  EXPECT_EQ(held.file->Find("s")->view.shape.rank(), 0);
  EXPECT_EQ(held.file->Find("e")->view.bytes(), 0);
  EXPECT_EQ(held.file->Find("x"), nullptr);
}

TEST(Safetensors, TensorsAtOddPlacesAreCopiedToAlignedOnes) {
  for (int spaces = 0; spaces < 8; ++spaces) {
    const Held held(File("{" + Line("b", "U8", "[3]", 0, 3) + "," + Line("f", "F32", "[2]", 3, 11) +
                             std::string(static_cast<size_t>(spaces), ' ') + "}",
                         11));
    ASSERT_TRUE(held.file.ok()) << held.file.error().message;
    const void* const data = held.file->Find("f")->view.data;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 4, 0u);
    const unsigned char expected[8] = {3, 4, 5, 6, 7, 8, 9, 10};
    EXPECT_EQ(std::memcmp(data, expected, 8), 0);
  }
}

TEST(Safetensors, MalformedFilesAreErrorsThatSayWhere) {
  std::string huge = File("{}", 0);
  huge[6] = 1;
  const struct {
    std::string bytes;
    const char* says;
  } cases[] = {
      {"", "8 bytes"},
      {"1234567", "has 7"},
      {huge, "at most 100000000"},
      {File("{}", 0).substr(0, 9), "no more than the file's 9"},
      {File("[]", 0), "a JSON object"},
      {File("", 0), "a JSON object"},
      {File("{", 0), "header"},
      {File("{\"t\":3}", 0), "tensor 't'"},
      {File("{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), "data_offsets"},
      {File("{" + Line("t", "F31", "[1]", 0, 4) + "}", 4), "unknown dtype 'F31'"},
      {File("{" + Line("t", "C64", "[1]", 0, 8) + "}", 8), "C64 is not read"},
      {File("{" + Line("t", "F32", "[-1]", 0, 4) + "}", 4), "tensor 't'"},
      {File("{" + Line("t", "F32", "[1.5]", 0, 4) + "}", 4), "tensor 't'"},
      {File("{" + Line("t", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) + "}", 4), "at most 8"},
      {File("{" + Line("t", "F32", "[4611686018427387904,4]", 0, 4) + "}", 4), "tensor 't'"},
      {File("{" + Line("t", "F32", "[1]", 4, 0) + "}", 4), "data_offsets within"},
      {File("{" + Line("t", "F32", "[2]", 0, 8) + "}", 4), "data_offsets within"},
      {File("{" + Line("t", "F32", "[1]", 0, 8) + "}", 8), "expected 4 bytes"},
      {File("{" + Line("t", "F32", "[1]", 4, 8) + "}", 8), "hole"},
      {File("{" + Line("t", "F32", "[2]", 0, 8) + "," + Line("u", "F32", "[1]", 4, 8) + "}", 8),
       "overlaps"},
      {File("{" + Line("t", "F32", "[1]", 0, 4) + "}", 8), "expected 4 bytes behind the header"},
      {File("{" + Line("t", "F32", "[1]", 0, 4) + "," + Line("t", "F32", "[1]", 4, 8) + "}", 8),
       "two tensors 't'"},
      {File("{\"__metadata__\":{\"a\":1}}", 0), "__metadata__"},
  };
  for (const auto& wrong : cases) {
    const Held held(wrong.bytes);
    ASSERT_FALSE(held.file.ok()) << wrong.says;
    EXPECT_NE(held.file.error().message.find(wrong.says), std::string::npos)
        << held.file.error().message;
  }
}

class SafetensorsFolderTest : public testing::Test {
 protected:
  SafetensorsFolderTest() {
    std::string pattern = testing::TempDir() + "safetensors-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    Write("one.safetensors", File("{" + Line("a", "F32", "[1]", 0, 4) + "}", 4));
    Write("two.safetensors",
          File("{" + Line("a", "U8", "[1]", 0, 1) + "," + Line("b", "U8", "[2]", 1, 3) + "}", 3));
  }
  ~SafetensorsFolderTest() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << bytes;
  }
  void WriteIndex(const std::string& map) {
    Write(kSafetensorsIndex, "{\"metadata\":{\"total_size\":7},\"weight_map\":" + map + "}");
  }
  std::string folder_;
};

TEST_F(SafetensorsFolderTest, TheIndexSaysWhichShardATensorIsTakenFrom) {
  WriteIndex("{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}");
  auto opened = Safetensors::OpenFolder(folder_);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const Safetensors moved = *std::move(opened);
  ASSERT_EQ(moved.entries().size(), 2u);
  EXPECT_EQ(moved.Find("a")->view.dtype, DType::kF32);
  EXPECT_EQ(moved.Find("b")->view.as<uint8_t>()[0], 1);
}

TEST_F(SafetensorsFolderTest, WithoutAnIndexTheOneFileIsOpened) {
  EXPECT_EQ(Safetensors::OpenFolder(folder_).error().code, base::Code::kNotFound);
  std::filesystem::rename(folder_ + "/two.safetensors", folder_ + "/" + kSafetensorsFile);
  EXPECT_EQ(Safetensors::OpenFolder(folder_)->entries().size(), 2u);
}

TEST_F(SafetensorsFolderTest, NoShardLiesOutsideTheFolder) {
  for (const char* name : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ""}) {
    WriteIndex("{\"a\":\"" + std::string(name) + "\"}");
    const auto opened = Safetensors::OpenFolder(folder_);
    ASSERT_FALSE(opened.ok()) << name;
    EXPECT_EQ(opened.error().code, base::Code::kPermissionDenied) << name;
  }
}

TEST_F(SafetensorsFolderTest, AnIndexThatDoesNotFitItsShardsIsRefused) {
  WriteIndex("{\"c\":\"one.safetensors\"}");
  EXPECT_NE(Safetensors::OpenFolder(folder_).error().message.find("tensor 'c'"), std::string::npos);
  WriteIndex("{\"a\":\"three.safetensors\"}");
  EXPECT_EQ(Safetensors::OpenFolder(folder_).error().code, base::Code::kNotFound);
  WriteIndex("{}");
  EXPECT_FALSE(Safetensors::OpenFolder(folder_).ok());
  WriteIndex("[1]");
  EXPECT_FALSE(Safetensors::OpenFolder(folder_).ok());
}

}  // namespace
}  // namespace sluice::tensor
