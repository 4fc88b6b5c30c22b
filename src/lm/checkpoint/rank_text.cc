#include "lm/checkpoint/rank_text.h"

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "base/json.h"
#include "lm/checkpoint/config_keys.h"

namespace sluice::lm {
namespace {

constexpr const char* kSettingsFile = "tokenizer_config.json";
constexpr const char* kConfigFile = "config.json";

// What other files say, and the family that it means.
struct Sign {
  std::string_view said;
  std::string_view family;
};
constexpr Sign kClasses[] = {{"QWenTokenizer", "qwen"}, {"GPT2Tokenizer", "gpt2"}};
constexpr Sign kModelTypes[] = {{"llama", "llama3"},    {"qwen", "qwen"},
                                {"qwen2", "qwen"},      {"qwen3", "qwen"},
                                {"gpt2", "gpt2"},       {"gpt_oss", "o200k_harmony"},
                                {"dbrx", "cl100k_base"}};

// An error, with the file that it is about before it.
base::Error Within(const std::string& file, base::Error error) {
  error.message = file + ": " + error.message;
  return error;
}

template <size_t kCount>
const text::RankFamily* FamilyOfSign(const Sign (&signs)[kCount], std::string_view said) {
  for (const Sign& sign : signs) {
    if (sign.said == said) return text::FindRankFamily(sign.family);
  }
  return nullptr;
}

base::Result<base::JsonValue> ParseObject(const char* file, const std::string& json,
                                          base::JsonDocument& document) {
  const auto parsed = document.Parse(json.empty() ? "{}" : json);
  if (!parsed.ok()) return Within(file, parsed.error());
  const base::JsonValue root = *parsed;
  if (!root.is_object()) {
    return base::InvalidArgument(std::string(file) + ": expected an object");
  }
  return root;
}

std::string Known() {
  std::string names;
  for (const text::RankFamily& family : text::RankFamilies()) {
    names += (names.empty() ? "" : ", ") + std::string(family.name);
  }
  return names;
}

// {"128000": {"content": "<|begin_of_text|>", "special": true, …}, …}
base::Status ReadAddedTokens(const base::JsonValue& listed, std::vector<text::AddedToken>& out) {
  if (!listed.is_object()) {
    return base::InvalidArgument("added_tokens_decoder: expected an object");
  }
  const auto read = [&](std::string_view key, base::JsonValue value) -> base::Status {
    text::AddedToken token;
    const auto number = std::from_chars(key.data(), key.data() + key.size(), token.id);
    const bool is_id = number.ec == std::errc() && number.ptr == key.data() + key.size();
    if (!is_id || token.id < 0 || !value.is_object()) {
      return base::InvalidArgument("added_tokens_decoder: expected a token behind its id, got '" +
                                   std::string(key.substr(0, 32)) + "'");
    }
    const ConfigKeys keys(value, "added_tokens_decoder");
    token.content = TRY(keys.Text("content", ""));
    token.special = TRY(keys.Bool("special", false));
    token.single_word = TRY(keys.Bool("single_word", false));
    token.lstrip = TRY(keys.Bool("lstrip", false));
    token.rstrip = TRY(keys.Bool("rstrip", false));
    token.normalized = TRY(keys.Bool("normalized", false));
    out.push_back(std::move(token));
    return base::Ok();
  };
  return listed.ForEachMember(read);
}

}  // namespace

base::Result<const text::RankFamily*> RankFamilyOf(const RankFiles& files) {
  base::JsonDocument settings_document, config_document;
  const base::JsonValue settings =
      TRY(ParseObject(kSettingsFile, files.settings, settings_document));
  const std::string encoding = TRY(ConfigKeys(settings, kSettingsFile).Text("encoding_name", ""));
  if (!encoding.empty()) {
    const text::RankFamily* const family = text::FindRankFamily(encoding);
    if (family != nullptr) return family;
    return base::Unimplemented(std::string(kSettingsFile) + ": encoding_name '" + encoding +
                               "' is not supported; expected one of " + Known());
  }
  const std::string stem = files.name.substr(0, files.name.rfind('.'));
  const text::RankFamily* family = text::FindRankFamily(stem);
  if (family != nullptr) return family;
  const std::string kind = TRY(ConfigKeys(settings, kSettingsFile).Text("tokenizer_class", ""));
  family = FamilyOfSign(kClasses, kind);
  if (family != nullptr) return family;
  const base::JsonValue config = TRY(ParseObject(kConfigFile, files.config, config_document));
  const std::string type = TRY(ConfigKeys(config, kConfigFile).Text("model_type", ""));
  family = FamilyOfSign(kModelTypes, type);
  if (family != nullptr) return family;
  return base::Unimplemented(
      files.name + ": ranks of tiktoken, whose words and special tokens are not known: neither '" +
      stem + "' (the file's name), nor encoding_name '', nor tokenizer_class '" + kind + "' (" +
      kSettingsFile + "), nor model_type '" + type + "' (" + kConfigFile +
      ") tells a family; known are " + Known() + "; with a tokenizer.json none is needed");
}

base::Result<text::SharedTokenizer> ReadFolderRanks(const RankFiles& files) {
  const text::RankFamily& family = *TRY(RankFamilyOf(files));
  base::JsonDocument document;
  const base::JsonValue settings = TRY(ParseObject(kSettingsFile, files.settings, document));
  const ConfigKeys keys(settings, kSettingsFile);
  text::RankOptions options;
  options.scanner = family.scanner;
  options.nfc = family.nfc;
  const auto listed = TRY(keys.Find("added_tokens_decoder"));
  if (listed) {
    const base::Status read = ReadAddedTokens(*listed, options.added_tokens);
    if (!read.ok()) return Within(kSettingsFile, read.error());
  } else {
    options.special_tokens = text::SpecialTokensOf(family, text::CountRanks(files.ranks));
  }
  if (TRY(keys.Bool("add_bos_token", true))) options.begin_text = family.begin_text;
  if (TRY(keys.Bool("add_eos_token", false))) options.end_text = family.end_text;
  auto tokenizer = text::ReadRanks(files.ranks, options);
  if (!tokenizer.ok()) return Within(files.name, tokenizer.error());
  return tokenizer;
}

}  // namespace sluice::lm
