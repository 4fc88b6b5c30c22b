// A tokenizer.json from a model's folder, and texts for it. The input is the file, a newline and a
// NUL, and a text; without the separator all of it is both the file and a text. Texts also go
// through tokenizers of our own: by a fast path and by a slow one, which must agree, and by merging
// pairs and back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "text/unicode/byte_alphabet.h"
#include "text/word_scanner.h"

namespace {

using sluice::text::EncodeOptions;
using sluice::text::Encoding;
using sluice::text::StreamDecoder;
using sluice::text::Tokenizer;
using sluice::text::WordScanner;

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

// What a stream emits is whole characters, and together what Decode gives unless bytes are broken.
void CheckStream(const std::shared_ptr<const Tokenizer>& tokenizer,
                 const std::vector<int32_t>& ids) {
  const auto whole = tokenizer->Decode(ids, false);
  auto stream = StreamDecoder::Create(tokenizer, false);
  if (!stream.ok() || !whole.ok()) return;
  std::string text;
  for (const int32_t id : ids) {
    if (!stream->Append(id, text).ok()) return;
    CHECK(sluice::base::IsValidUtf8(text));
    CHECK_LE(stream->held_bytes(), 3u);
  }
  stream->Finish(text);
  if (whole->find("\xEF\xBF\xBD") == std::string::npos) CHECK(text == *whole) << text;
}

// The words of a byte-level tokenizer whose vocabulary is the bytes: nothing may get lost.
std::string Bytes() {
  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    const char character = static_cast<char>(byte);
    std::string token;
    sluice::text::AppendAsAlphabet({&character, 1}, token);
    sluice::base::AppendJsonString(token, vocabulary += byte == 0 ? "" : ",");
    vocabulary += ":" + std::to_string(byte);
  }
  return R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
             "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "merges": ["a b", "ab a", "b a", "a a", "aa aa"],
                       "vocab": {"ab": 256, "aba": 257, "ba": 258, "aa": 259, "aaaa": 260,)" +
         vocabulary + "}}}";
}

void CheckBytes(std::string_view text) {
  static const auto bytes = Tokenizer::Parse(Bytes()).value();
  const std::string valid = sluice::base::ReplaceInvalidUtf8(text);
  const std::vector<int32_t> ids = bytes->Encode(valid)->ids;
  CHECK(bytes->Decode(ids).value() == valid);
  CheckStream(bytes, ids);
  for (const auto scanner : {WordScanner::kGpt2, WordScanner::kThreeDigits, WordScanner::kOneDigit,
                             WordScanner::kMarks, WordScanner::kCased}) {
    std::vector<std::string_view> words;
    sluice::text::ScanWords(scanner, valid, words);
    size_t covered = 0;
    for (const std::string_view word : words) {
      CHECK(!word.empty() && word.data() == valid.data() + covered);
      covered += word.size();
    }
    CHECK_EQ(covered, valid.size());
  }
}

void EncodeAll(const std::shared_ptr<const Tokenizer>& shared, std::string_view text) {
  const Tokenizer& tokenizer = *shared;
  for (const int64_t limit : {0, 7}) {
    EncodeOptions options;
    options.length_max = limit;
    const auto single = tokenizer.Encode(text, options);
    const auto pair = tokenizer.EncodePair(text, text.substr(text.size() / 2), options);
    for (const auto* result : {&single, &pair}) {
      if (!result->ok()) continue;
      Encoding encoding = **result;
      if (!encoding.truncated) CheckStream(shared, encoding.ids);
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
  if (tokenizer.ok()) EncodeAll(*tokenizer, text);
  CheckBytes(text);
  static const auto fast = Tokenizer::Parse(Own("")).value();
  static const auto slow = Tokenizer::Parse(Own(kNeverSeen)).value();
  CHECK(fast->Encode(text).value().ids == slow->Encode(text).value().ids);
  return 0;
}
