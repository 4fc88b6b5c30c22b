// Decoders from GGUF files against transformers: tests/conformance/gguf, made by
// python/export_gguf.py.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/ref/blocks.h"
#include "lm/checkpoint/gguf_checkpoint.h"
#include "lm/checkpoint/gguf_config.h"
#include "lm/checkpoint/gguf_text.h"
#include "lm/decoder/test_session.h"
#include "lm/model_folder.h"
#include "tensor/gguf.h"
#include "tensor/gguf_test_writer.h"
#include "tensor/safetensors.h"

namespace sluice::lm {
namespace {

const std::string kFolder = "tests/conformance/gguf/";
const std::string kDecoders = "tests/conformance/decoders/";

std::shared_ptr<const tensor::Gguf> Open(const std::string& name) {
  auto gguf = tensor::Gguf::Open(kFolder + name);
  EXPECT_TRUE(gguf.ok()) << gguf.error().message;
  return std::make_shared<const tensor::Gguf>(*std::move(gguf));
}

Decoder Load(const std::string& name, tensor::DType cache = tensor::DType::kF32,
             LinearForm form = LinearForm::Stored()) {
  const auto gguf = Open(name);
  const auto config = ReadGgufConfig(*gguf);
  EXPECT_TRUE(config.ok()) << config.error().message;
  auto decoder = Decoder::Load(GgufCheckpoint(gguf), *config, {.form = form, .cache_type = cache});
  EXPECT_TRUE(decoder.ok()) << decoder.error().message;
  return *std::move(decoder);
}

struct Expected {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
};
Expected Read(const std::string& path) {
  const auto file = tensor::Safetensors::Open(path);
  EXPECT_TRUE(file.ok()) << file.error().message;
  const auto tokens = file->Find("tokens")->view.span<int32_t>();
  const auto logits = file->Find("logits")->view.span<float>();
  return {{tokens.begin(), tokens.end()}, {logits.begin(), logits.end()}};
}

double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::sqrt(aa * bb);
}

class GgufFamilyTest : public testing::TestWithParam<const char*> {};

TEST_P(GgufFamilyTest, GivesTheLogitsOfTransformers) {
  const Expected expected = Read(kDecoders + GetParam() + "/expected.safetensors");
  const Decoder decoder = Load(std::string(GetParam()) + ".gguf");
  Session session(decoder);
  const std::vector<float> got = session.Run(expected.tokens, 100);
  ASSERT_EQ(got.size(), expected.logits.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - expected.logits[i]));
  }
  EXPECT_LT(worst, 2e-4);
}

INSTANTIATE_TEST_SUITE_P(All, GgufFamilyTest,
                         testing::Values("llama", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3",
                                         "phi3"),
                         [](const auto& family) { return std::string(family.param); });

// The same tensors in f32.
class WidenedCheckpoint : public Checkpoint {
 public:
  explicit WidenedCheckpoint(std::shared_ptr<const tensor::Gguf> gguf) : stored_(std::move(gguf)) {}
  base::Result<tensor::Tensor> Find(const std::string& name) const override {
    const StoredTensor stored = TRY(stored_.FindStored(name));
    tensor::Tensor wide =
        TRY(tensor::Tensor::Allocate(tensor::DType::kF32, stored.shape, int64_t{1} << 30));
    kernels::ref::DequantiseBlocks(stored.format, stored.buffer.data(), stored.shape.elements(),
                                   wide.mutable_view().as<float>());
    return wide;
  }

 private:
  GgufCheckpoint stored_;
};

TEST(GgufTest, FindsEveryTensorOfAFileOfBlocks) {
  const Expected expected = Read(kFolder + "blocks.safetensors");
  const auto gguf = Open("blocks.gguf");
  const auto decoder = Decoder::Load(WidenedCheckpoint(gguf), *ReadGgufConfig(*gguf),
                                     {.cache_type = tensor::DType::kF32});
  ASSERT_TRUE(decoder.ok()) << decoder.error().message;
  Session session(*decoder);
  const std::vector<float> got = session.Run(expected.tokens, 100);
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected.logits[i], 1e-3) << i;
}

