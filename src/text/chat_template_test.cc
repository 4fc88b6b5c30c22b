#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/files.h"

namespace sluice::text {
namespace {

using base::Code;
using base::JsonDocument;
using base::JsonValue;
using ::testing::HasSubstr;

constexpr const char* kFolder = "tests/conformance/chat_templates/";

base::Result<std::string> RenderCase(const ChatTemplate& chat, const JsonValue& json) {
  ChatInput input{.messages = TRY(json.Get("messages")),
                  .tools = TRY(json.Find("tools")),
                  .documents = TRY(json.Find("documents")),
                  .variables = TRY(json.Find("variables"))};
  const JsonValue prompt = TRY(json.Get("add_generation_prompt"));
  const JsonValue now = TRY(json.Get("now"));
  input.add_generation_prompt = TRY(prompt.AsBool());
  input.now = TRY(now.AsDouble());
  return chat.Render(input);
}

base::Result<std::string> Render(std::string_view source, std::string_view json) {
  JsonDocument document;
  const JsonValue root = TRY(document.Parse(json));
  const auto chat = TRY(ChatTemplate::Parse(source));
  return chat->Render({.messages = TRY(root.Get("messages")),
                       .tools = TRY(root.Find("tools")),
                       .documents = TRY(root.Find("documents")),
                       .variables = TRY(root.Find("chat_template_kwargs"))});
}

std::string Failure(std::string_view json) {
  const auto text = Render("{{ messages }}", json);
  return text.ok() ? "no error: " + *text : text.error().message;
}

// A folder of files for one test.
class Folder {
 public:
  Folder() : path_(::testing::TempDir() + "chat_template_test") {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_ + "/additional_chat_templates");
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  void Write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ + "/" + name) << text;
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

std::string RenderOneMessage(const ChatTemplate& chat) {
  JsonDocument document;
  const JsonValue messages = document.Parse(R"([{"role": "user", "content": "hi"}])").value();
  return chat.Render({.messages = messages}).value();
}

TEST(ChatTemplate, RendersConversationsAsPythonDoes) {
  const auto source = base::ReadFile(std::string(kFolder) + "tool_chat.jinja", 1 << 20);
  const auto file = base::ReadFile(std::string(kFolder) + "expected.json", 1 << 24);
  ASSERT_TRUE(source.ok() && file.ok());
  JsonDocument document;
  const JsonValue root = document.Parse(*file).value();
  int count = 0;
  const auto compare = [&](const JsonValue& one) -> base::Status {
    const JsonValue json = TRY(one.Get("case"));
    const JsonValue tokens = TRY(json.Get("tokens"));
    const JsonValue want = TRY(one.Get("text"));
    auto special = TRY(SpecialTokens::FromConfig(tokens));
    const auto chat = TRY(ChatTemplate::Parse(*source, std::move(special)));
    const auto text = RenderCase(*chat, json);
    EXPECT_EQ(text.ok(), !want.is_null()) << count << (text.ok() ? *text : text.error().message);
    if (text.ok() && !want.is_null()) {
      const std::string_view expected = TRY(want.AsString());
      EXPECT_EQ(*text, expected) << count;
    }
    ++count;
    return base::Ok();
  };
  const JsonValue chats = root.Get("chats").value();
  ASSERT_TRUE(chats.ForEachElement(compare).ok());
  EXPECT_GT(count, 20);
}

TEST(ChatTemplate, PassesToolsDocumentsAndVariables) {
  EXPECT_EQ(*Render("{{ tools }}{{ documents }}{{ x }}{{ add_generation_prompt }}{{ eos_token }}",
                    R"({"messages": [], "tools": [{"a": 1}], "chat_template_kwargs": {"x": 2}})"),
            "[{'a': 1}]None2True");
}

TEST(ChatTemplate, GivesReasoningUnderBothOfItsNames) {
  EXPECT_EQ(*Render("{{ messages[0] }}", R"({"messages": [{"role": "a", "reasoning": "r"}]})"),
            "{'thinking': 'r', 'role': 'a', 'reasoning': 'r', 'reasoning_content': 'r'}");
}

TEST(ChatTemplate, SaysWhatIsWrongWithItsInput) {
  EXPECT_THAT(Failure(R"({"messages": {}})"), HasSubstr("expected an array of messages"));
  EXPECT_THAT(Failure(R"({"messages": ["x"]})"), HasSubstr("expected an object as message 0"));
  EXPECT_THAT(Failure(R"({"messages": [], "tools": {}})"),
              HasSubstr("expected an array as 'tools'"));
  EXPECT_THAT(Failure(R"({"messages": [], "chat_template_kwargs": {"tools": []}})"),
              HasSubstr("'tools' is a field of its own"));
  EXPECT_THAT(Failure(R"({"messages": [{"n": 18446744073709551615}]})"), HasSubstr("63 bits"));
}

// The text of "q" and of a last message that is to be continued.
std::string Continued(std::string_view source, std::string_view last) {
  JsonDocument document;
  const std::string json =
      R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": )" +
      std::string(last) + "}]";
  const auto chat = ChatTemplate::Parse(source).value();
  const auto text =
      chat->Render({.messages = document.Parse(json).value(), .continue_final_message = true});
  return text.ok() ? *text : text.error().message;
}

TEST(ChatTemplate, EndsWithTheLastMessageThatIsToBeContinued) {
  constexpr const char* kWhole =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}";
  constexpr const char* kTrimmed =
      "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}";
  EXPECT_EQ(Continued(kWhole, R"("q so ")"), "<user>q</s><assistant>q so ");
  EXPECT_EQ(Continued(kTrimmed, R"("q so  ")"), "<user>q</s><assistant>q so");
  EXPECT_THAT(Continued("{{ messages[0].content }}", R"("a")"), HasSubstr("cannot be continued"));
  EXPECT_THAT(Continued(kWhole, "null"), HasSubstr("string as its content"));
}

TEST(ChatTemplates, ReadTheTemplateAndTokensOfATokenizerConfig) {
  const Folder folder;
  folder.Write("tokenizer_config.json",
               R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null,
                   "additional_special_tokens": ["<a>"],
                   "chat_template":
                     "{{ bos_token }}{{ eos_token }}{{ additional_special_tokens }}"})");
  const auto templates = ChatTemplates::Load(folder.path());
  ASSERT_TRUE(templates.ok()) << templates.error().message;
  EXPECT_EQ(RenderOneMessage(**templates->Select(true)), "<s></s>['<a>']");
}

