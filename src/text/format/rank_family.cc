#include "text/format/rank_family.h"

#include <algorithm>

#include "text/charsmap.h"

namespace sluice::text {
namespace {

// Those of OpenAI as in tiktoken_ext/openai_public.py of tiktoken 0.14. "llama3":
// tokenizer.py of Meta's llama-models; "qwen": tokenization_qwen.py beside Qwen's first models.
constexpr RankFamily kFamilies[] = {
    {"gpt2", WordScanner::kGpt2},
    {"r50k_base", WordScanner::kGpt2},
    {"p50k_base", WordScanner::kGpt2},
    {"p50k_edit", WordScanner::kGpt2},
    {"cl100k_base", WordScanner::kCl100k},
    {"o200k_base", WordScanner::kCased},
    {"o200k_harmony", WordScanner::kCased},
    {"llama3", WordScanner::kThreeDigits, false, "<|begin_of_text|>", "<|end_of_text|>"},
    {"qwen", WordScanner::kOneDigit, true},
};

struct Special {
  std::string_view family;
  std::string_view content;
  int32_t id;
};
constexpr Special kSpecials[] = {
    {"gpt2", "<|endoftext|>", 50256},          {"r50k_base", "<|endoftext|>", 50256},
    {"p50k_base", "<|endoftext|>", 50256},     {"p50k_edit", "<|endoftext|>", 50256},
    {"p50k_edit", "<|fim_prefix|>", 50281},    {"p50k_edit", "<|fim_middle|>", 50282},
    {"p50k_edit", "<|fim_suffix|>", 50283},    {"cl100k_base", "<|endoftext|>", 100257},
    {"cl100k_base", "<|fim_prefix|>", 100258}, {"cl100k_base", "<|fim_middle|>", 100259},
    {"cl100k_base", "<|fim_suffix|>", 100260}, {"cl100k_base", "<|endofprompt|>", 100276},
    {"o200k_base", "<|endoftext|>", 199999},   {"o200k_base", "<|endofprompt|>", 200018},
};

// In a row; what follows them up to `count` is reserved.
constexpr std::string_view kHarmony[] = {
    "<|startoftext|>", "<|endoftext|>", "<|reserved_200000|>", "<|reserved_200001|>",
    "<|return|>",      "<|constrain|>", "<|reserved_200004|>", "<|channel|>",
    "<|start|>",       "<|end|>",       "<|message|>"};
constexpr int32_t kHarmonyBegin = 199998;
constexpr int32_t kHarmonyCall = 200012;
constexpr int32_t kHarmonyPrompt = 200018;
constexpr int32_t kHarmonyEnd = 201088;
constexpr std::string_view kLlama3[] = {"<|begin_of_text|>",
                                        "<|end_of_text|>",
                                        "<|reserved_special_token_0|>",
                                        "<|reserved_special_token_1|>",
                                        "<|finetune_right_pad_id|>",
                                        "<|reserved_special_token_2|>",
                                        "<|start_header_id|>",
                                        "<|end_header_id|>",
                                        "<|eom_id|>",
                                        "<|eot_id|>",
                                        "<|python_tag|>"};
constexpr int32_t kLlama3Count = 256;
constexpr int32_t kLlama3Reserved = 3;  // the number of the first reserved one behind them
constexpr std::string_view kQwen[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
constexpr int32_t kQwenBegin = 151643;
constexpr int32_t kQwenExtras = 205;

using Specials = std::vector<std::pair<std::string, int32_t>>;

template <size_t kCount>
int32_t AppendRow(const std::string_view (&names)[kCount], int32_t id, Specials& out) {
  for (const std::string_view name : names) out.emplace_back(std::string(name), id++);
  return id;
}

}  // namespace

const RankFamily* FindRankFamily(std::string_view name) {
  for (const RankFamily& family : kFamilies) {
    if (family.name == name) return &family;
  }
  return nullptr;
}

std::span<const RankFamily> RankFamilies() {
  return kFamilies;
}

Specials SpecialTokensOf(const RankFamily& family, int32_t ranks) {
  Specials out;
  if (family.name == "llama3") {
    const int32_t end = ranks + kLlama3Count;
    int32_t number = kLlama3Reserved;
    for (int32_t id = AppendRow(kLlama3, ranks, out); id < end; ++id) {
      out.emplace_back("<|reserved_special_token_" + std::to_string(number++) + "|>", id);
    }
    return out;
  }
  if (family.name == "qwen") {
    const int32_t id = AppendRow(kQwen, kQwenBegin, out);
    for (int32_t i = 0; i < kQwenExtras; ++i) {
      out.emplace_back("<|extra_" + std::to_string(i) + "|>", id + i);
    }
    return out;
  }
  if (family.name == "o200k_harmony") {
    for (int32_t id = AppendRow(kHarmony, kHarmonyBegin, out); id < kHarmonyEnd; ++id) {
      std::string content = "<|reserved_" + std::to_string(id) + "|>";
      if (id == kHarmonyCall) content = "<|call|>";
      if (id == kHarmonyPrompt) content = "<|endofprompt|>";
      out.emplace_back(std::move(content), id);
    }
    return out;
  }
  for (const Special& special : kSpecials) {
    if (special.family == family.name) out.emplace_back(std::string(special.content), special.id);
  }
  return out;
}

int32_t CountRanks(std::string_view file) {
  constexpr size_t kMost = size_t{1} << 30;
  size_t count = 0;
  while (!file.empty() && count < kMost) {
    const size_t end = std::min(file.find('\n'), file.size());
    const std::string_view line = file.substr(0, end);
    count += line.empty() || line == "\r" ? 0 : 1;
    file.remove_prefix(std::min(end + 1, file.size()));
  }
  return static_cast<int32_t>(count);
}

bool LooksLikeRanks(std::string_view file) {
  constexpr size_t kLineBytesMax = 4096;
  const std::string_view line = file.substr(0, std::min(file.find('\n'), kLineBytesMax));
  const size_t blank = line.find(' ');
  if (blank == 0 || blank == std::string_view::npos || blank + 1 == line.size()) return false;
  const std::string_view rank = line.substr(blank + 1, line.find('\r') - blank - 1);
  return rank.find_first_not_of("0123456789") == std::string_view::npos &&
         DecodeBase64(line.substr(0, blank)).has_value();
}

}  // namespace sluice::text
