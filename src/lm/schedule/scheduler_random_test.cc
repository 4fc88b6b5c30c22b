// The scheduler over a device whose memory is really written, copied and read: a row is a hash of
// all tokens up to it, and the next token a function of the last row. Whatever is shared,
// preempted, cancelled or abandoned, every sequence must say what it would say alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "lm/schedule/scheduler.h"

namespace sluice::lm {
namespace {

using Tokens = std::vector<int32_t>;

uint64_t NextRow(uint64_t row, int32_t token) {
  return (row ^ static_cast<uint64_t>(token + 1)) * 0x100000001b3u + 1;
}
int32_t TokenOf(uint64_t row) {
  return static_cast<int32_t>(row >> 40 & 3);
}

// What a sequence says alone.
Tokens Alone(Tokens tokens, int64_t generated) {
  uint64_t row = 0;
  for (const int32_t token : tokens) row = NextRow(row, token);
  for (; generated > 0; --generated) {
    tokens.push_back(TokenOf(row));
    row = NextRow(row, tokens.back());
  }
  return tokens;
}

struct Device {
  explicit Device(int32_t blocks)
      : memory(static_cast<size_t>(blocks * kernels::kCacheBlockRows)) {}

  uint64_t& RowAt(int32_t block, int64_t row) {
    return memory[static_cast<size_t>(block * kernels::kCacheBlockRows + row)];
  }
  // The outputs of a kind that a step gives.
  struct Outputs {
    std::vector<uint64_t> logits, states;
  };
  Outputs Run(const StepRows& rows) {
    for (const kv::BlockCopy& copy : rows.copies) {
      std::copy_n(&RowAt(copy.from, 0), kernels::kCacheBlockRows, &RowAt(copy.to, 0));
    }
    std::vector<uint64_t> results(static_cast<size_t>(rows.rows()));
    for (const kernels::CachedRows& sequence : rows.sequences) {
      for (int64_t i = 0; i < sequence.rows; ++i) {
        const auto at = static_cast<size_t>(sequence.first_row + i);
        const int64_t position = sequence.position + i;
        uint64_t before = 0;
        if (position > 0) {
          const int64_t p = position - 1;
          before =
              RowAt(sequence.blocks[p / kernels::kCacheBlockRows], p % kernels::kCacheBlockRows);
        }
        results[at] = NextRow(before, rows.tokens[at]);
        EXPECT_EQ(rows.positions[at], position);
        RowAt(rows.slots[at].block, rows.slots[at].row) = results[at];
      }
    }
    Outputs outputs;
    for (const int32_t row : rows.logit_rows) {
      outputs.logits.push_back(results[static_cast<size_t>(row)]);
    }
    for (const int32_t row : rows.state_rows) {
      outputs.states.push_back(results[static_cast<size_t>(row)]);
    }
    return outputs;
  }

  std::vector<uint64_t> memory;
};

struct Totals {
  int64_t finished = 0, cancelled = 0, preempted = 0, found = 0, abandoned = 0;
};

class Play {
 public:
  Play(uint64_t seed, Totals& totals)
      : random_(seed),
        totals_(totals),
        blocks_(8 + Below(40)),
        device_(blocks_),
        scheduler_({.cache = {.blocks = blocks_, .domains_max = 4},
                    .running_max = 1 + Below(8),
                    .sequences_max = 12}) {}

  void ToTheEnd() {
    for (int step = 0; step < 40; ++step) {
      if (Below(2) == 0) Arrive();
      if (Below(12) == 0 && !asked_.empty()) Cancel();
      Step();
      if (testing::Test::HasFailure()) return;
    }
    // What is left ends: nothing can wait for ever.
    for (int step = 0; step < 3000 && !asked_.empty(); ++step) Step();
    EXPECT_TRUE(asked_.empty());
    totals_.preempted += scheduler_.statistics().preemptions;
    totals_.found += scheduler_.statistics().found_tokens;
    EXPECT_EQ(scheduler_.cache().free_blocks() + scheduler_.cache().idle_blocks(), blocks_);
  }

 private:
  struct Asked {
    Tokens want;
    int64_t outputs_from = 0;  // the position whose output comes next
    RowOutput output = RowOutput::kLogits;
  };
  int32_t Below(int32_t n) { return static_cast<int32_t>(random_() % static_cast<uint64_t>(n)); }

