// What a language model's engine counts of itself, under our names and under vLLM's, which
// dashboards and gateways read (docs/language_models.md has the table).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine/measure.h"
#include "lm/schedule/scheduler.h"

namespace sluice::lm {

// Owner: one engine. Counting: its loop's lease holder; the list: any thread.
class TokenMeasures {
 public:
  TokenMeasures(int32_t block_count, int32_t block_rows);
  const std::vector<engine::Measure>& list() const { return list_; }

  // A sequence was in a step for the first time, so long after its request was enqueued.
  void CountStart(base::Duration queued) { queue_->Observe(queued.seconds()); }
  // It was given its first token, so long after its request arrived.
  void CountFirstToken(base::Duration since_arrival) {
    first_token_->Observe(since_arrival.seconds());
    generated_->Add();
  }
  void CountNextToken(base::Duration since_last) {
    between_tokens_->Observe(since_last.seconds());
    generated_->Add();
  }
  // A request that asked for tokens was answered. `why`: "stop", "length" or "error".
  void CountAnswer(const char* why, int64_t prompt_tokens, int64_t generated_tokens,
                   base::Duration since_arrival);
  // It was given up: cancelled, or past its deadline.
  void CountAbort() { aborted_->Add(); }
  // A step of that many rows was carried out, in so much time of the lease holder beside kernels.
  void CountStep(int64_t rows) { step_tokens_->Observe(static_cast<double>(rows)); }
  // Levels, and what the scheduler has counted since the last call.
  void Follow(const Scheduler& scheduler);

 private:
  using Labels = base::Labels;
  std::shared_ptr<base::Counter> AddCounter(const char* name, const char* help,
                                            std::vector<const char*> of_vllm, Labels labels = {},
                                            Labels vllm_labels = {});
  std::shared_ptr<base::Gauge> AddGauge(const char* name, const char* help,
                                        std::vector<const char*> of_vllm);
  std::shared_ptr<base::Histogram> AddHistogram(const char* name, const char* help,
                                                std::vector<const char*> of_vllm,
                                                std::vector<double> bounds);
  // The measure under our name and, with vLLM's label of the model, under each of the others.
  void Add(const engine::Measure& ours, const std::vector<const char*>& of_vllm,
           const Labels& vllm_labels);

  std::vector<engine::Measure> list_;
  std::shared_ptr<base::Histogram> first_token_, between_tokens_, answer_, queue_;
  std::shared_ptr<base::Histogram> prompt_tokens_, generated_tokens_, step_tokens_;
  std::shared_ptr<base::Counter> prompt_, generated_, stopped_, full_, failed_, aborted_;
  std::shared_ptr<base::Counter> asked_, found_, preempted_, computed_, recomputed_, evicted_;
  std::shared_ptr<base::Gauge> running_, waiting_, blocks_used_, blocks_kept_, usage_;
  // As Follow has seen them.
  Scheduler::Statistics seen_;
  kv::PrefixCache::Statistics cache_seen_;
};

}  // namespace sluice::lm
