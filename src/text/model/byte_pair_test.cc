#include "text/model/byte_pair.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::text {
namespace {

using Ids = std::vector<int32_t>;

// Merges over the letters a to d, each of two tokens that there are already.
struct Rules {
  std::vector<std::string> tokens = {"a", "b", "c", "d"};
  std::vector<BytePairMerge> merges;
};
Rules RandomRules(std::mt19937& random, int count) {
  Rules rules;
  std::map<std::string, int32_t> known;
  for (int32_t i = 0; i < 4; ++i) known[rules.tokens[static_cast<size_t>(i)]] = i;
  std::map<std::pair<int32_t, int32_t>, bool> used;
  while (static_cast<int>(rules.merges.size()) < count) {
    const auto left = static_cast<int32_t>(random() % rules.tokens.size());
    const auto right = static_cast<int32_t>(random() % rules.tokens.size());
    const std::string whole =
        rules.tokens[static_cast<size_t>(left)] + rules.tokens[static_cast<size_t>(right)];
    if (whole.size() > 12 || used[{left, right}]) continue;
    used[{left, right}] = true;
    const auto [at, is_new] = known.emplace(whole, static_cast<int32_t>(rules.tokens.size()));
    if (is_new) rules.tokens.push_back(whole);
    rules.merges.push_back({left, right, static_cast<int32_t>(rules.merges.size()), at->second});
  }
  return rules;
}

std::unique_ptr<const BytePair> Make(const Rules& rules, BytePairOptions options = {}) {
  std::vector<Vocabulary::Entry> entries;
  for (size_t i = 0; i < rules.tokens.size(); ++i) {
    entries.emplace_back(rules.tokens[i], static_cast<int32_t>(i));
  }
  return BytePair::Create(Vocabulary::Create(entries).value(), rules.merges, std::move(options))
      .value();
}

Ids Cut(const BytePair& model, std::string_view word) {
  Ids ids;
  model.Append(word, ids);
  return ids;
}

// The definition: the lowest rank anywhere, of equal ones the leftmost, again and again.
Ids Reference(const Rules& rules, std::string_view word) {
  Ids ids;
  for (const char c : word) ids.push_back(c - 'a');
  for (;;) {
    const BytePairMerge* best = nullptr;
    size_t place = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (const BytePairMerge& merge : rules.merges) {
        const bool fits = merge.left == ids[i] && merge.right == ids[i + 1];
        if (fits && (best == nullptr || merge.rank < best->rank)) {
          best = &merge;
          place = i;
        }
      }
    }
    if (best == nullptr) return ids;
    ids[place] = best->id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

TEST(BytePair, MergesTheLowestRankFirstInShortAndLongWords) {
  std::mt19937 random(5);
  for (int round = 0; round < 30; ++round) {
    const Rules rules = RandomRules(random, 40);
    const auto model = Make(rules);
    for (int text = 0; text < 40; ++text) {
      std::string word(1 + random() % (text % 4 == 0 ? 120 : 30), 'a');
      for (char& c : word) c = static_cast<char>('a' + random() % 4);
      const Ids want = Reference(rules, word);
      ASSERT_EQ(Cut(*model, word), want) << word;
      ASSERT_EQ(Cut(*model, word), want) << word << ", from the cache";
    }
  }
}

TEST(BytePair, UnknownCharactersBecomeWhatTheOptionsSay) {
  Rules rules;
  rules.tokens = {"a", "b", "<unk>", "<0xC3>", "<0xA9>"};
  BytePairOptions options;
  EXPECT_EQ(Cut(*Make(rules, options), "axxb"), (Ids{0, 1})) << "dropped";
  options.unknown_token = "<unk>";
  EXPECT_EQ(Cut(*Make(rules, options), "axxb"), (Ids{0, 2, 2, 1}));
  options.fuse_unknown = true;
  EXPECT_EQ(Cut(*Make(rules, options), "axxb"), (Ids{0, 2, 1}));
  options.byte_fallback = true;
  EXPECT_EQ(Cut(*Make(rules, options), "a\xC3\xA9x"), (Ids{0, 3, 4, 2}));
}

TEST(BytePair, ContinuationsAndEndsOfWordsHaveTokensOfTheirOwn) {
  Rules rules;
  rules.tokens = {"a", "##a", "##a</w>", "a</w>", "a##a</w>"};
  BytePairOptions options;
  options.continuation_prefix = "##";
  options.word_suffix = "</w>";
  EXPECT_EQ(Cut(*Make(rules, options), "aaa"), (Ids{0, 1, 2}));
  EXPECT_EQ(Cut(*Make(rules, options), "a"), (Ids{3}));
}

TEST(BytePair, CuttingAtBlanksChangesNothing) {
  // With a token that holds U+2581 inside, the text is merged as a whole.
  const std::string blank = "\xE2\x96\x81";
  Rules rules;
  rules.tokens = {"a", "b", blank, blank + "a", "ab", blank + blank};
  rules.merges = {{2, 0, 0, 3}, {0, 1, 1, 4}, {2, 2, 2, 5}};
  Rules inside = rules;
  inside.tokens.push_back("b" + blank);
  inside.merges.push_back({1, 2, 3, 6});
  const std::string text = blank + "ab" + blank + blank + blank + "aab" + blank;
  EXPECT_EQ(Cut(*Make(rules), text), (Ids{3, 1, 5, 3, 4, 2}));
  EXPECT_EQ(Cut(*Make(rules), "b" + blank + blank + "a"), (Ids{1, 2, 3}));
  EXPECT_EQ(Cut(*Make(inside), "b" + blank + blank + "a"), (Ids{6, 3}));
  EXPECT_EQ(Cut(*Make(inside), "b" + blank + "b"), (Ids{6, 1}));
}

TEST(BytePair, AWordOfAMillionCharactersTakesOneHeap) {
  Rules rules;
  std::string token = "a";
  rules.tokens = {token};
  for (int32_t i = 0; i < 10; ++i) {
    token += token;
    rules.tokens.push_back(token);
    rules.merges.push_back({i, i, i, i + 1});
  }
  const Ids ids = Cut(*Make(rules), std::string(1 << 20, 'a'));
  EXPECT_EQ(ids, Ids(1024, 10));
}

TEST(BytePair, MergesOfRanksAreAllWaysToCutAToken) {
  const std::vector<Vocabulary::Entry> entries = {
      {"a", 0}, {"b", 1}, {"ab", 2}, {"aab", 3}, {"aa", 4}};
  const Vocabulary vocabulary = Vocabulary::Create(entries).value();
  const std::vector<int32_t> ranks = {0, 1, 2, 3, 4};
  EXPECT_EQ(BytePair::MergesByRank(vocabulary, ranks)->size(), 4u);
  const std::string token(BytePair::kCutBytesMax + 1, 'a');
  const Vocabulary long_one = Vocabulary::Create({{token, 0}}).value();
  EXPECT_FALSE(BytePair::MergesByRank(long_one, ranks).ok());
}

}  // namespace
}  // namespace sluice::text