  void Arrive() {
    SequenceSpec spec;
    // Beginnings that many have in common.
    if (Below(3) > 0 && !history_.empty()) {
      const Tokens& old =
          history_[static_cast<size_t>(Below(static_cast<int32_t>(history_.size())))];
      spec.tokens.assign(old.begin(), old.begin() + Below(static_cast<int32_t>(old.size()) + 1));
    }
    for (int n = 1 + Below(70); n > 0; --n) spec.tokens.push_back(Below(4));
    spec.generated_max = Below(40);
    spec.priority = 1 + Below(2);
    if (Below(2) == 0) spec.deadline = base::Time{} + base::Duration::Millis(Below(1000));
    spec.eviction = static_cast<kv::EvictionClass>(Below(3));
    const int domain = Below(3);
    if (domain > 0) spec.domain = scheduler_.cache().Domain(domain == 1 ? "a" : "b");
    history_.push_back(spec.tokens);
    if (Below(3) == 0) spec.outputs_from = Below(static_cast<int32_t>(spec.tokens.size()));
    if (Below(3) == 0) spec.shared_max = Below(static_cast<int32_t>(spec.tokens.size()) + 20);
    if (Below(3) == 0) spec.output = RowOutput::kState;
    Asked asked{Alone(spec.tokens, spec.generated_max), spec.outputs_from, spec.output};
    if (asked.outputs_from < 0) asked.outputs_from = static_cast<int64_t>(spec.tokens.size()) - 1;
    const auto size = static_cast<int64_t>(asked.want.size());
    const Scheduler::Id id = scheduler_.Add(std::move(spec));
    if (id == Scheduler::kNone) {
      EXPECT_TRUE(asked_.size() >= 12 || !scheduler_.CanEverRun(size));
    } else {
      EXPECT_TRUE(asked_.emplace(id, std::move(asked)).second);
    }
  }

  void Cancel() {
    auto one = std::next(asked_.begin(), Below(static_cast<int32_t>(asked_.size())));
    scheduler_.Remove(one->first);
    asked_.erase(one);
    ++totals_.cancelled;
  }

  void Step() {
    Scheduler::Plan plan;
    const int64_t rows_max = 1 + Below(60);
    const bool formed = scheduler_.Form(rows_max, plan);
    scheduler_.CheckIntegrity();
    if (!formed) return;
    EXPECT_LE(plan.rows.rows(), rows_max);
    scheduler_.CheckIntegrity();
    std::map<Scheduler::Id, bool> gone;
    if (Below(20) == 0) {  // while the step runs
      const Scheduler::Id id = plan.members[0].id;
      scheduler_.Remove(id);
      asked_.erase(id);
      gone[id] = true;
      ++totals_.cancelled;
    }
    if (Below(25) == 0) {
      if (Below(2) == 0) device_.Run(plan.rows);
      scheduler_.Abandon(plan);
      scheduler_.CheckIntegrity();
      ++totals_.abandoned;
      return;
    }
    const Device::Outputs outputs = device_.Run(plan.rows);
    scheduler_.Complete(plan);
    for (const Scheduler::Member& member : plan.members) {
      if (gone.contains(member.id)) continue;
      Asked& asked = asked_.at(member.id);
      const Tokens& tokens = scheduler_.tokens(member.id);
      const std::vector<uint64_t>& rows =
          asked.output == RowOutput::kLogits ? outputs.logits : outputs.states;
      const std::span<const uint64_t> own = std::span(rows).subspan(
          static_cast<size_t>(member.first_output), static_cast<size_t>(member.outputs));
      CheckOutputs(own, member, tokens, asked);
      EXPECT_EQ(member.whole, member.to == static_cast<int64_t>(tokens.size()));
      if (!member.whole) continue;
      if (tokens.size() < asked.want.size()) {
        scheduler_.Append(member.id, TokenOf(own.back()));
        continue;
      }
      EXPECT_EQ(tokens, asked.want);
      scheduler_.Remove(member.id);
      asked_.erase(member.id);
      ++totals_.finished;
    }
    scheduler_.CheckIntegrity();
  }

  // Each position's output comes once, in order, whatever was preempted or found.
  void CheckOutputs(std::span<const uint64_t> outputs, const Scheduler::Member& member,
                    const Tokens& tokens, Asked& asked) {
    if (member.to <= asked.outputs_from) {
      EXPECT_TRUE(outputs.empty());
      return;
    }
    EXPECT_EQ(member.to - asked.outputs_from, static_cast<int64_t>(outputs.size()));
    uint64_t row = 0;
    for (int64_t p = 0; p < member.to; ++p) {
      row = NextRow(row, tokens[static_cast<size_t>(p)]);
      if (p >= asked.outputs_from) {
        EXPECT_EQ(outputs[static_cast<size_t>(p - asked.outputs_from)], row);
      }
    }
    asked.outputs_from = member.to;
  }

  std::mt19937_64 random_;
  Totals& totals_;
  const int32_t blocks_;
  Device device_;
  Scheduler scheduler_;
  std::map<Scheduler::Id, Asked> asked_;
  std::vector<Tokens> history_;
};

TEST(SchedulerRandom, EverySequenceSaysWhatItWouldSayAlone) {
  Totals totals;
  for (uint64_t seed = 0; seed < 10'000 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Play(seed, totals).ToTheEnd();
  }
  // The runs reach what they are for.
  EXPECT_GT(totals.finished, 50'000);
  EXPECT_GT(totals.cancelled, 5'000);
  EXPECT_GT(totals.preempted, 5'000);
  EXPECT_GT(totals.found, 100'000);
  EXPECT_GT(totals.abandoned, 5'000);
}

}  // namespace
}  // namespace sluice::lm
