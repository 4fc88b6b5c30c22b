// Runs requests on the thread that brings them: the same engine without a server, a queue or
// deadlines. For the Python package and offline scoring.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/request.h"
#include "infer/infer_engine.h"

namespace sluice::infer {

// Thread-safe: each call takes an engine and memory of its own, kept for later calls; the model is
// shared. Calls at one time share the workers, which serve one of them at a time.
class DirectRunner {
 public:
  struct Options {
    int workers = 0;  // threads beside the caller's
  };
  DirectRunner(std::shared_ptr<const ServedModel> served, Options options);
  ~DirectRunner();
  DirectRunner(const DirectRunner&) = delete;
  DirectRunner& operator=(const DirectRunner&) = delete;

  // The outputs that the request asks for, in its order. Errors are those of Engine::Prepare and of
  // the run.
  base::Result<std::vector<tensor::NamedTensor>> Run(std::unique_ptr<engine::Request> request);
  const ServedModel& served() const { return *served_; }

 private:
  struct Context;
  base::Result<std::unique_ptr<Context>> TakeContext();
  engine::Reply RunIn(Context& context, std::unique_ptr<engine::Request> request);

  const std::shared_ptr<const ServedModel> served_;
  base::ThreadPool pool_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Context>> idle_;  // guarded by mutex_
};

}  // namespace sluice::infer
