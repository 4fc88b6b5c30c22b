#include "sim/simulation.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "base/check.h"
#include "engine/fair_share.h"

namespace sluice::sim {

using base::Duration;
using base::Time;
using engine::Reply;
using engine::WorkClass;
namespace reason = engine::reason;

// --- The device.

namespace {

// What a device without safepoints gives to Launch.
struct NoSafepoint : engine::Safepoint {
  bool Reach() override { return true; }
  Duration quantum() const override { return Duration::Max(); }
};

}  // namespace

void StreamDevice::Start(engine::Engine& engine, engine::Step& step, engine::Exec& exec,
                         engine::Safepoint&) {
  auto& fake = static_cast<FakeStep&>(step);
  const Time start =
      running_.empty() ? clock_.Now() : std::max(clock_.Now(), running_.back().finish);
  running_.push_back({&engine, &fake, &exec, start + fake.duration});
}

bool StreamDevice::Finished(const engine::Step& step) {
  CHECK(!running_.empty() && running_.front().step == &step) << "asked out of launch order";
  if (clock_.Now() < running_.front().finish) return false;
  const Running done = running_.front();
  running_.erase(running_.begin());
  NoSafepoint none;
  done.engine->Launch(*done.step, *done.exec,
                      none);  // what it reads must still be there
  done.step->finished = done.finish;
  return true;
}

void StreamDevice::Await(const engine::Step& step) {
  CHECK(!running_.empty() && running_.front().step == &step);
  clock_.Set(std::max(clock_.Now(), running_.front().finish));
}

Time StreamDevice::next_finish() const {
  return running_.empty() ? Time::Never() : running_.front().finish;
}

void Tally::Add(const Tally& other) {
  submitted += other.submitted;
  answered += other.answered;
  ok += other.ok;
  failed += other.failed;
  late += other.late;
  steps += other.steps;
  nested += other.nested;
  nested_twice += other.nested_twice;
  joined += other.joined;
  versions += other.versions;
  for (const auto& [why, count] : other.refused) refused[why] += count;
}

// --- Those who take part.

// A model version and what its clients saw of it.
struct Simulation::Loaded {
  FakeEngine* engine = nullptr;
  const engine::EngineVersion* version = nullptr;
  std::shared_ptr<const engine::EngineVersion> pin;  // null: unloaded
  bool gone = false;                                 // retired
  Duration delay;
  int64_t rows_max = 0;
  int in_flight = 0;
  Tally tally;
};

struct Simulation::Client {
  std::shared_ptr<engine::Call> call;
  Loaded* loaded = nullptr;
  engine::Request* request = nullptr;  // for recognition only
  Time enqueued;
  uint64_t token = 0;
  bool parked = false;
  bool fails = false;
  bool formed = false;
  Duration timed_before, untimed_before;
  int terminals = 0;
  void StartsToWait(const Simulation& simulation) {
    enqueued = simulation.clock_.Now();
    timed_before = simulation.timed_ran_;
    untimed_before = simulation.untimed_ran_;
  }
  bool untimed() const { return call->deadline().never(); }
};

class Simulation::Sink : public engine::ReplySink {
 public:
  Sink(Simulation& simulation, std::shared_ptr<Client> client)
      : simulation_(simulation), client_(std::move(client)) {}
  void Post(Reply reply) override { simulation_.OnReply(*client_, reply); }

