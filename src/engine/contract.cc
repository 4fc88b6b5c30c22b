#include "base/check.h"
#include "engine/engine.h"

namespace sluice::engine {

void Replies::Finish(std::unique_ptr<Request> request, Reply reply) {
  CHECK(reply.terminal) << "a finished request needs its terminal reply";
  std::shared_ptr<ReplySink> sink = request->sink;
  rows_.push_back({std::move(sink), std::move(reply), std::move(request)});
}

void Replies::Chunk(Request& request, Reply reply) {
  CHECK(!reply.terminal) << "a chunk is not the last word";
  rows_.push_back({request.sink, std::move(reply), nullptr});
}

}  // namespace sluice::engine
