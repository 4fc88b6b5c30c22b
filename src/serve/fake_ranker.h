// An engine for the server's tests that embeds, scores and tokenises: what it gives follows from
// the lengths of what it is asked, so that a test can tell it.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serve/fake_engine.h"

namespace sluice::serve {

inline engine::Description RankerDescription(const std::string& name, int64_t version) {
  using tensor::DType;
  engine::Description d;
  d.model = name;
  d.version = version;
  d.platform = "language_model";
  d.tasks = {"score", "embed", "tokenize", "detokenize"};
  for (const char* input : {"text", "items", "labels", "messages", "tools"}) {
    d.inputs.push_back({input, DType::kBytes, {-1}, true});
  }
  for (const char* input : {"input_ids", "lengths", "item_ids", "item_lengths", "label_ids"}) {
    d.inputs.push_back({input, DType::kI64, {-1}, true});
  }
  d.outputs = {{"scores", DType::kF32, {-1, -1}, false}};
  return d;
}

// Answers in Prepare:
// - embed: text or sequence i is [its length, i, dimensions or 0];
// - score: item i and label l get the length of the item - that of the prefix + l / 4; with
//   activation none 100 more; with top_k the best first;
// - tokenize: a token a byte, its value the id, its text the byte; detokenize: the reverse.
// FakeControl::fail_prepare refuses everything; a text "slow" goes to the queue, where
// FakeControl::hold keeps it.
class FakeRanker : public FakeEngine {
 public:
  using FakeEngine::FakeEngine;

  base::Status Prepare(engine::Request& request) const override {
    TRY(FakeEngine::Prepare(request));
    const std::vector<std::string> texts = Texts(request, "text");
    if (!texts.empty() && texts[0] == "slow") return base::Ok();
    request.answer.emplace();
    const std::string task = TextOf(request, "task");
    if (task == "embed") {
      Embed(request, texts, *request.answer);
    } else if (task == "score") {
      Score(request, texts, *request.answer);
    } else if (task == "tokenize") {
      Tokenize(texts.empty() ? Texts(request, "messages") : texts, *request.answer);
    } else {
      Detokenize(request, *request.answer);
    }
    request.answer->parameters.emplace_back("prompt_tokens", int64_t{7});
    request.answer->parameters.emplace_back("cached_tokens", int64_t{3});
    return base::Ok();
  }

 private:
  static std::vector<std::string> Texts(const engine::Request& request, std::string_view name) {
    std::vector<std::string> texts;
    for (const tensor::NamedTensor& input : request.inputs) {
      if (input.name != name) continue;
      for (const std::string_view text : input.tensor.view().span<std::string_view>()) {
        texts.emplace_back(text);
      }
    }
    return texts;
  }
  static std::vector<int64_t> Ids(const engine::Request& request, std::string_view name) {
    for (const tensor::NamedTensor& input : request.inputs) {
      if (input.name != name) continue;
      const auto ids = input.tensor.view().span<int64_t>();
      return {ids.begin(), ids.end()};
    }
    return {};
  }
  static std::string TextOf(const engine::Request& request, std::string_view name) {
    for (const auto& [key, value] : request.parameters) {
      if (key == name && std::holds_alternative<std::string>(value)) {
        return std::get<std::string>(value);
      }
    }
    return {};
  }
  static int64_t NumberOf(const engine::Request& request, std::string_view name) {
    for (const auto& [key, value] : request.parameters) {
      if (key == name && std::holds_alternative<int64_t>(value)) return std::get<int64_t>(value);
    }
    return 0;
  }
  template <class T>
  static tensor::NamedTensor Numbers(const char* name, tensor::DType dtype, tensor::Shape shape,
                                     const std::vector<T>& values) {
    tensor::Tensor tensor;
    tensor.dtype = dtype;
    tensor.shape = shape;
    const size_t bytes = values.size() * sizeof(T);
    tensor.buffer = tensor::Buffer::Allocate(static_cast<int64_t>(std::max<size_t>(bytes, 1)));
    if (bytes > 0) std::memcpy(tensor.buffer.mutable_data(), values.data(), bytes);
    return {name, std::move(tensor)};
  }

