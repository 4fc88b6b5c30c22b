// Which rows of which sequences a language model's next step computes.
//
// There are no phases: a sequence has tokens, of which some are computed, and every step computes
// more of them. A prompt is a sequence with many tokens to go, a decode one with a single one, an
// item to be scored one that ends when all are computed. Sequences share beginnings through the
// prefix cache; where a beginning is being computed, others that begin alike wait for it.
//
// When blocks run out, the least urgent running sequence gives its rows up: what the cache still
// holds when its turn comes again need not be computed twice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "kv/prefix_cache.h"
#include "lm/decoder/step_rows.h"
#include "lm/schedule/step_cost.h"

namespace sluice::lm {

// What a scheduler is asked to compute.
struct SequenceSpec {
  std::vector<int32_t> tokens;  // at least one
  int64_t generated_max = 0;    // tokens that will be appended at most
  // The more urgent goes first: the smaller priority, then the earlier deadline, then the one that
  // came first: `arrival` is of whoever asks, and equal for the sequences of one request.
  int32_t priority = 1;
  base::Time deadline = base::Time::Never();
  uint64_t arrival = 0;
  // By when its next token is wanted: steps are cut so that it comes in time. Never: no matter.
  base::Time due = base::Time::Never();
  kv::DomainId domain = kv::kNoDomain;
  kv::EvictionClass eviction = 1;
  // The outputs of positions from here on are wanted: each is given once. kLast: of the last one,
  // and of each token that is appended.
  static constexpr int64_t kLast = -1;
  int64_t outputs_from = kLast;
  RowOutput output = RowOutput::kLogits;
  // Rows of positions below this are left to the cache; what nobody else begins with need not be.
  int64_t shared_max = std::numeric_limits<int64_t>::max();
};

// What bounds a step.
struct StepLimits {
  // Of prompts, a step computes so many rows even if it is late for somebody then.
  static constexpr int64_t kPromptRowsMin = 16;
  // Where somebody speaks a step has no more: the next token waits for all of them.
  static constexpr int64_t kRowsBesideSpeech = 256;

  int64_t rows_max = 0;
  const StepCost* cost = nullptr;  // null: rows alone
  base::Time now = {};
  base::Duration time_max = base::Duration::Max();
};

// Owner: one engine, its loop's lease holder.
class Scheduler {
 public:
  // A handle; used again once its sequence is gone.
  using Id = int32_t;
  static constexpr Id kNone = -1;

  struct Options {
    kv::PrefixCache::Options cache;
    int32_t running_max = 64;      // sequences that hold rows at a time
    int32_t sequences_max = 1024;  // those that wait as well
  };
  // A part of a step: positions [from, to) of one sequence.
  struct Member {
    Id id;
    int64_t from;
    int64_t to;
    // Outputs of the positions [to - outputs, to), the first of them at this index among the step's
    // outputs of their kind.
    int64_t outputs = 0;
    int64_t first_output = 0;
    bool whole = false;  // all tokens are computed with this step
  };
  // A step and its parts. Reused from step to step.
  struct Plan {
    StepRows rows;
    std::vector<Member> members;
    StepLoad load;
  };
  // Since construction.
  struct Statistics {
    int64_t computed_tokens = 0;
    int64_t recomputed_tokens = 0;  // of these, for a sequence that had them computed before
    int64_t found_tokens = 0;       // that the cache had
    int64_t preemptions = 0;
  };
  explicit Scheduler(Options options);

  // kNone when sequences_max are there, or when the cache could never hold all of its rows.
  Id Add(SequenceSpec spec);
  bool CanEverRun(int64_t tokens) const;
  // Forgets the sequence, now or, while a step computes rows of it, when that is completed.
  void Remove(Id id);

