#include "text/tokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"
#include "text/truncation.h"
#include "text/unicode.h"

namespace sluice::text {
namespace {

// Collects the runes of a word as the fast path finds them and hands the word to the model. Runes
// above the model's limit are counted and not kept: such a word is unknown whatever it says.
class WordCollector {
 public:
  WordCollector(const WordPiece& model, std::vector<int32_t>& ids) : model_(model), ids_(ids) {}

  void AddAscii(char c) {
    if (++runes_ <= model_.word_runes_max()) word_ += c;
  }
  void Add(char32_t rune) {
    if (++runes_ <= model_.word_runes_max()) base::AppendRune(rune, word_);
  }
  void Finish() {
    if (runes_ == 0) return;
    if (runes_ > model_.word_runes_max()) {
      ids_.push_back(model_.unknown_id());
    } else {
      model_.AppendShort(word_, ids_);
    }
    word_.clear();
    runes_ = 0;
  }

 private:
  const WordPiece& model_;
  std::vector<int32_t>& ids_;
  std::string word_;
  int64_t runes_ = 0;
};

// Puts one normalised rune where BertPreTokenizer would.
void Place(char32_t rune, WordCollector& word) {
  const uint16_t classes = Classify(rune);
  if ((classes & kSpace) != 0) {
    word.Finish();
  } else if ((classes & kPunctuation) != 0) {
    word.Finish();
    word.Add(rune);
    word.Finish();
  } else {
    word.Add(rune);
  }
}

void PlaceLower(char32_t rune, bool lowercase, WordCollector& word) {
  if (!lowercase) {
    Place(rune, word);
  } else if (rune == 0x130) {
    Place(U'i', word);
    Place(0x307, word);
  } else {
    Place(Lower(rune), word);
  }
}

// Whether canonical ordering could move the rune and it is not dropped afterwards: then a
// rune-by-rune path is wrong.
bool NeedsOrdering(uint16_t classes) {
  return (classes & kCombines) != 0 && (classes & kNonspacing) == 0;
}

// BertNormalizer and BertPreTokenizer for one rune above ASCII; false when the text needs canonical
// ordering.
bool PlaceRune(const BertNormalizer& bert, char32_t rune, WordCollector& word) {
  const uint16_t classes = Classify(rune);
  if (bert.clean_text) {
    if (rune == base::kReplacementRune || (classes & kControl) != 0) return true;
    if ((classes & kSpace) != 0) {
      word.Finish();
      return true;
    }
  }
  const bool alone = bert.handle_chinese_chars && (classes & kChinese) != 0;
  if (alone) word.Finish();
  if (!bert.strip_accents) {
    PlaceLower(rune, bert.lowercase, word);
  } else if ((classes & kDecomposes) == 0) {
    if (NeedsOrdering(classes)) return false;
    if ((classes & kNonspacing) == 0) PlaceLower(rune, bert.lowercase, word);
  } else {
    const Decomposition parts = Decompose(rune);
    for (int i = 0; i < parts.count; ++i) {
      const char32_t part = parts.runes[static_cast<size_t>(i)];
      const uint16_t part_classes = Classify(part);
      if (NeedsOrdering(part_classes)) return false;
      if ((part_classes & kNonspacing) == 0) PlaceLower(part, bert.lowercase, word);
    }
  }
  if (alone) word.Finish();
  return true;
}

int64_t FixedTokens(const std::vector<TemplatePiece>& pieces) {
  int64_t count = 0;
  for (const TemplatePiece& piece : pieces) count += static_cast<int64_t>(piece.ids.size());
  return count;
}

void AppendPiece(const std::vector<int32_t>& ids, int32_t type_id, Encoding& encoding) {
  encoding.ids.insert(encoding.ids.end(), ids.begin(), ids.end());
  encoding.type_ids.insert(encoding.type_ids.end(), ids.size(), type_id);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerSpec spec, WordPiece model)
    : spec_(std::move(spec)), model_(std::move(model)), id_max_(model_.id_max()) {}

base::Result<std::shared_ptr<const Tokenizer>> Tokenizer::Create(TokenizerSpec spec,
                                                                 WordPiece model) {
  const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(spec), std::move(model)));
  TRY(tokenizer->AddTokens());
  const TokenizerSpec& kept = tokenizer->spec_;
  for (const std::vector<TemplatePiece>* pieces : {&kept.single, &kept.pair}) {
    for (const TemplatePiece& piece : *pieces) {
      for (const int32_t id : piece.ids) tokenizer->id_max_ = std::max(tokenizer->id_max_, id);
    }
  }
  if (kept.padding) tokenizer->id_max_ = std::max(tokenizer->id_max_, kept.padding->id);
  const std::vector<NormalizerStep>& steps = kept.normalizer.steps;
  tokenizer->fast_ = steps.size() == 1 && steps[0].kind == NormalizerKind::kBert &&
                     kept.pre_tokenizer.steps == std::vector{PreTokenizerKind::kBert} &&
                     tokenizer->normalized_tokens_.empty();
  if (tokenizer->fast_) tokenizer->FillAsciiRoles();
  return std::shared_ptr<const Tokenizer>(tokenizer);
}

