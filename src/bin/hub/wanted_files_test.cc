#include "bin/hub/wanted_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::bin {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(WantedFiles, ConfigurationTokenizerAndTemplatesAreTheSmallOnes) {
  EXPECT_THAT(
      ChooseSmallFiles({"README.md", "additional_chat_templates/tool_use.jinja", "config.json",
                        "onnx/config.json", "original/o.tiktoken", "original/tokenizer.model",
                        "qwen.tiktoken", "tokenizer.json", "training_args.bin"}),
      ElementsAre("additional_chat_templates/tool_use.jinja", "config.json", "qwen.tiktoken",
                  "tokenizer.json"));
}

TEST(WantedFiles, WeightsComeOnce) {
  EXPECT_THAT(*ChooseWeights({"consolidated.safetensors", "model.fp16.safetensors",
                              "model.safetensors", "pytorch_model.bin"},
                             ""),
              ElementsAre("model.safetensors"));
  EXPECT_THAT(*ChooseWeights({"consolidated.safetensors", "weights.safetensors"}, ""),
              ElementsAre("weights.safetensors"));
  EXPECT_THAT(*ChooseWeights({"unet/model.safetensors", "model.bin"}, ""), IsEmpty());
}

TEST(WantedFiles, IndexSaysWhichShards) {
  const std::string index = R"({"weight_map": {"x": "b.safetensors", "y": "a.safetensors",
                                               "z": "b.safetensors"}})";
  EXPECT_THAT(*ChooseWeights({"a.safetensors", "b.safetensors", "c.safetensors"}, index),
              ElementsAre("a.safetensors", "b.safetensors"));
  EXPECT_FALSE(ChooseWeights({"a.safetensors"}, index).ok());
  EXPECT_FALSE(ChooseWeights({"a.bin"}, R"({"weight_map": {"x": "a.bin"}})").ok());
  EXPECT_FALSE(ChooseWeights({"a.safetensors"}, "{}").ok());
}

TEST(WantedFiles, FoldersOfModulesComeWithTheirWeights) {
  const std::string modules = R"([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}])";
  EXPECT_THAT(
      *ChooseModuleFiles(
          {"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
           "2_Dense/pytorch_model.bin", "3_Other/config.json", "config.json"},
          modules),
      ElementsAre("1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"));
  EXPECT_FALSE(ChooseModuleFiles({}, R"([{"path": "../x"}])").ok());
  EXPECT_THAT(*ChooseModuleFiles({"1_Pooling/config.json"}, ""), IsEmpty());
}

TEST(WantedFiles, GgufFileComesWithItsParts) {
  EXPECT_THAT(GgufParts("a-q4.gguf"), ElementsAre("a-q4.gguf"));
  EXPECT_THAT(
      GgufParts("a-00002-of-00003.gguf"),
      ElementsAre("a-00001-of-00003.gguf", "a-00002-of-00003.gguf", "a-00003-of-00003.gguf"));
  for (const char* name : {"-00001-of-00002.gguf", "a-00001-of-00000.gguf", "a-1-of-2.gguf",
                           "a-00001-of-0000x.gguf", "x"}) {
    EXPECT_THAT(GgufParts(name), ElementsAre(name));
  }
  EXPECT_EQ(OnlyGguf({"README.md", "a-00001-of-00002.gguf", "a-00002-of-00002.gguf"}),
            "a-00001-of-00002.gguf");
  EXPECT_EQ(OnlyGguf({"a-q4.gguf", "a-q8.gguf"}), "");
  EXPECT_EQ(OnlyGguf({"README.md"}), "");
}

}  // namespace
}  // namespace sluice::bin
