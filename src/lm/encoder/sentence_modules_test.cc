#include "lm/encoder/sentence_modules.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sluice::lm {
namespace {

class SentenceModulesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "modules-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name) << text;
  }
  // modules.json of these kinds, each in a folder of its name but the first.
  void WriteModules(const std::vector<std::string>& kinds) {
    std::string text = "[";
    for (size_t i = 0; i < kinds.size(); ++i) {
      text += std::string(i > 0 ? "," : "") + R"({"type":"sentence_transformers.models.)" +
              kinds[i] + R"(","path":")" + (i > 0 ? std::to_string(i) + "_" + kinds[i] : "") +
              "\"}";
    }
    Write("modules.json", text + "]");
  }
  SentenceModules Read() {
    auto modules = ReadSentenceModules(folder_);
    EXPECT_TRUE(modules.ok()) << modules.error().message;
    return *std::move(modules);
  }
  std::string ErrorOf() {
    const auto modules = ReadSentenceModules(folder_);
    return modules.ok() ? "" : modules.error().message;
  }

  std::string folder_;
};

TEST_F(SentenceModulesTest, AFolderWithoutModulesPoolsTheMeanAndNormalises) {
  const SentenceModules modules = Read();
  EXPECT_EQ(modules.pooling, std::vector<PoolingMode>{PoolingMode::kMean});
  EXPECT_TRUE(modules.normalize);
  EXPECT_TRUE(modules.dense.empty());
}

TEST_F(SentenceModulesTest, ReadsTheOlderFlagsOfPooling) {
  WriteModules({"Transformer", "Pooling"});
  Write("1_Pooling/config.json",
        R"({"word_embedding_dimension":8,"pooling_mode_cls_token":false,)"
        R"("pooling_mode_mean_tokens":true,"pooling_mode_max_tokens":true})");
  Write("sentence_bert_config.json", R"({"max_seq_length":256,"do_lower_case":false})");
  const SentenceModules modules = Read();
  EXPECT_EQ(modules.pooling, (std::vector<PoolingMode>{PoolingMode::kMax, PoolingMode::kMean}));
  EXPECT_FALSE(modules.normalize);
  EXPECT_EQ(modules.length_max, 256);
}

TEST_F(SentenceModulesTest, ReadsDenseLayersInTheirOrder) {
  WriteModules({"Transformer", "Pooling", "Dense", "Dense", "Normalize"});
  Write("1_Pooling/config.json", R"({"pooling_mode":"cls"})");
  Write("2_Dense/config.json", R"({"in_features":8,"out_features":4,"bias":false,)"
                               R"("activation_function":"torch.nn.modules.linear.Identity"})");
  Write("3_Dense/config.json", R"({"in_features":4,"out_features":2})");
  const SentenceModules modules = Read();
  ASSERT_EQ(modules.dense.size(), 2u);
  EXPECT_EQ(modules.dense[0].folder, "2_Dense");
  EXPECT_FALSE(modules.dense[0].bias);
  EXPECT_EQ(modules.dense[0].activation, kernels::Activation::kNone);
  EXPECT_EQ(modules.dense[1].outputs, 2);
  EXPECT_EQ(modules.dense[1].activation, kernels::Activation::kTanh);
  EXPECT_TRUE(modules.normalize);
}

TEST_F(SentenceModulesTest, ReadsPromptsAndACrossEncodersActivation) {
  Write("config_sentence_transformers.json",
        R"({"prompts":{"query":"q: ","document":""},"default_prompt_name":"query",)"
        R"("activation_fn":"torch.nn.modules.activation.Sigmoid"})");
  const SentenceModules modules = Read();
  ASSERT_EQ(modules.prompts.size(), 2u);
  EXPECT_EQ(modules.prompts[0].second, "q: ");
  EXPECT_EQ(modules.prompt_default, "query");
  EXPECT_EQ(modules.score_activation, ScoreActivation::kSigmoid);
}

TEST_F(SentenceModulesTest, NamesWhatIsNotBuilt) {
  WriteModules({"Transformer", "LSTM"});
  EXPECT_NE(ErrorOf().find("a module LSTM"), std::string::npos) << ErrorOf();
  WriteModules({"Transformer", "Pooling"});
  EXPECT_NE(ErrorOf().find("1_Pooling/config.json: expected"), std::string::npos) << ErrorOf();
  Write("1_Pooling/config.json", R"({"pooling_mode":"median"})");
  EXPECT_NE(ErrorOf().find("pooling_mode \"median\""), std::string::npos) << ErrorOf();
  Write("1_Pooling/config.json", R"({"pooling_mode":)");
  EXPECT_NE(ErrorOf().find("1_Pooling/config.json"), std::string::npos) << ErrorOf();
}

TEST_F(SentenceModulesTest, AModulesFolderMayNotLeaveTheModels) {
  Write("modules.json", R"([{"type":"a.Pooling","path":"../../etc"}])");
  EXPECT_NE(ErrorOf().find("a folder of the model's own"), std::string::npos) << ErrorOf();
  Write("modules.json", R"([{"type":"a.Pooling","path":".."}])");
  EXPECT_NE(ErrorOf().find("a folder of the model's own"), std::string::npos) << ErrorOf();
}

TEST_F(SentenceModulesTest, ADefaultPromptMustBeThere) {
  Write("config_sentence_transformers.json", R"({"default_prompt_name":"query"})");
  EXPECT_NE(ErrorOf().find("there is no prompt \"query\""), std::string::npos) << ErrorOf();
}

}  // namespace
}  // namespace sluice::lm
