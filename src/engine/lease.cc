// Who runs the loop and when: the lease, the worker, requests on their way in, engines that come
// and go.
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "base/check.h"
#include "engine/device_loop.h"
#include "tensor/align.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; the C library may be older than the kernel
#endif

namespace sluice::engine {
namespace {

constexpr int kPopulateNice = 10;
constexpr int64_t kPopulatePiece = int64_t{2} << 20;

// The inbox counts payloads in the loop's ledger, under the loop's name.
Inbox::Limits InboxLimits(const DeviceLoop::Options& options) {
  Inbox::Limits limits = options.inbox;
  if (limits.ledger == nullptr) limits.ledger = options.ledger;
  limits.owner = "loop " + options.name + " request payloads";
  return limits;
}

}  // namespace

DeviceLoop::DeviceLoop(Options options, std::unique_ptr<Device> device)
    : options_(std::move(options)), device_(std::move(device)), inbox_(InboxLimits(options_)) {
  CHECK(options_.depth >= 1 && options_.depth <= kDepthMax) << options_.depth;
  for (int i = 0; i < options_.depth; ++i) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->loop = this;
    slots_.back()->index = i;
  }
  for (int i = 0; i < kNestLevels; ++i) {
    Slot& slot = nested_[static_cast<size_t>(i)];
    slot.loop = this;
    slot.index = options_.depth + i;
    slot.level = i + 1;
  }
  if (!options_.threaded) return;
  worker_ = std::thread([this] { WorkerMain(); });
  MeasureHandoff();
}

DeviceLoop::~DeviceLoop() {
  stopping_.store(true, std::memory_order_seq_cst);
  if (populating_.joinable()) populating_.join();
  if (worker_.joinable()) {
    doorbell_.Ring();
    worker_.join();
  }
  CHECK(seats_.empty()) << "every version is destroyed before its loop";
  CHECK(inbox_.empty());
}

// --- The lease. See docs/device_loop.md for why no request is ever left behind.

bool DeviceLoop::TryLease() {
  uint32_t free = 0;
  return lease_.load(std::memory_order_relaxed) == 0 &&
         lease_.compare_exchange_strong(free, 1, std::memory_order_seq_cst);
}

// For everybody but the worker: what is left over is the worker's.
void DeviceLoop::Leave() {
  const bool leftover = held_ > 0 || commands_ != nullptr;
  lease_.store(0, std::memory_order_seq_cst);
  if (leftover || !inbox_.empty()) doorbell_.Ring();
}

void DeviceLoop::WorkerMain() {
  setpriority(PRIO_PROCESS, 0, options_.nice);  // of this thread; a refusal is no error
  while (!stopping_.load(std::memory_order_seq_cst)) {
    const uint32_t ticket = doorbell_.Ticket();
    base::Time wake = base::Time::Never();
    if (TryLease()) {
      while (Turn(base::Duration::Max(), Now())) {
      }
      wake = next_wake_;
      lease_.store(0, std::memory_order_seq_cst);
    }
    if (!inbox_.empty() && lease_.load(std::memory_order_seq_cst) == 0) continue;
    doorbell_.Wait(ticket, wake);
  }
}

bool DeviceLoop::RunOnce() {
  CHECK(!options_.threaded) << "the worker runs this loop";
  if (!TryLease()) return false;
  const bool worked = Turn(base::Duration::Max(), Now());
  lease_.store(0, std::memory_order_seq_cst);
  return worked;
}

// --- Requests and events on their way in.

void DeviceLoop::Accept(std::unique_ptr<Request> request) {
  Statistics& statistics = request->pin->statistics();
  Seat& seat = request->pin->seat();
  const base::Time now = Now();
  request->enqueued = now;
  request->bytes = 0;
  for (const tensor::NamedTensor& input : request->inputs) {
    request->bytes += input.tensor.buffer.bytes();
  }
  statistics.RecordSubmit();
  const std::shared_ptr<const EngineVersion> pin = request->pin;  // outlives the push
  const char* refused = nullptr;
  unanswered_.fetch_add(1, std::memory_order_seq_cst);
  if (draining_.load(std::memory_order_seq_cst)) {
    refused = reason::kDraining;
  } else if (!inbox_.TryPush(request)) {
    refused = reason::kQueueFull;
  }
  if (refused != nullptr) {
    Reply reply = RefusalReply(refused);
    statistics.RecordReply(*request, reply, now);
    const std::shared_ptr<ReplySink> sink = request->sink;
    Waker* waker = sink->waker();
    sink->Post(std::move(reply));
    if (waker != nullptr) waker->Wake();
    request.reset();
    if (unanswered_.fetch_sub(1, std::memory_order_seq_cst) == 1) drained_bell_.Ring();
    return;
  }
  if (options_.inline_below.ns > 0 && seat.short_steps.load(std::memory_order_relaxed)) {
    if (!TryLease()) return;  // the holder looks into the inbox after it has let go
    Turn(options_.inline_below, now);
    Leave();
  } else if (lease_.load(std::memory_order_seq_cst) == 0) {
    doorbell_.Ring();
  }
}

