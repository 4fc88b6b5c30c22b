#include "text/format/vocabulary_files.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "text/stream_decoder.h"

namespace sluice::text {
namespace {

using Ids = std::vector<int32_t>;

constexpr const char* kData = "../shared/data/tokenizer/";

// The metadata of a GGUF file, as far as vocabularies need it: a reader for this test alone.
struct Gguf {
  std::string bytes;
  size_t at = 0;
  std::map<std::string, std::string> strings;
  std::map<std::string, uint64_t> numbers;
  std::map<std::string, std::vector<std::string_view>> lists;
  std::map<std::string, std::vector<int32_t>> integers;
  std::map<std::string, std::vector<float>> floats;

  template <class T>
  T Read() {
    T value{};
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    at += sizeof(T);
    return value;
  }
  std::string_view Text() {
    const auto size = static_cast<size_t>(Read<uint64_t>());
    at += size;
    return std::string_view(bytes).substr(at - size, size);
  }
  uint64_t Number(uint32_t type) {
    if (type == 0 || type == 1 || type == 7) return Read<uint8_t>();
    if (type == 2 || type == 3) return Read<uint16_t>();
    if (type >= 10) return Read<uint64_t>();
    return Read<uint32_t>();
  }
  void ReadList(const std::string& key) {
    const auto type = Read<uint32_t>();
    const auto count = Read<uint64_t>();
    for (uint64_t i = 0; i < count; ++i) {
      if (type == 8) {
        lists[key].push_back(Text());
      } else if (type == 6) {
        floats[key].push_back(Read<float>());
      } else {
        integers[key].push_back(static_cast<int32_t>(Number(type)));
      }
    }
  }
  void ReadAll() {
    at = 16;
    const auto count = Read<uint64_t>();
    for (uint64_t i = 0; i < count; ++i) {
      const std::string key(Text());
      const auto type = Read<uint32_t>();
      if (type == 8) {
        strings[key] = Text();
      } else if (type == 9) {
        ReadList(key);
      } else {
        numbers[key] = Number(type);
      }
    }
  }
  std::optional<int32_t> Id(const std::string& key) const {
    const auto found = numbers.find("tokenizer.ggml." + key + "_token_id");
    if (found == numbers.end()) return std::nullopt;
    return static_cast<int32_t>(found->second);
  }
};

std::string ReadText(const std::string& path) {
  return base::ReadFile(path, int64_t{64} << 20).value();
}

// The 46 texts of a vocabulary and the ids that its model's own tokeniser gives.
void ExpectVectors(const Tokenizer& tokenizer, const std::string& name) {
  const std::string inputs = ReadText(std::string(kData) + "gguf/ggml-vocab-" + name + ".gguf.inp");
  std::istringstream outputs(
      ReadText(std::string(kData) + "gguf/ggml-vocab-" + name + ".gguf.out"));
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  std::string line;
  int count = 0;
  for (size_t begin = 0; begin < inputs.size() && std::getline(outputs, line); ++count) {
    const size_t end = std::min(inputs.find(kSeparator, begin), inputs.size());
    const std::string text = inputs.substr(begin, end - begin);
    begin = end + kSeparator.size();
    Ids want;
    std::istringstream numbers(line);
    for (int32_t id = 0; numbers >> id;) want.push_back(id);
    EXPECT_EQ(tokenizer.Encode(text, {.add_fixed_tokens = false})->ids, want)
        << name << " '" << text << "'";
  }
  EXPECT_GE(count, 40) << name;
}

bool IsThere(const std::string& path) {
  if (std::filesystem::exists(path)) return true;
  std::cout << "skipped: " << path << " is not there\n";
  return false;
}

TEST(VocabularyVectors, EveryGgufVocabularyGivesTheIdsOfItsModel) {
  for (const std::string name : {"gpt-2", "llama-spm", "phi-3", "bert-bge", "deepseek-llm"}) {
    const std::string path = std::string(kData) + "gguf/ggml-vocab-" + name + ".gguf";
    if (!IsThere(path)) GTEST_SKIP() << path << " is missing";
    Gguf file;
    file.bytes = ReadText(path);
    file.ReadAll();
    GgufVocabulary vocabulary;
    vocabulary.model = file.strings["tokenizer.ggml.model"];
    vocabulary.pre = file.strings["tokenizer.ggml.pre"];
    vocabulary.tokens = file.lists["tokenizer.ggml.tokens"];
    vocabulary.merges = file.lists["tokenizer.ggml.merges"];
    vocabulary.scores = file.floats["tokenizer.ggml.scores"];
    vocabulary.types = file.integers["tokenizer.ggml.token_type"];
    vocabulary.begin_id = file.Id(vocabulary.model == "bert" ? "cls" : "bos");
    vocabulary.end_id = file.Id(vocabulary.model == "bert" ? "seperator" : "eos");
    vocabulary.unknown_id = file.Id("unknown");
    const auto tokenizer = ReadGgufVocabulary(vocabulary);
    ASSERT_TRUE(tokenizer.ok()) << name << ": " << tokenizer.error().message;
    ExpectVectors(**tokenizer, name);
  }
}

TEST(VocabularyVectors, QwensRanksGiveTheIdsOfItsModelAndDecodeThem) {
  const std::string path = std::string(kData) + "qwen.tiktoken";
  if (!IsThere(path)) GTEST_SKIP() << path << " is missing";
  RankOptions options;
  options.scanner = WordScanner::kOneDigit;
  options.nfc = true;
  options.special_tokens = {{"<|endoftext|>", 151643}, {"<|im_start|>", 151644}};
  const auto tokenizer = ReadRanks(ReadText(path), options);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  ExpectVectors(**tokenizer, "qwen2");
  const std::string text = "<|im_start|>x \xE6\x97\xA5\xE6\x9C\xAC\xF0\x9F\x91\x8D";
  const Ids ids = (*tokenizer)->Encode(text)->ids;
  EXPECT_EQ(ids.front(), 151644);
  EXPECT_EQ((*tokenizer)->Decode(ids, false).value(), text);
}

TEST(VocabularyVectors, GptTwosOwnFilesGiveTheIdsOfItsGguf) {
  const std::string folder = std::string(kData) + "gpt2/";
  if (!IsThere(folder)) GTEST_SKIP() << folder << " is missing";
  const auto tokenizer =
      ReadEncoderAndMerges(ReadText(folder + "encoder.json"), ReadText(folder + "vocab.bpe"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  ExpectVectors(**tokenizer, "gpt-2");
  EXPECT_EQ((*tokenizer)->FindToken("<|endoftext|>"), 50256);
}

// Messages of protobuf's wire format.
std::string Varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out += static_cast<char>(value);
}
std::string Field(uint32_t number, uint64_t value) {
  return Varint(number << 3) + Varint(value);
}
std::string Field(uint32_t number, std::string_view bytes) {
  return Varint(number << 3 | 2) + Varint(bytes.size()) + std::string(bytes);
}
std::string PieceOf(std::string_view text, float score, uint64_t type = 1) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return Field(1, Field(1, text) + Varint(2 << 3 | 5) + bits + Field(3, type));
}
std::string Model(uint64_t type, const std::string& more = "") {
  return PieceOf("<unk>", 0, 2) + PieceOf("<s>", 0, 3) + PieceOf("</s>", 0, 3) +
         PieceOf("\xE2\x96\x81", -2) + PieceOf("a", -3) + PieceOf("b", -3) + PieceOf("ab", -4) +
         PieceOf(
             "\xE2\x96\x81"
             "a",
             -3.5F) +
         PieceOf("<ud>", 0, 4) + more + Field(2, Field(3, type)) +
         Field(3, Field(3, uint64_t{1}) + Field(4, uint64_t{1}));
}

TEST(SentencePieceFile, BothModelsCutTextsAsTheirScoresSay) {
  const auto pairs = ReadSentencePiece(Model(2));
  ASSERT_TRUE(pairs.ok()) << pairs.error().message;
  // The best pair of the text is U+2581 and a; then a and b have nothing to merge with.
  EXPECT_EQ((*pairs)->Encode("ab")->ids, (Ids{7, 5}));
  EXPECT_EQ((*pairs)->Encode("bab")->ids, (Ids{3, 5, 6}));
  const auto unigram = ReadSentencePiece(Model(1));
  ASSERT_TRUE(unigram.ok()) << unigram.error().message;
  EXPECT_EQ((*unigram)->Encode("ab")->ids, (Ids{3, 6})) << "-2 - 4 against -3.5 - 3";
  EXPECT_EQ((*unigram)->Encode(" a   xx b ")->ids, (Ids{7, 3, 0, 3, 5}));
  EXPECT_EQ((*unigram)->Decode((*unigram)->Encode(" a  b ")->ids).value(), "a b");
}

TEST(SentencePieceFile, PiecesOfTheUserStayWholeAndBringNoPrefix) {
  const auto tokenizer = ReadSentencePiece(Model(2)).value();
  EXPECT_EQ(tokenizer->Encode("b<ud>b")->ids, (Ids{3, 5, 8, 5}));
  EXPECT_EQ(tokenizer->Encode("<ud> a")->ids, (Ids{3, 8, 7}));
  EXPECT_EQ(tokenizer->Encode("<s>b")->ids, (Ids{1, 5}));
  EXPECT_EQ(tokenizer->Encode("<s>b", {.find_special_tokens = false})->ids, (Ids{3, 0, 5}));
}

TEST(SentencePieceFile, FixedTokensComeWhereTheCallerWantsThem) {
  const auto tokenizer = ReadSentencePiece(Model(2), {.add_begin = true, .add_end = true}).value();
  EXPECT_EQ(tokenizer->Encode("b")->ids, (Ids{1, 3, 5, 2}));
  EXPECT_EQ(tokenizer->fixed_tokens(true), 4);
}

TEST(SentencePieceFile, BytesStandForCharactersWithoutAPiece) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    char token[8];
    std::snprintf(token, sizeof(token), "<0x%02X>", static_cast<unsigned>(byte));
    bytes += PieceOf(token, 0, 6);
  }
  const auto tokenizer =
      ReadSentencePiece(Model(2, bytes) + Field(2, Field(3, uint64_t{2}) + Field(35, uint64_t{1})));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  const Ids ids = (*tokenizer)->Encode("a\xC3\xA9")->ids;
  EXPECT_EQ(ids, (Ids{7, 9 + 0xC3, 9 + 0xA9}));
  EXPECT_EQ((*tokenizer)->Decode(ids).value(), "a\xC3\xA9");
}

