// Results of language models are made where requests are prepared: neither admission nor a step
// allocates anything that grows with them.
#include <gtest/gtest.h>

#include <algorithm>

#include "heap/heap_allocations.h"
#include "lm/task_names.h"
#include "lm/test_engine.h"

namespace sluice::lm {
namespace {

class LmAllocationTest : public LmEngineTest {
 protected:
  // Bytes of the largest allocation while the request is prepared, and from there to its answer.
  struct Largest {
    int64_t prepared;
    int64_t answered;
  };
  Largest Ask(const lm::Ask& ask) {
    auto sink = std::make_shared<Sink>();
    auto request = Request(ask, {}, sink);
    heap::TakeLargest();
    const base::Status prepared = pin_->engine().Prepare(*request);
    EXPECT_TRUE(prepared.ok()) << prepared.error().message;
    Largest out = {heap::TakeLargest(), 0};
    engine::Submit(pin_, std::move(request));
    while (loop_->RunOnce()) out.answered = std::max(out.answered, heap::TakeLargest());
    EXPECT_TRUE(sink->answered && sink->last.status.ok());
    return out;
  }
};

TEST_F(LmAllocationTest, ResultsAreMadeWhereTheRequestIsPrepared) {
  constexpr int32_t kItems = 4000;
  const Ids lengths(kItems, 1);
  lm::Ask embed{Random(kItems, 1), {{kTask, std::string(kTaskEmbed)}}};
  embed.more = {Named(kLengths, lengths)};
  lm::Ask labels{Random(40, 2), {{kTask, std::string(kTaskScore)}}};
  labels.more = {Named(kItemIds, Random(kItems, 3)), Named(kItemLengths, lengths),
                 Named(kLabelIds, Random(8, 4))};
  lm::Ask likelihood{Random(40, 2), {{kTask, std::string(kTaskScore)}, {"token_logprobs", true}}};
  likelihood.more = {Named(kItemIds, Random(2 * kItems, 3)), Named(kItemLengths, Ids(kItems, 2))};
  lm::Ask prompt{Random(400, 5), {{"prompt_logprobs", int64_t{20}}, {"max_tokens", int64_t{0}}}};
  const lm::Ask* const all[] = {&embed, &labels, &likelihood, &prompt};
  const int64_t least[] = {kItems * 64 * 4, kItems * 8 * 4, kItems * 2 * 4, 400 * 20 * 8};
  // The first round grows what steps keep.
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < 4; ++i) {
      const Largest bytes = Ask(*all[i]);
      EXPECT_GE(bytes.prepared, least[i]) << "request " << i;
      if (round > 0 && all[i] != &prompt) {
        EXPECT_LT(bytes.answered, least[i] / 2) << "request " << i;
      }
    }
  }
}

}  // namespace
}  // namespace sluice::lm
