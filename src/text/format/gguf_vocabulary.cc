// The vocabulary of a GGUF file, whose arrays a reader of such files hands over.
#include <deque>
#include <string>
#include <utility>

#include "base/utf8.h"
#include "text/format/byte_level.h"
#include "text/format/json_fields.h"
#include "text/format/piece_list.h"
#include "text/format/vocabulary_files.h"
#include "text/model/byte_pair.h"
#include "text/model/word_piece.h"

namespace sluice::text {
namespace {

using base::Result;
using base::Status;

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581

// Pre-tokenisers of "gpt2" vocabularies by the names that llama.cpp gives them.
struct PreName {
  std::string_view name;
  WordScanner scanner;
  bool ignore_merges;
};
constexpr PreName kPreNames[] = {
    {"", WordScanner::kGpt2, false},
    {"default", WordScanner::kGpt2, false},
    {"gpt-2", WordScanner::kGpt2, false},
    {"phi-2", WordScanner::kGpt2, false},
    {"roberta-bpe", WordScanner::kGpt2, false},
    {"jina-en", WordScanner::kGpt2, false},
    {"modern-bert", WordScanner::kGpt2, false},
    {"llama3", WordScanner::kThreeDigits, true},
    {"llama-v3", WordScanner::kThreeDigits, true},
    {"llama-bpe", WordScanner::kThreeDigits, true},
    {"dbrx", WordScanner::kThreeDigits, false},
    {"smaug-bpe", WordScanner::kThreeDigits, false},
    {"qwen2", WordScanner::kOneDigit, false},
    {"deepseek-r1-qwen", WordScanner::kOneDigit, false},
    {"qwen35", WordScanner::kMarks, false},
    {"gpt-4o", WordScanner::kCased, false},
    {"llama4", WordScanner::kCased, false},
};

Result<PreTokenizerStep> Split(std::string_view expression) {
  PreTokenizerStep step{PreTokenizerKind::kSplit};
  step.pattern = TRY(Pattern::Regex(expression));
  return step;
}

// DeepSeek LLM: cased letters, ASCII and CJK punctuation, ideographs and Hangul, single digits.
Status AddDeepseekSteps(PreTokenizer& pre_tokenizer) {
  constexpr std::string_view kExpressions[] = {
      R"([\r\n])",
      R"(\s?[\p{Lu}\p{Ll}\p{Lt}]+)",
      R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)",
      R"(\s+$)",
      R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)",
  };
  for (const std::string_view expression : kExpressions) {
    pre_tokenizer.steps.push_back(TRY(Split(expression)));
  }
  PreTokenizerStep digits{PreTokenizerKind::kDigits};
  digits.each_digit = true;
  pre_tokenizer.steps.push_back(std::move(digits));
  return base::Ok();
}

Result<PieceList> PiecesOf(const GgufVocabulary& vocabulary) {
  const size_t count = vocabulary.tokens.size();
  if (count == 0 || count > Vocabulary::kTokensMax) {
    return base::InvalidArgument("a vocabulary of " + std::to_string(count) +
                                 " tokens, expected 1 to " +
                                 std::to_string(Vocabulary::kTokensMax));
  }
  const auto fits = [&](size_t size) { return size == 0 || size == count; };
  if (!fits(vocabulary.scores.size()) || !fits(vocabulary.types.size())) {
    return base::InvalidArgument(std::to_string(vocabulary.scores.size()) + " scores and " +
                                 std::to_string(vocabulary.types.size()) + " types for " +
                                 std::to_string(count) + " tokens");
  }
  PieceList list;
  list.pieces.resize(count);
  for (size_t i = 0; i < count; ++i) {
    Piece& piece = list.pieces[i];
    piece.text = vocabulary.tokens[i];
    if (!base::IsValidUtf8(piece.text)) {
      return base::InvalidArgument("token " + std::to_string(i) + " is not valid UTF-8");
    }
    if (!vocabulary.scores.empty()) piece.score = vocabulary.scores[i];
    if (vocabulary.types.empty()) continue;
    const int32_t type = vocabulary.types[i];
    if (type < 1 || type > 6) {
      return base::InvalidArgument("token " + std::to_string(i) + " has type " +
                                   std::to_string(type) + ", expected 1 to 6");
    }
    piece.type = static_cast<PieceType>(type);
    list.byte_fallback = list.byte_fallback || piece.type == PieceType::kByte;
  }
  return list;
}

// Fixed tokens around each text, where the file wants them.
Status AddFixed(const GgufVocabulary& vocabulary, bool begin, bool end, TokenizerSpec& spec) {
  const auto check = [&](const std::optional<int32_t>& id, const char* name) -> Status {
    if (id && *id >= 0 && static_cast<size_t>(*id) < vocabulary.tokens.size()) return base::Ok();
    return base::InvalidArgument(std::string("the file adds a token at the ") + name +
                                 " of texts and does not say which");
  };
  if (begin) TRY(check(vocabulary.begin_id, "beginning"));
  if (end) TRY(check(vocabulary.end_id, "end"));
  AddFixedTokens(begin ? &*vocabulary.begin_id : nullptr, end ? &*vocabulary.end_id : nullptr,
                 spec);
  return base::Ok();
}