TEST(SentencePieceFile, WhatIsWrongIsRefused) {
  const auto message = [](const std::string& file) {
    const auto tokenizer = ReadSentencePiece(file);
    return tokenizer.ok() ? "" : tokenizer.error().message;
  };
  EXPECT_NE(message("").find("no pieces"), std::string::npos);
  EXPECT_NE(message(Model(3)).find("model_type 3"), std::string::npos);
  EXPECT_NE(message(Model(2, PieceOf("x", 0, 5))).find("UNUSED"), std::string::npos);
  EXPECT_NE(message(Model(2, PieceOf("x", 0, 9))).find("type is 9"), std::string::npos);
  EXPECT_NE(message(Model(2, PieceOf("\xFF", 0))).find("piece 9"), std::string::npos);
  EXPECT_NE(message(Model(2).substr(0, 11)).find("bytes"), std::string::npos);
  EXPECT_FALSE(ReadSentencePiece(PieceOf("a", 0), {}).ok()) << "no unknown piece";
}

TEST(Ranks, WholeWordsComeFirstAndThenTheLowestRank) {
  // a, b, c, bc, ab, abc
  const auto tokenizer = ReadRanks("YQ== 0\nYg== 1\nYw== 2\nYmM= 3\nYWI= 4\nYWJj 5\n", {}).value();
  EXPECT_EQ(tokenizer->Encode("abc")->ids, (Ids{5}));
  EXPECT_EQ(tokenizer->Encode("abcc")->ids, (Ids{5, 2}));
  EXPECT_EQ(tokenizer->Encode("abab")->ids, (Ids{4, 4}));
}