TEST(GgufTest, RunsBlocksOfEveryFormatAsTheyLie) {
  const Expected expected = Read(kFolder + "blocks.safetensors");
  const Decoder decoder = Load("blocks.gguf");
  Session session(decoder);
  const std::vector<float> got = session.Run(expected.tokens, 100);
  ASSERT_EQ(got.size(), expected.logits.size());
  // Activations are rounded to 8 bits.
  EXPECT_GT(Cosine(got, expected.logits), 0.9985);
  // Nothing is copied or widened: the blocks of the file, and its norms aside.
  const auto file = std::filesystem::file_size(kFolder + "blocks.gguf");
  EXPECT_LT(decoder.weight_bytes(), static_cast<int64_t>(file));
}

TEST(GgufTest, GivesTheSameBitsForAnyCutOfAPromptInEveryFormat) {
  const Expected expected = Read(kFolder + "blocks.safetensors");
  const Decoder decoder = Load("blocks.gguf", tensor::DType::kF16);
  Session whole(decoder);
  const std::vector<float> want = whole.Run(expected.tokens, 100);
  for (const int64_t rows_max : {1, 2, 7, 33}) {
    Session session(decoder);
    EXPECT_EQ(session.Run(expected.tokens, rows_max), want) << rows_max;
  }
}

TEST(GgufTest, PlainTensorsTakeTheFormThatIsAskedForAndBlocksStay) {
  const Decoder stored = Load("blocks.gguf");
  const Decoder narrow =
      Load("blocks.gguf", tensor::DType::kF32, LinearForm(kernels::WeightForm::kInt8));
  // ffn_up and attn_q of one layer are of 16 bits.
  EXPECT_LT(narrow.weight_bytes(), stored.weight_bytes());
  EXPECT_GT(narrow.weight_bytes(), stored.weight_bytes() - 256 * 256 * 2);
}

TEST(GgufTest, ReadsTheVocabularyTheTemplateAndTheEndOfText) {
  const auto gguf = Open("llama.gguf");
  const auto text = ReadGgufText(*gguf, 96);
  ASSERT_TRUE(text.ok()) << text.error().message;
  ASSERT_NE(*text, nullptr);
  const auto ids = (*text)->Encode("AB", 10);
  ASSERT_TRUE(ids.ok()) << ids.error().message;
  EXPECT_EQ(*ids, (std::vector<int32_t>{1, 'A' - 32 + 3, 'B' - 32 + 3}));
  ModelText::Chat messages;
  messages.messages = R"([{"role":"user","content":"A"}])";
  const auto chat = (*text)->EncodeChat(messages, 10);
  ASSERT_TRUE(chat.ok()) << chat.error().message;
  EXPECT_EQ(*chat, (std::vector<int32_t>{1, 'A' - 32 + 3}));
  EXPECT_EQ(*ReadGgufEndIds(*gguf, 96), (std::vector<int32_t>{2}));
}

class GgufFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "gguf_folder";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void Copy(const std::string& name) {
    std::filesystem::copy_file(kFolder + name, folder_ / std::filesystem::path(name).filename());
  }
  std::string ErrorOfLoad() const {
    const auto engine = lm::Load(folder_.string(), Options());
    return engine.ok() ? "" : engine.error().message;
  }
  static LoadOptions Options() {
    LoadOptions options;
    options.serving.cache_bytes = int64_t{1} << 20;
    return options;
  }
  std::filesystem::path folder_;
};

TEST_F(GgufFolderTest, AFolderWithOneFileIsALanguageModel) {
  EXPECT_FALSE(HoldsLanguageModel(folder_.string()));
  Copy("qwen2.gguf");
  EXPECT_TRUE(HoldsLanguageModel(folder_.string()));
  const auto engine = lm::Load(folder_.string(), Options());
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  EXPECT_EQ((*engine)->description().platform, "language_model");
}