 private:
  Simulation& simulation_;
  std::shared_ptr<Client> client_;
};

Simulation::Simulation(uint64_t seed, int depth) : state_(seed * 2 + 1) {
  engine::DeviceLoop::Options options;
  options.clock = &clock_;
  options.threaded = false;
  options.depth = depth;
  options.inline_below = Chance(50) ? Duration::Micros(100) : Duration{};
  options.nesting = Chance(85);
  delays_ = Chance(50);
  inbox_max_ = Chance(20) ? 4 : 1000;
  options.inbox.requests_max = inbox_max_;
  std::unique_ptr<engine::Device> device = std::make_unique<engine::InlineDevice>();
  if (depth > 1 || Chance(30)) {
    auto stream = std::make_unique<StreamDevice>(clock_);
    stream_ = stream.get();
    device = std::move(stream);
  }
  timed_percent_ = Chance(30) ? 95 : static_cast<int>(Random(100));
  loop_ = std::make_unique<engine::DeviceLoop>(options, std::move(device));
}

Simulation::~Simulation() {
  if (!failure_.empty()) {
    // The run broke in the middle: nothing can be torn down in order.
    (void)loop_.release();
    for (auto& version : retired_) (void)version.release();
    for (auto& loaded : loaded_) new std::shared_ptr<const engine::EngineVersion>(loaded->pin);
  }
}

// SplitMix64 (Steele, Lea, Flood 2014).
uint64_t Simulation::Random(uint64_t below) {
  state_ += 0x9E3779B97F4A7C15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (z ^ (z >> 31)) % below;
}

void Simulation::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = what;
}

// --- What clients and load threads do.

