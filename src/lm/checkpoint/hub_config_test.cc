#include "lm/checkpoint/hub_config.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::lm {
namespace {

// A whole config.json of a llama with `more` members; a later member of a name is refused as a
// second one, so `without` takes one out.
std::string Config(const std::string& more, const std::string& without = "") {
  const std::pair<const char*, const char*> members[] = {
      {"model_type", "\"llama\""},       {"vocab_size", "96"},         {"hidden_size", "32"},
      {"num_hidden_layers", "2"},        {"num_attention_heads", "4"}, {"intermediate_size", "48"},
      {"max_position_embeddings", "128"}};
  std::string json = "{";
  for (const auto& [key, value] : members) {
    if (without == key) continue;
    json += std::string(json.size() > 1 ? "," : "") + "\"" + key + "\":" + value;
  }
  return json + (more.empty() ? "" : "," + more) + "}";
}

std::string ErrorOf(const std::string& config, const std::string& generation = "") {
  const auto hub = ParseHubConfig(config, generation);
  return hub.ok() ? "" : hub.error().message;
}

TEST(HubConfig, FillsInWhatAFileLeavesOut) {
  const auto hub = ParseHubConfig(Config(""), "");
  ASSERT_TRUE(hub.ok()) << hub.error().message;
  EXPECT_EQ(hub->decoder.key_heads, 4);
  EXPECT_EQ(hub->decoder.head_dim, 8);
  EXPECT_EQ(hub->decoder.rotary.theta, 10000);
  EXPECT_EQ(hub->decoder.rotary.turned, 8);
  EXPECT_FALSE(hub->decoder.tied_head);
  EXPECT_TRUE(hub->end_ids.empty());
}

TEST(HubConfig, TakesSamplingFromTheGenerationConfig) {
  const auto hub = ParseHubConfig(
      Config(""), R"({"temperature":0.6,"top_p":0.9,"top_k":20,"repetition_penalty":1.05})");
  ASSERT_TRUE(hub.ok()) << hub.error().message;
  EXPECT_FLOAT_EQ(hub->sampling.temperature, 0.6f);
  EXPECT_FLOAT_EQ(hub->sampling.top_p, 0.9f);
  EXPECT_EQ(hub->sampling.top_k, 20);
  EXPECT_FLOAT_EQ(hub->sampling.repetition_penalty, 1.05f);
  EXPECT_NE(ErrorOf(Config(""), R"({"top_p":1.5})").find("generation_config.json: top_p"),
            std::string::npos);
}

TEST(HubConfig, ReadsRotaryEmbeddingsOfOldAndNewFiles) {
  const std::string scaling =
      "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
      "\"original_max_position_embeddings\":32";
  const auto older =
      ParseHubConfig(Config("\"rope_theta\":500,\"rope_scaling\":" + scaling + "}"), "");
  const auto newer =
      ParseHubConfig(Config("\"rope_parameters\":" + scaling + ",\"rope_theta\":500}"), "");
  ASSERT_TRUE(older.ok() && newer.ok());
  for (const RotaryConfig& rotary : {older->decoder.rotary, newer->decoder.rotary}) {
    EXPECT_EQ(rotary.theta, 500);
    EXPECT_EQ(rotary.scaling.kind, RotaryScaling::Kind::kLlama3);
    EXPECT_EQ(rotary.scaling.factor, 8);
    EXPECT_EQ(rotary.scaling.context, 32);
  }
}

TEST(HubConfig, TakesEndsOfTextFromTheGenerationFileFirst) {
  const std::string config = Config("\"eos_token_id\":2");
  EXPECT_EQ(ParseHubConfig(config, "{}")->end_ids, (std::vector<int32_t>{2}));
  EXPECT_EQ(ParseHubConfig(config, "{\"eos_token_id\":[5,7]}")->end_ids,
            (std::vector<int32_t>{5, 7}));
}

TEST(HubConfig, KnowsWhichLayersHaveAWindow) {
  const std::string sliding = "\"sliding_window\":20";
  const auto mistral =
      ParseHubConfig(Config("\"model_type\":\"mistral\"," + sliding, "model_type"), "");
  EXPECT_EQ(mistral->decoder.windowed, (std::vector<bool>{true, true}));
  const auto gemma =
      ParseHubConfig(Config("\"model_type\":\"gemma2\"," + sliding, "model_type"), "");
  EXPECT_EQ(gemma->decoder.windowed, (std::vector<bool>{true, false}));
  const auto qwen = ParseHubConfig(Config("\"model_type\":\"qwen2\"," + sliding, "model_type"), "");
  EXPECT_TRUE(qwen->decoder.windowed.empty());
}

TEST(HubConfig, NamesWhatIsWrongOrNotBuilt) {
  EXPECT_NE(ErrorOf("[]").find("expected an object"), std::string::npos);
  EXPECT_NE(ErrorOf("{").find(""), std::string::npos);
  EXPECT_NE(ErrorOf(Config("\"model_type\":\"bert\"", "model_type")).find("\"bert\""),
            std::string::npos);
  EXPECT_NE(ErrorOf(Config("", "hidden_size")).find("expected hidden_size"), std::string::npos);
  EXPECT_NE(ErrorOf(Config("\"vocab_size\":-3", "vocab_size")).find("vocab_size"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Config("\"num_key_value_heads\":3")).find("num_key_value_heads 3"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Config("\"head_dim\":12")).find("heads of 12"), std::string::npos);
  EXPECT_NE(ErrorOf(Config("\"hidden_act\":\"relu2\"")).find("relu2"), std::string::npos);
  EXPECT_NE(ErrorOf(Config("\"rope_scaling\":{\"type\":\"warp\"}")).find("\"warp\""),
            std::string::npos);
  EXPECT_NE(ErrorOf(Config("\"eos_token_id\":96")).find("96 is no token of 96"), std::string::npos);
  EXPECT_NE(ErrorOf(Config(""), "[]").find("generation_config.json"), std::string::npos);
}

}  // namespace
}  // namespace sluice::lm
