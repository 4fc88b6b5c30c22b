// For tests: a small model of random weights through a real loop on a virtual clock.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/test_loop.h"
#include "lm/checkpoint/test_checkpoint.h"
#include "lm/lm_engine.h"
#include "lm/task/scored_tokens.h"

namespace sluice::lm {

using Ids = std::vector<int32_t>;

class Sink : public engine::ReplySink {
 public:
  void Post(engine::Reply reply) override {
    ASSERT_FALSE(answered);
    answered = reply.terminal;
    ++replies;
    Append(reply, kOutputIds, ids);
    Append(reply, kLogprobs, logprobs);
    Append(reply, kTopIds, top_ids);
    Append(reply, kTopLogprobs, top_logprobs);
    if (!answered) Append(reply, kOutputIds, choices[Find(reply, "choice")]);
    last = std::move(reply);
  }
  // Elements of an output of the last reply.
  template <class T>
  std::vector<T> Values(const char* name) const {
    std::vector<T> values;
    Append(last, name, values);
    return values;
  }
  std::vector<std::string> Texts(const char* name) const {
    std::vector<std::string> texts;
    for (const std::string_view text : Values<std::string_view>(name)) texts.emplace_back(text);
    return texts;
  }
  // The tokens of each of several answers.
  std::vector<Ids> Answers() const {
    std::map<int64_t, Ids> answers = choices;
    const auto rest = Values<int32_t>(kOutputIds);
    auto at = rest.begin();
    int64_t index = 0;
    for (const int32_t length : Values<int32_t>(kOutputLengths)) {
      Ids& answer = answers[index++];
      answer.insert(answer.end(), at, at + length);
      at += length;
    }
    std::vector<Ids> list;
    for (auto& [choice, answer] : answers) list.push_back(answer);
    return list;
  }
  int64_t Number(const std::string& name) const { return Find(last, name); }
  std::string finish_reason() const {
    for (const auto& [key, value] : last.parameters) {
      if (key == "finish_reason") return std::get<std::string>(value);
    }
    return "";
  }

  bool answered = false;
  int replies = 0;
  Ids ids;
  std::vector<float> logprobs;
  Ids top_ids;
  std::vector<float> top_logprobs;
  std::map<int64_t, Ids> choices;  // tokens that chunks carried
  engine::Reply last;

 private:
  template <class T>
  static void Append(const engine::Reply& reply, const char* name, std::vector<T>& values) {
    for (const tensor::NamedTensor& output : reply.outputs) {
      if (output.name != name) continue;
      const tensor::ConstView view = output.tensor.view();
      values.insert(values.end(), view.span<T>().begin(), view.span<T>().end());
    }
  }
  static int64_t Find(const engine::Reply& reply, const std::string& name) {
    for (const auto& [key, value] : reply.parameters) {
      if (key == name) return std::get<int64_t>(value);
    }
    return -1;
  }
};

inline Ids Random(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Ids ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 300);
  return ids;
}

inline tensor::NamedTensor Named(const char* name, const Ids& ids) {
  tensor::Tensor tensor = *tensor::Tensor::Allocate(
      tensor::DType::kI32, tensor::Shape({static_cast<int64_t>(ids.size())}), 1 << 20);
  std::copy(ids.begin(), ids.end(), tensor.mutable_view().as<int32_t>());
  return {name, std::move(tensor)};
}

inline tensor::NamedTensor NamedFloats(const char* name, const std::vector<float>& values) {
  return {name, CopiedTensor<float>(tensor::DType::kF32, values)};
}

struct Ask {
  Ids prompt;
  engine::Parameters parameters;
  Ids stop_ids = {};
  std::vector<tensor::NamedTensor> more = {};  // inputs
};

class LmEngineTest : public engine::LoopTest {
 protected:
  void SetUp() override { Load({}, kernels::WeightForm::kF32); }
  void Load(LanguageModel::Options options, kernels::WeightForm form, Ids end_ids = {},
            const DecoderConfig& config = SmallConfig()) {
    // Small: its integrity is checked after every turn.
    options.cache_bytes = std::min(options.cache_bytes, int64_t{1} << 20);
    auto decoder = Decoder::Load(RandomCheckpoint(config), config, {.form = form});
    ASSERT_TRUE(decoder.ok()) << decoder.error().message;
    auto model = MakeLanguageModel(*std::move(decoder), nullptr, std::move(end_ids), options);
    ASSERT_TRUE(model.ok()) << model.error().message;
    auto engine =
        std::make_unique<LmEngine>(std::make_shared<const LanguageModel>(*std::move(model)));
    engine_ = engine.get();
    Serve(std::move(engine));
  }
  std::unique_ptr<engine::Request> Request(const Ask& ask, engine::Call::Options call,
                                           std::shared_ptr<Sink> sink) {
    auto request = std::make_unique<engine::Request>();
    request->call = std::make_shared<engine::Call>(std::move(call));
    if (!ask.prompt.empty()) request->inputs.push_back(Named(kInputIds, ask.prompt));
    for (const tensor::NamedTensor& input : ask.more) request->inputs.push_back(input);
    if (!ask.stop_ids.empty()) request->inputs.push_back(Named(kStopIds, ask.stop_ids));
    request->parameters = ask.parameters;
    request->sink = std::move(sink);
    return request;
  }
  std::shared_ptr<Sink> Send(const Ask& ask, engine::Call::Options call = {}) {
    auto sink = std::make_shared<Sink>();
    auto request = Request(ask, std::move(call), sink);
    call_ = request->call;
    Submit(std::move(request));
    return sink;
  }
  std::string PrepareError(const Ask& ask) {
    return LoopTest::PrepareError(Request(ask, {}, std::make_shared<Sink>()));
  }
  Ids RunAlone(const Ask& ask) {
    const auto sink = Send(ask);
    Run();
    EXPECT_TRUE(sink->last.status.ok());
    return sink->ids;
  }

  std::shared_ptr<engine::Call> call_;
  const LmEngine* engine_ = nullptr;
};

const engine::Parameters kGreedy = {{"temperature", 0.0}, {"max_tokens", int64_t{20}}};

}  // namespace sluice::lm
