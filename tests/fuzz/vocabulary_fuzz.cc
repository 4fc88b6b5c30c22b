// Vocabularies that are no tokenizer.json. The first byte says which: a SentencePiece model, ranks
// of tiktoken, GPT-2's two files, or the arrays of a GGUF file; what follows is the file, a newline
// and a NUL, and a text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/format/vocabulary_files.h"

namespace {

using sluice::base::Result;
using sluice::text::GgufVocabulary;
using sluice::text::SharedTokenizer;

constexpr std::string_view kSeparator("\n\0", 2);

// A line each: the model, the pre-tokeniser, then tokens with a type before each, or merges behind
// an M.
Result<SharedTokenizer> ReadGguf(std::string_view file) {
  GgufVocabulary vocabulary;
  std::vector<int32_t> types;
  std::vector<float> scores;
  for (int line = 0; !file.empty(); ++line) {
    const size_t end = std::min(file.find('\n'), file.size());
    const std::string_view text = file.substr(0, end);
    file.remove_prefix(std::min(end + 1, file.size()));
    if (line == 0) {
      vocabulary.model = text;
    } else if (line == 1) {
      vocabulary.pre = text;
    } else if (!text.empty() && text.front() == 'M') {
      vocabulary.merges.push_back(text.substr(1));
    } else {
      vocabulary.tokens.push_back(text.substr(std::min<size_t>(1, text.size())));
      types.push_back(text.empty() ? 1 : text.front() - '0');
      scores.push_back(-static_cast<float>(line % 7));
    }
  }
  vocabulary.types = types;
  vocabulary.scores = scores;
  vocabulary.begin_id = 1;
  vocabulary.unknown_id = 0;
  return sluice::text::ReadGgufVocabulary(vocabulary);
}

Result<SharedTokenizer> Read(uint8_t kind, std::string_view file) {
  switch (kind % 4) {
    case 0:
      return sluice::text::ReadSentencePiece(file, {.add_begin = true});
    case 1: {
      sluice::text::RankOptions options;
      options.nfc = true;
      options.special_tokens = {{"<s>", 7}};
      return sluice::text::ReadRanks(file, options);
    }
    case 2: {
      const size_t end = std::min(file.find('\n'), file.size());
      return sluice::text::ReadEncoderAndMerges(file.substr(0, end), file.substr(end));
    }
    default:
      return ReadGguf(file);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t split = std::min(input.find(kSeparator), input.size());
  const auto tokenizer = Read(data[0], input.substr(0, split));
  if (!tokenizer.ok()) return 0;
  const std::string_view text =
      split == input.size() ? input : input.substr(split + kSeparator.size());
  const auto encoding = (*tokenizer)->Encode(text);
  if (!encoding.ok()) return 0;
  for (const int32_t id : encoding->ids) CHECK(id >= 0 && id <= (*tokenizer)->id_max()) << id;
  (void)(*tokenizer)->Decode(encoding->ids, false);
  return 0;
}
