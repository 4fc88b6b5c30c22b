#include "text/model/unigram.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text {
namespace {

using Ids = std::vector<int32_t>;

Ids Cut(const Unigram& model, std::string_view word) {
  Ids ids;
  model.Append(word, ids);
  return ids;
}

// The best sum over every way to cut the word, tried one by one.
double BestScore(const std::map<std::string, double>& scores, const std::string& word) {
  if (word.empty()) return 0;
  double best = -std::numeric_limits<double>::infinity();
  for (size_t length = 1; length <= word.size(); ++length) {
    const auto found = scores.find(word.substr(0, length));
    if (found == scores.end()) continue;
    best = std::max(best, found->second + BestScore(scores, word.substr(length)));
  }
  return best;
}

TEST(Unigram, FindsTheBestOfAllWaysToCut) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::map<std::string, double> scores = {{"a", -4}, {"b", -4.5}, {"c", -5}};
    while (scores.size() < 20) {
      std::string token(2 + random() % 4, 'a');
      for (char& c : token) c = static_cast<char>('a' + random() % 3);
      scores[token] = -3.0 - static_cast<double>(random() % 1000) / 97;
    }
    std::vector<std::string_view> tokens = {"<unk>"};
    std::vector<double> list = {0};
    for (const auto& [token, score] : scores) {
      tokens.push_back(token);
      list.push_back(score);
    }
    const auto model = Unigram::Create(tokens, list, {}).value();
    for (int text = 0; text < 30; ++text) {
      std::string word(1 + random() % 14, 'a');
      for (char& c : word) c = static_cast<char>('a' + random() % 3);
      std::string joined;
      double sum = 0;
      for (const int32_t id : Cut(*model, word)) {
        joined += tokens[static_cast<size_t>(id)];
        sum += list[static_cast<size_t>(id)];
      }
      ASSERT_EQ(joined, word);
      ASSERT_NEAR(sum, BestScore(scores, word), 1e-9) << word;
    }
  }
}

TEST(Unigram, NeighbouringUnknownCharactersAreOneToken) {
  const std::vector<std::string_view> tokens = {"<unk>", "a", "ab", "<0x78>"};
  UnigramOptions options;
  const auto model = Unigram::Create(tokens, {0, -1, -1.5, -9}, options).value();
  EXPECT_EQ(Cut(*model, "axxab"), (Ids{1, 0, 2}));
  EXPECT_EQ(Cut(*model, "\xE6\x97\xA5\xE6\x97\xA5"), (Ids{0}));
  options.byte_fallback = true;
  const auto bytes = Unigram::Create(tokens, {0, -1, -1.5, -9}, options).value();
  EXPECT_EQ(Cut(*bytes, "axx"), (Ids{1, 3, 3}));
  EXPECT_EQ(Cut(*bytes, "axy"), (Ids{1, 0})) << "not every byte has a token";
}

TEST(Unigram, LongTextsAreCutAsShortOnesAre) {
  const std::vector<std::string_view> tokens = {"<unk>", "a", "aaa"};
  const auto model = Unigram::Create(tokens, {0, -2, -3}, {}).value();
  EXPECT_EQ(Cut(*model, std::string(30000, 'a')), Ids(10000, 2));
}

TEST(Unigram, WhatIsWrongIsRefused) {
  UnigramOptions options;
  options.unknown_id = 1;
  EXPECT_FALSE(Unigram::Create({"a"}, {0}, options).ok());
  EXPECT_FALSE(Unigram::Create({"a"}, {std::numeric_limits<double>::quiet_NaN()}, {}).ok());
  const std::string token(Unigram::kTokenBytesMax + 1, 'a');
  EXPECT_FALSE(Unigram::Create({token}, {0}, {}).ok());
}

}  // namespace
}  // namespace sluice::text
