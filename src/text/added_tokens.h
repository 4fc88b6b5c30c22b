// Added tokens of a tokenizer.json: strings such as [SEP] that become one id wherever they stand in
// a text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/model/token_trie.h"

namespace sluice::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // sought in the normalised text, as its own normalised form
  bool literal = false;      // sought in the normalised text just as it is written
  bool special = false;
};

// Either a token (id >= 0) or a stretch of text between tokens (id kNone).
struct AddedSegment {
  int32_t id = TokenTrie::kNone;
  std::string_view text;
};

// Finds tokens, leftmost first and the longest of those. Immutable after its last Add.
class AddedTokenMatcher {
 public:
  static constexpr size_t kTokensMax = 100'000;
  static constexpr size_t kContentBytesMax = 256;  // bounds what one position of a text costs

  // `pattern` is the token's content, or its normalised form. kInvalidArgument when a limit is
  // exceeded or it is empty.
  base::Status Add(const AddedToken& token, std::string_view pattern);
  bool empty() const { return tokens_.empty(); }
  // Appends tokens and the text between them, in order and without empty texts. Without
  // `find_special`, special tokens are text.
  void Split(std::string_view text, bool find_special, std::vector<AddedSegment>& segments) const;

 private:
  TokenTrie trie_;  // to indices of tokens_
  std::vector<AddedToken> tokens_;
  size_t bytes_ = 0;
  std::array<bool, 256> first_{};  // bytes that a token starts with
};

}  // namespace sluice::text
