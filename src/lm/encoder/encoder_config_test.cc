#include "lm/encoder/encoder_config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::lm {
namespace {

// A config.json of a type with `more` members.
std::string Config(const std::string& type, const std::string& more = "") {
  return R"({"model_type":")" + type +
         R"(","vocab_size":96,"hidden_size":32,"num_hidden_layers":4,"num_attention_heads":4,)"
         R"("intermediate_size":48,"max_position_embeddings":130)" +
         (more.empty() ? "" : "," + more) + "}";
}

EncoderConfig Parse(const std::string& config) {
  auto parsed = ParseEncoderConfig(config);
  EXPECT_TRUE(parsed.ok()) << parsed.error().message;
  return parsed.ok() ? *parsed : EncoderConfig();
}

std::string ErrorOf(const std::string& config) {
  const auto parsed = ParseEncoderConfig(config);
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(EncoderConfig, RobertaBeginsItsPositionsBehindThePadding) {
  const EncoderConfig config = Parse(Config("xlm-roberta", R"("pad_token_id":1)"));
  EXPECT_EQ(config.first_position, 2);
  EXPECT_EQ(config.context_max, 128);
  EXPECT_EQ(Parse(Config("bert")).context_max, 130);
}

TEST(EncoderConfig, ModernBertsOlderFilesSayTheirLayersAndAnglesOtherwise) {
  const EncoderConfig older =
      Parse(Config("modernbert", R"("global_attn_every_n_layers":2,"global_rope_theta":80000,)"
                                 R"("local_rope_theta":5000,"local_attention":32)"));
  EXPECT_EQ(older.windowed, (std::vector<bool>{false, true, false, true}));
  EXPECT_EQ(older.rotary.theta, 80'000);
  EXPECT_EQ(older.window_rotary.theta, 5'000);
  EXPECT_EQ(older.window, 16);
  EXPECT_FALSE(older.norm_bias);
}

TEST(EncoderConfig, LabelsComeFromTheirNumbers) {
  const EncoderConfig config =
      Parse(Config("bert", R"("architectures":["BertForSequenceClassification"],)"
                           R"("id2label":{"1":"b","0":"a"},)"
                           R"("sentence_transformers":{"activation_fn":"torch.nn.Identity"})"));
  EXPECT_EQ(config.labels, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.score_activation, ScoreActivation::kNone);
  const EncoderConfig bare =
      Parse(Config("bert", R"("architectures":["BertForSequenceClassification"],"num_labels":1)"));
  EXPECT_EQ(bare.labels.size(), 1u);
  EXPECT_TRUE(Parse(Config("bert", R"("architectures":["BertForMaskedLM"])")).labels.empty());
}

TEST(EncoderConfig, NamesWhatIsNotBuiltOrWrong) {
  const auto expect = [](const std::string& config, const std::string& part) {
    const std::string error = ErrorOf(config);
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  expect(Config("t5"), "model_type \"t5\"");
  expect(Config("bert", R"("architectures":["BertForTokenClassification"])"),
         "\"BertForTokenClassification\"");
  expect(Config("bert", R"("position_embedding_type":"relative_key")"), "\"relative_key\"");
  expect(Config("bert", R"("hidden_act":"mish")"), "hidden_act \"mish\"");
  expect(Config("bert", R"("is_decoder":true)"), "is_decoder");
  expect(Config("roberta", R"("pad_token_id":129)"), "pad_token_id");
  expect(Config("modernbert", R"("layer_types":["full_attention"])"), "expected 4 of them, got 1");
  expect(Config("modernbert", R"("classifier_pooling":"max")"), "classifier_pooling");
  expect(Config("bert", R"("architectures":["XForSequenceClassification"],"id2label":{"2":"a"})"),
         "0");
  expect("[]", "expected an object");
}

}  // namespace
}  // namespace sluice::lm