void Simulation::Load() {
  auto loaded = std::make_unique<Loaded>();
  Loaded* const its = loaded.get();
  FakeEngine::Options options;
  const bool slow = Chance(50);
  options.name = slow ? "slow" : "fast";
  options.fixed = slow ? Duration::Micros(static_cast<int64_t>(500 + Random(20'000)))
                       : Duration::Micros(static_cast<int64_t>(1 + Random(50)));
  options.per_row = {options.fixed.ns / static_cast<int64_t>(1 + Random(20))};
  options.piece = Duration::Micros(static_cast<int64_t>(50 + Random(450)));
  options.prior = Chance(50) ? options.fixed : Duration::Micros(1);
  options.activation_bytes = static_cast<int64_t>(Random(3) == 0 ? 3 << 20 : 4096);
  options.batching.rows_max = static_cast<int64_t>(Chance(30) ? 0 : 1 + Random(16));
  options.batching.queue_delay_max =
      delays_ && Chance(50) ? Duration::Micros(static_cast<int64_t>(Random(4000))) : Duration{};
  options.batching.priority_levels = Chance(30) ? 3 : 1;
  options.batching.requests_max = Chance(20) ? 3 : 1000;
  if (stream_ == nullptr) {
    options.spend = [this](Duration d) {
      clock_.Advance(d);
      if (quiet_ || clock_.Now() < next_outside_) return;
      Outside();
      next_outside_ = clock_.Now() + Duration::Micros(static_cast<int64_t>(Random(5000)));
    };
  }
  options.noise = [this] { return Chance(3) ? 5.0 : 0.8 + static_cast<double>(Random(40)) / 100; };
  options.hooks.on_form = [this, its](const FakeStep& step) { OnForm(*its, step); };
  options.hooks.on_offer = [this](const engine::Offer& offer) {
    if (offer.work == WorkClass::kUntimed) {
      untimed_due_ = std::max(untimed_due_, offer.cost.predicted);
    }
  };
  options.hooks.on_commit = [this, its](const FakeStep& step) { OnCommit(*its, step); };
  its->delay = options.batching.rows_max > 0 ? options.batching.queue_delay_max : Duration{};
  its->rows_max = options.batching.rows_max;
  auto fake = std::make_unique<FakeEngine>(std::move(options));
  its->engine = fake.get();
  auto made = engine::EngineVersion::Create(
      std::move(fake), *loop_, [this, its](std::unique_ptr<engine::EngineVersion> version) {
        CheckStatistics(*its);
        its->gone = true;
        retired_.push_back(std::move(version));
      });
  its->pin = std::move(made).value();
  its->version = its->pin.get();
  loaded_.push_back(std::move(loaded));
  ++tally_.versions;
}

void Simulation::Submit() {
  Loaded* const loaded = loaded_[Random(loaded_.size())].get();
  if (loaded->pin == nullptr) return;
  engine::Call::Options call;
  if (Chance(timed_percent_)) {
    const int64_t us[] = {20, 500, 5'000, 50'000, 500'000};
    const auto base = us[Random(5)];
    call.deadline = clock_.Now() + Duration::Micros(base + static_cast<int64_t>(Random(20'000)));
    if (Chance(2)) call.deadline = clock_.Now();
  }
  call.priority = static_cast<int>(Random(4));
  auto client = std::make_shared<Client>();
  client->call = std::make_shared<engine::Call>(std::move(call));
  client->loaded = loaded;
  client->StartsToWait(*this);
  client->fails = Chance(3);
  client->parked = Chance(10);
  auto work = std::make_unique<FakeWork>();
  work->shape = Random(3);
  work->fails = client->fails;
  if (client->parked) work->park_token = client->token = next_token_++;
  auto request = std::make_unique<engine::Request>();
  client->request = request.get();
  request->call = client->call;
  request->prepared = std::move(work);
  request->rows = loaded->rows_max > 0
                      ? 1 + static_cast<int64_t>(Random(static_cast<uint64_t>(loaded->rows_max)))
                      : 1;
  request->sink = std::make_shared<Sink>(*this, client);
  clients_.push_back(client);
  ++tally_.submitted;
  ++loaded->tally.submitted;
  engine::Submit(loaded->pin, std::move(request));
}

void Simulation::CancelOne() {
  if (!clients_.empty()) clients_[Random(clients_.size())]->call->Cancel();
}

void Simulation::PostOne() {
  if (clients_.empty()) return;
  const std::shared_ptr<Client> client = clients_[Random(clients_.size())];
  // Events may also come for what has expired meanwhile, or twice.
  if (client->token == 0 || client->loaded->pin == nullptr) return;
  const bool broken = Chance(10);
  if (client->parked) {
    client->fails |= broken;
    client->parked = false;
    client->StartsToWait(*this);
  }
  engine::PostEvent(client->loaded->pin,
                    {client->token, broken ? base::Status(base::Unavailable("lost")) : base::Ok()});
}

void Simulation::Unload() {
  Loaded& loaded = *loaded_[Random(loaded_.size())];
  loaded.pin.reset();
}

// The load thread: destroys what nobody pins.
void Simulation::Reap() {
  while (!retired_.empty()) {
    const std::unique_ptr<engine::EngineVersion> last = std::move(retired_.back());
    retired_.pop_back();
  }
}

void Simulation::Outside() {
  const uint64_t what = Random(20);
  if (what < 14) return Submit();
  if (what < 16) return CancelOne();
  if (what < 19) return PostOne();
  if (Chance(10)) Unload();
}

// --- Time.

void Simulation::Turn() {
  const bool worked = loop_->RunOnce();
  loop_->CheckIntegrity();
  if (!worked) CheckIdle();
}

void Simulation::Pass() {
  Time next = loop_->next_wake();
  if (stream_ != nullptr) next = std::min(next, stream_->next_finish());
  const Time arrival =
      quiet_ ? Time::Never() : clock_.Now() + Duration::Micros(static_cast<int64_t>(Random(3000)));
  next = std::min(next, arrival);
  if (!next.never() && next > clock_.Now()) clock_.Set(next);
}

std::string Simulation::Run() {
  const auto models = 1 + Random(4);
  for (uint64_t i = 0; i < models; ++i) Load();
  const auto actions = 30 + Random(120);
  for (uint64_t i = 0; i < actions && failure_.empty(); ++i) {
    const uint64_t burst = Chance(5) ? 20 : Random(3);
    for (uint64_t k = 0; k < burst; ++k) Outside();
    if (Chance(2)) Load();
    if (Chance(10)) Reap();
    Turn();
    if (Chance(50)) Pass();
  }
  if (failure_.empty()) Finish();
  return failure_;
}

// Nothing new arrives; whoever waits for an event is told or gives up; all must get their answers.
void Simulation::Finish() {
  quiet_ = true;
  if (Chance(50)) {
    loop_->BeginDrain();
    Submit();
  }
  for (int turns = 0; loop_->unanswered() > 0 && failure_.empty(); ++turns) {
    if (turns > 20'000) return Fail("requests remain unanswered for ever");
    for (const auto& client : clients_) {
      if (client->parked) client->call->Cancel();
    }
    Turn();
    Pass();
  }
  if (!clients_.empty()) Fail("a client has no answer though the loop holds no request");
  if (!failure_.empty()) return;
  for (auto& loaded : loaded_) loaded->pin.reset();
  Reap();
  for (auto& loaded : loaded_) {
    if (!loaded->gone) Fail("a version without pins was not retired");
  }
  loop_->CheckIntegrity();
}

// --- Invariants.

void Simulation::OnForm(Loaded& loaded, const FakeStep& step) {
  const Time now = clock_.Now();
  ++tally_.steps;
  ++loaded.in_flight;
  ++running_;
  if (running_ > loop_->options().depth) ++tally_.nested;
  if (running_ > loop_->options().depth + 1) ++tally_.nested_twice;
  if (running_ > loop_->slots()) Fail("more steps nested than there are slots");
  if (step.members.size() > 1) ++tally_.joined;
  int64_t rows = 0;
  for (const auto& member : step.members) {
    rows += member->rows;
    if (member->call->deadline() <= now) Fail("a step was formed for an expired request");
    if (member->call->cancelled()) Fail("a step was formed for a cancelled request");
    for (const auto& client : clients_) {
      if (client->request == member.get()) client->formed = true;
    }
  }
  if (loaded.rows_max > 0 && rows > loaded.rows_max) Fail("a step has more rows than allowed");
  if (loaded.rows_max == 0 && step.members.size() != 1) Fail("joined what must not be joined");
  if (running_ <= loop_->options().depth) CheckFairness();
}

// While an untimed request waits, a ninth of what timed work runs is owed to untimed work. The debt
// may grow to the predicted cost of the step that is due (at most a burst), by what the steps in
// flight add, and by the last untimed step's having taken longer than it was predicted to.
void Simulation::CheckFairness() {
  if (delays_) return;  // what waits for company earns nothing, and is hard to tell here
  const int64_t depth = loop_->options().depth;
  const Duration slack{2 * longest_timed_.ns * depth / 9 + longest_untimed_.ns * depth + 1000};
  const Duration allowed = std::min(untimed_due_, engine::FairShare::kBurst) + slack;
  for (const auto& client : clients_) {
    if (!client->untimed() || client->formed || client->parked) continue;
    const Duration timed = timed_ran_ - client->timed_before;
    const Duration untimed = untimed_ran_ - client->untimed_before;
    if (Duration{timed.ns / (engine::FairShare::kParts - 1) - untimed.ns} <= allowed) continue;
    std::ostringstream text;
    text << "untimed work did not get its tenth: timed ran " << timed.us() << " us, untimed "
         << untimed.us() << " us, due " << untimed_due_.us();
    return Fail(text.str());
  }
}

void Simulation::OnCommit(Loaded& loaded, const FakeStep& step) {
  --loaded.in_flight;
  --running_;
  const bool timed = step.work == WorkClass::kTimed;
  Duration& ran = timed ? timed_ran_ : untimed_ran_;
  Duration& longest = timed ? longest_timed_ : longest_untimed_;
  ran = ran + step.computed();
  longest = std::max(longest, step.finished - step.launched);
  if (loaded.in_flight < 0) Fail("committed a step that was not in flight");
  if (stream_ != nullptr && clock_.Now() < step.finished) Fail("committed before it had finished");
}

void Simulation::OnReply(Client& client, const Reply& reply) {
  if (!reply.terminal) return Fail("a chunk from an engine that streams nothing");
  if (++client.terminals > 1) return Fail("two terminal replies");
  const Time now = clock_.Now();
  const std::string why = reply.reason;
  Tally& seen = client.loaded->tally;
  ++seen.answered;
  ++tally_.answered;
  if (reply.status.ok()) {
    ++seen.ok;
    ++tally_.ok;
    if (!client.formed) Fail("success without a step");
    if (client.fails) Fail("success of a request that fails");
    if (now > client.call->deadline()) {
      ++seen.late;
      ++tally_.late;
    }
  } else if (why.empty()) {
    ++seen.failed;
    ++tally_.failed;
  } else {
    ++seen.refused[why];
    ++tally_.refused[why];
    const bool cancelled = why == reason::kCancelled;
    if (cancelled && !client.call->cancelled()) Fail("cancelled by nobody");
    const bool abandoned = why == reason::kDeadlineStep;
    if (abandoned && !client.formed) Fail("abandoned without a step");
    if (abandoned && now < client.call->deadline()) Fail("abandoned before its deadline");
    if (!cancelled && !abandoned && client.formed) {
      Fail("refused although it was in a step: " + why);
    }
    if (abandoned || why == reason::kDeadlineQueue || why == reason::kDeadlineAdmission) {
      if (client.untimed()) Fail("untimed work cannot be late: " + why);
    }
  }
  const auto at = std::find_if(clients_.begin(), clients_.end(),
                               [&](const auto& held) { return held.get() == &client; });
  if (at == clients_.end()) return Fail("a reply to nobody");
  clients_.erase(at);
}

// The loop found nothing to do: then nothing may wait that could run, nor sleep past its latest
// start.
void Simulation::CheckIdle() {
  const bool full = running_ >= loop_->options().depth;
  if (full) return;
  const Time now = clock_.Now();
  for (const auto& client : clients_) {
    if (client->formed || client->parked) continue;
    const Duration delay = client->loaded->delay;
    const auto describe = [&] {
      std::ostringstream text;
      text << " (model " << client->loaded->version->description().model << ", waits for "
           << (now - client->enqueued).us() << " us, delay " << delay.us() << " us)";
      return text.str();
    };
    if (now >= client->enqueued + delay)
      return Fail("the loop idles over runnable work" + describe());
    const Duration cost = client->loaded->engine->costs().Predict(0, 1).predicted;
    (void)cost;
    const Time latest = std::min(client->enqueued + delay, client->call->deadline());
    if (loop_->next_wake() > latest)
      return Fail("the loop sleeps past a latest start" + describe());
  }
  for (const auto& loaded : loaded_) {
    if (loaded->gone) continue;
    for (const WorkClass work : {WorkClass::kTimed, WorkClass::kUntimed}) {
      const engine::Offer* offer = loaded->engine->BestOffer(now, work);
      if (offer == nullptr) continue;
      if (offer->wait_until <= now) return Fail("an offer was ready and the loop idles");
      if (offer->wait_until > offer->latest_start)
        return Fail("an offer waits past its latest start");
      if (loop_->next_wake() > offer->wait_until) return Fail("the loop sleeps past an offer");
    }
  }
}

void Simulation::CheckStatistics(const Loaded& loaded) {
  const engine::Statistics::Snapshot seen = loaded.version->statistics().snapshot();
  const Tally& own = loaded.tally;
  const auto refused = [&](const char* why) {
    const auto at = own.refused.find(why);
    return at == own.refused.end() ? 0 : at->second;
  };
  if (seen.pending != 0) Fail("a retired version has pending requests");
  if (own.answered != own.submitted) Fail("a version was retired before all were answered");
  if (seen.success.count != own.ok) Fail("successes miscounted");
  if (seen.success.count + seen.fail.count != own.submitted) Fail("requests miscounted");
  if (seen.late != own.late) Fail("late answers miscounted");
  if (seen.refusals.queue_full != refused(reason::kQueueFull) ||
      seen.refusals.deadline_admission != refused(reason::kDeadlineAdmission) ||
      seen.refusals.deadline_queue != refused(reason::kDeadlineQueue) ||
      seen.refusals.deadline_step != refused(reason::kDeadlineStep) ||
      seen.refusals.cancelled != refused(reason::kCancelled) ||
      seen.refusals.draining != refused(reason::kDraining)) {
    Fail("refusals miscounted");
  }
}

}  // namespace sluice::sim