void Submit(std::shared_ptr<const EngineVersion> pin, std::unique_ptr<Request> request) {
  CHECK(request != nullptr && request->call != nullptr && request->sink != nullptr);
  if (request->answer.has_value()) {
    const base::Time now = pin->loop().Now();
    pin->statistics().RecordAtOnce(*request, now);
    const std::shared_ptr<ReplySink> sink = request->sink;
    Waker* waker = sink->waker();
    sink->Post(*std::move(request->answer));
    if (waker != nullptr) waker->Wake();
    return;
  }
  DeviceLoop& loop = pin->loop();
  request->pin = std::move(pin);
  loop.Accept(std::move(request));
}

void PostEvent(std::shared_ptr<const EngineVersion> pin, Event event) {
  auto posted = std::make_unique<PostedEvent>();
  posted->inbox_kind = InboxNode::Kind::kEvent;
  DeviceLoop& loop = pin->loop();
  posted->pin = pin;  // ours keeps the loop until we have looked at its lease
  posted->event = std::move(event);
  loop.inbox_.Push(std::move(posted));
  if (loop.lease_.load(std::memory_order_seq_cst) == 0) loop.Wake();
}

bool DeviceLoop::WaitDrained(base::Time until) {
  for (;;) {
    const uint32_t ticket = drained_bell_.Ticket();
    if (unanswered_.load(std::memory_order_seq_cst) == 0) return true;
    if (Now() >= until) return false;
    if (options_.threaded) {
      drained_bell_.Wait(ticket, until);
    } else if (!RunOnce()) {
      return unanswered_.load(std::memory_order_seq_cst) == 0;
    }
  }
}

// --- Engines come and go: load threads, one at a time.

base::Status DeviceLoop::Attach(Seat& seat) {
  const std::lock_guard<std::mutex> one_at_a_time(attach_mutex_);
  seat.step_bytes =
      tensor::AlignUp(std::min(seat.engine->memory().activation_bytes, kStepBytesMax));
  step_bytes_.insert(seat.step_bytes);
  base::Status attached = SendWithArenas(seat);
  if (!attached.ok()) step_bytes_.erase(step_bytes_.find(seat.step_bytes));
  return attached;
}

base::Status DeviceLoop::SendWithArenas(Seat& seat) {
  Command command;
  command.verb = Command::Verb::kAttach;
  command.seat = &seat;
  std::vector<std::pair<std::byte*, int64_t>> rest;
  inbox_.Trim();
  const int64_t bytes = ArenaBytes();
  const bool grow = bytes > arena_bytes_.load(std::memory_order_relaxed);
  if (grow) {
    const int64_t reserved = reserved_.bytes();
    TRY(Reserve(bytes));
    // Mapped and touched here, so that the first steps of the new size do not wait for the kernel's
    // zeros; the rest of large ones follows beside the loop.
    if (populating_.joinable()) populating_.join();
    for (int i = 0; i < options_.depth; ++i) {
      base::Result<tensor::Arena> made = tensor::Arena::Create(bytes);
      if (!made.ok()) {
        if (reserved_.bytes() > 0) CHECK(reserved_.Resize(reserved).ok()) << "it only shrinks";
        return std::move(made).error();
      }
      command.arenas.push_back(std::move(made).value());
      tensor::Arena& arena = command.arenas.back();
      const int64_t touched = std::min(arena.capacity(), kPopulatedAtOnce);
      for (int64_t at = 0; at < touched; at += 4096) arena.data()[at] = std::byte{0};
      rest.push_back({arena.data() + touched, arena.capacity() - touched});
    }
    arena_bytes_.store(command.arenas.front().capacity(), std::memory_order_relaxed);
  }
  Send(command);
  if (options_.threaded && !rest.empty()) PopulateBehind(std::move(rest));
  return base::Ok();
}

