// Decoders of each family against the logits of transformers: tests/conformance/decoders, made by
// python/export_decoders.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "lm/checkpoint/hub_config.h"
#include "lm/checkpoint/safetensors_checkpoint.h"
#include "lm/decoder/decoder.h"
#include "lm/decoder/test_session.h"
#include "tensor/safetensors.h"

namespace sluice::lm {
namespace {

const std::string kFolder = "tests/conformance/decoders/";

std::string Read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class FamiliesTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string folder = kFolder + GetParam();
    const auto hub = ParseHubConfig(Read(folder + "/config.json"), "");
    ASSERT_TRUE(hub.ok()) << hub.error().message;
    EXPECT_EQ(hub->end_ids, (std::vector<int32_t>{2}));
    config_ = hub->decoder;
    auto checkpoint = SafetensorsCheckpoint::Open(folder);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    checkpoint_ = std::make_unique<SafetensorsCheckpoint>(*std::move(checkpoint));
    const auto expected = tensor::Safetensors::Open(folder + "/expected.safetensors");
    ASSERT_TRUE(expected.ok());
    const auto ints = [&](const char* name) {
      const auto span = expected->Find(name)->view.span<int32_t>();
      return std::vector<int32_t>(span.begin(), span.end());
    };
    tokens_ = ints("tokens");
    greedy_ = ints("greedy");
    const auto span = expected->Find("logits")->view.span<float>();
    logits_.assign(span.begin(), span.end());
  }
  // By default for sequences of the length that is compared with transformers'.
  Decoder Load(Decoder::Options options) const {
    if (options.length_max == 0) options.length_max = static_cast<int64_t>(tokens_.size());
    auto decoder = Decoder::Load(*checkpoint_, config_, options);
    EXPECT_TRUE(decoder.ok()) << decoder.error().message;
    return *std::move(decoder);
  }

  DecoderConfig config_;
  std::unique_ptr<SafetensorsCheckpoint> checkpoint_;
  std::vector<int32_t> tokens_, greedy_;
  std::vector<float> logits_;
};

TEST_P(FamiliesTest, GivesTheLogitsOfTransformers) {
  const Decoder decoder = Load({.cache_type = tensor::DType::kF32});
  for (const int64_t rows_max : {100, 7}) {
    Session session(decoder);
    const std::vector<float> got = session.Run(tokens_, rows_max);
    ASSERT_EQ(got.size(), logits_.size());
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - logits_[i]));
    }
    EXPECT_LT(worst, 2e-4);
  }
}

TEST_P(FamiliesTest, DecodesGreedilyAsTransformers) {
  const auto length_max = static_cast<int64_t>(8 + greedy_.size());
  const Decoder decoder = Load({.cache_type = tensor::DType::kF32, .length_max = length_max});
  Session session(decoder);
  std::vector<int32_t> said(tokens_.begin(), tokens_.begin() + 8);
  for (const int32_t want : greedy_) {
    const std::vector<float> logits = session.Run(said, 100);
    const auto last = logits.end() - config_.vocabulary;
    said.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
    ASSERT_EQ(said.back(), want) << "at " << said.size() - 1;
  }
}

TEST_P(FamiliesTest, StaysNearWithNarrowCaches) {
  for (const tensor::DType type : {tensor::DType::kF16, tensor::DType::kBF16}) {
    const Decoder decoder = Load({.cache_type = type});
    Session session(decoder);
    const std::vector<float> got = session.Run(tokens_, 100);
    double dot = 0, own = 0, want = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      dot += static_cast<double>(got[i]) * logits_[i];
      own += static_cast<double>(got[i]) * got[i];
      want += static_cast<double>(logits_[i]) * logits_[i];
    }
    EXPECT_GT(dot / std::sqrt(own * want), 0.9995) << DTypeName(type);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FamiliesTest,
                         testing::Values("llama", "llama3", "mistral", "qwen2", "qwen3",
                                         "qwen3_moe", "gemma2", "gemma3", "phi3", "llama_biases",
                                         "llama_yarn", "llama_dynamic", "mistral_wide",
                                         "qwen2_window", "gemma3_scaled", "phi3_long"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace sluice::lm
