// The tokenizer's speed, and that of chat templates. Without arguments: Google Benchmark over texts
// of the tests' own vocabulary and the tests' own template, or the one that CHAT_TEMPLATE names.
// With `--serve TOKENIZER.json` it answers bench/compare/tokenizer: each line of standard input
// names a file of texts, one a line, and a token limit; the answer is the seconds and the tokens
// that encoding all of them took.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace {

using sluice::base::SystemClock;
using sluice::base::Time;
using sluice::text::Tokenizer;

constexpr const char* kOwnVocabulary = "tests/conformance/tokenizer/small.json";
constexpr std::string_view kEnglish =
    "You may reproduce and distribute copies of the Work or Derivative Works thereof in any "
    "medium, with or without "
    "modifications, and in Source or Object form, provided that You meet the following "
    "conditions. ";
constexpr std::string_view kMixed =
    "na\u00efve caf\u00e9, \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 "
    "\u041f\u0440\u0438\u0432\u0435\u0442 "
    "\u0395\u03bb\u03bb\u03ac\u03b4\u03b1 stra\u00dfe \u0939\u093f\u0928\u094d\u0926\u0940 ";

std::string Repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

void EncodeText(benchmark::State& state, std::string_view unit) {
  const auto tokenizer = Tokenizer::Load(kOwnVocabulary);
  if (!tokenizer.ok()) {
    state.SkipWithError("run from the repository root");
    return;
  }
  const std::string text = Repeat(unit, static_cast<int>(state.range(0)));
  int64_t tokens = 0;
  for (auto _ : state) {
    const auto encoding = (*tokenizer)->Encode(text);
    benchmark::DoNotOptimize(encoding);
    tokens += static_cast<int64_t>(encoding->ids.size());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(EncodeText, english, kEnglish)->Arg(1)->Arg(20);
BENCHMARK_CAPTURE(EncodeText, mixed, kMixed)->Arg(1)->Arg(20);

constexpr const char* kOwnTemplate = "tests/conformance/chat_templates/tool_chat.jinja";

sluice::base::Result<std::string> ReadTemplate() {
  const char* named = std::getenv("CHAT_TEMPLATE");
  return sluice::base::ReadFile(named != nullptr ? named : kOwnTemplate, 1 << 20);
}

// A system message and turns of user and assistant, `count` in all.
std::string Conversation(int64_t count) {
  std::string json = R"([{"role": "system", "content": "You are helpful."})";
  for (int64_t i = 1; i < count; ++i) {
    json += R"(, {"role": ")";
    json += i % 2 == 1 ? "user" : "assistant";
    json += R"(", "content": "What is the weather in Z\u00fcrich, and will it rain tomorrow?"})";
  }
  return json + "]";
}

void RenderChat(benchmark::State& state) {
  using sluice::text::ChatTemplate;
  const auto source = ReadTemplate();
  const auto chat = source.ok()
                        ? ChatTemplate::Parse(*source)
                        : sluice::base::Result<std::shared_ptr<const ChatTemplate>>(source.error());
  if (!chat.ok()) {
    state.SkipWithError(chat.error().message.c_str());
    return;
  }
  sluice::base::JsonDocument document;
  const auto messages = document.Parse(Conversation(state.range(0)));
  for (auto _ : state) {
    const auto text = (*chat)->Render({.messages = *messages});
    if (!text.ok()) {
      state.SkipWithError(text.error().message.c_str());
      return;
    }
    benchmark::DoNotOptimize(text);
  }
}
BENCHMARK(RenderChat)->Arg(2)->Arg(10)->Arg(100);

void ParseTemplate(benchmark::State& state) {
  const auto source = ReadTemplate();
  if (!source.ok()) {
    state.SkipWithError("run from the repository root");
    return;
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(sluice::text::ChatTemplate::Parse(*source));
  }
}
BENCHMARK(ParseTemplate);

std::vector<std::string> ReadLines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(std::move(line));
  return lines;
}

int Serve(const char* path) {
  const auto tokenizer = Tokenizer::Load(path);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.error().message << "\n";
    return 1;
  }
  std::string file;
  int64_t length_max = 0;
  while (std::cin >> file >> length_max) {
    const std::vector<std::string> texts = ReadLines(file);
    int64_t tokens = 0;
    const Time start = SystemClock::Get().Now();
    for (const std::string& text : texts) {
      tokens += static_cast<int64_t>(
          (*tokenizer)->Encode(text, {.length_max = length_max}).value().ids.size());
    }
    const double seconds = (SystemClock::Get().Now() - start).seconds();
    std::cout << seconds << " " << tokens << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--serve") return Serve(argv[2]);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
