#include "lm/checkpoint/model_text.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "lm/checkpoint/config_keys.h"
#include "lm/checkpoint/rank_text.h"
#include "text/format/vocabulary_files.h"

namespace sluice::lm {
namespace {

constexpr const char* kTokenizerFile = "tokenizer.json";
constexpr const char* kPiecesFile = "tokenizer.model";
constexpr const char* kSettingsFile = "tokenizer_config.json";
constexpr const char* kConfigFile = "config.json";
constexpr std::string_view kRanksSuffix = ".tiktoken";
constexpr int64_t kSettingsBytesMax = int64_t{16} << 20;

// GPT-2's two files, by both pairs of names that they go by.
struct FilePair {
  const char* encoder;
  const char* merges;
};
constexpr FilePair kByteLevelFiles[] = {{"vocab.json", "merges.txt"},
                                        {"encoder.json", "vocab.bpe"}};

class Folder {
 public:
  static base::Result<Folder> Open(const std::string& path) {
    Folder folder;
    folder.path_ = path;
    for (const base::FolderEntry& entry : TRY(base::ListFolder(path))) {
      if (!entry.is_folder) folder.files_.push_back(entry.name);
    }
    return folder;
  }
  bool Has(const char* name) const {
    return std::find(files_.begin(), files_.end(), name) != files_.end();
  }
  // The one whose name ends so; empty: none. kInvalidArgument: several.
  base::Result<std::string> FindEnding(std::string_view suffix) const {
    std::string found;
    for (const std::string& file : files_) {
      if (!std::string_view(file).ends_with(suffix)) continue;
      if (!found.empty()) {
        return base::InvalidArgument("expected one file of ranks, got " + found + " and " + file);
      }
      found = file;
    }
    return found;
  }
  // Empty where there is none.
  base::Result<std::string> ReadIfThere(const char* name, int64_t bytes_max) const {
    return Has(name) ? Read(name, bytes_max) : base::Result<std::string>(std::string());
  }
  base::Result<std::string> Read(const std::string& name, int64_t bytes_max) const {
    return base::ReadFile(path_ + "/" + name, bytes_max);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

// What is added around a text; as transformers does where tokenizer_config.json does not say.
base::Result<text::FixedTokenOptions> ReadFixedTokens(const Folder& folder) {
  text::FixedTokenOptions fixed;
  fixed.add_begin = true;
  if (!folder.Has(kSettingsFile)) return fixed;
  const std::string settings = TRY(folder.Read(kSettingsFile, kSettingsBytesMax));
  base::JsonDocument document;
  const base::JsonValue root = TRY(document.Parse(settings));
  if (!root.is_object()) {
    return base::InvalidArgument(std::string(kSettingsFile) + ": expected an object");
  }
  const ConfigKeys keys(root, kSettingsFile);
  fixed.add_begin = TRY(keys.Bool("add_bos_token", true));
  fixed.add_end = TRY(keys.Bool("add_eos_token", false));
  return fixed;
}

base::Result<text::SharedTokenizer> ReadRanks(const Folder& folder, std::string name,
                                              std::string ranks) {
  RankFiles files;
  files.name = std::move(name);
  files.ranks = std::move(ranks);
  files.settings = TRY(folder.ReadIfThere(kSettingsFile, kSettingsBytesMax));
  files.config = TRY(folder.ReadIfThere(kConfigFile, kSettingsBytesMax));
  return ReadFolderRanks(files);
}

// Null when the folder has none.
base::Result<std::shared_ptr<const text::Tokenizer>> ReadTokenizer(const Folder& folder) {
  constexpr int64_t kBytesMax = text::Tokenizer::kFileBytesMax;
  if (folder.Has(kTokenizerFile)) {
    return text::Tokenizer::Load(folder.path() + "/" + kTokenizerFile);
  }
  if (folder.Has(kPiecesFile)) {
    std::string pieces = TRY(folder.Read(kPiecesFile, kBytesMax));
    // Llama 3 keeps ranks under that name.
    if (text::LooksLikeRanks(pieces)) return ReadRanks(folder, kPiecesFile, std::move(pieces));
    return text::ReadSentencePiece(pieces, TRY(ReadFixedTokens(folder)));
  }
  std::string ranks_file = TRY(folder.FindEnding(kRanksSuffix));
  if (!ranks_file.empty()) {
    std::string ranks = TRY(folder.Read(ranks_file, kBytesMax));
    return ReadRanks(folder, std::move(ranks_file), std::move(ranks));
  }
  for (const FilePair& pair : kByteLevelFiles) {
    if (!folder.Has(pair.encoder) || !folder.Has(pair.merges)) continue;
    const std::string encoder = TRY(folder.Read(pair.encoder, kBytesMax));
    return text::ReadEncoderAndMerges(encoder, TRY(folder.Read(pair.merges, kBytesMax)));
  }
  return std::shared_ptr<const text::Tokenizer>();
}

}  // namespace

base::Result<std::shared_ptr<const ModelText>> ModelText::Load(const std::string& folder,
                                                               int64_t vocabulary) {
  const Folder files = TRY(Folder::Open(folder));
  std::shared_ptr<const text::Tokenizer> tokenizer = TRY(ReadTokenizer(files));
  if (tokenizer == nullptr) return std::shared_ptr<const ModelText>();
  return Create(std::move(tokenizer), TRY(text::ChatTemplates::Load(folder)), vocabulary);
}

base::Result<std::shared_ptr<const ModelText>> ModelText::Create(
    std::shared_ptr<const text::Tokenizer> tokenizer, text::ChatTemplates templates,
    int64_t vocabulary) {
  if (tokenizer->id_max() >= vocabulary) {
    return base::InvalidArgument("the tokenizer: expected tokens below the vocabulary's size of " +
                                 std::to_string(vocabulary) + ", got " +
                                 std::to_string(tokenizer->id_max()));
  }
  // What can never be decoded piece by piece is found now.
  TRY(text::StreamDecoder::Create(tokenizer));
  std::shared_ptr<ModelText> model_text(new ModelText());
  model_text->tokenizer_ = std::move(tokenizer);
  model_text->templates_ = std::move(templates);
  return std::shared_ptr<const ModelText>(std::move(model_text));
}

base::Result<std::vector<int32_t>> ModelText::Tokenize(std::string_view text, int64_t count_max,
                                                       bool add_fixed_tokens) const {
  // One token more shows that the text is too long, and no more of it is read.
  text::EncodeOptions options;
  options.length_max = std::max(count_max + 1, tokenizer_->fixed_tokens(false) + 1);
  options.add_fixed_tokens = add_fixed_tokens;
  text::Encoding encoding = TRY(tokenizer_->Encode(text, options));
  if (static_cast<int64_t>(encoding.ids.size()) > count_max) {
    return base::InvalidArgument("expected a text of at most " + std::to_string(count_max) +
                                 " tokens, got more");
  }
  return std::move(encoding.ids);
}

base::Result<std::vector<int32_t>> ModelText::Encode(std::string_view text, int64_t count_max,
                                                     bool add_fixed_tokens) const {
  return Tokenize(text, count_max, add_fixed_tokens);
}

base::Result<std::vector<int32_t>> ModelText::EncodeChat(const Chat& chat,
                                                         int64_t count_max) const {
  base::JsonDocument messages, tools, variables;
  text::ChatInput input{TRY(messages.Parse(chat.messages))};
  if (!chat.tools.empty()) input.tools = TRY(tools.Parse(chat.tools));
  if (!chat.variables.empty()) {
    input.variables = TRY(variables.Parse(chat.variables));
    if (!input.variables->is_object()) {
      return base::InvalidArgument("parameter chat_template_kwargs: expected a JSON object");
    }
  }
  input.add_generation_prompt = chat.add_generation_prompt;
  input.continue_final_message = chat.continue_final_message;
  input.now = chat.now;
  if (templates_.empty()) {
    return base::InvalidArgument("the model has no chat template; expected a text");
  }
  const std::shared_ptr<const text::ChatTemplate> chosen =
      TRY(templates_.Select(input.tools.has_value()));
  const std::string rendered = TRY(chosen->Render(input));
  return Tokenize(rendered, count_max, chat.add_special_tokens);
}

std::string ModelText::TokenBytes(int32_t id) const {
  return text::BytesOfToken(*tokenizer_, id);
}

text::StreamDecoder ModelText::MakeDecoder() const {
  return *text::StreamDecoder::Create(tokenizer_);
}

}  // namespace sluice::lm
