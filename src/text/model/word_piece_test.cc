#include "text/model/word_piece.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/model/token_trie.h"

namespace sluice::text {
namespace {

using Entries = std::vector<Vocabulary::Entry>;

std::vector<int32_t> Cut(const WordPiece& model, std::string_view word) {
  std::vector<int32_t> ids;
  model.Append(word, ids);
  return ids;
}

TEST(TokenTrie, FindsTheLongestEntry) {
  TokenTrie trie;
  trie.Add("a", 1);
  trie.Add("abc", 2);
  trie.Add("b", 3);
  EXPECT_EQ(trie.Longest(TokenTrie::root(), "abcd").id, 2);
  EXPECT_EQ(trie.Longest(TokenTrie::root(), "abcd").bytes, 3u);
  EXPECT_EQ(trie.Longest(TokenTrie::root(), "abx").id, 1);
  EXPECT_EQ(trie.Longest(TokenTrie::root(), "xa").id, TokenTrie::kNone);
  EXPECT_EQ(trie.Longest(TokenTrie::root(), "").id, TokenTrie::kNone);
  EXPECT_EQ(trie.Longest(TokenTrie::kNone, "a").id, TokenTrie::kNone);
  EXPECT_EQ(trie.Longest(trie.Walk(TokenTrie::root(), "ab"), "c").id, 2);
}

TEST(TokenTrie, HoldsManyRandomEntriesIncludingNulAndHighBytes) {
  std::mt19937 random(17);
  std::map<std::string, int32_t> reference;
  TokenTrie trie;
  for (int32_t id = 0; id < 20000; ++id) {
    std::string text(1 + random() % 6, '\0');
    for (char& c : text) c = static_cast<char>(random() % 3 == 0 ? random() : random() % 4);
    trie.Add(text, id);
    reference[text] = id;
  }
  for (const auto& [text, id] : reference) {
    ASSERT_EQ(trie.id(trie.Walk(TokenTrie::root(), text)), id);
  }
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 9, '\0');
    for (char& c : text) c = static_cast<char>(random() % 4);
    size_t longest = 0;
    for (size_t length = 1; length <= text.size(); ++length) {
      if (reference.count(text.substr(0, length)) != 0) longest = length;
    }
    const TokenTrie::Match match = trie.Longest(TokenTrie::root(), text);
    ASSERT_EQ(match.bytes, longest);
    if (longest > 0) {
      ASSERT_EQ(match.id, reference[text.substr(0, longest)]);
    }
  }
}

TEST(WordPiece, CutsGreedilyFromTheLeft) {
  const WordPiece model = WordPiece::Create({{"[UNK]", 0},
                                             {"un", 1},
                                             {"##aff", 2},
                                             {"##able", 3},
                                             {"##a", 4},
                                             {"una", 5},
                                             {"##ff", 6}},
                                            {})
                              .value();
  EXPECT_EQ(Cut(model, "unaffable"), (std::vector<int32_t>{5, 6, 3}));
  EXPECT_EQ(Cut(model, "un"), (std::vector<int32_t>{1}));
  EXPECT_EQ(Cut(model, "##aff"), (std::vector<int32_t>{2}));
}

TEST(WordPiece, AWordWithOneUnknownPieceIsUnknown) {
  const WordPiece model = WordPiece::Create({{"[UNK]", 7}, {"a", 1}, {"##b", 2}}, {}).value();
  EXPECT_EQ(Cut(model, "abbb"), (std::vector<int32_t>{1, 2, 2, 2}));
  EXPECT_EQ(Cut(model, "abx"), (std::vector<int32_t>{7}));
  EXPECT_EQ(Cut(model, "xab"), (std::vector<int32_t>{7}));
}

TEST(WordPiece, WordsAboveTheLimitOfRunesAreUnknown) {
  WordPieceOptions options;
  options.word_runes_max = 3;
  const WordPiece model =
      WordPiece::Create({{"[UNK]", 0}, {"\xC3\xA9", 1}, {"##\xC3\xA9", 2}}, options).value();
  EXPECT_EQ(Cut(model, "\xC3\xA9\xC3\xA9\xC3\xA9"), (std::vector<int32_t>{1, 2, 2}));
  EXPECT_EQ(Cut(model, "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"), (std::vector<int32_t>{0}));
}

TEST(WordPiece, AnEmptyPrefixContinuesWithPlainEntries) {
  WordPieceOptions options;
  options.continuation_prefix = "";
  const WordPiece model = WordPiece::Create({{"[UNK]", 0}, {"a", 1}, {"b", 2}}, options).value();
  EXPECT_EQ(Cut(model, "abba"), (std::vector<int32_t>{1, 2, 2, 1}));
}

TEST(WordPiece, WithoutContinuationsOnlyWholeWordsAreKnown) {
  const WordPiece model = WordPiece::Create({{"[UNK]", 0}, {"ab", 1}, {"a", 2}}, {}).value();
  EXPECT_EQ(Cut(model, "ab"), (std::vector<int32_t>{1}));
  EXPECT_EQ(Cut(model, "aab"), (std::vector<int32_t>{0}));
}

TEST(WordPiece, RefusesBadVocabularies) {
  EXPECT_FALSE(WordPiece::Create({{"a", 1}}, {}).ok()) << "no unknown token";
  EXPECT_FALSE(WordPiece::Create({{"[UNK]", -1}}, {}).ok());
  WordPieceOptions options;
  options.word_runes_max = 0;
  EXPECT_FALSE(WordPiece::Create({{"[UNK]", 0}}, options).ok());
  options.word_runes_max = WordPiece::kWordRunesLimit + 1;
  EXPECT_FALSE(WordPiece::Create({{"[UNK]", 0}}, options).ok());
  EXPECT_FALSE(
      WordPiece::Create({{"[UNK]", 0}, {std::string(TokenTrie::kBytesMax, 'x'), 1}}, {}).ok());
  EXPECT_FALSE(WordPiece::Create(Entries(Vocabulary::kTokensMax + 1, {"[UNK]", 0}), {}).ok());
}

}  // namespace
}  // namespace sluice::text