TEST(Ranks, WhatIsNoRankIsRefusedWithItsLine) {
  const auto bad = ReadRanks("YQ== 0\nYg== x\n", {});
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("line 2"), std::string::npos) << bad.error().message;
  EXPECT_FALSE(ReadRanks("YQ== 0\nYQ== 1\n", {}).ok());
}

TEST(GgufVocabulary, WhatIsNotBuiltIsNamed) {
  GgufVocabulary vocabulary;
  vocabulary.model = "rwkv";
  vocabulary.tokens = {"a"};
  EXPECT_NE(ReadGgufVocabulary(vocabulary).error().message.find("rwkv"), std::string::npos);
  vocabulary.model = "gpt2";
  vocabulary.pre = "new";
  EXPECT_NE(ReadGgufVocabulary(vocabulary).error().message.find("'new'"), std::string::npos);
  vocabulary.pre = "";
  vocabulary.merges = {"a b"};
  EXPECT_NE(ReadGgufVocabulary(vocabulary).error().message.find("merge 0"), std::string::npos);
  vocabulary.merges.clear();
  const std::vector<int32_t> types = {1, 2};
  vocabulary.types = types;
  EXPECT_NE(ReadGgufVocabulary(vocabulary).error().message.find("2 types"), std::string::npos);
}

}  // namespace
}  // namespace sluice::text