// Populating leaves what a page holds as it is, so steps may use the memory meanwhile. A kernel
// that cannot do it zeroes on first use.
void DeviceLoop::PopulateBehind(std::vector<std::pair<std::byte*, int64_t>> regions) {
  populating_ = std::thread([this, regions = std::move(regions)] {
    setpriority(PRIO_PROCESS, 0, kPopulateNice);  // of this thread; a refusal is no error
    for (const auto& [data, bytes] : regions) {
      for (int64_t at = 0; at < bytes; at += kPopulatePiece) {
        if (stopping_.load(std::memory_order_relaxed)) return;
        const auto piece = static_cast<size_t>(std::min(kPopulatePiece, bytes - at));
        if (madvise(data + at, piece, MADV_POPULATE_WRITE) != 0) return;
      }
    }
  });
}

// Of a slot: for a step and those that may run within it, which are of as many engines.
int64_t DeviceLoop::ArenaBytes() const {
  int64_t bytes = 0;
  int left = options_.nesting ? 1 + kNestLevels : 1;
  for (auto step = step_bytes_.begin(); step != step_bytes_.end() && left > 0; ++step, --left) {
    bytes += *step;
  }
  return bytes;
}

// Makes the ledger hold an arena of `bytes` a slot.
base::Status DeviceLoop::Reserve(int64_t bytes) {
  if (options_.ledger == nullptr) return base::Ok();
  int64_t all = 0;
  if (__builtin_mul_overflow(bytes, options_.depth, &all)) {
    return base::ResourceExhausted("activations of " + std::to_string(bytes) + " bytes a slot");
  }
  if (reserved_.bytes() > 0) return reserved_.Resize(all);
  reserved_ = TRY(options_.ledger->Reserve("loop " + options_.name + " activations", all));
  return base::Ok();
}

void DeviceLoop::Detach(Seat& seat) {
  const std::lock_guard<std::mutex> one_at_a_time(attach_mutex_);
  Command command;
  command.verb = Command::Verb::kDetach;
  command.seat = &seat;
  Send(command);
  step_bytes_.erase(step_bytes_.find(seat.step_bytes));
  // No step of those that are left reaches the rest; after a reload it is as much again.
  if (populating_.joinable()) populating_.join();
  for (const std::unique_ptr<Slot>& slot : slots_) slot->arena.Forget(ArenaBytes());
}

// Hands the command over and waits until it has been carried out. Without a worker this thread runs
// the loop meanwhile.
void DeviceLoop::Send(Command& command) {
  command.inbox_kind = InboxNode::Kind::kCommand;
  inbox_.PushCommand(command);
  if (options_.threaded) {
    doorbell_.Ring();
    for (;;) {
      const uint32_t ticket = command_bell_.Ticket();
      if (command.done.load(std::memory_order_acquire) != 0) return;
      command_bell_.Wait(ticket, base::Time::Never());
    }
  }
  while (command.done.load(std::memory_order_acquire) == 0) {
    RunOnce();
    if (in_flight() > 0) device_->Await(*OldestSlot().step);
  }
}

void DeviceLoop::CarryOutCommands() {
  if (in_flight() > 0) return;
  while (commands_ != nullptr) {
    Command& command = *commands_;
    commands_ = command.next;
    if (command.verb == Command::Verb::kAttach) {
      seats_.push_back(command.seat);
      if (!command.arenas.empty()) {
        for (size_t i = 0; i < slots_.size(); ++i) {
          std::swap(slots_[i]->arena, command.arenas[i]);
        }
      }
    } else if (command.verb == Command::Verb::kDetach) {
      CHECK_EQ(command.seat->engine->pending(), 0) << "requests pin their version";
      seats_.erase(std::find(seats_.begin(), seats_.end(), command.seat));
    }
    command.carried_out = Now();
    command.done.store(1, std::memory_order_release);  // from here on its sender may destroy it
    command_bell_.Ring();
  }
}

// The median of some rings, from before the bell to after the worker has taken its lease once.
void DeviceLoop::MeasureHandoff() {
  constexpr int kRounds = 9;
  std::vector<base::Duration> costs;
  for (int i = 0; i < kRounds; ++i) {
    Command ping;
    ping.verb = Command::Verb::kPing;
    const base::Time rung = Now();
    Send(ping);
    costs.push_back(ping.carried_out - rung);
  }
  std::nth_element(costs.begin(), costs.begin() + kRounds / 2, costs.end());
  handoff_cost_ = costs[kRounds / 2];
}

}  // namespace sluice::engine
