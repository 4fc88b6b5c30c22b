#include "text/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/files.h"
#include "base/json.h"
#include "text/jinja/json_value.h"

namespace sluice::text::jinja {
namespace {

using base::Code;
using base::JsonDocument;
using base::JsonValue;
using ::testing::HasSubstr;

// What Python's jinja2 makes of small templates: chat_template_test.py --write-expected.
constexpr const char* kExpected = "tests/conformance/chat_templates/expected.json";

base::Result<std::string> RenderWith(std::string_view source, const Limits& limits = {},
                                     std::string_view context = "{}") {
  const auto parsed = TRY(Template::Parse(source));
  JsonDocument document;
  const JsonValue json = TRY(document.Parse(context));
  Workspace work(limits);
  Value values;
  if (!FromJson(work, json, values)) return work.error();
  return parsed->Render(work, *values.dict, 0);
}

std::string Rendered(std::string_view source, std::string_view context = "{}") {
  const auto text = RenderWith(source, {}, context);
  return text.ok() ? *text : "error: " + text.error().message;
}

std::string Message(std::string_view source) {
  const auto text = RenderWith(source);
  return text.ok() ? "no error: " + *text : text.error().message;
}

Code FailureWithin(std::string_view source, const Limits& limits) {
  const auto text = RenderWith(source, limits);
  EXPECT_FALSE(text.ok()) << source;
  return text.ok() ? Code::kInternal : text.error().code;
}

TEST(Template, RendersSmallTemplatesAsPythonDoes) {
  const auto file = base::ReadFile(kExpected, 1 << 24);
  ASSERT_TRUE(file.ok()) << file.error().message;
  JsonDocument document;
  const JsonValue root = document.Parse(*file).value();
  const JsonValue context = root.Get("context").value();
  int count = 0;
  const auto compare = [&](const JsonValue& one) -> base::Status {
    const JsonValue template_value = TRY(one.Get("template"));
    const std::string_view source = TRY(template_value.AsString());
    const JsonValue want = TRY(one.Get("text"));
    Workspace work({});
    Value values;
    EXPECT_TRUE(FromJson(work, context, values));
    const auto parsed = Template::Parse(source);
    const auto text = parsed.ok() ? (*parsed)->Render(work, *values.dict, 0)
                                  : base::Result<std::string>(parsed.error());
    if (want.is_null()) {
      EXPECT_FALSE(text.ok()) << source << "\n" << *text;
    } else {
      EXPECT_TRUE(text.ok()) << source << "\n" << text.error().message;
      const std::string_view expected = TRY(want.AsString());
      EXPECT_EQ(text.ok() ? *text : text.error().message, expected) << source;
    }
    ++count;
    return base::Ok();
  };
  const JsonValue snippets = root.Get("snippets").value();
  ASSERT_TRUE(snippets.ForEachElement(compare).ok());
  EXPECT_GT(count, 90);
}

TEST(Template, ErrorsNameTheLineAndWhatWasExpected) {
  EXPECT_EQ(Message("a\n{% if x %}\nb"),
            "template line 3: expected 'elif' or 'else' or 'endif', got the end of the template");
  EXPECT_EQ(Message("a\n\n{{ 1 + }}"), "template line 3: expected an expression, got '}}'");
  EXPECT_EQ(Message("{{ x.y }}"), "template line 1: 'x' is undefined");
  EXPECT_EQ(Message("\n{{ 'a' + 1 }}"),
            "template line 2: expected values that go with '+', got a string and an integer");
  EXPECT_EQ(Message("{{ 1|nope }}"),
            "template line 1: expected a filter that Jinja has, got 'nope'");
  EXPECT_EQ(Message("{% for a, b in [[1]] %}{% endfor %}"),
            "template line 1: expected 2 values to unpack, got 1");
  EXPECT_EQ(Message("{{ raise_exception('roles must alternate') }}"),
            "template line 1: roles must alternate");
  EXPECT_EQ(Message("{% set a = 1 %}\n{% endset %}"),
            "template line 2: expected a tag that Jinja knows, got 'endset'");
}

TEST(Template, RefusesWhatItDoesNotHaveByName) {
  for (const char* source :
       {"{% include 'x' %}", "{% extends 'x' %}", "{% block x %}{% endblock %}",
        "{% import 'x' as y %}", "{% autoescape true %}{% endautoescape %}", "{{ 1|pprint }}",
        "{% for i in x recursive %}{% endfor %}", "{{ 99999999999999999999 }}"}) {
    const auto text = RenderWith(source);
    ASSERT_FALSE(text.ok()) << source;
    EXPECT_EQ(text.error().code, Code::kUnimplemented) << source;
  }
}

TEST(Template, KeepsTheSandbox) {
  EXPECT_EQ(Rendered("{{ l.append is defined }}{{ ''.__class__ is defined }}{{ l.append }}",
                     R"({"l": [1]})"),
            "FalseFalse");
  EXPECT_THAT(Message("{{ [].append(1) }}"),
              HasSubstr("access to the attribute 'append' is unsafe"));
  EXPECT_THAT(Message("{{ ''.__class__.__mro__ }}"), HasSubstr("is unsafe"));
  EXPECT_THAT(Message("{{ '{0.__class__.__mro__}'.format(1) }}"), HasSubstr("is unsafe"));
  EXPECT_THAT(Message("{% set ns = namespace(_a=1) %}"), HasSubstr("underscore"));
}

TEST(Template, EndsWithinItsSteps) {
  Limits limits;
  limits.steps_max = 10000;
  EXPECT_EQ(FailureWithin("{% for i in range(99999) %}{% endfor %}", limits),
            Code::kResourceExhausted);
  EXPECT_EQ(
      FailureWithin("{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
                    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == [1] or ns.x|string }}",
                    limits),
      Code::kResourceExhausted);
}

