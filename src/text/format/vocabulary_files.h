// Tokenizers from what is no tokenizer.json: SentencePiece models, the arrays of a GGUF file, ranks
// of tiktoken, and GPT-2's pair of files. All read bytes that the caller holds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace sluice::text {

using SharedTokenizer = std::shared_ptr<const Tokenizer>;

// What no vocabulary says: a checkpoint's tokenizer_config.json does.
struct FixedTokenOptions {
  bool add_begin = false;  // the file's beginning-of-text token before each text
  bool add_end = false;    // its end-of-text token behind
};

// A SentencePiece `tokenizer.model` (sentencepiece_model.proto): BPE and unigram models. Ids are
// those of SentencePiece itself, except that control tokens found in a text are tokens unless
// EncodeOptions says otherwise. kInvalidArgument: no such file, or one that contradicts itself;
// kUnimplemented: word and character models, unused pieces, white space as a suffix.
base::Result<SharedTokenizer> ReadSentencePiece(std::string_view file,
                                                const FixedTokenOptions& options = {});

// Metadata "tokenizer.ggml.*" of a GGUF file. Views need to live only for the call.
struct GgufVocabulary {
  std::string model;                     // "llama", "gpt2" or "bert"
  std::string pre;                       // "llama-bpe", "qwen2", …; of "gpt2"
  std::vector<std::string_view> tokens;  // by id
  std::span<const float> scores;         // by id; of "llama"
  std::span<const int32_t> types;        // by id: 1 normal, 2 unknown, 3 control, 4 user-defined,
                                         // 5 unused, 6 byte; none: all normal
  std::vector<std::string_view> merges;  // "a b"; of "gpt2"
  std::optional<int32_t> begin_id;       // bos, or cls
  std::optional<int32_t> end_id;         // eos, or sep
  std::optional<int32_t> unknown_id;
  bool add_space_prefix = true;  // of "llama"
  FixedTokenOptions fixed;
};
// kUnimplemented names a model or a pre-tokeniser that is not built.
base::Result<SharedTokenizer> ReadGgufVocabulary(const GgufVocabulary& vocabulary);

// Ranks as tiktoken keeps them: lines of a token in base64 and its rank, which is its id.
struct RankOptions {
  WordScanner scanner = WordScanner::kThreeDigits;
  std::vector<std::pair<std::string, int32_t>> special_tokens;  // with their ids
  bool nfc = false;                                             // Qwen composes texts first
  std::string begin_text, end_text;      // special tokens around each text; empty: none
  std::vector<AddedToken> added_tokens;  // besides them
};
base::Result<SharedTokenizer> ReadRanks(std::string_view file, const RankOptions& options);

// GPT-2's encoder.json (token: id) and vocab.bpe (a merge a line).
base::Result<SharedTokenizer> ReadEncoderAndMerges(std::string_view encoder_json,
                                                   std::string_view merges);

}  // namespace sluice::text
