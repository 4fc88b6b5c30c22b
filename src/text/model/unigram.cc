#include "text/model/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "text/model/word_cache.h"

namespace sluice::text {
namespace {

// How much less likely an unknown character is than the least likely token (SentencePiece's
// kUnkPenalty).
constexpr double kUnknownPenalty = 10.0;

struct Node {
  double score;   // of the best path that ends here
  int32_t begin;  // where its last token begins; -1: no path yet
  int32_t id;     // that token
};
constexpr Node kNoPath{0, -1, 0};

size_t RuneBytes(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

base::Result<std::unique_ptr<const Unigram>> Unigram::Create(
    const std::vector<std::string_view>& tokens, std::vector<double> scores,
    UnigramOptions options) {
  if (options.unknown_id < 0 || static_cast<size_t>(options.unknown_id) >= tokens.size()) {
    return base::InvalidArgument("the unknown id " + std::to_string(options.unknown_id) +
                                 " is none of the " + std::to_string(tokens.size()) + " tokens");
  }
  std::unique_ptr<Unigram> model(new Unigram);
  std::vector<Vocabulary::Entry> entries;
  entries.reserve(tokens.size());
  size_t bytes = 0;
  if (!options.matched.empty() && options.matched.size() != tokens.size()) {
    return base::InvalidArgument("types for " + std::to_string(options.matched.size()) + " of " +
                                 std::to_string(tokens.size()) + " tokens");
  }
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].size() > kTokenBytesMax) {
      return base::InvalidArgument("a token of " + std::to_string(tokens[i].size()) +
                                   " bytes is longer than the limit of " +
                                   std::to_string(kTokenBytesMax));
    }
    if (!std::isfinite(scores[i])) {
      return base::InvalidArgument("the score of token '" + std::string(tokens[i]) +
                                   "' is no finite number");
    }
    bytes += tokens[i].size();
    if (bytes > TokenTrie::kBytesMax) {
      return base::InvalidArgument("the vocabulary is longer than " +
                                   std::to_string(TokenTrie::kBytesMax) + " bytes");
    }
    entries.emplace_back(tokens[i], static_cast<int32_t>(i));
    const bool matched = options.matched.empty() || options.matched[i];
    if (matched) least = std::min(least, scores[i]);
    if (matched && !tokens[i].empty()) model->trie_.Add(tokens[i], static_cast<int32_t>(i));
  }
  if (!std::isfinite(least)) return base::InvalidArgument("no token has a score");
  model->vocabulary_ = TRY(Vocabulary::Create(entries));
  model->unknown_score_ = least - kUnknownPenalty;
  if (options.single_precision) {
    model->unknown_score_ = static_cast<double>(static_cast<float>(model->unknown_score_));
  }
  model->scores_ = std::move(scores);
  model->options_ = std::move(options);
  model->owner_ = WordCache::NewOwner();
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string token = std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
    model->byte_ids_[byte] = model->vocabulary_.Find(token);
  }
  return std::unique_ptr<const Unigram>(std::move(model));
}

void Unigram::Append(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.size() > WordCache::kWordBytesMax) return AppendUncached(word, ids);
  WordCache& cache = WordCache::OfThread();
  const uint64_t hash = HashBytes(word);
  if (cache.Find(owner_, word, hash, ids)) return;
  const size_t before = ids.size();
  AppendUncached(word, ids);
  cache.Put(owner_, word, hash, ids.data() + before, ids.size() - before);
}

void Unigram::AppendUncached(std::string_view word, std::vector<int32_t>& ids) const {
  constexpr size_t kFewBytes = 256;
  std::array<Node, kFewBytes + 1> few;
  std::vector<Node> many;
  Node* best = few.data();
  if (word.size() > kFewBytes) {
    many.assign(word.size() + 1, kNoPath);
    best = many.data();
  } else {
    std::fill_n(few.begin(), word.size() + 1, kNoPath);
  }
  const auto reach = [&](size_t begin, size_t end, int32_t id, double score) {
    Node& node = best[end];
    double sum = score + best[begin].score;
    // The sum of two floats is rounded the same way from binary64.
    if (options_.single_precision) sum = static_cast<double>(static_cast<float>(sum));
    if (node.begin < 0 || sum > node.score) node = {sum, static_cast<int32_t>(begin), id};
  };
  for (size_t at = 0; at < word.size();) {
    const size_t rune_end = std::min(at + RuneBytes(word[at]), word.size());
    bool single = false;  // a token of this one character exists
    int32_t node = TokenTrie::root();
    for (size_t end = at; end < word.size();) {
      node = trie_.Next(node, word[end]);
      if (node == TokenTrie::kNone) break;
      ++end;
      const int32_t id = trie_.id(node);
      if (id == TokenTrie::kNone) continue;
      reach(at, end, id, scores_[static_cast<size_t>(id)]);
      single = single || end == rune_end;
    }
    if (!single) reach(at, rune_end, options_.unknown_id, unknown_score_);
    at = rune_end;
  }
  // Backwards along the best path; neighbouring unknown characters are one stretch.
  std::vector<std::pair<int32_t, int32_t>> stretches;
  for (size_t end = word.size(); end > 0;) {
    const Node& node = best[end];
    const auto begin = static_cast<size_t>(node.begin);
    const bool unknown = node.id == options_.unknown_id;
    if (unknown && !stretches.empty() && stretches.back().second < 0 &&
        stretches.back().first == static_cast<int32_t>(end)) {
      stretches.back().first = node.begin;
    } else {
      stretches.emplace_back(node.begin, unknown ? -1 : node.id);
    }
    end = begin;
  }
  size_t begin = 0;
  for (size_t i = stretches.size(); i-- > 0;) {
    const size_t end = i == 0 ? word.size() : static_cast<size_t>(stretches[i - 1].first);
    if (stretches[i].second >= 0) {
      ids.push_back(stretches[i].second);
    } else {
      AppendStretch(word.substr(begin, end - begin), ids);
    }
    begin = end;
  }
}

void Unigram::AppendStretch(std::string_view stretch, std::vector<int32_t>& ids) const {
  // The library looks the joined text up; SentencePiece itself does not.
  const int32_t id = options_.single_precision ? Vocabulary::kNone : vocabulary_.Find(stretch);
  if (id != Vocabulary::kNone) {
    ids.push_back(id);
    return;
  }
  const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (options_.byte_fallback && std::all_of(stretch.begin(), stretch.end(), [&](char c) {
        return byte_id(c) != Vocabulary::kNone;
      })) {
    for (const char c : stretch) ids.push_back(byte_id(c));
  } else {
    ids.push_back(options_.unknown_id);
  }
}

}  // namespace sluice::text
