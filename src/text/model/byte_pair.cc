#include "text/model/byte_pair.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <queue>
#include <utility>

#include "base/utf8.h"
#include "text/model/word_cache.h"
#include "text/unicode/byte_alphabet.h"

namespace sluice::text {
namespace {

constexpr int32_t kNone = Vocabulary::kNone;
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();
// Words of up to so many symbols are searched for their next pair anew each time, which is faster
// than a heap there.
constexpr size_t kFewMax = 32;
constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581

// "<0x0A>"
std::string ByteToken(int byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
}

// Whether U+2581 stands in `token` behind anything else.
bool HoldsBlankInside(std::string_view token) {
  while (token.substr(0, kBlank.size()) == kBlank) token.remove_prefix(kBlank.size());
  return token.find(kBlank) != std::string_view::npos;
}

size_t RuneBytes(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

BytePair::BytePair(Vocabulary vocabulary, BytePairOptions options)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      owner_(WordCache::NewOwner()) {}

base::Result<std::unique_ptr<const BytePair>> BytePair::Create(
    Vocabulary vocabulary, std::span<const BytePairMerge> merges, BytePairOptions options) {
  std::unique_ptr<BytePair> model(new BytePair(std::move(vocabulary), std::move(options)));
  TRY(model->Prepare(merges));
  return std::unique_ptr<const BytePair>(std::move(model));
}

base::Status BytePair::Prepare(std::span<const BytePairMerge> merges) {
  if (merges.size() > kMergesMax) {
    return base::InvalidArgument("more than " + std::to_string(kMergesMax) + " merges");
  }
  bool complete = true;
  for (int byte = 0; byte < 256; ++byte) {
    std::string token = ByteToken(byte);
    if (options_.byte_level) {
      const char character = static_cast<char>(byte);
      token.clear();
      AppendAsAlphabet({&character, 1}, token);
    }
    byte_ids_[static_cast<size_t>(byte)] = vocabulary_.Find(token);
    complete = complete && byte_ids_[static_cast<size_t>(byte)] != kNone;
  }
  for (size_t code = 0; code < ascii_ids_.size(); ++code) {
    const char character = static_cast<char>(code);
    ascii_ids_[code] = vocabulary_.Find({&character, 1});
  }
  if (options_.unknown_token) {
    unknown_id_ = vocabulary_.Find(*options_.unknown_token);
    if (unknown_id_ == kNone && !(options_.byte_level && complete)) {
      return base::InvalidArgument("the unknown token '" + *options_.unknown_token +
                                   "' is not in the vocabulary");
    }
  }
  if (options_.ignore_merges && options_.byte_level) {
    std::vector<std::string> words;
    std::vector<int32_t> ids;
    for (size_t i = 0; i < vocabulary_.size(); ++i) {
      std::optional<std::string> bytes = BytesOfAlphabet(vocabulary_.entry(i).first);
      if (!bytes) continue;
      words.push_back(std::move(*bytes));
      ids.push_back(vocabulary_.entry(i).second);
    }
    std::vector<Vocabulary::Entry> entries;
    entries.reserve(words.size());
    for (size_t i = 0; i < words.size(); ++i) entries.emplace_back(words[i], ids[i]);
    words_ = TRY(Vocabulary::Create(entries));
  }
  AddMerges(merges);
  cut_at_blanks_ = !options_.byte_level && !options_.ignore_merges &&
                   options_.continuation_prefix.empty() && options_.word_suffix.empty() &&
                   vocabulary_.Find(kBlank) != kNone && TokensStartWithBlanksOnly(merges);
  return base::Ok();
}

bool BytePair::TokensStartWithBlanksOnly(std::span<const BytePairMerge> merges) const {
  return std::none_of(merges.begin(), merges.end(), [&](const BytePairMerge& merge) {
    return HoldsBlankInside(vocabulary_.Token(merge.id).value_or(""));
  });
}

void BytePair::AddMerges(std::span<const BytePairMerge> merges) {
  const size_t slots = std::bit_ceil(merges.size() * 2 + 2);
  merges_.resize(slots);
  shift_ = 64 - std::countr_zero(slots);
  for (const BytePairMerge& merge : merges) {
    const uint64_t pair = PairOf(merge.left, merge.right);
    size_t at = SlotOf(pair);
    while (merges_[at].pair != kNoPair && merges_[at].pair != pair) at = (at + 1) & (slots - 1);
    merges_[at] = {pair, merge.rank, merge.id};
  }
}

base::Result<std::vector<BytePairMerge>> BytePair::MergesByRank(const Vocabulary& vocabulary,
                                                                std::span<const int32_t> ranks) {
  std::vector<BytePairMerge> merges;
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const auto [token, id] = vocabulary.entry(i);
    if (token.size() > kCutBytesMax) {
      return base::InvalidArgument("a token of " + std::to_string(token.size()) +
                                   " bytes is longer than the limit of " +
                                   std::to_string(kCutBytesMax));
    }
    if (merges.size() > kMergesMax) break;  // Create refuses them
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const int32_t left = vocabulary.Find(token.substr(0, cut));
      if (left == kNone) continue;
      const int32_t right = vocabulary.Find(token.substr(cut));
      if (right != kNone) merges.push_back({left, right, ranks[i], id});
    }
  }
  return merges;
}

BytePair::Merge BytePair::MergeOf(int32_t left, int32_t right) const {
  const uint64_t pair = PairOf(left, right);
  for (size_t at = SlotOf(pair);; at = (at + 1) & (merges_.size() - 1)) {
    const Merge& merge = merges_[at];
    if (merge.pair == pair) return merge;
    if (merge.pair == kNoPair) return {kNoPair, kNoRank, kNone};
  }
}

void BytePair::Append(std::string_view word, std::vector<int32_t>& ids) const {
  if (!cut_at_blanks_) return AppendPart(word, ids);
  // Nothing merges across the place before a U+2581 that follows another character.
  size_t begin = 0;
  for (size_t at = word.find(kBlank); at != std::string_view::npos;) {
    if (at > begin) AppendPart(word.substr(begin, at - begin), ids);
    begin = at;
    while (word.substr(at, kBlank.size()) == kBlank) at += kBlank.size();
    at = word.find(kBlank, at);
  }
  if (begin < word.size()) AppendPart(word.substr(begin), ids);
}

void BytePair::AppendPart(std::string_view part, std::vector<int32_t>& ids) const {
  if (part.size() > WordCache::kWordBytesMax) return AppendUncached(part, ids);
  WordCache& cache = WordCache::OfThread();
  const uint64_t hash = HashBytes(part);
  if (cache.Find(owner_, part, hash, ids)) return;
  const size_t before = ids.size();
  AppendUncached(part, ids);
  cache.Put(owner_, part, hash, ids.data() + before, ids.size() - before);
}

void BytePair::AppendUncached(std::string_view part, std::vector<int32_t>& ids) const {
  if (options_.ignore_merges) {
    const int32_t whole = (options_.byte_level ? words_ : vocabulary_).Find(part);
    if (whole != kNone) {
      ids.push_back(whole);
      return;
    }
  }
  const size_t begin = ids.size();
  AppendSymbols(part, ids);
  if (ids.size() - begin <= kFewMax) {
    MergeFew(begin, ids);
  } else {
    MergeMany(begin, ids);
  }
}

void BytePair::AppendSymbols(std::string_view part, std::vector<int32_t>& ids) const {
  if (!options_.byte_level || !options_.continuation_prefix.empty() ||
      !options_.word_suffix.empty()) {
    if (!options_.byte_level) return AppendRunes(part, ids);
    std::string written;
    AppendAsAlphabet(part, written);
    return AppendRunes(written, ids);
  }
  bool unknown = false;  // the last symbol is an unknown one
  for (const char c : part) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    if (id != kNone) {
      ids.push_back(id);
      unknown = false;
    } else if (unknown_id_ != kNone) {
      if (!unknown || !options_.fuse_unknown) ids.push_back(unknown_id_);
      unknown = true;
    }
  }
}