Result<SharedTokenizer> ReadLlama(const GgufVocabulary& vocabulary, PieceList list) {
  TokenizerSpec spec;
  NormalizerStep step{NormalizerKind::kSentencePiece};
  step.sentence_piece.add_dummy_prefix = vocabulary.add_space_prefix;
  step.sentence_piece.remove_extra_whitespaces = false;
  spec.normalizer.steps.push_back(std::move(step));
  spec.decoder = PieceDecoder(vocabulary.add_space_prefix);
  // Converters mark one piece as unknown, and placeholders too; the file says which one it is.
  const int32_t unknown = vocabulary.unknown_id.value_or(-1);
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    PieceType& type = list.pieces[i].type;
    if (static_cast<int32_t>(i) == unknown) {
      type = PieceType::kUnknown;
    } else if (type == PieceType::kUnknown || type == PieceType::kUnused) {
      type = PieceType::kControl;
    }
  }
  AddTypedTokens(list, spec);
  TRY(AddFixed(vocabulary, vocabulary.fixed.add_begin, vocabulary.fixed.add_end, spec));
  return Tokenizer::Create(std::move(spec), TRY(MakeScoredBytePair(list)));
}

Result<SharedTokenizer> ReadGpt2(const GgufVocabulary& vocabulary, PieceList list) {
  const PreName* pre = nullptr;
  for (const PreName& known : kPreNames) {
    if (vocabulary.pre == known.name) pre = &known;
  }
  const bool deepseek = vocabulary.pre == "deepseek-llm";
  if (pre == nullptr && !deepseek) {
    return base::Unimplemented("pre-tokenizer '" + vocabulary.pre + "' is not supported");
  }
  TokenizerSpec spec = ByteLevelSpec(deepseek ? WordScanner::kGpt2 : pre->scanner);
  if (deepseek) {
    spec.pre_tokenizer.steps.clear();
    TRY(AddDeepseekSteps(spec.pre_tokenizer));
  }
  std::vector<Vocabulary::Entry> entries;
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    Piece& piece = list.pieces[i];
    if (piece.type == PieceType::kUnknown || piece.type == PieceType::kUnused) {
      piece.type = PieceType::kControl;
    }
    if (piece.type == PieceType::kNormal || piece.type == PieceType::kByte) {
      entries.emplace_back(piece.text, static_cast<int32_t>(i));
    }
  }
  AddTypedTokens(list, spec);
  for (AddedToken& token : spec.added_tokens) token.normalized = token.literal = false;
  TRY(AddFixed(vocabulary, vocabulary.fixed.add_begin, vocabulary.fixed.add_end, spec));
  Vocabulary known = TRY(Vocabulary::Create(entries));
  const std::vector<BytePairMerge> merges = TRY(MergesOfLines(vocabulary.merges, known));
  BytePairOptions options;
  options.byte_level = true;
  options.ignore_merges = pre != nullptr && pre->ignore_merges;
  auto model = TRY(BytePair::Create(std::move(known), merges, std::move(options)));
  return Tokenizer::Create(std::move(spec), std::move(model));
}

// llama.cpp writes a word's first piece with U+2581 before it and the others without "##".
Result<SharedTokenizer> ReadBert(const GgufVocabulary& vocabulary, const PieceList& list) {
  std::deque<std::string> texts;
  std::vector<Vocabulary::Entry> entries;
  TokenizerSpec spec;
  WordPieceOptions options;
  for (size_t i = 0; i < list.pieces.size(); ++i) {
    const std::string_view token = list.pieces[i].text;
    const bool bracketed = token.size() > 2 && token.front() == '[' && token.back() == ']';
    std::string& text = texts.emplace_back();
    if (token.substr(0, kBlank.size()) == kBlank) {
      text = token.substr(kBlank.size());
    } else {
      text = bracketed ? std::string(token) : "##" + std::string(token);
    }
    const auto id = static_cast<int32_t>(i);
    entries.emplace_back(text, id);
    if (vocabulary.unknown_id == id) options.unknown_token = text;
    if (list.pieces[i].type != PieceType::kControl) continue;
    AddedToken special;
    special.id = id;
    special.content = text;
    special.special = true;
    spec.added_tokens.push_back(std::move(special));
  }
  NormalizerStep normalizer{NormalizerKind::kBert};
  spec.normalizer.steps.push_back(std::move(normalizer));
  spec.pre_tokenizer.steps.push_back({PreTokenizerKind::kBert});
  DecoderStep decoder{DecoderKind::kWordPiece};
  decoder.text = "##";
  decoder.cleanup = true;
  spec.decoder.steps.push_back(std::move(decoder));
  TRY(AddFixed(vocabulary, vocabulary.begin_id.has_value(), vocabulary.end_id.has_value(), spec));
  WordPiece model = TRY(WordPiece::Create(entries, std::move(options)));
  return Tokenizer::Create(std::move(spec), std::make_unique<const WordPiece>(std::move(model)));
}

Result<SharedTokenizer> Read(const GgufVocabulary& vocabulary) {
  PieceList list = TRY(PiecesOf(vocabulary));
  if (vocabulary.model == "llama") return ReadLlama(vocabulary, std::move(list));
  if (vocabulary.model == "gpt2") return ReadGpt2(vocabulary, std::move(list));
  if (vocabulary.model == "bert") return ReadBert(vocabulary, list);
  return base::Unimplemented("model '" + vocabulary.model + "' is not supported");
}

}  // namespace

Result<SharedTokenizer> ReadGgufVocabulary(const GgufVocabulary& vocabulary) {
  return Within(Read(vocabulary), "tokenizer.ggml");
}

}  // namespace sluice::text
