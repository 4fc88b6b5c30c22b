// Byte-level vocabularies that are no tokenizer.json: ranks of tiktoken, and GPT-2's two files.
#include <charconv>
#include <deque>
#include <string>
#include <utility>

#include "base/json.h"
#include "text/format/byte_level.h"
#include "text/format/json_fields.h"
#include "text/format/piece_list.h"
#include "text/format/vocabulary_files.h"
#include "text/model/byte_pair.h"
#include "text/unicode/byte_alphabet.h"

namespace sluice::text {
namespace {

using base::JsonValue;
using base::Result;
using base::Status;

constexpr size_t kFileBytesMax = static_cast<size_t>(Tokenizer::kFileBytesMax);

Status CheckSize(std::string_view file) {
  if (file.size() <= kFileBytesMax) return base::Ok();
  return base::ResourceExhausted("a vocabulary of " + std::to_string(file.size()) +
                                 " bytes is longer than the limit of " +
                                 std::to_string(kFileBytesMax));
}

// Calls read(line) for each line that is not empty, without its line break.
template <class Read>
Status ForEachLine(std::string_view file, Read&& read) {
  int64_t number = 0;
  while (!file.empty()) {
    const size_t end = std::min(file.find('\n'), file.size());
    std::string_view line = file.substr(0, end);
    file.remove_prefix(std::min(end + 1, file.size()));
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    TRY(Within(read(line), "line " + std::to_string(number)));
  }
  return base::Ok();
}

// "IQ== 0"
Status ReadRank(std::string_view line, std::deque<std::string>& tokens, std::vector<int32_t>& ids) {
  if (tokens.size() >= Vocabulary::kTokensMax) return base::InvalidArgument("too many tokens");
  const size_t blank = line.find(' ');
  const std::optional<std::string> bytes = DecodeBase64(line.substr(0, blank));
  int32_t id = -1;
  const std::string_view rest =
      blank == std::string_view::npos ? std::string_view() : line.substr(blank + 1);
  const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), id);
  const bool whole = read.ec == std::errc() && read.ptr == rest.data() + rest.size();
  if (!bytes || bytes->empty() || !whole || id < 0) {
    return base::InvalidArgument("expected a token in base64 and its rank");
  }
  std::string& token = tokens.emplace_back();
  AppendAsAlphabet(*bytes, token);
  ids.push_back(id);
  return base::Ok();
}

// The tokens around a text, by their contents; none where they are empty.
Status AddAround(const RankOptions& options, TokenizerSpec& spec) {
  const auto find = [&](const std::string& content, std::optional<int32_t>& id) -> Status {
    if (content.empty()) return base::Ok();
    for (const AddedToken& token : spec.added_tokens) {
      if (token.content == content) id = token.id;
    }
    if (id) return base::Ok();
    return base::InvalidArgument("expected a special token '" + content + "'");
  };
  std::optional<int32_t> begin, end;
  TRY(find(options.begin_text, begin));
  TRY(find(options.end_text, end));
  AddFixedTokens(begin ? &*begin : nullptr, end ? &*end : nullptr, spec);
  return base::Ok();
}

}  // namespace

TokenizerSpec ByteLevelSpec(WordScanner scanner) {
  TokenizerSpec spec;
  PreTokenizerStep words{PreTokenizerKind::kScan};
  words.scanner = scanner;
  spec.pre_tokenizer.steps.push_back(std::move(words));
  spec.decoder.steps.push_back({DecoderKind::kByteLevel});
  spec.single = {{TemplatePiece::Kind::kFirst, {}, 0}};
  spec.pair = {{TemplatePiece::Kind::kFirst, {}, 0}, {TemplatePiece::Kind::kSecond, {}, 1}};
  return spec;
}

