#include "lm/schedule/token_measures.h"

#include <cstring>
#include <utility>

namespace sluice::lm {
namespace {

// From half a millisecond to a quarter of an hour: small models on a click's path and long answers.
std::vector<double> Seconds() {
  return base::ExponentialBounds(0.0005, 1.6, 31);
}
std::vector<double> Tokens() {
  return base::ExponentialBounds(1, 2, 18);
}

}  // namespace

TokenMeasures::TokenMeasures(int32_t block_count, int32_t block_rows) {
  first_token_ = AddHistogram("sluice_lm_time_to_first_token_seconds",
                              "From the arrival of a request to its first token",
                              {"vllm:time_to_first_token_seconds"}, Seconds());
  between_tokens_ = AddHistogram(
      "sluice_lm_time_between_tokens_seconds", "From one token of a sequence to the next",
      {"vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"}, Seconds());
  answer_ =
      AddHistogram("sluice_lm_request_seconds", "From the arrival of a request to its last token",
                   {"vllm:e2e_request_latency_seconds"}, Seconds());
  queue_ = AddHistogram("sluice_lm_queue_seconds",
                        "From when a request was enqueued to its sequence's first step",
                        {"vllm:request_queue_time_seconds"}, Seconds());
  prompt_tokens_ = AddHistogram("sluice_lm_request_prompt_tokens", "Tokens of prompts",
                                {"vllm:request_prompt_tokens"}, Tokens());
  generated_tokens_ = AddHistogram("sluice_lm_request_generated_tokens", "Tokens of answers",
                                   {"vllm:request_generation_tokens"}, Tokens());
  step_tokens_ = AddHistogram("sluice_lm_step_tokens", "Rows of steps",
                              {"vllm:iteration_tokens_total"}, Tokens());
  prompt_ = AddCounter("sluice_lm_prompt_tokens_total", "Tokens of the prompts that were answered",
                       {"vllm:prompt_tokens_total"});
  generated_ = AddCounter("sluice_lm_generated_tokens_total", "Tokens that were generated",
                          {"vllm:generation_tokens_total"});
  const auto finished = [this](const char* why) {
    return AddCounter("sluice_lm_finished_total", "Requests by why their answers ended",
                      {"vllm:request_success_total"}, {{"reason", why}},
                      {{"finished_reason", why}});
  };
  stopped_ = finished("stop");
  full_ = finished("length");
  aborted_ = finished("abort");
  failed_ = finished("error");
  asked_ = AddCounter("sluice_lm_prefix_queries_total",
                      "Tokens of prompts that were looked up in the prefix cache",
                      {"vllm:prefix_cache_queries", "vllm:prefix_cache_queries_total"});
  found_ = AddCounter("sluice_lm_prefix_hits_total", "Of these, tokens that it held",
                      {"vllm:prefix_cache_hits", "vllm:prefix_cache_hits_total"});
  evicted_ = AddCounter("sluice_lm_prefix_evicted_tokens_total",
                        "Tokens that it gave up to make room", {});
  preempted_ = AddCounter("sluice_lm_preemptions_total",
                          "Sequences that gave their rows up for more urgent ones",
                          {"vllm:num_preemptions_total"});
  computed_ = AddCounter("sluice_lm_computed_tokens_total", "Rows that steps computed", {});
  recomputed_ = AddCounter("sluice_lm_recomputed_tokens_total",
                           "Of these, rows that a preempted sequence had had before", {});
  running_ = AddGauge("sluice_lm_running", "Sequences that hold rows of keys and values",
                      {"vllm:num_requests_running"});
  waiting_ =
      AddGauge("sluice_lm_waiting", "Sequences that wait for rows", {"vllm:num_requests_waiting"});
  AddGauge("sluice_lm_kv_blocks", "Blocks of keys and values", {})->Set(block_count);
  blocks_used_ = AddGauge("sluice_lm_kv_blocks_used", "Of these, held by running sequences", {});
  blocks_kept_ =
      AddGauge("sluice_lm_kv_blocks_kept", "Of these, kept for prompts that begin alike", {});
  usage_ = AddGauge("sluice_lm_kv_usage", "Share of the blocks held by running sequences",
                    {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"});
  engine::Measure config;
  config.name = "vllm:cache_config_info";
  config.help = "How the cache of keys and values is laid out";
  config.labels = {{"block_size", std::to_string(block_rows)},
                   {"num_gpu_blocks", std::to_string(block_count)},
                   {"enable_prefix_caching", "True"}};
  config.model_label = "model_name";
  auto one = std::make_shared<base::Gauge>();
  one->Set(1);
  config.gauge = std::move(one);
  list_.push_back(std::move(config));
}

void TokenMeasures::Add(const engine::Measure& ours, const std::vector<const char*>& of_vllm,
                        const Labels& vllm_labels) {
  list_.push_back(ours);
  for (const char* const name : of_vllm) {
    list_.push_back(ours);
    list_.back().name = name;
    list_.back().labels = vllm_labels;
    list_.back().model_label = "model_name";
  }
}

std::shared_ptr<base::Counter> TokenMeasures::AddCounter(const char* name, const char* help,
                                                         std::vector<const char*> of_vllm,
                                                         Labels labels, Labels vllm_labels) {
  auto counter = std::make_shared<base::Counter>();
  engine::Measure ours;
  ours.name = name;
  ours.help = help;
  ours.labels = std::move(labels);
  ours.counter = counter;
  Add(ours, of_vllm, vllm_labels);
  return counter;
}

std::shared_ptr<base::Gauge> TokenMeasures::AddGauge(const char* name, const char* help,
                                                     std::vector<const char*> of_vllm) {
  auto gauge = std::make_shared<base::Gauge>();
  engine::Measure ours;
  ours.name = name;
  ours.help = help;
  ours.gauge = gauge;
  Add(ours, of_vllm, {});
  return gauge;
}

std::shared_ptr<base::Histogram> TokenMeasures::AddHistogram(const char* name, const char* help,
                                                             std::vector<const char*> of_vllm,
                                                             std::vector<double> bounds) {
  auto histogram = std::make_shared<base::Histogram>(std::move(bounds));
  engine::Measure ours;
  ours.name = name;
  ours.help = help;
  ours.histogram = histogram;
  Add(ours, of_vllm, {});
  return histogram;
}

void TokenMeasures::CountAnswer(const char* why, int64_t prompt_tokens, int64_t generated_tokens,
                                base::Duration since_arrival) {
  (std::strcmp(why, "stop") == 0     ? stopped_
   : std::strcmp(why, "length") == 0 ? full_
                                     : failed_)
      ->Add();
  prompt_->Add(prompt_tokens);
  prompt_tokens_->Observe(static_cast<double>(prompt_tokens));
  generated_tokens_->Observe(static_cast<double>(generated_tokens));
  answer_->Observe(since_arrival.seconds());
}

void TokenMeasures::Follow(const Scheduler& scheduler) {
  const Scheduler::Statistics& now = scheduler.statistics();
  computed_->Add(now.computed_tokens - seen_.computed_tokens);
  recomputed_->Add(now.recomputed_tokens - seen_.recomputed_tokens);
  preempted_->Add(now.preemptions - seen_.preemptions);
  seen_ = now;
  const kv::PrefixCache& cache = scheduler.cache();
  const kv::PrefixCache::Statistics& cached = cache.statistics();
  asked_->Add(cached.asked_tokens - cache_seen_.asked_tokens);
  found_->Add(cached.found_tokens - cache_seen_.found_tokens);
  evicted_->Add(cached.evicted_tokens - cache_seen_.evicted_tokens);
  cache_seen_ = cached;
  running_->Set(scheduler.running());
  waiting_->Set(scheduler.waiting());
  const int32_t used = cache.held_blocks();
  blocks_used_->Set(used);
  blocks_kept_->Set(cache.block_count() - cache.free_blocks() - used);
  usage_->Set(static_cast<double>(used) / cache.block_count());
}

}  // namespace sluice::lm