base::Status Tokenizer::AddTokens() {
  for (const AddedToken& token : spec_.added_tokens) {
    if (token.content.empty()) continue;  // the library ignores them too
    id_max_ = std::max(id_max_, token.id);
    if (token.normalized) {
      TRY(normalized_tokens_.Add(token, spec_.normalizer.Apply(token.content)));
    } else {
      TRY(raw_tokens_.Add(token, token.content));
    }
  }
  return base::Ok();
}

void Tokenizer::FillAsciiRoles() {
  const BertNormalizer& bert = spec_.normalizer.steps[0].bert;
  for (char32_t rune = 0; rune < 128; ++rune) {
    const uint16_t classes = Classify(rune);
    const bool blank = rune == '\t' || rune == '\n' || rune == '\r';
    AsciiRole role = AsciiRole::kWordPart;
    if (bert.clean_text && (classes & kControl) != 0 && !blank) {
      role = AsciiRole::kDropped;
    } else if ((classes & kSpace) != 0) {
      role = AsciiRole::kSpace;
    } else if ((classes & kPunctuation) != 0) {
      role = AsciiRole::kAlone;
    }
    ascii_roles_[rune] = role;
    ascii_lower_[rune] = static_cast<char>(bert.lowercase ? Lower(rune) : rune);
  }
}

base::Result<Encoding> Tokenizer::Encode(std::string_view text,
                                         const EncodeOptions& options) const {
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  const bool cuts_the_end = !spec_.truncation || spec_.truncation->side == TextSide::kRight;
  // One token more than the limit tells that something was cut off.
  const bool stops = options.length_max > 0 && options.length_max < kAll && cuts_the_end;
  const int64_t count_max = stops ? options.length_max + 1 : kAll;
  return Assemble(TRY(Tokenize(text, count_max)), {}, false, options);
}

base::Result<Encoding> Tokenizer::EncodePair(std::string_view first, std::string_view second,
                                             const EncodeOptions& options) const {
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
  std::vector<int32_t> first_ids = TRY(Tokenize(first, kAll));
  std::vector<int32_t> second_ids = TRY(Tokenize(second, kAll));
  return Assemble(std::move(first_ids), std::move(second_ids), true, options);
}

base::Result<std::vector<int32_t>> Tokenizer::Tokenize(std::string_view text,
                                                       int64_t count_max) const {
  if (text.size() > kTextBytesMax) {
    return base::InvalidArgument("a text of " + std::to_string(text.size()) +
                                 " bytes is longer than the limit of " +
                                 std::to_string(kTextBytesMax));
  }
  std::string repaired;
  if (!base::IsValidUtf8(text)) {
    repaired = base::ReplaceInvalidUtf8(text);
    text = repaired;
  }
  const auto limit = static_cast<size_t>(count_max);
  std::vector<int32_t> ids;
  ids.reserve(std::min(limit, text.size() / 4 + 8));
  if (raw_tokens_.empty()) {
    TokenizeStretch(text, limit, ids);
    return ids;
  }
  std::vector<AddedSegment> segments;
  raw_tokens_.Split(text, segments);
  for (const AddedSegment& segment : segments) {
    if (ids.size() >= limit) break;
    if (segment.id != TokenTrie::kNone) {
      ids.push_back(segment.id);
    } else {
      TokenizeStretch(segment.text, limit, ids);
    }
  }
  return ids;
}

void Tokenizer::TokenizeStretch(std::string_view text, size_t count_max,
                                std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  if (fast_ && TokenizeFast(text, count_max, ids)) return;
  ids.resize(before);
  TokenizeSlowly(text, count_max, ids);
}