void BytePair::AppendRunes(std::string_view part, std::vector<int32_t>& ids) const {
  const bool plain = options_.continuation_prefix.empty() && options_.word_suffix.empty();
  std::string written;
  // The library holds an unknown character back until a known one comes, also across characters
  // that fall back to bytes.
  bool pending = false;
  const auto flush = [&] {
    if (pending) ids.push_back(unknown_id_);
    pending = false;
  };
  for (size_t at = 0; at < part.size();) {
    const size_t bytes = std::min(RuneBytes(part[at]), part.size() - at);
    std::string_view symbol = part.substr(at, bytes);
    if (!plain) {
      written = at == 0 ? "" : options_.continuation_prefix;
      written += symbol;
      if (at + bytes == part.size()) written += options_.word_suffix;
      symbol = written;
    }
    at += bytes;
    const int32_t id = symbol.size() == 1 && symbol[0] >= 0
                           ? ascii_ids_[static_cast<size_t>(symbol[0])]
                           : vocabulary_.Find(symbol);
    if (id != kNone) {
      flush();
      ids.push_back(id);
    } else if (options_.byte_fallback && AppendFallback(symbol, ids)) {
      continue;
    } else if (unknown_id_ != kNone) {
      if (!options_.fuse_unknown) flush();
      pending = true;
    }
  }
  flush();
}