  static void Embed(const engine::Request& request, const std::vector<std::string>& texts,
                    engine::Reply& reply) {
    std::vector<float> lengths;
    for (const std::string& text : texts) lengths.push_back(static_cast<float>(text.size()));
    if (texts.empty()) {
      for (const int64_t length : Ids(request, "lengths")) {
        lengths.push_back(static_cast<float>(length));
      }
    }
    if (lengths.empty()) lengths.push_back(static_cast<float>(Ids(request, "input_ids").size()));
    std::vector<float> values;
    for (size_t i = 0; i < lengths.size(); ++i) {
      values.push_back(lengths[i]);
      values.push_back(static_cast<float>(i));
      values.push_back(static_cast<float>(NumberOf(request, "dimensions")));
    }
    const auto count = static_cast<int64_t>(lengths.size());
    reply.outputs.push_back(
        Numbers("embedding", tensor::DType::kF32, tensor::Shape({count, 3}), values));
  }

  static void Score(const engine::Request& request, const std::vector<std::string>& texts,
                    engine::Reply& reply) {
    const size_t prefix = texts.empty() ? Ids(request, "input_ids").size() : texts[0].size();
    std::vector<int64_t> lengths = Ids(request, "item_lengths");
    for (const std::string& item : Texts(request, "items")) {
      lengths.push_back(static_cast<int64_t>(item.size()));
    }
    const size_t labels =
        std::max<size_t>(1, Texts(request, "labels").size() + Ids(request, "label_ids").size());
    std::vector<int32_t> order;
    for (size_t i = 0; i < lengths.size(); ++i) order.push_back(static_cast<int32_t>(i));
    const auto best = static_cast<size_t>(NumberOf(request, "top_k"));
    if (best > 0) {
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return lengths[static_cast<size_t>(a)] > lengths[static_cast<size_t>(b)];
      });
      order.resize(std::min(best, order.size()));
      reply.outputs.push_back(Numbers("top_items", tensor::DType::kI32,
                                      tensor::Shape({static_cast<int64_t>(order.size())}), order));
    }
    const float more = TextOf(request, "activation") == "none" ? 100 : 0;
    std::vector<float> scores;
    for (const int32_t item : order) {
      for (size_t label = 0; label < labels; ++label) {
        scores.push_back(static_cast<float>(lengths[static_cast<size_t>(item)]) -
                         static_cast<float>(prefix) + static_cast<float>(label) / 4 + more);
      }
    }
    reply.outputs.push_back(Numbers(
        "scores", tensor::DType::kF32,
        tensor::Shape({static_cast<int64_t>(order.size()), static_cast<int64_t>(labels)}), scores));
  }

  static void Tokenize(const std::vector<std::string>& texts, engine::Reply& reply) {
    std::vector<int32_t> ids, offsets;
    std::vector<std::string> written;
    for (const char c : texts.at(0)) {
      offsets.push_back(static_cast<int32_t>(ids.size()));
      ids.push_back(static_cast<uint8_t>(c));
      offsets.push_back(static_cast<int32_t>(ids.size()));
      written.emplace_back(1, c);
    }
    const auto count = static_cast<int64_t>(ids.size());
    reply.outputs.push_back(
        Numbers("output_ids", tensor::DType::kI32, tensor::Shape({count}), ids));
    reply.outputs.push_back(
        Numbers("offsets", tensor::DType::kI32, tensor::Shape({count, 2}), offsets));
    reply.outputs.push_back(
        {"token_texts", tensor::Tensor::FromStrings(tensor::Shape({count}), written)});
    reply.parameters.emplace_back("max_model_len", int64_t{128});
  }

  static void Detokenize(const engine::Request& request, engine::Reply& reply) {
    std::string text;
    for (const int64_t id : Ids(request, "input_ids")) text += static_cast<char>(id);
    reply.outputs.push_back({"text", tensor::Tensor::FromStrings(tensor::Shape({1}), {text})});
  }
};

}  // namespace sluice::serve
