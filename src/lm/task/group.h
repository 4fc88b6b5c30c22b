// A request in the engine: the sequences that answer it, and what becomes of their outputs.
//
// The engine feeds a group's sequences to the scheduler as they come, hands it what steps compute
// and takes its replies; what a task is made of is the group's own: answers (generate_group.h),
// scores (score_group.h), embeddings (embed_group.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "lm/schedule/scheduler.h"
#include "lm/task/prompt.h"
#include "lm/task/readings.h"

namespace sluice::lm {

// Made where the request is prepared, with room for its answer: the loop makes nothing large.
// Owner: the request, then the engine that admitted it, its loop's lease holder. Steps point into
// it: it stays while one of its sequences is in a step.
class Group : public engine::Prepared {
 public:
  explicit Group(std::unique_ptr<Asked> asked) : asked_(std::move(asked)) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // Out of the request, which it owns from here on.
  static std::unique_ptr<Group> Begin(std::unique_ptr<engine::Request> request) {
    std::unique_ptr<Group> group(static_cast<Group*>(request->prepared.release()));
    group->request_ = std::move(request);
    return group;
  }

  // The next sequence to compute: its tokens and what is wanted of it. A branch's number is how
  // many came before. False: none now; perhaps some when more has been heard.
  virtual bool Next(SequenceSpec& spec) = 0;
  // Whether Next has more, now or later.
  virtual bool feeds() const = 0;
  // What is to be made of the outputs of one part of a step.
  virtual void Ask(int32_t branch, const Scheduler::Member& member, Readings& readings) = 0;
  // That part is computed. What becomes of its sequence: a token is appended, or, if it was
  // `whole`, it is at its end.
  virtual std::optional<int32_t> Hear(int32_t branch, const Scheduler::Member& member,
                                      const Readings::Results& results) = 0;
  // Whether everything has been said.
  virtual bool done() const = 0;
  // The last reply, once it is done.
  virtual engine::Reply Finish() = 0;
  // Whether the reader of a stream could be told something, and what.
  virtual bool has_news() const { return false; }
  virtual engine::Reply TakeChunk() { return {}; }

  const engine::Call& call() const { return *request_->call; }
  const Asked& asked() const { return *asked_; }
  engine::Request& request() { return *request_; }
  std::unique_ptr<engine::Request> TakeRequest() { return std::move(request_); }

  // The engine's own.
  struct Branch {
    Scheduler::Id id;
    int32_t number;
  };
  struct Place {
    size_t index = 0;              // among all groups
    SequenceSpec frame;            // urgency and domain of its sequences
    std::vector<Branch> branches;  // that the scheduler has
    int32_t branches_begun = 0;
    int32_t in_step = 0;        // branches that a step computes
    int64_t cached = 0;         // tokens of the prompt that the cache had when it came
    int64_t found_tokens = -1;  // of the first sequence, in the cache; -1: not started
    uint64_t formed = 0;        // which step took its sequences last
    base::Time arrived;
    base::Time first_token;  // zero: none yet
  };
  Place& place() { return place_; }
  const Place& place() const { return place_; }

 protected:
  int64_t found_tokens() const { return place_.found_tokens; }

 private:
  const std::unique_ptr<Asked> asked_;
  std::unique_ptr<engine::Request> request_;  // null until Begin
  Place place_;
};

}  // namespace sluice::lm
