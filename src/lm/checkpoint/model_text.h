// Text in front of a language model and behind it: its tokeniser and chat templates.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace sluice::lm {

// Immutable and safe to share between threads.
class ModelText {
 public:
  // Of a model's folder: tokenizer.json, else tokenizer.model (SentencePiece's, or tiktoken's
  // ranks), else ranks in a *.tiktoken, else GPT-2's vocab.json and merges.txt (encoder.json and
  // vocab.bpe), and chat templates where there are any.
  // Null without a tokenizer. kInvalidArgument when it gives ids that a vocabulary of that size
  // lacks.
  static base::Result<std::shared_ptr<const ModelText>> Load(const std::string& folder,
                                                             int64_t vocabulary);
  // Of parts that were read from elsewhere. Errors as Load's.
  static base::Result<std::shared_ptr<const ModelText>> Create(
      std::shared_ptr<const text::Tokenizer> tokenizer, text::ChatTemplates templates,
      int64_t vocabulary);

  // The ids of a text to go on with. kInvalidArgument when they are more than count_max.
  base::Result<std::vector<int32_t>> Encode(std::string_view text, int64_t count_max,
                                            bool add_fixed_tokens = true) const;
  // The ids of a conversation, as the model's chat template writes it.
  struct Chat {
    std::string_view messages;   // JSON: an array of objects
    std::string_view tools;      // the same, empty: none
    std::string_view variables;  // JSON: an object of what the template may name; empty: none
    bool add_generation_prompt = true;
    bool continue_final_message = false;  // the answer goes on with the last message
    bool add_special_tokens = false;      // the template has written those that begin a text
    double now = 0;                       // seconds since 1970, for templates that tell the date
  };
  base::Result<std::vector<int32_t>> EncodeChat(const Chat& chat, int64_t count_max) const;

  // The bytes that a token alone stands for, perhaps a part of a character; of special tokens what
  // they are written as.
  std::string TokenBytes(int32_t id) const;
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  // For the ids of one answer as they come.
  text::StreamDecoder MakeDecoder() const;

 private:
  ModelText() = default;
  base::Result<std::vector<int32_t>> Tokenize(std::string_view text, int64_t count_max,
                                              bool add_fixed_tokens) const;

  std::shared_ptr<const text::Tokenizer> tokenizer_;
  text::ChatTemplates templates_;
};

}  // namespace sluice::lm
