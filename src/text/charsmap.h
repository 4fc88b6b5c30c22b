// SentencePiece's `precompiled_charsmap`: which strings a normaliser replaces by which, as a double
// array (Aoe 1989) over the replaced ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::text {

// Immutable.
class Charsmap {
 public:
  static constexpr size_t kBytesMax = size_t{16} << 20;

  // The bytes as SentencePiece stores them: the array's size in bytes (u32), the array, and
  // NUL-terminated replacements. kInvalidArgument: they do not fit together.
  static base::Result<Charsmap> Parse(std::string_view bytes);
  // The same in base64, as a tokenizer.json holds it.
  static base::Result<Charsmap> ParseBase64(std::string_view text);

  struct Match {
    size_t bytes = 0;  // 0: nothing is replaced
    std::string_view replacement;
  };
  // The longest prefix of `text` that is replaced: SentencePiece's way.
  Match Longest(std::string_view text) const { return Find(text, true); }
  // `text` after all replacements as PyPI `tokenizers` makes them: a grapheme of less than six
  // bytes is replaced whole by what its shortest prefix maps to, longer ones by character.
  // kResourceExhausted: the result is longer than `bytes_max`.
  base::Result<std::string> Apply(std::string_view text, size_t bytes_max) const;

 private:
  Match Find(std::string_view text, bool longest) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

// Bytes of standard base64 with its padding; nothing when it is none.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace sluice::text
