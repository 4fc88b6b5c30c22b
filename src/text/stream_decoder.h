// Ids to text while they are generated: what Tokenizer::Decode gives for all of them, in pieces
// that never end within a character.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/tokenizer.h"

namespace sluice::text {

// Owned by one request; not to be shared. Joined, the pieces are Decode's text, except where
// byte tokens (<0x0A>) are no UTF-8: Decode makes one U+FFFD of each byte of such a run, this of
// those bytes that belong to no character.
class StreamDecoder {
 public:
  // kUnimplemented: the tokenizer's decoder looks at tokens to come.
  static base::Result<StreamDecoder> Create(std::shared_ptr<const Tokenizer> tokenizer,
                                            bool skip_special = true);

  // Appends the text that the next id completes, perhaps nothing. kResourceExhausted as
  // Tokenizer::Decode.
  base::Status Append(int32_t id, std::string& text);
  // Appends what is left of a character that was never completed, as U+FFFD.
  void Finish(std::string& text);
  // Bytes held back.
  size_t held_bytes() const { return held_.size(); }

 private:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}
  void AppendBytes(std::string_view bytes, std::string& text);
  void DropHeld(std::string& text);
  void Emit(std::string_view part, std::string& text);

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  bool byte_tokens_ = false;  // bytes come as tokens of their own
  std::string strip_;         // a character dropped at the text's beginning
  size_t strip_left_ = 0;     // as often as this
  size_t token_steps_ = 0;    // steps of the decoder that look at one token
  bool first_ = true;         // no token came yet
  std::string last_;          // the last token, where repetitions go
  std::string held_;          // bytes of a character that is not complete
};

// The bytes that one token stands for within a text, perhaps a part of a character; of special
// tokens what they are written as; nothing where there is no such token.
std::string BytesOfToken(const Tokenizer& tokenizer, int32_t id);

}  // namespace sluice::text
