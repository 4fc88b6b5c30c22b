#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"

namespace sluice::text {
namespace {

// BPE without merges over given tokens, and a decoder.
std::shared_ptr<const Tokenizer> Make(std::string_view vocabulary, std::string_view decoder) {
  auto tokenizer = Tokenizer::Parse(
      R"({"model": {"type": "BPE", "merges": [], "vocab": )" + std::string(vocabulary) +
      R"(}, "added_tokens": [{"id": 0, "content": "<s>", "special": true}], "decoder": )" +
      std::string(decoder) + "}");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.value();
}

constexpr std::string_view kLlama = R"({"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

// The pieces of a stream, each with a bar behind it.
std::string Pieces(const std::shared_ptr<const Tokenizer>& tokenizer,
                   const std::vector<int32_t>& ids, bool skip_special = true) {
  auto stream = StreamDecoder::Create(tokenizer, skip_special);
  EXPECT_TRUE(stream.ok()) << stream.error().message;
  std::string out;
  for (const int32_t id : ids) {
    std::string piece;
    EXPECT_TRUE(stream->Append(id, piece).ok());
    EXPECT_TRUE(base::IsValidUtf8(piece));
    out += piece + "|";
  }
  stream->Finish(out);
  return out;
}

TEST(StreamDecoder, HoldsBytesBackUntilTheirCharacterIsComplete) {
  // The alphabet's characters of E6, 97 and A5, which are U+65E5 together.
  const auto tokenizer =
      Make(R"({"<s>": 0, "\u00e6": 1, "\u0139": 2, "\u00a5": 3, "a": 4, "\u0120a": 5})",
           R"({"type": "ByteLevel"})");
  EXPECT_EQ(Pieces(tokenizer, {4, 1, 2, 3, 5}), "a|||\xE6\x97\xA5| a|");
  EXPECT_EQ(Pieces(tokenizer, {1, 2}), "||\xEF\xBF\xBD") << "never completed";
  EXPECT_EQ(Pieces(tokenizer, {1, 4}),
            "|\xEF\xBF\xBD"
            "a|")
      << "interrupted";
  EXPECT_EQ(Pieces(tokenizer, {3, 4}), "\xEF\xBF\xBD|a|") << "begins no character";
}

TEST(StreamDecoder, DropsOneLeadingBlankAndNoOther) {
  const auto tokenizer = Make(
      R"({"<s>": 0, "\u2581a": 1, "b": 2, "<0xE6>": 3, "<0x97>": 4, "<0xA5>": 5, "\u2581": 6})",
      kLlama);
  EXPECT_EQ(Pieces(tokenizer, {0, 1, 2, 1}), "|a|b| a|");
  EXPECT_EQ(Pieces(tokenizer, {6, 6, 1}), "| | a|");
  EXPECT_EQ(Pieces(tokenizer, {1, 3, 4, 5, 2}), "a|||\xE6\x97\xA5|b|");
  EXPECT_EQ(Pieces(tokenizer, {0, 1}, false), "<s>| a|");
  EXPECT_EQ(Pieces(tokenizer, {1, 99, 1}), "a|| a|") << "an id that is none";
}

TEST(StreamDecoder, WordsAreJoinedAsTheirDecoderJoinsThem) {
  const auto pieces = Make(R"({"<s>": 0, "a": 1, "##b": 2, ".": 3})",
                           R"({"type": "WordPiece", "prefix": "##", "cleanup": true})");
  EXPECT_EQ(Pieces(pieces, {1, 2, 1, 3}), "a|b| a|.|");
  EXPECT_EQ(Pieces(Make(R"({"<s>": 0, "a": 1})", "null"), {1, 1}), "a| a|");
}

TEST(StreamDecoder, ADecoderThatLooksAheadIsRefused) {
  for (const char* decoder : {R"({"type": "BPEDecoder", "suffix": "</w>"})",
                              R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 0, "stop": 1}]})",
                              R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
            {"type": "Replace", "pattern": {"String": "a"}, "content": ""}]})"}) {
    const auto stream = StreamDecoder::Create(Make(R"({"<s>": 0})", decoder));
    ASSERT_FALSE(stream.ok()) << decoder;
    EXPECT_EQ(stream.error().code, base::Code::kUnimplemented);
  }
}

TEST(Decoder, ByteTokensThatAreNoUtf8AreReplacedOneByOne) {
  const auto tokenizer = Make(R"({"<s>": 0, "<0xE6>": 1, "<0x97>": 2, "a": 3})", kLlama);
  const std::vector<int32_t> ids = {1, 2, 3};
  EXPECT_EQ(tokenizer->Decode(ids).value(),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(Pieces(tokenizer, ids),
            "||\xEF\xBF\xBD\xEF\xBF\xBD"
            "a|");
}

}  // namespace
}  // namespace sluice::text
