// Tokenizer: text to token ids and back, as Hugging Face's tokenizer.json describes it and with the
// ids that PyPI `tokenizers` gives. Other files are read by text/format/vocabulary_files.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/added_tokens.h"
#include "text/bert_words.h"
#include "text/decoder.h"
#include "text/model/token_model.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace sluice::text {

enum class TextSide { kLeft, kRight };

// A piece of a post-processing template: the tokens of a text, or fixed tokens.
struct TemplatePiece {
  enum class Kind { kFirst, kSecond, kFixed } kind = Kind::kFirst;
  std::vector<int32_t> ids;  // of kFixed
  int32_t type_id = 0;
};

enum class TruncationStrategy { kLongestFirst, kOnlyFirst, kOnlySecond };

struct Truncation {
  int64_t length_max = 0;  // tokens, fixed ones included
  TruncationStrategy strategy = TruncationStrategy::kLongestFirst;
  TextSide side = TextSide::kRight;  // which end is cut off
};

struct Padding {
  int64_t fixed_length = 0;  // 0: to the longest of the batch
  int64_t multiple_of = 0;   // 0: no rounding
  int32_t id = 0;
  int32_t type_id = 0;
  TextSide side = TextSide::kRight;  // where the padding goes
};

// What a tokenizer.json says besides its model. The file's own `truncation` and `padding` are kept
// for who wants them; Encode takes its limit from its caller.
struct TokenizerSpec {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::vector<AddedToken> added_tokens;
  std::vector<TemplatePiece> single;  // for one text
  std::vector<TemplatePiece> pair;    // for two
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
  Decoder decoder;
};

// One text, or a pair, as a model takes it. All three have the same length.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<int32_t> attention_mask;  // 1: a token, 0: padding
  bool truncated = false;               // tokens were cut off to meet the limit
};

struct EncodeOptions {
  // Tokens at most, fixed ones included; 0: no limit. How a longer encoding is cut comes, unless it
  // is said here, from the file's `truncation`, by default the longest text first, at its end.
  int64_t length_max = 0;
  std::optional<TruncationStrategy> strategy = std::nullopt;  // of a pair
  std::optional<TextSide> cut_side = std::nullopt;
  bool add_fixed_tokens = true;  // [CLS] and the like
  // Whether special tokens that stand in the text become their ids. Off for text of strangers
  // within a chat's frame: what looks like a special token there is plain text.
  bool find_special_tokens = true;
};

// Immutable and safe to share between threads. Invalid UTF-8 is read as U+FFFD, one for each
// maximal invalid part. Time is linear in the text, and with a limit and one text it ends soon
// after the limit is reached.
class Tokenizer {
 public:
  static constexpr size_t kTextBytesMax = size_t{16} << 20;
  static constexpr int64_t kFileBytesMax = int64_t{64} << 20;

  // Reads a tokenizer.json. kUnimplemented names what is not built here; kInvalidArgument says what
  // is wrong.
  static base::Result<std::shared_ptr<const Tokenizer>> Load(const std::string& path);
  static base::Result<std::shared_ptr<const Tokenizer>> Parse(std::string_view json);
  // kInvalidArgument when an added token exceeds a limit.
  static base::Result<std::shared_ptr<const Tokenizer>> Create(
      TokenizerSpec spec, std::unique_ptr<const TokenModel> model);

  // kInvalidArgument: a text above kTextBytesMax, or a limit below the fixed tokens, or one that
  // `only_first` or `only_second` cannot meet. kResourceExhausted: the file's normaliser or regular
  // expression takes more than its limit for this text.
  base::Result<Encoding> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  base::Result<Encoding> EncodePair(std::string_view first, std::string_view second,
                                    const EncodeOptions& options = {}) const;

  // The text of ids, valid UTF-8. Ids that are no token are left out. StreamDecoder gives the same
  // in pieces. kResourceExhausted: the file's decoder exceeds a limit.
  base::Result<std::string> Decode(std::span<const int32_t> ids, bool skip_special = true) const;

  // The id of a token, added ones first; nothing when there is none.
  std::optional<int32_t> FindToken(std::string_view token) const;
  // The token of an id as the vocabulary writes it, an added one as it is sought; a view into this
  // tokenizer.
  std::optional<std::string_view> Token(int32_t id) const;
  // Whether the id is an added token that is marked as special.
  bool is_special(int32_t id) const;
  const std::vector<AddedToken>& added_tokens() const { return spec_.added_tokens; }
  const Decoder& decoder() const { return spec_.decoder; }

  // The length that a batch is padded to whose longest encoding has `longest` tokens.
  int64_t PaddedLength(int64_t longest) const;
  // Lengthens to `length` with the file's padding id (by default 0, at the end). A longer encoding
  // stays as it is.
  void Pad(int64_t length, Encoding& encoding) const;

  // How many tokens the template adds.
  int64_t fixed_tokens(bool pair) const;
  // The largest id that can come out: a model's embedding table must have more rows.
  int32_t id_max() const { return id_max_; }
  const std::optional<Truncation>& truncation() const { return spec_.truncation; }
  const std::optional<Padding>& padding() const { return spec_.padding; }

 private:
  Tokenizer(TokenizerSpec spec, std::unique_ptr<const TokenModel> model);
  base::Status AddTokens();

  base::Result<std::vector<int32_t>> Tokenize(std::string_view text, int64_t count_max,
                                              const EncodeOptions& options) const;
  base::Status TokenizeStretch(Stretch stretch, size_t count_max, const EncodeOptions& options,
                               std::vector<int32_t>& ids) const;
  base::Status TokenizeWords(const Stretch& stretch, size_t count_max, WordList& list,
                             std::vector<int32_t>& ids) const;
  base::Result<Encoding> Assemble(std::vector<int32_t> first, std::vector<int32_t> second,
                                  bool is_pair, const EncodeOptions& options) const;

  const TokenizerSpec spec_;
  const std::unique_ptr<const TokenModel> model_;
  AddedTokenMatcher raw_tokens_;         // sought before the text is normalised
  AddedTokenMatcher normalized_tokens_;  // and after
  Vocabulary added_;                     // contents and ids of spec_.added_tokens
  Vocabulary added_written_;             // the same, normalised where they are sought so
  std::vector<int32_t> special_ids_;     // sorted
  int32_t id_max_ = 0;
  // With one BertNormalizer, BertPreTokenizer, WordPiece, and nothing sought in the normalised
  // text.
  std::optional<BertWords> bert_words_;
};

}  // namespace sluice::text