TEST(Template, EndsWithinItsMemory) {
  Limits limits;
  limits.bytes_max = 1 << 20;
  for (const char* source :
       {"{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}",
        "{{ 'a' * 999999999999 }}", "{{ [1] * 999999999999 }}", "{{ 'a'.center(99999999) }}",
        "{{ 'a'|indent(99999999, true) }}", "{{ ('a' * 5000)|replace('', 'b' * 5000) }}",
        "{{ ('a ' * 5000).split() * 100 }}", "{{ '%999999d' % 1 ~ '%999999d' % 1 }}"}) {
    EXPECT_EQ(FailureWithin(source, limits), Code::kResourceExhausted) << source;
  }
}

TEST(Template, EndsWithinItsOutput) {
  Limits limits;
  limits.output_bytes_max = 1000;
  EXPECT_EQ(FailureWithin("{% for i in range(999) %}ab{% endfor %}", limits),
            Code::kResourceExhausted);
  EXPECT_EQ(FailureWithin("{{ range(999)|list }}", limits), Code::kResourceExhausted);
  EXPECT_EQ(FailureWithin("{{ range(999)|list|tojson }}", limits), Code::kResourceExhausted);
}

TEST(Template, EndsWithinItsDepth) {
  EXPECT_EQ(FailureWithin("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", {}),
            Code::kResourceExhausted);
  const std::string deep =
      "{% set ns = namespace(x=[]) %}{% for i in range(5000) %}"
      "{% set ns.x = [ns.x] %}{% endfor %}";
  for (const char* use : {"{{ ns.x }}", "{{ ns.x|tojson }}", "{{ ns.x == [ns.x] }}"}) {
    EXPECT_EQ(FailureWithin(deep + use, {}), Code::kResourceExhausted) << use;
  }
  EXPECT_EQ(FailureWithin("{% set ns = namespace(x=[1]) %}{% for i in range(5000) %}"
                          "{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}",
                          {}),
            Code::kResourceExhausted);
  const auto repeat = [](std::string_view text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  for (const std::string& source :
       {"{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}",
        "{{ 1" + repeat(" + 1", 5000) + " }}", "{{ x" + repeat("|list", 5000) + " }}",
        "{{ " + repeat("not ", 5000) + "1 }}", "{{ " + repeat("-", 5000) + "1 }}",
        repeat("{% if 1 %}", 5000), "{{ " + repeat("[", 5000) + repeat("]", 5000) + " }}"}) {
    EXPECT_EQ(FailureWithin(source, {}), Code::kResourceExhausted) << source.substr(0, 30);
  }
}

TEST(Template, GathersTextPieceByPieceInLinearMemory) {
  Limits limits;
  limits.bytes_max = 8 << 20;
  const auto text = RenderWith(
      "{% set ns = namespace(x='') %}{% for i in range(50000) %}{% set ns.x = ns.x + 'abcdefgh' %}"
      "{% endfor %}{{ ns.x|length }}",
      limits);
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(*text, "400000");
}

TEST(Template, LargeDictsAreSearchedByHash) {
  std::string context = "{\"d\": {";
  for (int i = 0; i < 20000; ++i) {
    context += (i > 0 ? ", \"k" : "\"k") + std::to_string(i) + "\": " + std::to_string(i);
  }
  context += "}}";
  Limits limits;
  limits.steps_max = 400000;
  const auto text = RenderWith(
      "{% set ns = namespace(n=0) %}{% for k in d %}{% if d[k] == d.get(k) %}"
      "{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.n }}",
      limits, context);
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(*text, "20000");
}

TEST(Template, TellsTheTimeOfTheCaller) {
  const auto parsed = Template::Parse("{{ strftime_now('%Y-%m %f %% ') }}|{{ strftime_now('') }}");
  ASSERT_TRUE(parsed.ok());
  Workspace work({});
  Value context;
  ASSERT_TRUE(work.NewDict(0, context));
  EXPECT_EQ((*parsed)->Render(work, *context.dict, 1'763'726'400.25).value(), "2025-11 250000 % |");
}

TEST(Template, OneTemplateRendersManyTimes) {
  const auto parsed = Template::Parse("{% set n = n + 1 %}{{ n }}");
  ASSERT_TRUE(parsed.ok());
  for (int i = 0; i < 3; ++i) {
    Workspace work({});
    Value context;
    ASSERT_TRUE(work.NewDict(1, context));
    ASSERT_TRUE(context.dict->Set(work, Value::String("n"), Value::Int(i)));
    EXPECT_EQ((*parsed)->Render(work, *context.dict, 0).value(), std::to_string(i + 1));
  }
}

}  // namespace
}  // namespace sluice::text::jinja
