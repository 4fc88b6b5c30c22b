#include "text/model/word_piece.h"

#include <algorithm>

namespace sluice::text {

base::Result<WordPiece> WordPiece::Create(const std::vector<Vocabulary::Entry>& entries,
                                          WordPieceOptions options) {
  if (options.word_runes_max < 1 || options.word_runes_max > kWordRunesLimit) {
    return base::InvalidArgument("max_input_chars_per_word is " +
                                 std::to_string(options.word_runes_max) + ", expected 1 to " +
                                 std::to_string(kWordRunesLimit));
  }
  WordPiece model;
  model.vocabulary_ = TRY(Vocabulary::Create(entries));
  size_t bytes = 0;
  for (const auto& [token, id] : entries) {
    bytes += token.size();
    if (bytes > TokenTrie::kBytesMax) {
      return base::InvalidArgument("the vocabulary is longer than " +
                                   std::to_string(TokenTrie::kBytesMax) + " bytes");
    }
    if (token.empty()) continue;  // never matches anything
    model.trie_.Add(token, id);
  }
  model.unknown_id_ = model.vocabulary_.Find(options.unknown_token);
  if (model.unknown_id_ == Vocabulary::kNone) {
    return base::InvalidArgument("the unknown token '" + options.unknown_token +
                                 "' is not in the vocabulary");
  }
  model.continuation_ = model.trie_.Walk(TokenTrie::root(), options.continuation_prefix);
  model.options_ = std::move(options);
  return model;
}

void WordPiece::Append(std::string_view word, std::vector<int32_t>& ids) const {
  // Continuation bytes start no rune.
  const auto runes = std::count_if(word.begin(), word.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
  if (runes > options_.word_runes_max) {
    ids.push_back(unknown_id_);
  } else {
    AppendShort(word, ids);
  }
}

void WordPiece::AppendShort(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  int32_t from = TokenTrie::root();
  while (!word.empty()) {
    const TokenTrie::Match match = trie_.Longest(from, word);
    if (match.id == TokenTrie::kNone) {
      ids.resize(before);  // one piece is unknown, so the word is
      ids.push_back(unknown_id_);
      return;
    }
    ids.push_back(match.id);
    word.remove_prefix(match.bytes);
    from = continuation_;
  }
}

}  // namespace sluice::text
