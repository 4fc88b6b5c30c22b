#include "serve/openai/completion_request.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::serve {
namespace {

base::Result<CompletionRequest> Parse(const std::string& body,
                                      CompletionKind kind = CompletionKind::kText) {
  return ParseCompletion(body, kind, RequestLimits{});
}

std::string ErrorOf(const std::string& body, CompletionKind kind = CompletionKind::kText) {
  const auto parsed = Parse(body, kind);
  return parsed.ok() ? "" : parsed.error().message;
}

const tensor::Tensor* InputOf(const CompletionRequest& request, const std::string& name) {
  for (const tensor::NamedTensor& input : request.prompts[0].request->inputs) {
    if (input.name == name) return &input.tensor;
  }
  return nullptr;
}

std::string TextOf(const CompletionRequest& request, const std::string& name) {
  const tensor::Tensor* const input = InputOf(request, name);
  return input == nullptr ? "" : std::string(input->view().as<std::string_view>()[0]);
}

TEST(CompletionRequest, TakesAPromptAsTextOrTokenIds) {
  const auto text = Parse(R"({"model":"m","prompt":"some \"text\""})");
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->model, "m");
  EXPECT_EQ(TextOf(*text, "text"), "some \"text\"");
  EXPECT_EQ(TextOf(*Parse(R"({"model":"m","prompt":["alone"]})"), "text"), "alone");
  for (const char* prompt : {"[5,6,7]", "[[5,6,7]]"}) {
    const auto ids = Parse(std::string(R"({"model":"m","prompt":)") + prompt + "}");
    ASSERT_TRUE(ids.ok()) << ids.error().message;
    const auto view = InputOf(*ids, "input_ids")->view();
    ASSERT_EQ(view.shape, tensor::Shape({3}));
    EXPECT_EQ(view.as<int64_t>()[2], 7);
  }
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":7})").find("a string or an array"), std::string::npos);
}

TEST(CompletionRequest, HandsMessagesAndToolsOnAsJson) {
  const auto chat =
      Parse(R"({"model":"m","messages":[{"role":"user","content":"é\n","n":[1,-2,2.5,null,true]}],)"
            R"("tools":[]})",
            CompletionKind::kChat);
  ASSERT_TRUE(chat.ok()) << chat.error().message;
  EXPECT_EQ(TextOf(*chat, "messages"),
            "[{\"role\":\"user\",\"content\":\"é\\n\",\"n\":[1,-2,2.5,null,true]}]");
  EXPECT_EQ(TextOf(*chat, "tools"), "[]");
}

TEST(CompletionRequest, TakesStopsAndDeadlines) {
  const auto parsed = Parse(R"({"model":"m","prompt":"p","stop":["a","bc"],"deadline_ms":2.5})");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(InputOf(*parsed, "stop")->shape, tensor::Shape({2}));
  EXPECT_EQ(parsed->prompts[0].timeout.ns, 2'500'000);
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":"p","deadline_ms":0})").find("deadline_ms"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":"p","stop":7})").find("stop"), std::string::npos);
}

TEST(CompletionRequest, RefusesByNameWhatWouldChangeTheAnswer) {
  for (const char* field : {"\"n\":2", "\"echo\":true", "\"logprobs\":1",
                            "\"logit_bias\":{\"5\":1}", "\"suffix\":\"x\""}) {
    const std::string error = ErrorOf(std::string(R"({"model":"m","prompt":"p",)") + field + "}");
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_NE(error.find("'" + name + "' is not supported"), std::string::npos) << error;
  }
  // The same fields at values that change nothing, null, and fields that nobody knows.
  EXPECT_EQ(ErrorOf(R"({"model":"m","prompt":"p","n":1,"echo":false,"stream":null,)"
                    R"("logit_bias":{},"brand_new":{"x":[1]}})"),
            "");
}

TEST(CompletionRequest, SaysWhatIsMissingOrOfTheWrongKind) {
  EXPECT_NE(ErrorOf("[]").find("a JSON object"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"prompt":"p"})").find("'model'"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m"})").find("'prompt'"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m"})", CompletionKind::kChat).find("'messages'"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m","messages":{}})", CompletionKind::kChat).find("an array"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":"p","temperature":"hot"})").find("'temperature'"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::serve
