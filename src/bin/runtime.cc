#include "bin/runtime.h"

#include <algorithm>

#include "base/log.h"
#include "kernels/weight_store.h"

namespace sluice::bin {
namespace {

base::ThreadPool::Options PoolOptions(int64_t threads) {
  base::ThreadPool::Options options;
  options.workers = static_cast<int>(std::max<int64_t>(0, threads - 1));
  options.nice = 2;  // below the io threads, like the loop's worker
  return options;
}

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

infer::Options DefaultsOf(const RuntimeOptions& options, tensor::Ledger& ledger,
                          infer::Planner& planner) {
  infer::Options defaults;
  defaults.plan_bytes_max = options.plan_bytes_max;
  defaults.answer_idle_bytes_max = options.answer_idle_bytes_max;
  defaults.ledger = &ledger;
  defaults.planner = &planner;
  return defaults;
}

// Without its cache a server works as well and starts later.
void UseWeightCache(const RuntimeOptions& options) {
  if (options.weight_cache.empty()) return;
  base::Result<std::unique_ptr<kernels::WeightCache>> cache =
      kernels::WeightCache::Open({options.weight_cache, options.weight_cache_bytes_max});
  if (cache.ok()) return kernels::WeightStore::Process().UseCache(std::move(cache).value());
  base::Log(base::LogLevel::kWarning, "no_weight_cache").With("reason", cache.error().message);
}

}  // namespace

Runtime::Runtime(const RuntimeOptions& options)
    : machine_(base::DescribeMachine()),
      threads_(options.compute_threads > 0 ? options.compute_threads : machine_.cores),
      ledger_("host", options.memory_bytes_max > 0 ? options.memory_bytes_max
                                                   : machine_.memory_bytes / 10 * 9),
      pool_(PoolOptions(threads_)) {
  engine::DeviceLoop::Options loop;
  loop.pool = &pool_;
  loop.ledger = &ledger_;
  loop.quantum = base::Duration::Micros(options.quantum_us);
  loop.inline_below = base::Duration::Micros(options.inline_below_us);
  loop.inbox.bytes_max = options.payload_bytes_max;
  loop_ = std::make_unique<engine::DeviceLoop>(loop);
  UseWeightCache(options);
  base::Result<tensor::Reservation> prep =
      ledger_.Reserve("requests waiting to be prepared", options.prep_bytes_max);
  if (prep.ok()) {
    prep_ = std::move(prep).value();
  } else {
    base::Log(base::LogLevel::kWarning, "memory_limit_below_prep_bytes_max")
        .With("reason", prep.error().message);
  }
  loader_ = std::make_unique<EngineLoader>(*loop_, ledger_, DefaultsOf(options, ledger_, planner_),
                                          options.weights);
}

std::string Runtime::MemoryMetrics() const {
  std::string text =
      "# HELP sluice_memory_reserved_bytes Bytes reserved in the ledger, by owner\n"
      "# TYPE sluice_memory_reserved_bytes gauge\n";
  for (const tensor::Ledger::Entry& entry : ledger_.List()) {
    text += "sluice_memory_reserved_bytes{pool=\"host\",owner=\"" + Escaped(entry.owner) + "\"} " +
            std::to_string(entry.bytes) + "\n";
  }
  text +=
      "# HELP sluice_memory_limit_bytes Limit of the ledger\n"
      "# TYPE sluice_memory_limit_bytes gauge\n"
      "sluice_memory_limit_bytes{pool=\"host\"} " +
      std::to_string(ledger_.limit_bytes()) +
      "\n# HELP sluice_memory_peak_bytes Most that was ever reserved\n"
      "# TYPE sluice_memory_peak_bytes gauge\n"
      "sluice_memory_peak_bytes{pool=\"host\"} " +
      std::to_string(ledger_.peak_bytes()) +
      "\n# HELP sluice_loop_payload_bytes Payloads of requests not answered yet\n"
      "# TYPE sluice_loop_payload_bytes gauge\n"
      "sluice_loop_payload_bytes{loop=\"" +
      loop_->options().name + "\"} " + std::to_string(loop_->payload_bytes()) + "\n";
  return text;
}

}  // namespace sluice::bin
