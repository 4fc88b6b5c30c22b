#include "serve/rank/gathered_replies.h"

#include <string_view>
#include <utility>
#include <variant>

namespace sluice::serve {

GatheredReplies::GatheredReplies(const HttpExchange& exchange,
                                 std::vector<std::shared_ptr<engine::Call>> calls, Answer answer)
    : exchange_(exchange),
      calls_(std::move(calls)),
      answer_(std::move(answer)),
      sinks_(calls_.size()),
      replies_(calls_.size()),
      left_(calls_.size()) {
  for (size_t i = 0; i < sinks_.size(); ++i) {
    sinks_[i].all = this;
    sinks_[i].index = i;
  }
}

std::shared_ptr<engine::ReplySink> GatheredReplies::SinkOf(size_t i) {
  return {shared_from_this(), &sinks_[i]};
}

void GatheredReplies::Sink::Post(engine::Reply reply) {
  if (!reply.terminal) return;
  if (!reply.status.ok()) {
    for (const std::shared_ptr<engine::Call>& call : all->calls_) call->Cancel();
  }
  all->replies_[index] = std::move(reply);
  if (all->left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    all->exchange_.io().Deliver(all->shared_from_this());
  }
}

void GatheredReplies::Arrive() {
  exchange_.RespondHere(answer_(replies_));
  replies_.clear();
}

const engine::Reply* FailureAmong(const std::vector<engine::Reply>& replies) {
  const engine::Reply* failure = nullptr;
  for (const engine::Reply& reply : replies) {
    if (reply.status.ok()) continue;
    if (reply.status.error().code != base::Code::kCancelled) return &reply;
    if (failure == nullptr) failure = &reply;
  }
  return failure;
}

const tensor::Tensor* FindOutput(const engine::Reply& reply, std::string_view name,
                                 tensor::DType dtype, int rank) {
  for (const tensor::NamedTensor& output : reply.outputs) {
    const bool fits =
        output.name == name && output.tensor.dtype == dtype && output.tensor.shape.rank() == rank;
    if (fits) return &output.tensor;
  }
  return nullptr;
}

int64_t NumberOf(const engine::Reply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.parameters) {
    if (key == name && std::holds_alternative<int64_t>(value)) return std::get<int64_t>(value);
  }
  return 0;
}

int64_t SumOf(const std::vector<engine::Reply>& replies, std::string_view name) {
  int64_t sum = 0;
  for (const engine::Reply& reply : replies) sum += NumberOf(reply, name);
  return sum;
}

}  // namespace sluice::serve