void Tokenizer::TokenizeSlowly(std::string_view text, size_t count_max,
                               std::vector<int32_t>& ids) const {
  const std::string normalized = spec_.normalizer.Apply(text);
  std::vector<AddedSegment> segments;
  normalized_tokens_.Split(normalized, segments);
  for (const AddedSegment& segment : segments) {
    if (segment.id != TokenTrie::kNone) {
      ids.push_back(segment.id);
      continue;
    }
    for (const std::string_view word : spec_.pre_tokenizer.Split(segment.text)) {
      if (ids.size() >= count_max) return;
      model_.Append(word, ids);
    }
  }
}

bool Tokenizer::TokenizeFast(std::string_view text, size_t count_max,
                             std::vector<int32_t>& ids) const {
  const BertNormalizer& bert = spec_.normalizer.steps[0].bert;
  WordCollector word(model_, ids);
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80) {
      const base::Rune rune = base::DecodeRune(text, i);
      if (!PlaceRune(bert, rune.rune, word)) return false;
      i += static_cast<size_t>(rune.bytes);
      continue;
    }
    ++i;
    switch (ascii_roles_[byte]) {
      case AsciiRole::kDropped:
        break;
      case AsciiRole::kWordPart:
        word.AddAscii(ascii_lower_[byte]);
        break;
      case AsciiRole::kSpace:
        word.Finish();
        if (ids.size() >= count_max) return true;
        break;
      case AsciiRole::kAlone:
        word.Finish();
        word.AddAscii(ascii_lower_[byte]);
        word.Finish();
        if (ids.size() >= count_max) return true;
        break;
    }
  }
  word.Finish();
  return true;
}

base::Result<Encoding> Tokenizer::Assemble(std::vector<int32_t> first, std::vector<int32_t> second,
                                           bool is_pair, const EncodeOptions& options) const {
  Encoding encoding;
  if (options.length_max > 0) {
    const int64_t fixed = options.add_fixed_tokens ? fixed_tokens(is_pair) : 0;
    if (options.length_max < fixed) {
      return base::InvalidArgument("a limit of " + std::to_string(options.length_max) +
                                   " tokens does not hold the " + std::to_string(fixed) +
                                   " fixed ones");
    }
    Truncation truncation = spec_.truncation.value_or(Truncation{});
    truncation.length_max = options.length_max - fixed;
    encoding.truncated = TRY(Truncate(truncation, first, is_pair ? &second : nullptr));
  }
  const size_t total = first.size() + second.size();
  encoding.ids.reserve(total + 4);
  encoding.type_ids.reserve(total + 4);
  if (options.add_fixed_tokens) {
    for (const TemplatePiece& piece : is_pair ? spec_.pair : spec_.single) {
      const bool fixed = piece.kind == TemplatePiece::Kind::kFixed;
      AppendPiece(fixed                                       ? piece.ids
                  : piece.kind == TemplatePiece::Kind::kFirst ? first
                                                              : second,
                  piece.type_id, encoding);
    }
  } else {
    AppendPiece(first, 0, encoding);
    AppendPiece(second, 1, encoding);
  }
  encoding.attention_mask.assign(encoding.ids.size(), 1);
  return encoding;
}

int64_t Tokenizer::fixed_tokens(bool pair) const {
  return FixedTokens(pair ? spec_.pair : spec_.single);
}

int64_t Tokenizer::PaddedLength(int64_t longest) const {
  if (!spec_.padding) return longest;
  const int64_t length = std::max(longest, spec_.padding->fixed_length);
  const int64_t step = spec_.padding->multiple_of;
  return step > 0 ? (length + step - 1) / step * step : length;
}

void Tokenizer::Pad(int64_t length, Encoding& encoding) const {
  const Padding padding = spec_.padding.value_or(Padding{});
  const int64_t missing = length - static_cast<int64_t>(encoding.ids.size());
  if (missing <= 0) return;
  const auto fill = [&](int32_t value, std::vector<int32_t>& values) {
    values.insert(padding.side == TextSide::kRight ? values.end() : values.begin(),
                  static_cast<size_t>(missing), value);
  };
  fill(padding.id, encoding.ids);
  fill(padding.type_id, encoding.type_ids);
  fill(0, encoding.attention_mask);
}

}  // namespace sluice::text
