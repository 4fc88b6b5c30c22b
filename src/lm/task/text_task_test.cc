#include "lm/task/text_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sluice::lm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// "ab" is a token, other letters are one each; <s> stands in front of a text.
constexpr const char* kTokenizer = R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,
  "use_regex":false},"decoder":{"type":"ByteLevel"},
  "added_tokens":[{"id":4,"content":"<s>","special":true}],
  "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
    {"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},
    {"Sequence":{"id":"B","type_id":1}}],
    "special_tokens":{"<s>":{"id":"<s>","ids":[4],"tokens":["<s>"]}}},
  "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"c":3},"merges":["a b"]}})";

class TextTask : public ::testing::Test {
 protected:
  TextTask() {
    std::string path = (std::filesystem::temp_directory_path() / "sluice-text-XXXXXX").string();
    folder_ = mkdtemp(path.data());
    std::ofstream(folder_ + "/tokenizer.json") << kTokenizer;
    text_ = ModelText::Load(folder_, 5).value();
    model_ = {text_.get(), "m", 5, 64};
  }
  ~TextTask() override { std::filesystem::remove_all(folder_); }

  base::Result<std::optional<engine::Reply>> Ask(const char* task, tensor::NamedTensor input,
                                                 engine::Parameters parameters = {}) {
    engine::Request request;
    request.inputs.push_back(std::move(input));
    request.parameters = std::move(parameters);
    if (*task != '\0') request.parameters.emplace_back("task", std::string(task));
    return AnswerTextTask(request, model_);
  }
  static tensor::NamedTensor Text(const std::string& text) {
    return {"text", tensor::Tensor::FromStrings(tensor::Shape({1}), {text})};
  }
  static tensor::NamedTensor Ids(const std::vector<int32_t>& ids) {
    tensor::Tensor tensor =
        tensor::Tensor::Allocate(tensor::DType::kI32,
                                 tensor::Shape({static_cast<int64_t>(ids.size())}), 1 << 10)
            .value();
    std::copy(ids.begin(), ids.end(), tensor.mutable_view().as<int32_t>());
    return {"input_ids", std::move(tensor)};
  }
  template <class T>
  static std::vector<T> Values(const engine::Reply& reply, const std::string& name) {
    for (const tensor::NamedTensor& output : reply.outputs) {
      if (output.name != name) continue;
      const auto values = output.tensor.view().span<T>();
      return {values.begin(), values.end()};
    }
    return {};
  }
  static std::string ErrorOf(const base::Result<std::optional<engine::Reply>>& answer) {
    return answer.ok() ? "" : answer.error().message;
  }

  std::string folder_;
  std::shared_ptr<const ModelText> text_;
  TextTaskModel model_;
};

TEST_F(TextTask, TellsTokensAndWhereTheyStand) {
  const auto answer = Ask("tokenize", Text("abc"), {{"token_texts", true}});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  const engine::Reply& reply = **answer;
  EXPECT_THAT(Values<int32_t>(reply, "output_ids"), ElementsAre(4, 2, 3));
  EXPECT_THAT(Values<std::string_view>(reply, "token_texts"), ElementsAre("<s>", "ab", "c"));
  EXPECT_THAT(Values<bool>(reply, "special_tokens"), ElementsAre(true, false, false));
  EXPECT_THAT(Values<int32_t>(reply, "offsets"), ElementsAre(0, 0, 0, 2, 2, 3));
  const auto bare = Ask("tokenize", Text("abc"), {{"add_special_tokens", false}});
  EXPECT_THAT(Values<int32_t>(**bare, "output_ids"), ElementsAre(2, 3));
  EXPECT_EQ((*bare)->outputs.size(), 1U);
}

TEST_F(TextTask, TellsTheTextOfTokens) {
  const auto answer = Ask("detokenize", Ids({4, 2, 3}));
  EXPECT_THAT(Values<std::string_view>(**answer, "text"), ElementsAre("<s>abc"));
  const auto plain = Ask("detokenize", Ids({4, 2, 3}), {{"skip_special_tokens", true}});
  EXPECT_THAT(Values<std::string_view>(**plain, "text"), ElementsAre("abc"));
}

TEST_F(TextTask, LeavesOtherTasksAlone) {
  EXPECT_FALSE(Ask("", Text("abc"))->has_value());
  EXPECT_FALSE(Ask("generate", Text("abc"))->has_value());
}

TEST_F(TextTask, RefusesWhatItCannotAnswer) {
  EXPECT_THAT(ErrorOf(Ask("tokenize", Ids({1}))), HasSubstr("one of the inputs text and messages"));
  EXPECT_THAT(ErrorOf(Ask("detokenize", Text("a"))), HasSubstr("expected the input input_ids"));
  EXPECT_THAT(ErrorOf(Ask("detokenize", Ids({5}))), HasSubstr("input_ids"));
  model_.text = nullptr;
  EXPECT_THAT(ErrorOf(Ask("tokenize", Text("a"))), HasSubstr("it has no tokenizer.json"));
}

}  // namespace
}  // namespace sluice::lm
