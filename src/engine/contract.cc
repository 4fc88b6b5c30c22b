#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/engine.h"
#include "engine/measure.h"

namespace sluice::engine {
namespace {

base::Error RefusalError(const char* why) {
  if (std::strcmp(why, reason::kQueueFull) == 0) {
    return base::ResourceExhausted("the queue of the model is full: the request was not taken");
  }
  if (std::strcmp(why, reason::kDeadlineAdmission) == 0) {
    return base::DeadlineExceeded(
        "the request cannot meet its deadline behind what is queued: it was not taken");
  }
  if (std::strcmp(why, reason::kDeadlineQueue) == 0) {
    return base::DeadlineExceeded("the request could not meet its deadline any more while queued");
  }
  if (std::strcmp(why, reason::kDeadlineStep) == 0) {
    return base::DeadlineExceeded("the deadline of the request passed while it was computed");
  }
  if (std::strcmp(why, reason::kCancelled) == 0) {
    return base::Cancelled("the request was cancelled before it was computed");
  }
  CHECK(std::strcmp(why, reason::kDraining) == 0) << "no such reason: " << why;
  return base::Unavailable("the server is draining: it takes no new requests");
}

}  // namespace

const std::vector<Measure>& Engine::measures() const {
  static const std::vector<Measure> kNone;
  return kNone;
}

bool AnyWanted(std::span<const std::unique_ptr<Request>> members, bool probe, base::Time now) {
  return std::any_of(members.begin(), members.end(), [&](const auto& request) {
    return !request->call->cancelled() && (probe || !request->call->expired(now));
  });
}

Reply RefusalReply(const char* why) {
  Reply reply;
  reply.status = RefusalError(why);
  reply.reason = why;
  return reply;
}

void Replies::Finish(std::unique_ptr<Request> request, Reply reply) {
  CHECK(reply.terminal) << "a finished request needs its terminal reply";
  std::shared_ptr<ReplySink> sink = request->sink;
  rows_.push_back({std::move(sink), std::move(reply), std::move(request)});
}

void Replies::Refuse(std::unique_ptr<Request> request, const char* why) {
  Finish(std::move(request), RefusalReply(why));
}

void Replies::Abandon(std::unique_ptr<Request> request) {
  const bool cancelled = request->call->cancelled();
  Refuse(std::move(request), cancelled ? reason::kCancelled : reason::kDeadlineStep);
}

void Replies::Chunk(Request& request, Reply reply) {
  CHECK(!reply.terminal) << "a chunk is not the last word";
  rows_.push_back({request.sink, std::move(reply), nullptr});
}

}  // namespace sluice::engine
