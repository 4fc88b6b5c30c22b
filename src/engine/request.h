// Request, Reply and the sink that a reply is posted to. A request is moved from owner to owner and
// never shared.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/call.h"
#include "tensor/tensor.h"

namespace sluice::engine {

class EngineVersion;
class ReplySink;

// A protocol parameter ("parameters" of the Open Inference Protocol).
using Parameter = std::variant<bool, int64_t, uint64_t, double, std::string>;
using Parameters = std::vector<std::pair<std::string, Parameter>>;

// Why a request was refused or dropped: the values of Reply::reason, the label of the metric, the
// header's text.
namespace reason {
inline constexpr const char* kQueueFull = "queue_full";  // a queue has reached its limit
// Its deadline could not be met: refused on arrival.
inline constexpr const char* kDeadlineAdmission = "deadline_admission";
// Its deadline could not be met any more: dropped from the queue.
inline constexpr const char* kDeadlineQueue = "deadline_queue";
// Its deadline passed while its step ran, and nobody else's answer was in that step: abandoned.
inline constexpr const char* kDeadlineStep = "deadline_step";
inline constexpr const char* kCancelled = "cancelled";
inline constexpr const char* kDraining = "draining";
}  // namespace reason

// A node of the loop's inbox; the fields are the inbox's own.
struct InboxNode {
  enum class Kind : uint8_t { kRequest, kEvent, kCommand };
  InboxNode* inbox_next = nullptr;
  Kind inbox_kind = Kind::kRequest;
};

// What Engine::Prepare made of a request (token ids, row counts): the engine's own type.
struct Prepared {
  virtual ~Prepared() = default;
};

// Where a request's time went, in the terms of Triton's statistics.
struct Timings {
  base::Duration queue;    // enqueued to step formed
  base::Duration input;    // gathering inputs in Form
  base::Duration compute;  // Launch
  base::Duration output;   // Commit
  int64_t batch_rows = 0;  // rows of the step that carried it
};

// Part of an answer, or all of it. Exactly one reply of a request has `terminal` set.
struct Reply {
  base::Status status;
  std::vector<tensor::NamedTensor> outputs;
  Parameters parameters;  // e.g. a truncation notice
  Timings timings;
  bool terminal = true;
  const char* reason = "";  // one of engine::reason when refused or dropped; empty otherwise
};

// One unit of work for one engine. Owner: the io thread until Submit, then the loop until its
// terminal reply.
struct Request : InboxNode {
  std::shared_ptr<Call> call;
  std::string id;
  std::vector<tensor::NamedTensor> inputs;
  std::vector<std::string> outputs;  // names asked for; empty: all
  Parameters parameters;
  int64_t rows = 1;     // of dimension 0 when the model joins requests; set by Prepare
  int64_t units = 0;    // of cost, for engines whose rows differ in cost; 0: rows; set by Prepare
  int64_t bytes = 0;    // of the payload, for the limits of queues; set by Submit
  base::Time arrival;   // first byte of the request seen
  base::Time enqueued;  // moved into the loop; set by Submit
  std::unique_ptr<Prepared> prepared;
  // Set by Prepare where the request needs no step: Submit posts it, and the loop hears nothing.
  std::optional<Reply> answer;
  std::shared_ptr<ReplySink> sink;
  std::shared_ptr<const EngineVersion> pin;  // keeps the engine alive; set by Submit
};

// The terminal reply of a request that was refused or dropped for `why`, one of engine::reason.
Reply RefusalReply(const char* why);

// An io thread that sleeps until woken. Any thread may wake it, any number of times; it must not
// block.
class Waker {
 public:
  virtual ~Waker() = default;
  virtual void Wake() = 0;
};

// Receives the replies of one request. Post may be called on any thread; it must not block (it
// hands over to io) and must not wait for the loop, which is held meanwhile.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void Post(Reply reply) = 0;
  // The io thread that takes what was posted. The loop wakes each such thread once, after all posts
  // of a step, so Post need not. Null: Post sees to that itself.
  virtual Waker* waker() { return nullptr; }
};

}  // namespace sluice::engine
