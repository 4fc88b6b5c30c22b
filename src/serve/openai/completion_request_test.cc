#include "serve/openai/completion_request.h"
#include "serve/json_fields.h"

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
  for (const char* field :
       {"\"best_of\":2", "\"suffix\":\"x\"", "\"min_tokens\":1", "\"guided_regex\":\"a+\"",
        "\"reasoning_effort\":\"high\"", "\"response_format\":{\"type\":\"json_object\"}"}) {
    const std::string error = ErrorOf(std::string(R"({"model":"m","prompt":"p",)") + field + "}");
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_NE(error.find("'" + name + "' is not supported"), std::string::npos) << error;
  }
  // The same fields at values that change nothing, null, and fields that nobody knows.
  EXPECT_EQ(ErrorOf(R"({"model":"m","prompt":"p","n":1,"echo":false,"stream":null,)"
                    R"("logit_bias":{},"brand_new":{"x":[1]}})"),
            "");
}

template <class T>
T ParameterOf(const CompletionRequest& request, const std::string& name, T otherwise) {
  for (const auto& [key, value] : request.prompts[0].request->parameters) {
    if (key == name && std::holds_alternative<T>(value)) return std::get<T>(value);
  }
  return otherwise;
}

TEST(CompletionRequest, TakesSeveralPromptsAsRequestsOfTheirOwn) {
  const auto parsed = Parse(R"({"model":"m","prompt":["a",[1,2],"b"],"temperature":0.5,"n":2})");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  ASSERT_EQ(parsed->prompts.size(), 3u);
  EXPECT_EQ(parsed->n, 2);
  for (const InferRequest& prompt : parsed->prompts) {
    EXPECT_EQ(prompt.request->inputs.size(), 1u);
    EXPECT_EQ(prompt.request->parameters.size(), 2u);
  }
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":["a",1]})").find("'prompt'"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":[]})").find("'prompt'"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":"a","prompt":"b"})").find("once"), std::string::npos);
  std::string many = "\"a\"";
  for (int i = 0; i < kPromptsMax; ++i) many += ",\"a\"";
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":[)" + many + "]}").find("at most 256"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m","n":128,"prompt":[)" + many.substr(0, 39) + "]}").find("'n'"),
            std::string::npos);
}

TEST(CompletionRequest, AsksForLogprobsInBothShapesOfTheApi) {
  const auto text = Parse(R"({"model":"m","prompt":"p","logprobs":3})");
  EXPECT_EQ(text->logprobs, 3);
  EXPECT_EQ(ParameterOf<int64_t>(*text, "logprobs", -1), 3);
  EXPECT_TRUE(ParameterOf(*text, "token_texts", false));
  const auto chat = Parse(R"({"model":"m","messages":[],"logprobs":true})", CompletionKind::kChat);
  EXPECT_EQ(chat->logprobs, 0);
  const auto top = Parse(R"({"model":"m","messages":[],"logprobs":true,"top_logprobs":20})",
                         CompletionKind::kChat);
  EXPECT_EQ(top->logprobs, 20);
  EXPECT_EQ(
      Parse(R"({"model":"m","messages":[],"logprobs":false})", CompletionKind::kChat)->logprobs,
      -1);
  EXPECT_NE(ErrorOf(R"({"model":"m","messages":[],"top_logprobs":2})", CompletionKind::kChat)
                .find("'top_logprobs'"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"model":"m","prompt":"p","logprobs":21})").find("[0, 20]"),
            std::string::npos);
}

TEST(CompletionRequest, ReadsBiasesSeedsAndLengths) {
  const auto parsed = Parse(
      R"({"model":"m","prompt":"p","logit_bias":{"5":-100,"17":2.5},"seed":-1,"max_tokens":3,)"
      R"("max_completion_tokens":4,"truncate_prompt_tokens":9})");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(InputOf(*parsed, "bias_ids")->view().as<int64_t>()[1], 17);
  EXPECT_EQ(InputOf(*parsed, "bias")->view().as<float>()[0], -100);
  EXPECT_EQ(ParameterOf<int64_t>(*parsed, "seed", 0), (int64_t{1} << 53) - 1);
  EXPECT_EQ(ParameterOf<double>(*parsed, "max_tokens", 0), 4);
  EXPECT_EQ(ParameterOf<int64_t>(*parsed, "truncate_prompt", 0), 9);
  for (const char* wrong : {"{\"-1\":1}", "{\"99999999999999999999\":1}", "{\"\":1}", "{\"x\":1}",
                            "{\"5\":101}", "{\"5\":\"1\"}", "[1]"}) {
    EXPECT_NE(ErrorOf(R"({"model":"m","prompt":"p","logit_bias":)" + std::string(wrong) + "}")
                  .find("'logit_bias'"),
              std::string::npos)
        << wrong;
  }
}