  // Rows for a step within the limits: sequences with a single row to go, which speak, go on
  // speaking; then come others, the most urgent first, as many rows as leave those that speak in
  // time. False: there is nothing to compute. Sequences in steps that are not completed take no
  // part.
  bool Form(const StepLimits& limits, Plan& plan);
  bool Form(int64_t rows_max, Plan& plan) { return Form(StepLimits{.rows_max = rows_max}, plan); }
  // The step's rows are computed. Whole members then expect Append or Remove before they are
  // computed further.
  void Complete(const Plan& plan);
  // The step did not run, or not to its end.
  void Abandon(const Plan& plan);
  // The next token of a sequence whose tokens are all computed.
  void Append(Id id, int32_t token);
  void SetDue(Id id, base::Time due) { at(id).spec.due = due; }

  // Rows that steps could compute now, at most `most`.
  int64_t RowsToGo(int64_t most) const;
  // Tokens of the sequence's beginning that Attach would find now, at most.
  int64_t Find(const SequenceSpec& spec) const { return cache_.Find(spec.domain, Findable(spec)); }
  const std::vector<int32_t>& tokens(Id id) const { return at(id).spec.tokens; }
  int64_t computed(Id id) const { return at(id).computed; }
  bool is_running(Id id) const { return at(id).state == State::kRunning; }
  bool is_removed(Id id) const { return at(id).removed; }
  int32_t sequences_max() const { return options_.sequences_max; }
  int32_t running() const { return static_cast<int32_t>(running_.size()); }
  int32_t waiting() const { return static_cast<int32_t>(waiting_.size()); }
  kv::PrefixCache& cache() { return cache_; }
  const kv::PrefixCache& cache() const { return cache_; }
  const Statistics& statistics() const { return statistics_; }
  // Every count and link of the cache and of all sequences. Our own bugs only: aborts.
  void CheckIntegrity() const;

 private:
  enum class State : uint8_t { kFree, kWaiting, kRunning };
  struct Entry {
    SequenceSpec spec;
    kv::Sequence rows;
    State state = State::kFree;
    uint64_t order = 0;  // among those that came together
    int64_t computed = 0;
    int64_t computed_before = 0;  // when it was last preempted
    uint64_t preempted_in = 0;    // which Form
    bool in_step = false;
    bool removed = false;
  };

  Entry& at(Id id) { return *entries_[static_cast<size_t>(id)]; }
  const Entry& at(Id id) const { return *entries_[static_cast<size_t>(id)]; }
  bool IsMoreUrgent(Id a, Id b) const;
  void Insert(std::vector<Id>& list, Id id);
  static void Erase(std::vector<Id>& list, Id id);
  void Free(Id id);

  // The tokens whose rows may come from the cache: no outputs of theirs are wanted.
  static std::span<const int32_t> Findable(const SequenceSpec& spec) {
    const auto last = static_cast<int64_t>(spec.tokens.size()) - 1;
    const int64_t count = spec.outputs_from == SequenceSpec::kLast ? last : spec.outputs_from;
    return std::span(spec.tokens).first(static_cast<size_t>(count));
  }
  // Whether a running sequence is computing a beginning that this one could use.
  bool AwaitsPrefix(const Entry& entry) const;
  void Start(Id id);
  void Preempt(Id id);
  // Makes the next rows writable, taking blocks from less urgent sequences. False: `id` itself is
  // the least urgent one and was preempted, or everybody else is in a step.
  bool MakeRoom(Id id, int64_t to, Plan& plan);
  // With at most `rows_max` rows of it.
  bool AddMember(Id id, int64_t rows_max, Plan& plan);
  // How long a step of the plan may take, for those in it that wait for a token.
  static base::Duration TimeOf(const StepLimits& limits, base::Time due) {
    return std::min(limits.time_max, due.never() ? base::Duration::Max() : due - limits.now);
  }
  // How many rows of a prompt fit into the step.
  int64_t PromptRows(const Entry& entry, const StepLimits& limits, base::Duration within,
                     int64_t prompt_rows, const Plan& plan) const;
  void Publish(Entry& entry);

  const Options options_;
  kv::PrefixCache cache_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Id> free_;
  std::vector<Id> running_;  // the most urgent first
  std::vector<Id> waiting_;
  std::vector<Id> turn_;  // Form's
  uint64_t added_ = 0;
  uint64_t forms_ = 0;
  Statistics statistics_;
};

}  // namespace sluice::lm
