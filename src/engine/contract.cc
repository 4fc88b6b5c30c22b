#include <cstring>

#include "base/check.h"
#include "engine/engine.h"

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
  if (std::strcmp(why, reason::kCancelled) == 0) {
    return base::Cancelled("the request was cancelled before it was computed");
  }
  CHECK(std::strcmp(why, reason::kDraining) == 0) << "no such reason: " << why;
  return base::Unavailable("the server is draining: it takes no new requests");
}

}  // namespace

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

void Replies::Chunk(Request& request, Reply reply) {
  CHECK(!reply.terminal) << "a chunk is not the last word";
  rows_.push_back({request.sink, std::move(reply), nullptr});
}

}  // namespace sluice::engine
