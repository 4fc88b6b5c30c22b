#include "lm/checkpoint/gguf_text.h"

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/format/vocabulary_files.h"

namespace sluice::lm {
namespace {

using tensor::Gguf;
using tensor::GgufType;
using tensor::GgufValue;

constexpr std::string_view kPrefix = "tokenizer.ggml.";
constexpr std::string_view kTemplate = "tokenizer.chat_template";

const GgufValue* Find(const Gguf& gguf, const char* name) {
  return gguf.Find(std::string(kPrefix) + name);
}

base::Result<std::vector<std::string_view>> ReadTexts(const Gguf& gguf, const char* name) {
  std::vector<std::string_view> texts;
  const GgufValue* const value = Find(gguf, name);
  if (value == nullptr) return texts;
  const auto read = [&](const GgufValue& element) -> base::Status {
    texts.push_back(TRY(element.AsString()));
    return base::Ok();
  };
  TRY(value->ForEachElement(read));
  return texts;
}

// Numbers of four bytes, which may lie anywhere in the file.
template <class T>
base::Result<std::vector<T>> ReadNumbers(const Gguf& gguf, const char* name, GgufType type) {
  std::vector<T> numbers;
  const GgufValue* const value = Find(gguf, name);
  if (value == nullptr) return numbers;
  if (value->type() != GgufType::kArray || value->element_type() != type) {
    return base::InvalidArgument("'" + std::string(kPrefix) + name + "': expected an array of " +
                                 tensor::GgufTypeName(type));
  }
  const auto bytes = TRY(value->PackedElements());
  numbers.resize(bytes.size() / sizeof(T));
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(T));
  return numbers;
}

// A token's id; none where the file does not say it or says one that no token has.
std::optional<int32_t> ReadId(const Gguf& gguf, const char* name, size_t count) {
  const GgufValue* const value = Find(gguf, name);
  if (value == nullptr) return {};
  const auto id = value->AsUint();
  if (!id.ok() || *id >= count) return {};
  return static_cast<int32_t>(*id);
}

base::Result<bool> ReadBool(const Gguf& gguf, const char* name, bool otherwise) {
  const GgufValue* const value = Find(gguf, name);
  if (value == nullptr) return otherwise;
  return value->AsBool();
}

base::Result<std::string> ReadText(const Gguf& gguf, const char* name) {
  const GgufValue* const value = Find(gguf, name);
  if (value == nullptr) return std::string();
  return std::string(TRY(value->AsString()));
}

base::Result<text::ChatTemplates> ReadTemplates(const Gguf& gguf,
                                                const text::GgufVocabulary& vocabulary) {
  text::SpecialTokens tokens;
  const auto add = [&](const char* name, const std::optional<int32_t>& id) {
    if (!id.has_value()) return;
    tokens.single.emplace_back(name, std::string(vocabulary.tokens[static_cast<size_t>(*id)]));
  };
  add("bos_token", vocabulary.begin_id);
  add("eos_token", vocabulary.end_id);
  add("unk_token", vocabulary.unknown_id);
  std::vector<std::pair<std::string, std::string>> sources;
  for (const auto& [key, value] : gguf.metadata()) {
    if (!std::string_view(key).starts_with(kTemplate) || value.type() != GgufType::kString) {
      continue;
    }
    const std::string_view name = std::string_view(key).substr(kTemplate.size());
    if (!name.empty() && name.front() != '.') continue;
    sources.emplace_back(name.empty() ? "default" : name.substr(1), TRY(value.AsString()));
  }
  return text::ChatTemplates::FromSources(sources, tokens);
}

}  // namespace

base::Result<std::shared_ptr<const ModelText>> ReadGgufText(const Gguf& gguf, int64_t vocabulary) {
  text::GgufVocabulary out;
  out.tokens = TRY(ReadTexts(gguf, "tokens"));
  if (out.tokens.empty()) return std::shared_ptr<const ModelText>();
  out.model = TRY(ReadText(gguf, "model"));
  out.pre = TRY(ReadText(gguf, "pre"));
  out.merges = TRY(ReadTexts(gguf, "merges"));
  const auto scores = TRY(ReadNumbers<float>(gguf, "scores", GgufType::kF32));
  const auto types = TRY(ReadNumbers<int32_t>(gguf, "token_type", GgufType::kI32));
  out.scores = scores;
  out.types = types;
  const size_t count = out.tokens.size();
  out.begin_id = ReadId(gguf, "bos_token_id", count);
  out.end_id = ReadId(gguf, "eos_token_id", count);
  out.unknown_id = ReadId(gguf, "unknown_token_id", count);
  const bool pieces = out.model == "llama";
  out.add_space_prefix = TRY(ReadBool(gguf, "add_space_prefix", true));
  // What llama.cpp does where a file does not say.
  const bool begins = pieces || out.pre == "llama-bpe" || out.pre == "llama3";
  out.fixed.add_begin = TRY(ReadBool(gguf, "add_bos_token", begins)) && out.begin_id.has_value();
  out.fixed.add_end = TRY(ReadBool(gguf, "add_eos_token", false)) && out.end_id.has_value();
  auto tokenizer = TRY(text::ReadGgufVocabulary(out));
  return ModelText::Create(std::move(tokenizer), TRY(ReadTemplates(gguf, out)), vocabulary);
}

}  // namespace sluice::lm
