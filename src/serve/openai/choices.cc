#include "serve/openai/choices.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

namespace sluice::serve {
namespace {

template <class T>
std::span<const T> Find(const engine::Reply& reply, std::string_view name) {
  for (const tensor::NamedTensor& output : reply.outputs) {
    if (output.name == name) return output.tensor.view().span<T>();
  }
  return {};
}

std::string_view TextOf(const engine::Reply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.parameters) {
    if (key == name && std::holds_alternative<std::string>(value)) {
      return std::get<std::string>(value);
    }
  }
  return {};
}

// The tensors of tokens: of the answers, or of the prompt.
struct Tokens {
  std::span<const std::string_view> texts;
  std::span<const float> logprobs;
  std::span<const std::string_view> top_texts;  // [tokens, k]
  std::span<const float> top_logprobs;          // the same

  SaidToken At(size_t i) const {
    SaidToken token;
    if (i < texts.size()) token.text = texts[i];
    if (i < logprobs.size()) token.logprob = logprobs[i];
    const size_t k = texts.empty() ? 0 : top_texts.size() / texts.size();
    for (size_t j = i * k; j < (i + 1) * k && j < top_logprobs.size(); ++j) {
      // Where there are fewer tokens than asked for, the rest is filled up.
      if (std::isnan(top_logprobs[j])) break;
      token.alternatives.emplace_back(top_texts[j], top_logprobs[j]);
    }
    return token;
  }
};

}  // namespace

std::vector<Said> ReadChoices(const engine::Reply& reply, int64_t answers) {
  const auto texts = Find<std::string_view>(reply, "text");
  const auto reasons = Find<std::string_view>(reply, "finish_reasons");
  const auto lengths = Find<int32_t>(reply, "output_lengths");
  const auto ids = Find<int32_t>(reply, "output_ids");
  const Tokens tokens{Find<std::string_view>(reply, "token_texts"), Find<float>(reply, "logprobs"),
                      Find<std::string_view>(reply, "top_texts"),
                      Find<float>(reply, "top_logprobs")};
  const bool all = reply.terminal;
  const auto count = static_cast<size_t>(all ? answers : 1);
  std::vector<Said> choices(count);
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    Said& said = choices[i];
    said.choice = all ? static_cast<int64_t>(i) : CountOf(reply, "choice");
    if (i < texts.size()) said.text = texts[i];
    said.finish_reason = i < reasons.size() ? reasons[i] : TextOf(reply, "finish_reason");
    said.token_count = i < lengths.size() ? lengths[i] : static_cast<int64_t>(ids.size());
    const size_t end = std::min(at + static_cast<size_t>(said.token_count), tokens.texts.size());
    for (; at < end; ++at) said.tokens.push_back(tokens.At(at));
  }
  return choices;
}

std::vector<SaidToken> ReadPromptTokens(const engine::Reply& reply) {
  const Tokens tokens{
      Find<std::string_view>(reply, "prompt_texts"), Find<float>(reply, "prompt_logprobs"),
      Find<std::string_view>(reply, "prompt_top_texts"), Find<float>(reply, "prompt_top_logprobs")};
  std::vector<SaidToken> said;
  for (size_t i = 0; i < tokens.texts.size(); ++i) said.push_back(tokens.At(i));
  return said;
}

std::string JoinTexts(const std::vector<SaidToken>& tokens) {
  std::string text;
  for (const SaidToken& token : tokens) text += token.text;
  return text;
}

int64_t CountOf(const engine::Reply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.parameters) {
    if (key == name && std::holds_alternative<int64_t>(value)) return std::get<int64_t>(value);
  }
  return 0;
}

}  // namespace sluice::serve
