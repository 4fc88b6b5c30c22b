// A tokenizer.json from a model's folder, and texts for it. The input is the file, a newline and a
// NUL, and a text; without the separator all of it is both the file and a text. Texts also go
// through a tokenizer of our own, by its fast path and by its slow one, which must agree.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/tokenizer.h"

namespace {

using sluice::text::EncodeOptions;
using sluice::text::Encoding;
using sluice::text::Tokenizer;

constexpr std::string_view kSeparator("\n\0", 2);
// BERT's normaliser and words, for which there is a fast path, with `more` added tokens.
std::string Own(std::string_view more) {
  std::string file = R"({
    "normalizer": {"type": "BertNormalizer"},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {
      "type": "WordPiece",
      "vocab": {
        "[UNK]": 0, "[SEP]": 1, "a": 2, "##a": 3, "##ab": 4, "e": 5, ".": 6, "##\u1161": 7}},
    "added_tokens": [{"id": 1, "content": "[SEP]", "special": true})";
  return file.append(more).append("]}");
}

// One that is sought in normalised text switches the fast path off.
constexpr std::string_view kNeverSeen =
    R"(, {"id": 8, "content": "one string that no text holds", "normalized": true})";

void EncodeAll(const Tokenizer& tokenizer, std::string_view text) {
  for (const int64_t limit : {0, 7}) {
    EncodeOptions options;
    options.length_max = limit;
    const auto single = tokenizer.Encode(text, options);
    const auto pair = tokenizer.EncodePair(text, text.substr(text.size() / 2), options);
    for (const auto* result : {&single, &pair}) {
      if (!result->ok()) continue;
      Encoding encoding = **result;
      CHECK_EQ(encoding.ids.size(), encoding.type_ids.size());
      CHECK_EQ(encoding.ids.size(), encoding.attention_mask.size());
      CHECK(limit == 0 || static_cast<int64_t>(encoding.ids.size()) <= limit);
      for (const int32_t id : encoding.ids) CHECK(id >= 0 && id <= tokenizer.id_max()) << id;
      tokenizer.Pad(std::min<int64_t>(tokenizer.PaddedLength(limit), 4096), encoding);
      CHECK_EQ(encoding.ids.size(), encoding.attention_mask.size());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t split = std::min(input.find(kSeparator), input.size());
  const auto tokenizer = Tokenizer::Parse(input.substr(0, split));
  const std::string_view text =
      split == input.size() ? input : input.substr(split + kSeparator.size());
  if (tokenizer.ok()) EncodeAll(**tokenizer, text);
  static const auto fast = Tokenizer::Parse(Own("")).value();
  static const auto slow = Tokenizer::Parse(Own(kNeverSeen)).value();
  CHECK(fast->Encode(text).value().ids == slow->Encode(text).value().ids);
  return 0;
}
