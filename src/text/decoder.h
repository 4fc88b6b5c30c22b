// Decoders of a tokenizer.json: how tokens become text again.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/pattern.h"

namespace sluice::text {

enum class DecoderKind {
  kByteLevel,     // the bytes that GPT-2's alphabet writes
  kMetaspace,     // a character that stands for a blank; a leading one is dropped
  kByteFallback,  // tokens such as <0x0A> become bytes
  kFuse,          // all tokens become one
  kStrip,         // a character at the ends of each token
  kReplace,       // what a pattern matches, in each token
  kWordPiece,     // "##" joins, everything else is a word
  kCtc,           // repetitions and padding go
  kSuffix,        // BPEDecoder: a suffix ends words
};

struct DecoderStep {
  DecoderKind kind;
  std::string text{};                // kMetaspace, kStrip: a character; kWordPiece: the prefix;
                                     // kCtc: the padding; kSuffix: the suffix
  std::string content{};             // of kReplace; of kCtc the word delimiter
  std::optional<Pattern> pattern{};  // of kReplace
  size_t start = 0;                  // of kStrip: characters at most
  size_t stop = 0;
  bool drops_first = true;  // of kMetaspace
  bool cleanup = false;     // of kWordPiece and kCtc: no blanks before punctuation
};

// Steps in order. Immutable.
struct Decoder {
  // What a text may grow to.
  static constexpr size_t kBytesMax = size_t{256} << 20;

  bool joins_with_blanks = false;  // there is no decoder: tokens are words
  std::vector<DecoderStep> steps;

  // The text of tokens, valid UTF-8. kResourceExhausted as Pattern::Replace.
  base::Result<std::string> Decode(std::vector<std::string> tokens) const;
};

// What a step that looks at one token at a time (not kByteLevel, kByteFallback, kFuse, kSuffix)
// makes of a token; `first`: it is the first one. Of kCtc, without dropping repetitions.
base::Status DecodeToken(const DecoderStep& step, bool first, std::string& token);
// "<0x0A>" is 10; nothing when the token is no byte.
std::optional<char> ByteOfToken(std::string_view token);
// Drops blanks before punctuation and in contractions, as the library's clean-up does.
std::string CleanUp(std::string text);

}  // namespace sluice::text
