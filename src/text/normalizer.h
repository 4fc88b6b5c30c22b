// Normalisers of a tokenizer.json: what happens to a text before it is cut into words.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/charsmap.h"
#include "text/pattern.h"

namespace sluice::text {

struct BertNormalizer {
  bool clean_text = true;            // drop control characters, make every white space a blank
  bool handle_chinese_chars = true;  // blanks around ideographs
  bool strip_accents = true;         // decompose and drop non-spacing marks
  bool lowercase = true;
};

// What SentencePiece does itself, from a tokenizer.model.
struct SentencePieceNormalizer {
  bool add_dummy_prefix = true;          // a blank before the text
  bool remove_extra_whitespaces = true;  // at both ends, and all but one of a run
  bool escape_whitespaces = true;        // blanks become U+2581
};

enum class NormalizerKind {
  kBert,
  kNfc,
  kNfd,
  kNfkc,
  kNfkd,
  kLowercase,
  kStripAccents,
  kStrip,          // white space at the ends
  kReplace,        // what a pattern matches by a string
  kPrepend,        // a string before a text that is not empty
  kCharsmap,       // "Precompiled"
  kNmt,            // drops control characters, makes others blanks
  kByteLevel,      // bytes in GPT-2's alphabet
  kSentencePiece,  // with the charsmap, where there is one
};

struct NormalizerStep {
  NormalizerKind kind;
  BertNormalizer bert{};                       // of kBert
  std::string content{};                       // of kReplace and kPrepend
  std::optional<Pattern> pattern{};            // of kReplace
  std::shared_ptr<const Charsmap> charsmap{};  // of kCharsmap and kSentencePiece
  bool strip_left = true;                      // of kStrip
  bool strip_right = true;
  SentencePieceNormalizer sentence_piece{};
};

// A stretch of text on its way through the steps.
struct Stretch {
  std::string_view text;
  bool at_start = true;  // its first character is the first one of the text that was given
};

// Steps in order; none: the text stays as it is. Immutable.
struct Normalizer {
  // What a text may grow to.
  static constexpr size_t kBytesMax = size_t{64} << 20;

  std::vector<NormalizerStep> steps;

  // `stretch.text` is valid UTF-8, and so is what takes its place, a view of `storage` unless
  // nothing changed. kResourceExhausted: it grows above kBytesMax, or a pattern's match takes too
  // many steps.
  base::Status Apply(Stretch& stretch, std::string& storage) const;
  base::Result<std::string> Apply(std::string_view text) const;
};

}  // namespace sluice::text
