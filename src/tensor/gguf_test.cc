#include "tensor/gguf.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tensor/gguf_test_writer.h"

namespace sluice::tensor {
namespace {

using Writer = GgufTestWriter;

// Bytes that a GGUF's views look into, kept with it.
struct Held {
  std::string bytes;
  base::Result<Gguf> gguf;
  explicit Held(std::string file)
      : bytes(std::move(file)),
        gguf(Gguf::Parse(std::as_bytes(std::span(bytes.data(), bytes.size())), "test")) {}
  std::string message() const { return gguf.ok() ? "" : gguf.error().message; }
};

TEST(Gguf, EveryTypeOfValueIsRead) {
  const std::string nested = Writer::Array(
      GgufType::kArray, 2,
      Writer::Array(GgufType::kU8, 3, std::string("\1\2\3")) + Writer::Array(GgufType::kU8, 0, ""));
  const Held held(
      Writer()
          .Entry("u8", GgufType::kU8, Writer::Raw<uint8_t>(200))
          .Entry("i8", GgufType::kI8, Writer::Raw<int8_t>(-7))
          .Entry("u16", GgufType::kU16, Writer::Raw<uint16_t>(60000))
          .Entry("i16", GgufType::kI16, Writer::Raw<int16_t>(-300))
          .Entry("u32", GgufType::kU32, Writer::Raw<uint32_t>(4000000000u))
          .Entry("i32", GgufType::kI32, Writer::Raw<int32_t>(-70000))
          .Entry("u64", GgufType::kU64, Writer::Raw<uint64_t>(~uint64_t{0}))
          .Entry("i64", GgufType::kI64, Writer::Raw<int64_t>(INT64_MIN))
          .Entry("f32", GgufType::kF32, Writer::Raw(1.5f))
          .Entry("f64", GgufType::kF64, Writer::Raw(-2.25))
          .Entry("yes", GgufType::kBool, Writer::Raw<uint8_t>(1))
          .Entry("text", GgufType::kString, Writer::Text("hello"))
          .Entry("names", GgufType::kArray,
                 Writer::Array(GgufType::kString, 2, Writer::Text("a") + Writer::Text("")))
          .Entry("floats", GgufType::kArray,
                 Writer::Array(GgufType::kF32, 2, Writer::Raw(0.5f) + Writer::Raw(-1.0f)))
          .Entry("nested", GgufType::kArray, nested)
          .Finish(0));
  ASSERT_TRUE(held.gguf.ok()) << held.message();
  const Gguf& gguf = *held.gguf;
  EXPECT_EQ(*gguf.Uint("u8"), 200u);
  EXPECT_EQ(*gguf.Find("i8")->AsInt(), -7);
  EXPECT_EQ(*gguf.Uint("u16"), 60000u);
  EXPECT_EQ(*gguf.Find("i16")->AsInt(), -300);
  EXPECT_EQ(*gguf.Uint("u32"), 4000000000u);
  EXPECT_EQ(*gguf.Find("i32")->AsInt(), -70000);
  EXPECT_EQ(*gguf.Uint("u64"), ~uint64_t{0});
  EXPECT_EQ(*gguf.Find("i64")->AsInt(), INT64_MIN);
  EXPECT_EQ(*gguf.Double("f32"), 1.5);
  EXPECT_EQ(*gguf.Double("f64"), -2.25);
  EXPECT_EQ(*gguf.Double("i16"), -300.0);
  EXPECT_TRUE(*gguf.Find("yes")->AsBool());
  EXPECT_EQ(*gguf.String("text"), "hello");
  std::vector<std::string> names;
  ASSERT_TRUE(gguf.Find("names")
                  ->ForEachElement([&](const GgufValue& name) -> base::Status {
                    const std::string_view text = TRY(name.AsString());
                    names.emplace_back(text);
                    return base::Ok();
                  })
                  .ok());
  EXPECT_EQ(names, (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(gguf.Find("floats")->PackedElements()->size(), 8u);
  std::vector<int64_t> counts;
  ASSERT_TRUE(gguf.Find("nested")
                  ->ForEachElement([&](const GgufValue& inner) -> base::Status {
                    counts.push_back(inner.count());
                    return base::Ok();
                  })
                  .ok());
  EXPECT_EQ(counts, (std::vector<int64_t>{3, 0}));
}

TEST(Gguf, AValueOfAnotherTypeIsAnErrorThatNamesTheKey) {
  const Held held(Writer()
                      .Entry("text", GgufType::kString, Writer::Text("x"))
                      .Entry("less", GgufType::kI32, Writer::Raw<int32_t>(-1))
                      .Entry("big", GgufType::kU64, Writer::Raw<uint64_t>(~uint64_t{0}))
                      .Finish(0));
  ASSERT_TRUE(held.gguf.ok()) << held.message();
  EXPECT_EQ(held.gguf->Uint("text").error().message, "'text': expected an integer, it is string");
  EXPECT_FALSE(held.gguf->Uint("less").ok());
  EXPECT_FALSE(held.gguf->Find("big")->AsInt().ok());
  EXPECT_NE(held.gguf->Uint("none").error().message.find("'none'"), std::string::npos);
  EXPECT_FALSE(held.gguf->Find("text")->PackedElements().ok());
}

TEST(Gguf, TensorsAreViewsWithTheirExtentsTurnedAround) {
  for (const uint32_t version : {2u, 3u}) {
    const Held held(Writer()
                        .Tensor("w", {64, 3}, 8, 32)
                        .Tensor("b", {3}, 0, 0)
                        .Finish(32 + 3 * 2 * 34, version));
    ASSERT_TRUE(held.gguf.ok()) << held.message();
    EXPECT_EQ(held.gguf->version(), version);
    const GgufTensor* const w = held.gguf->FindTensor("w");
    ASSERT_NE(w, nullptr);
    EXPECT_EQ(w->format, BlockFormat::kQ8_0);
    EXPECT_EQ(w->shape, (Shape{3, 64}));
    EXPECT_EQ(w->bytes, 3 * 2 * 34);
    EXPECT_EQ(w->data[0], std::byte{32});
    EXPECT_EQ(held.gguf->FindTensor("b")->data[0], std::byte{0});
    EXPECT_EQ(held.gguf->FindTensor("c"), nullptr);
  }
}

TEST(Gguf, TheAlignmentOfTheFileHolds) {
  const Held held(Writer()
                      .Entry("general.alignment", GgufType::kU32, Writer::Raw<uint32_t>(256))
                      .Tensor("a", {1}, 24, 0)
                      .Tensor("b", {1}, 24, 256)
                      .Finish(257, 3, 256));
  ASSERT_TRUE(held.gguf.ok()) << held.message();
  EXPECT_EQ(
      (held.gguf->FindTensor("a")->data - reinterpret_cast<const std::byte*>(held.bytes.data())) %
          256,
      0);
  for (const uint32_t alignment : {0u, 4u, 24u, 1u << 21}) {
    const Held wrong(
        Writer().Entry("general.alignment", GgufType::kU32, Writer::Raw(alignment)).Finish(0));
    EXPECT_NE(wrong.message().find("general.alignment"), std::string::npos) << alignment;
  }
}

TEST(Gguf, MalformedFilesAreErrorsThatSayWhere) {
  const auto type = static_cast<GgufType>(13);
  const struct {
    std::string bytes;
    const char* says;
  } cases[] = {
      {"", "magic number"},
      {"GGML" + std::string(20, '\0'), "not 'GGUF'"},
      {Writer().Finish(0, 1), "version 1"},
      {Writer().Finish(0, 0x03000000), "little-endian"},
      {Writer().Entry("k", type, "").Finish(0), "it is 13"},
      {Writer().Entry("", GgufType::kU8, "x").Finish(0), "empty"},
      {Writer().Entry("k", GgufType::kBool, "\2").Finish(0), "neither 0 nor 1"},
      {Writer().Entry("k", GgufType::kString, Writer::Raw<uint64_t>(1 << 20)).Finish(0),
       "expected at most"},
      {Writer()
           .Entry("k", GgufType::kArray, Writer::Array(GgufType::kU64, ~uint64_t{0} / 4, ""))
           .Finish(0),
       "elements of uint64"},
      {Writer().Entry("k", GgufType::kU8, "x").Entry("k", GgufType::kU8, "x").Finish(0),
       "'k' twice"},
      {Writer().Tensor("t", {1, 1, 1, 1, 1}, 0, 0).Finish(64), "at most 4"},
      {Writer().Tensor("t", {uint64_t{1} << 62, 8}, 0, 0).Finish(64), "'t'"},
      {Writer().Tensor("t", {33}, 8, 0).Finish(64), "whole number of Q8_0 blocks"},
      {Writer().Tensor("t", {16}, 0, 4).Finish(68), "multiple of 32"},
      {Writer().Tensor("t", {17}, 0, 0).Finish(64), "expected 68 bytes"},
      {Writer().Tensor("t", {1}, 0, ~uint64_t{31}).Finish(64), "expected 4 bytes"},
      {Writer().Tensor("t", {16}, 0, 0).Tensor("u", {8}, 0, 32).Finish(64), "overlap"},
      {Writer().Tensor("t", {8}, 0, 0).Tensor("t", {8}, 0, 32).Finish(64), "two tensors 't'"},
      {Writer().Tensor("t", {256}, 10, 0).Finish(84), "Q2_K"},
      {Writer().Tensor("t", {256}, 99, 0).Finish(84), "number 99"},
  };
  for (const auto& wrong : cases) {
    const Held held(wrong.bytes);
    ASSERT_FALSE(held.gguf.ok()) << wrong.says;
    EXPECT_NE(held.message().find(wrong.says), std::string::npos) << held.message();
  }
}

TEST(Gguf, NoPrefixOfAFileIsAFile) {
  const std::string file =
      Writer()
          .Entry("names", GgufType::kArray, Writer::Array(GgufType::kString, 1, Writer::Text("a")))
          .Tensor("t", {16}, 0, 0)
          .Finish(64);
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_FALSE(Held(file.substr(0, size)).gguf.ok()) << size;
}

TEST(Gguf, ArraysNestAsDeepAsTheLimitAndNoDeeper) {
  std::string value = Writer::Array(GgufType::kU8, 0, "");
  for (int depth = 1; depth <= 6; ++depth) {
    const bool fits = depth <= GgufLimits{}.nesting_max;
    EXPECT_EQ(Held(Writer().Entry("k", GgufType::kArray, value).Finish(0)).gguf.ok(), fits)
        << depth;
    value = Writer::Array(GgufType::kArray, 1, value);
  }
}

class GgufFilesTest : public testing::Test {
 protected:
  GgufFilesTest() {
    std::string pattern = testing::TempDir() + "gguf-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~GgufFilesTest() override { std::filesystem::remove_all(folder_); }
  void WritePart(int number, int count, int told_number, const char* tensor) {
    const std::string name =
        folder_ + "/m-0000" + std::to_string(number) + "-of-0000" + std::to_string(count) + ".gguf";
    std::ofstream(name, std::ios::binary)
        << Writer()
               .Entry("split.no", GgufType::kU16, Writer::Raw(static_cast<uint16_t>(told_number)))
               .Entry("split.count", GgufType::kU16, Writer::Raw<uint16_t>(3))
               .Entry("split.tensors.count", GgufType::kI32, Writer::Raw<int32_t>(3))
               .Tensor(tensor, {8}, 0, 0)
               .Finish(32);
  }
  std::string folder_;
};

TEST_F(GgufFilesTest, ASplitModelIsOpenedByAnyOfItsParts) {
  WritePart(1, 3, 0, "a");
  WritePart(2, 3, 1, "b");
  WritePart(3, 3, 2, "c");
  for (const char* part : {"/m-00001-of-00003.gguf", "/m-00003-of-00003.gguf"}) {
    const auto gguf = Gguf::Open(folder_ + part);
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;
    ASSERT_EQ(gguf->tensors().size(), 3u);
    EXPECT_EQ(gguf->tensors()[2].name, "c");
    EXPECT_EQ(gguf->FindTensor("b")->data[1], std::byte{1});
  }
}

TEST_F(GgufFilesTest, PartsThatDoNotBelongTogetherAreRefused) {
  WritePart(1, 3, 0, "a");
  WritePart(2, 3, 1, "b");
  EXPECT_EQ(Gguf::Open(folder_ + "/m-00001-of-00003.gguf").error().code, base::Code::kNotFound);
  WritePart(3, 3, 1, "c");
  EXPECT_NE(Gguf::Open(folder_ + "/m-00001-of-00003.gguf").error().message.find("split.no"),
            std::string::npos);
  WritePart(3, 3, 2, "b");
  EXPECT_NE(Gguf::Open(folder_ + "/m-00001-of-00003.gguf").error().message.find("two tensors"),
            std::string::npos);
  std::filesystem::rename(folder_ + "/m-00001-of-00003.gguf", folder_ + "/alone.gguf");
  EXPECT_NE(Gguf::Open(folder_ + "/alone.gguf").error().message.find("one part of 3"),
            std::string::npos);
}

TEST(GgufVocabularies, AreReadWhole) {
  std::string at;
  for (const char* folder : {"../shared", "../../shared"}) {
    const std::string candidate = std::string(folder) + "/data/tokenizer/gguf";
    if (std::filesystem::is_directory(candidate)) at = candidate;
  }
  if (at.empty()) GTEST_SKIP() << "no GGUF vocabularies beside the checkout";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(at)) {
    if (entry.path().extension() != ".gguf") continue;
    const auto gguf = Gguf::Open(entry.path());
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;
    EXPECT_TRUE(gguf->String("general.architecture").ok());
    const GgufValue* const tokens = gguf->Find("tokenizer.ggml.tokens");
    ASSERT_NE(tokens, nullptr);
    int64_t count = 0;
    ASSERT_TRUE(tokens
                    ->ForEachElement([&](const GgufValue& token) -> base::Status {
                      TRY(token.AsString());
                      ++count;
                      return base::Ok();
                    })
                    .ok());
    EXPECT_EQ(count, tokens->count());
    EXPECT_GT(count, 1000);
    ++files;
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace sluice::tensor
