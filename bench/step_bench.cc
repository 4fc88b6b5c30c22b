// step_bench [SEQUENCES [STEPS]]: processor time of a language model's step outside its kernels, by
// what takes it: forming, committing, what Launch does besides the decoder and the draws, and an
// admission beside a full queue. The decoder is as small as one can be; its own time is told apart.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "engine/backlog.h"
#include "lm/checkpoint/test_checkpoint.h"
#include "lm/lm_engine.h"

namespace {

using namespace sluice;

class NoSafepoint : public engine::Safepoint {
 public:
  bool Reach() override { return true; }
  base::Duration quantum() const override { return base::Duration::Micros(500); }
};

class NoSink : public engine::ReplySink {
 public:
  void Post(engine::Reply) override {}
};

double Median(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::unique_ptr<engine::Request> MakeRequest(const lm::LmEngine& engine, int64_t tokens,
                                             base::Duration deadline, uint32_t seed) {
  const base::Time now = base::SystemClock::Get().Now();
  auto request = std::make_unique<engine::Request>();
  engine::Call::Options call;
  call.deadline = now + deadline;
  request->call = std::make_shared<engine::Call>(call);
  tensor::Tensor ids =
      *tensor::Tensor::Allocate(tensor::DType::kI32, tensor::Shape({int64_t{64}}), 1 << 20);
  for (int32_t& id : ids.mutable_view().span<int32_t>()) {
    seed = seed * 1664525 + 1013904223;
    id = static_cast<int32_t>((seed >> 16) % 60);
  }
  request->inputs.push_back({lm::kInputIds, std::move(ids)});
  request->parameters = {{"max_tokens", tokens}, {"temperature", 0.0}, {"ignore_eos", true}};
  request->enqueued = request->arrival = now;
  request->sink = std::make_shared<NoSink>();
  if (!engine.Prepare(*request).ok()) std::abort();
  return request;
}

}  // namespace

int main(int count, char** words) {
  const int64_t sequences = count > 1 ? std::atoll(words[1]) : 64;
  const int64_t steps = count > 2 ? std::atoll(words[2]) : 1000;
  if (sequences < 1 || sequences > 4096 || steps < 1) {
    std::fprintf(stderr, "usage: step_bench [SEQUENCES [STEPS]]\n");
    return 2;
  }
  lm::DecoderConfig config = lm::SmallConfig();
  config.vocabulary = 64;
  config.hidden = 32;
  config.layers = 1;
  config.feed_forward = 32;
  config.context_max = 1 << 20;
  lm::LanguageModel::Options options;
  options.running_max = static_cast<int32_t>(sequences);
  options.step_rows_max = std::max<int64_t>(256, sequences);
  options.length_max = 100 + steps;
  options.cache_bytes = (sequences * (options.length_max / 32 + 3) + 64) * 32 * 256;
  auto decoder = lm::Decoder::Load(lm::RandomCheckpoint(config), config, {});
  auto model = lm::MakeLanguageModel(*std::move(decoder), nullptr, {}, options);
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", model.error().message.c_str());
    return 1;
  }
  const auto shared = std::make_shared<const lm::LanguageModel>(*std::move(model));
  lm::LmEngine engine(shared);
  std::unique_ptr<engine::Step> step = engine.MakeStep(0);
  tensor::Buffer memory = tensor::Buffer::Allocate(engine.memory().activation_bytes + 64);
  engine::Exec exec{nullptr, memory.mutable_data(), memory.bytes()};
  NoSafepoint safepoint;
  engine::Replies replies;
  engine::Backlog backlog;
  const base::Clock& clock = base::SystemClock::Get();
  const auto outlook = [&] {
    const base::Time now = clock.Now();
    return engine::Outlook{now, now, {}, {}, &backlog};
  };
  for (int64_t i = 0; i < sequences; ++i) {
    auto request =
        MakeRequest(engine, steps, base::Duration::Seconds(3600), static_cast<uint32_t>(i));
    if (engine.Admit(request, outlook()) != engine::Admission::kQueued) std::abort();
  }
  std::vector<double> offer_us, form_us, launch_us, commit_us, admit_us;
  int64_t spoken = 0;
  const auto us = [](base::Time from, base::Time to) { return (to - from).us(); };
  while (engine.pending() > 0) {
    const base::Time start = clock.Now();
    const engine::Offer* const offer = engine.BestOffer(start, engine::WorkClass::kTimed);
    if (offer == nullptr) break;
    const base::Time offered = clock.Now();
    step->formed = start;
    step->status = {};
    if (!engine.Form(*offer, *step, replies)) break;
    const base::Time formed = clock.Now();
    step->launched = formed;
    engine.Launch(*step, exec, safepoint);
    step->finished = clock.Now();
    engine.Commit(*step, engine::StepStatus::kDone, replies);
    const base::Time committed = clock.Now();
    // Of steps in which all speak, once their cost is known.
    if (step->rows == sequences && engine.pending() == sequences && ++spoken > 10) {
      offer_us.push_back(us(start, offered));
      form_us.push_back(us(offered, formed));
      launch_us.push_back(us(formed, step->finished));
      commit_us.push_back(us(step->finished, committed));
      // It is refused: the forecast is played behind everybody that is there.
      auto late = MakeRequest(engine, 32, base::Duration::Micros(1), 1);
      const base::Time asked = clock.Now();
      static_cast<void>(engine.Admit(late, outlook()));
      admit_us.push_back(us(asked, clock.Now()));
      if (late == nullptr) std::abort();
    }
    replies.rows().clear();
  }
  const double offer = Median(offer_us), form = Median(form_us), commit = Median(commit_us);
  std::printf("%lld sequences that speak, medians of %zu steps, us\n",
              static_cast<long long>(sequences), offer_us.size());
  std::printf("offer %.1f  form %.1f  commit %.1f  together %.1f\n", offer, form, commit,
              offer + form + commit);
  std::printf("launch with a decoder of one layer and 64 tokens %.1f\n", Median(launch_us));
  std::printf("an admission that is refused %.1f\n", Median(admit_us));
  return 0;
}
