// One answer over HTTP from the replies of several requests to an engine.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "serve/delivery.h"
#include "serve/http/session.h"

namespace sluice::serve {

// Receives replies on whichever threads they are posted, answers on the connection's own when the
// last is there. Owned by its sinks, and by the io thread while it answers.
class GatheredReplies : public Delivery, public std::enable_shared_from_this<GatheredReplies> {
 public:
  // Called once, with a reply for each request; all of them are terminal.
  using Answer = std::function<HttpResponse(const std::vector<engine::Reply>&)>;

  // A request for each of `calls`. When one fails, the others are cancelled.
  GatheredReplies(const HttpExchange& exchange, std::vector<std::shared_ptr<engine::Call>> calls,
                  Answer answer);
  // Of request `i`.
  std::shared_ptr<engine::ReplySink> SinkOf(size_t i);
  void Arrive() override;

 private:
  struct Sink : engine::ReplySink {
    void Post(engine::Reply reply) override;
    GatheredReplies* all = nullptr;
    size_t index = 0;
  };

  const HttpExchange exchange_;
  const std::vector<std::shared_ptr<engine::Call>> calls_;
  const Answer answer_;
  std::vector<Sink> sinks_;
  std::vector<engine::Reply> replies_;
  std::atomic<size_t> left_;
};

// The reply that tells why not all of them are answers; null when they are. What was cancelled
// because of another is passed over.
const engine::Reply* FailureAmong(const std::vector<engine::Reply>& replies);

// The output of that name and type, of that rank; null when it is not there.
const tensor::Tensor* FindOutput(const engine::Reply& reply, std::string_view name,
                                 tensor::DType dtype, int rank);
// An integer parameter of the reply; 0 when it is not there.
int64_t NumberOf(const engine::Reply& reply, std::string_view name);
int64_t SumOf(const std::vector<engine::Reply>& replies, std::string_view name);

}  // namespace sluice::serve
