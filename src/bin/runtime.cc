#include "bin/runtime.h"

#include <algorithm>

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
  loop_ = std::make_unique<engine::DeviceLoop>(loop);
  loader_ = std::make_unique<InferLoader>(*loop_, ledger_, planner_, options.weights);
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
      std::to_string(ledger_.limit_bytes()) + "\n";
  return text;
}

}  // namespace sluice::bin