TEST(ChatTemplates, ChooseToolUseWhereThereAreTools) {
  JsonDocument document;
  const JsonValue config = document
                               .Parse(R"({"chat_template": [
      {"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"},
      {"name": "bad", "template": "{{"}]})")
                               .value();
  const auto templates = ChatTemplates::FromConfig(config);
  ASSERT_TRUE(templates.ok());
  EXPECT_EQ(RenderOneMessage(**templates->Select(false)), "d");
  EXPECT_EQ(RenderOneMessage(**templates->Select(true)), "t");
  EXPECT_EQ(templates->Select(false, "nope").error().message,
            "expected a chat template 'nope', the model has bad, default, tool_use");
  EXPECT_THAT(templates->Select(false, "bad").error().message, HasSubstr("template line 1"));
}

TEST(ChatTemplates, PreferFilesOfTheirOwn) {
  const Folder folder;
  folder.Write("tokenizer_config.json", R"({"chat_template": "config"})");
  folder.Write("chat_template.jinja", "file");
  folder.Write("additional_chat_templates/tool_use.jinja", "more");
  const auto templates = ChatTemplates::Load(folder.path());
  ASSERT_TRUE(templates.ok()) << templates.error().message;
  EXPECT_EQ(RenderOneMessage(**templates->Select(false)), "file");
  EXPECT_EQ(RenderOneMessage(**templates->Select(true)), "more");
}

TEST(ChatTemplates, AFolderWithoutAnyIsEmpty) {
  const Folder folder;
  const auto templates = ChatTemplates::Load(folder.path());
  ASSERT_TRUE(templates.ok()) << templates.error().message;
  EXPECT_TRUE(templates->empty());
  EXPECT_EQ(templates->Select(false).error().code, Code::kNotFound);
}

TEST(ChatTemplates, ABadDefaultFailsTheLoad) {
  const Folder folder;
  folder.Write("chat_template.jinja", "{% if %}");
  EXPECT_THAT(ChatTemplates::Load(folder.path()).error().message,
              HasSubstr("chat template 'default': template line 1"));
}

}  // namespace
}  // namespace sluice::text
