// One model in this process, asked without a server: what `chat` talks to.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bin/hub/model_place.h"
#include "bin/runtime.h"
#include "engine/version.h"

namespace sluice::bin {

// Owner: a verb, on one thread, which it is loaded and destroyed on.
class LocalModel {
 public:
  struct Options {
    RuntimeOptions runtime;
    std::map<std::string, std::string> parameters;  // as config.pbtxt's
  };
  static base::Result<std::unique_ptr<LocalModel>> Load(const ModelPlace& place,
                                                        const Options& options);
  // Every answer has come to its end.
  ~LocalModel();

  const engine::Description& description() const { return pin_->description(); }
  // Whether the model takes the request; changes it as Engine::Prepare does.
  base::Status Prepare(engine::Request& request) const { return pin_->engine().Prepare(request); }
  // Of a prepared request, which has a call and a sink.
  void Submit(std::unique_ptr<engine::Request> request) {
    engine::Submit(pin_, std::move(request));
  }

 private:
  explicit LocalModel(const RuntimeOptions& options) : runtime_(options) {}

  Runtime runtime_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<engine::EngineVersion> retired_;  // guarded by mutex_
  std::shared_ptr<const engine::EngineVersion> pin_;
};

// The replies of one request, in order, for a thread that waits for them.
class ReplyQueue : public engine::ReplySink {
 public:
  void Post(engine::Reply reply) override;
  // The next one; nothing when none came in time.
  std::optional<engine::Reply> Take(base::Duration timeout);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<engine::Reply> replies_;  // guarded by mutex_
};

}  // namespace sluice::bin