Result<std::vector<BytePairMerge>> MergesOfLines(std::span<const std::string_view> lines,
                                                 const Vocabulary& vocabulary) {
  std::vector<BytePairMerge> merges;
  merges.reserve(lines.size());
  std::string whole;
  for (const std::string_view line : lines) {
    const size_t blank = line.find(' ');
    BytePairMerge merge;
    if (blank != std::string_view::npos) {
      const std::string_view left = line.substr(0, blank);
      const std::string_view right = line.substr(blank + 1);
      merge.left = vocabulary.Find(left);
      merge.right = vocabulary.Find(right);
      whole.assign(left).append(right);
      merge.id = vocabulary.Find(whole);
    }
    const bool known = merge.left != Vocabulary::kNone && merge.right != Vocabulary::kNone &&
                       merge.id != Vocabulary::kNone;
    if (blank == std::string_view::npos || !known) {
      return base::InvalidArgument("merge " + std::to_string(merges.size()) + ", '" +
                                   std::string(line) + "': expected two tokens that make a third");
    }
    merge.rank = static_cast<int32_t>(merges.size());
    merges.push_back(merge);
  }
  return merges;
}

Result<SharedTokenizer> ReadRanks(std::string_view file, const RankOptions& options) {
  TRY(CheckSize(file));
  std::deque<std::string> tokens;
  std::vector<int32_t> ids;
  const auto read = [&](std::string_view line) { return ReadRank(line, tokens, ids); };
  TRY(ForEachLine(file, read));
  std::vector<Vocabulary::Entry> entries;
  entries.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) entries.emplace_back(tokens[i], ids[i]);
  Vocabulary vocabulary = TRY(Vocabulary::Create(entries));
  if (vocabulary.size() != ids.size()) return base::InvalidArgument("a token occurs twice");
  const std::vector<BytePairMerge> merges = TRY(BytePair::MergesByRank(vocabulary, ids));
  BytePairOptions bytes;
  bytes.byte_level = true;
  bytes.ignore_merges = true;  // tiktoken looks for whole words first
  TokenizerSpec spec = ByteLevelSpec(options.scanner);
  if (options.nfc) spec.normalizer.steps.push_back({NormalizerKind::kNfc});
  for (const auto& [content, id] : options.special_tokens) {
    AddedToken token;
    token.id = id;
    token.content = content;
    token.special = true;
    spec.added_tokens.push_back(std::move(token));
  }
  spec.added_tokens.insert(spec.added_tokens.end(), options.added_tokens.begin(),
                           options.added_tokens.end());
  TRY(AddAround(options, spec));
  auto model = TRY(BytePair::Create(std::move(vocabulary), merges, std::move(bytes)));
  return Tokenizer::Create(std::move(spec), std::move(model));
}

Result<SharedTokenizer> ReadEncoderAndMerges(std::string_view encoder_json,
                                             std::string_view merges) {
  TRY(CheckSize(merges));
  base::JsonDocument document(base::JsonLimits{.bytes_max = kFileBytesMax});
  const JsonValue root = TRY(Within(document.Parse(encoder_json), "encoder.json"));
  std::vector<Vocabulary::Entry> entries;
  const auto add = [&](std::string_view token, JsonValue id) -> Status {
    if (entries.size() >= Vocabulary::kTokensMax) return base::InvalidArgument("too many tokens");
    entries.emplace_back(token, TRY(Within(IdOf(id), std::string(token))));
    return base::Ok();
  };
  TRY(Within(root.ForEachMember(add), "encoder.json"));
  Vocabulary vocabulary = TRY(Vocabulary::Create(entries));
  std::vector<std::string_view> lines;
  const auto keep = [&](std::string_view line) -> Status {
    const bool is_version = lines.empty() && line.substr(0, 9) == "#version:";
    if (!is_version) lines.push_back(line);
    return base::Ok();
  };
  TRY(ForEachLine(merges, keep));
  const auto pairs = TRY(Within(MergesOfLines(lines, vocabulary), "vocab.bpe"));
  TokenizerSpec spec = ByteLevelSpec(WordScanner::kGpt2);
  AddedToken end;
  end.content = "<|endoftext|>";
  end.special = true;
  end.id = vocabulary.Find(end.content);
  if (end.id != Vocabulary::kNone) spec.added_tokens.push_back(std::move(end));
  BytePairOptions bytes;
  bytes.byte_level = true;
  auto model = TRY(BytePair::Create(std::move(vocabulary), pairs, std::move(bytes)));
  return Tokenizer::Create(std::move(spec), std::move(model));
}

}  // namespace sluice::text