TEST(CompletionRequest, MakesOneTextOfContentInParts) {
  const auto chat =
      Parse(R"({"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"a"},)"
            R"({"type":"text","text":"b\""}]},{"role":"user","content":"c"}]})",
            CompletionKind::kChat);
  ASSERT_TRUE(chat.ok()) << chat.error().message;
  EXPECT_EQ(TextOf(*chat, "messages"),
            R"([{"role":"system","content":"a\nb\""},{"role":"user","content":"c"}])");
  const std::string image = ErrorOf(
      R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image":{}}]}]})",
      CompletionKind::kChat);
  EXPECT_NE(image.find("message 0: content of type 'image_url' is not supported"),
            std::string::npos);
  for (const char* wrong :
       {"[7]", "[{\"content\":[7]}]", "[{\"content\":[{\"type\":\"text\"}]}]"}) {
    EXPECT_NE(
        ErrorOf(R"({"model":"m","messages":)" + std::string(wrong) + "}", CompletionKind::kChat)
            .find("message 0"),
        std::string::npos)
        << wrong;
  }
}

TEST(CompletionRequest, LeavesToolsOutThatMustNotBeCalled) {
  const std::string body = R"({"model":"m","messages":[],"tools":[{"type":"function"}],)";
  EXPECT_NE(InputOf(*Parse(body + R"("tool_choice":"auto"})", CompletionKind::kChat), "tools"),
            nullptr);
  EXPECT_EQ(InputOf(*Parse(body + R"("tool_choice":"none"})", CompletionKind::kChat), "tools"),
            nullptr);
  EXPECT_NE(
      ErrorOf(body + R"("tool_choice":"required"})", CompletionKind::kChat).find("tool_choice"),
      std::string::npos);
}

TEST(CompletionRequest, RemembersFieldsThatNobodyKnowsWithinBounds) {
  std::string body = R"({"model":"m","prompt":"p","user":"u","metadata":{})";
  for (int i = 0; i < 20; ++i) {
    body += ",\"" + std::string(100, 'x') + std::to_string(i) + "\":" + std::to_string(i);
  }
  const auto parsed = Parse(body + "}");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->unknown.size(), kUnknownMax);
  EXPECT_EQ(parsed->unknown[0], std::string(kUnknownBytesMax, 'x'));
}

TEST(CompletionRequest, TakesMinusOneOfTheLikeliestForAllOfThem) {
  const auto parsed = Parse(R"({"model":"m","prompt":"p","top_k":-1})");
  EXPECT_EQ(ParameterOf<double>(*parsed, "top_k", -7), -7);
  EXPECT_EQ(ParameterOf<double>(*Parse(R"({"model":"m","prompt":"p","top_k":5})"), "top_k", -7), 5);
}

TEST(CompletionRequest, AnEchoIsOfCompletionsAlone) {
  EXPECT_TRUE(Parse(R"({"model":"m","prompt":"p","echo":true})")->echo);
  EXPECT_NE(ErrorOf(R"({"model":"m","messages":[],"echo":true})", CompletionKind::kChat)
                .find("'echo' is not supported"),
            std::string::npos);
}

TEST(CompletionRequest, TakesTheShortestOfTheTimesAllowed) {
  const auto parsed = Parse(R"({"model":"m","prompt":"p","timeout":1.5,"deadline_ms":700})");
  EXPECT_EQ(parsed->prompts[0].timeout, base::Duration::Millis(700));
  EXPECT_EQ(Parse(R"({"model":"m","prompt":"p","timeout":1.5})")->prompts[0].timeout,
            base::Duration::Millis(1500));
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