TEST_F(GgufFolderTest, AFileInPartsIsOneModel) {
  for (const auto& entry : std::filesystem::directory_iterator(kFolder + "split")) {
    Copy("split/" + entry.path().filename().string());
  }
  EXPECT_EQ(ErrorOfLoad(), "");
}

TEST_F(GgufFolderTest, RefusesTwoModelsByTheirNames) {
  Copy("qwen2.gguf");
  Copy("qwen3.gguf");
  EXPECT_NE(ErrorOfLoad().find("qwen2.gguf and qwen3.gguf"), std::string::npos) << ErrorOfLoad();
}

// A file with an architecture, keys that tests replace, and an embedding.
std::string ErrorOfConfig(const std::string& architecture, const std::string& key,
                          tensor::GgufType type, const std::string& value) {
  using tensor::GgufType;
  using Writer = tensor::GgufTestWriter;
  Writer writer;
  writer.Entry("general.architecture", GgufType::kString, Writer::Text(architecture));
  const std::pair<const char*, uint32_t> kSizes[] = {{"embedding_length", 32},
                                                     {"block_count", 1},
                                                     {"attention.head_count", 4},
                                                     {"context_length", 128},
                                                     {"feed_forward_length", 64}};
  for (const auto& [name, size] : kSizes) {
    const std::string full = architecture + "." + name;
    if (full != key) writer.Entry(full, GgufType::kU32, Writer::Raw(size));
  }
  if (!value.empty()) writer.Entry(key, type, value);
  writer.Tensor("token_embd.weight", {32, 8}, 0, 0);
  const std::string file = writer.Finish(32 * 8 * 4);
  tensor::Buffer bytes = tensor::Buffer::Allocate(static_cast<int64_t>(file.size()));
  std::memcpy(bytes.mutable_data(), file.data(), file.size());
  const auto gguf = tensor::Gguf::Parse({bytes.data(), file.size()}, "test");
  if (!gguf.ok()) return gguf.error().message;
  const auto config = ReadGgufConfig(*gguf);
  return config.ok() ? "" : config.error().message;
}

TEST(GgufConfigTest, NamesTheKeyThatIsWrongOrNotBuilt) {
  using tensor::GgufType;
  using Writer = tensor::GgufTestWriter;
  EXPECT_EQ(ErrorOfConfig("llama", "llama.none", GgufType::kU32, ""), "");
  EXPECT_NE(ErrorOfConfig("mamba", "x", GgufType::kU32, "").find("mamba"), std::string::npos);
  EXPECT_NE(
      ErrorOfConfig("llama", "llama.block_count", GgufType::kU32, "").find("llama.block_count"),
      std::string::npos);
  EXPECT_NE(
      ErrorOfConfig("llama", "llama.attention.head_count", GgufType::kU32, Writer::Raw(uint32_t{0}))
          .find("head_count"),
      std::string::npos);
  EXPECT_NE(ErrorOfConfig("llama", "llama.attention.head_count_kv", GgufType::kU32,
                          Writer::Raw(uint32_t{3}))
                .find("whole number of heads"),
            std::string::npos);
  EXPECT_NE(ErrorOfConfig("llama", "llama.rope.scaling.type", GgufType::kString, Writer::Text("su"))
                .find("'su'"),
            std::string::npos);
  EXPECT_NE(ErrorOfConfig("qwen2", "qwen2.attention.sliding_window", GgufType::kU32,
                          Writer::Raw(uint32_t{8}))
                .find("sliding_window"),
            std::string::npos);
  EXPECT_NE(ErrorOfConfig("llama", "llama.expert_count", GgufType::kU32, Writer::Raw(uint32_t{8}))
                .find("experts of llama"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::lm