bool BytePair::AppendFallback(std::string_view bytes, std::vector<int32_t>& ids) const {
  const auto id_of = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (std::any_of(bytes.begin(), bytes.end(), [&](char c) { return id_of(c) == kNone; })) {
    return false;
  }
  for (const char c : bytes) ids.push_back(id_of(c));
  return true;
}

void BytePair::MergeFew(size_t begin, std::vector<int32_t>& ids) const {
  int32_t* const symbols = ids.data() + begin;
  size_t count = ids.size() - begin;
  if (count < 2) return;
  std::array<int32_t, kFewMax> ranks;   // of the pair that starts here
  std::array<int32_t, kFewMax> merged;  // what it becomes
  const auto look = [&](size_t at) {
    const Merge merge = MergeOf(symbols[at], symbols[at + 1]);
    ranks[at] = merge.rank;
    merged[at] = merge.id;
  };
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == kNoRank) break;
    symbols[best] = merged[best];
    for (size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    --count;
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  ids.resize(begin + count);
}

void BytePair::MergeMany(size_t begin, std::vector<int32_t>& ids) const {
  const auto count = static_cast<int32_t>(ids.size() - begin);
  int32_t* const symbols = ids.data() + begin;
  struct Link {
    int32_t before;
    int32_t behind;
  };
  std::vector<Link> links(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    links[static_cast<size_t>(i)] = {i - 1, i + 1 < count ? i + 1 : -1};
  }
  // A pair's rank above its place: the order in which pairs are merged. A pair that has changed
  // since is found out when it comes, by its rank.
  std::vector<uint64_t> first_pairs;
  first_pairs.reserve(static_cast<size_t>(count));
  const auto key_of = [&](int32_t at) {
    const int32_t behind = links[static_cast<size_t>(at)].behind;
    const Merge merge = MergeOf(symbols[at], symbols[behind]);
    return PairOf(merge.rank, at);
  };
  const auto is_pair = [](uint64_t key) { return static_cast<int32_t>(key >> 32) != kNoRank; };
  for (int32_t i = 0; i + 1 < count; ++i) {
    const uint64_t key = key_of(i);
    if (is_pair(key)) first_pairs.push_back(key);
  }
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue(
      std::greater<>(), std::move(first_pairs));
  const auto offer = [&](int32_t at) {
    if (at < 0 || links[static_cast<size_t>(at)].behind < 0) return;
    const uint64_t key = key_of(at);
    if (is_pair(key)) queue.push(key);
  };
  while (!queue.empty()) {
    const uint64_t key = queue.top();
    queue.pop();
    const auto at = static_cast<int32_t>(key & 0xFFFFFFFFu);
    const int32_t behind = links[static_cast<size_t>(at)].behind;
    if (symbols[at] == kNone || behind < 0) continue;
    const Merge merge = MergeOf(symbols[at], symbols[behind]);
    if (merge.rank != static_cast<int32_t>(key >> 32)) continue;
    symbols[at] = merge.id;
    symbols[behind] = kNone;
    const int32_t next = links[static_cast<size_t>(behind)].behind;
    links[static_cast<size_t>(at)].behind = next;
    if (next >= 0) links[static_cast<size_t>(next)].before = at;
    offer(links[static_cast<size_t>(at)].before);
    offer(at);
  }
  ids.erase(std::remove(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.end(), kNone),
            ids.end());
}

}  // namespace sluice::text
