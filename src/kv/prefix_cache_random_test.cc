// Random requests against a memory that is really written and copied: a row's content is a hash of
// all tokens up to it, so that any wrongly shared, overwritten or forgotten row shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <random>
#include <set>

#include "kv/prefix_cache.h"

namespace sluice::kv {
namespace {

using Tokens = std::vector<int32_t>;

struct Running {
  Sequence sequence;
  Tokens tokens;
  int domain = 0;
};

class Machine {
 public:
  Machine(uint64_t seed, int32_t blocks, int32_t rows)
      : random_(seed),
        rows_(rows),
        cache_({.blocks = blocks, .block_rows = rows, .domains_max = 3}),
        memory_(static_cast<size_t>(blocks * rows)) {}

  void Step() {
    const int action = Below(8);
    if (action < 3 && running_.size() < 6) {
      Begin();
    } else if (!running_.empty()) {
      auto one = std::next(running_.begin(), Below(static_cast<int>(running_.size())));
      if (action < 6) {
        Grow(*one);
      } else if (action == 6) {
        DropTail(*one);
      } else {
        cache_.Release(one->sequence);
        running_.erase(one);
      }
    }
    std::vector<const Sequence*> sequences;
    for (const Running& one : running_) sequences.push_back(&one.sequence);
    cache_.CheckIntegrity(sequences);
    for (const Running& one : running_) Verify(one);
  }
  void ReleaseAll() {
    for (Running& one : running_) cache_.Release(one.sequence);
    running_.clear();
    cache_.CheckIntegrity({});
    EXPECT_EQ(cache_.free_blocks() + cache_.idle_blocks(), cache_.block_count());
  }
  int64_t grown() const { return grown_; }
  int64_t refused() const { return refused_; }
  const PrefixCache::Statistics& statistics() const { return cache_.statistics(); }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

  static uint64_t Mix(uint64_t hash, int32_t token) {
    return (hash ^ static_cast<uint64_t>(token + 1)) * 0x100000001b3u + 1;
  }
  uint64_t& RowAt(const Sequence& sequence, int64_t position) {
    const BlockId block = sequence.blocks[static_cast<size_t>(position / rows_)];
    return memory_[static_cast<size_t>(block * rows_ + position % rows_)];
  }

  // The longest beginning that any sequence has published, eviction aside.
  int64_t Longest(int domain, const Tokens& tokens) const {
    size_t longest = 0;
    for (const auto& [of, known] : published_) {
      if (of != domain) continue;
      const size_t most = std::min(known.size(), tokens.size());
      const auto end = std::mismatch(
          tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(most), known.begin());
      longest = std::max(longest, static_cast<size_t>(end.first - tokens.begin()));
    }
    return static_cast<int64_t>(longest);
  }

  void Begin() {
    Running one;
    one.domain = Below(2);
    // Two letters and old beginnings: common prefixes of every length.
    if (!published_.empty() && Below(3) > 0) {
      const auto& [domain, tokens] =
          *std::next(published_.begin(), Below(static_cast<int>(published_.size())));
      one.domain = domain;
      one.tokens.assign(tokens.begin(),
                        tokens.begin() + Below(static_cast<int>(tokens.size()) + 1));
    }
    for (int n = Below(3 * rows_); n > 0; --n) one.tokens.push_back(Below(2));
    const DomainId domain = cache_.Domain(one.domain == 0 ? "a" : "b");
    const int64_t found = cache_.Find(domain, one.tokens);
    EXPECT_EQ(cache_.Attach(domain, one.tokens, static_cast<EvictionClass>(Below(3)), one.sequence),
              found);
    EXPECT_LE(found, Longest(one.domain, one.tokens));
    if (cache_.statistics().evicted_tokens == 0) {
      EXPECT_EQ(found, Longest(one.domain, one.tokens));
    }
    one.tokens.resize(static_cast<size_t>(found));
    running_.push_back(std::move(one));
  }

  void Grow(Running& one) {
    const int64_t from = one.sequence.length;
    const int64_t to = from + 1 + Below(2 * rows_);
    copies_.clear();
    if (!cache_.Extend(one.sequence, to, copies_)) {
      ++refused_;
      return;
    }
    ++grown_;
    for (const BlockCopy& copy : copies_) {
      std::copy_n(&memory_[static_cast<size_t>(copy.from * rows_)], copy.rows,
                  &memory_[static_cast<size_t>(copy.to * rows_)]);
    }
    uint64_t hash = from == 0 ? 0 : RowAt(one.sequence, from - 1);
    for (int64_t p = from; p < to; ++p) {
      one.tokens.push_back(Below(2));
      hash = Mix(hash, one.tokens.back());
      RowAt(one.sequence, p) = hash;
    }
    if (Below(2) == 0) {
      cache_.Publish(one.sequence, one.tokens, static_cast<EvictionClass>(Below(3)));
      if (one.sequence.published == to) published_.insert({one.domain, one.tokens});
    }
  }

  void DropTail(Running& one) {
    const int64_t spare = one.sequence.length - one.sequence.published;
    cache_.Truncate(one.sequence, one.sequence.length - Below(static_cast<int>(spare) + 1));
    one.tokens.resize(static_cast<size_t>(one.sequence.length));
  }

  void Verify(const Running& one) {
    uint64_t hash = 0;
    for (int64_t p = 0; p < one.sequence.length; ++p) {
      hash = Mix(hash, one.tokens[static_cast<size_t>(p)]);
      ASSERT_EQ(RowAt(one.sequence, p), hash) << "position " << p;
    }
  }

  std::mt19937_64 random_;
  const int32_t rows_;
  PrefixCache cache_;
  std::vector<uint64_t> memory_;
  std::list<Running> running_;
  std::set<std::pair<int, Tokens>> published_;
  std::vector<BlockCopy> copies_;
  int64_t grown_ = 0;
  int64_t refused_ = 0;
};

TEST(PrefixCacheRandom, EverySequenceReadsTheRowsOfItsOwnTokens) {
  int64_t refused = 0, evicted = 0, copied = 0, grown = 0;
  for (uint64_t seed = 0; seed < 2000 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Machine machine(seed, seed % 2 == 0 ? 12 : 400, seed % 3 == 0 ? 2 : 8);
    for (int step = 0; step < 60 && !testing::Test::HasFailure(); ++step) machine.Step();
    machine.ReleaseAll();
    refused += machine.refused();
    grown += machine.grown();
    evicted += machine.statistics().evicted_tokens;
    copied += machine.statistics().copied_rows;
  }
  // The runs reach what they are for.
  EXPECT_GT(grown, 10'000);
  EXPECT_GT(refused, 100);
  EXPECT_GT(evicted, 1'000);
  EXPECT_GT(copied, 1'000);
}

}  // namespace
}  // namespace sluice::kv
