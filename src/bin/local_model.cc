#include "bin/local_model.h"

#include <chrono>
#include <utility>

namespace sluice::bin {

base::Result<std::unique_ptr<LocalModel>> LocalModel::Load(const ModelPlace& place,
                                                           const Options& options) {
  RuntimeOptions runtime = options.runtime;
  runtime.inline_below_us = 0;  // whoever asks shows chunks meanwhile
  std::unique_ptr<LocalModel> model(new LocalModel(runtime));
  serve::ModelSource source;
  source.name = place.name;
  source.version = 1;
  source.model_folder = source.version_folder = place.folder;
  source.model_file = place.file.empty() ? "model.onnx" : place.file;
  source.settings.parameters = options.parameters;
  LocalModel* self = model.get();
  model->pin_ = TRY(
      model->runtime_.loader().Load(source, [self](std::unique_ptr<engine::EngineVersion> version) {
        std::lock_guard lock(self->mutex_);
        self->retired_ = std::move(version);
        self->changed_.notify_all();
      }));
  return model;
}

LocalModel::~LocalModel() {
  if (pin_ == nullptr) return;
  pin_.reset();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return retired_ != nullptr; });
  const std::unique_ptr<engine::EngineVersion> last = std::move(retired_);
  lock.unlock();
}

void ReplyQueue::Post(engine::Reply reply) {
  std::lock_guard lock(mutex_);
  replies_.push_back(std::move(reply));
  changed_.notify_one();
}

std::optional<engine::Reply> ReplyQueue::Take(base::Duration timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::nanoseconds(timeout.ns),
                    [this] { return !replies_.empty(); });
  if (replies_.empty()) return std::nullopt;
  engine::Reply reply = std::move(replies_.front());
  replies_.pop_front();
  return reply;
}

}  // namespace sluice::bin
