// A warm step of an imported graph asks the heap for nothing between the inbox and the reply.
#include <gtest/gtest.h>

#include <random>

#include "engine/device_loop.h"
#include "heap/heap_allocations.h"
#include "infer/infer_engine.h"

namespace sluice::infer {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

class Sink : public engine::ReplySink {
 public:
  void Post(engine::Reply reply) override {
    ok = ok && reply.status.ok() && reply.outputs.size() == 1;
    ++answers;
    last = std::move(reply);
  }
  bool ok = true;
  int64_t answers = 0;
  engine::Reply last;
};

std::unique_ptr<engine::Request> ClickRequest(int64_t rows, std::mt19937& random) {
  auto request = std::make_unique<engine::Request>();
  request->call = std::make_shared<engine::Call>(engine::Call::Options{});
  Tensor ids = Tensor::Allocate(DType::kI64, Shape({rows, 6}), 1 << 20).value();
  for (int64_t& x : ids.mutable_view().span<int64_t>()) x = static_cast<int64_t>(random() % 40);
  Tensor dense = Tensor::Allocate(DType::kF32, Shape({rows, 4}), 1 << 20).value();
  for (float& x : dense.mutable_view().span<float>()) x = 0.5F;
  request->inputs = {{"ids", std::move(ids)}, {"dense", std::move(dense)}};
  return request;
}

TEST(InferAllocation, AWarmClickModelAllocatesNothingFromAdmitToReply) {
  base::VirtualClock clock(base::Time{1'000'000'000});
  engine::DeviceLoop::Options loop_options;
  loop_options.clock = &clock;
  loop_options.threaded = false;
  loop_options.inline_below = {};
  engine::DeviceLoop loop(loop_options);
  Options options;
  options.model = "deepfm";
  options.model_file = "deepfm_ts14.onnx";
  auto loaded = Load("tests/conformance/graphs", options);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  std::vector<std::unique_ptr<engine::EngineVersion>> retired;
  auto pin = engine::EngineVersion::Create(std::move(loaded).value(), loop, [&](auto version) {
               retired.push_back(std::move(version));
             }).value();
  auto sink = std::make_shared<Sink>();
  std::mt19937 random(1);
  int64_t in_steps = 0;
  int64_t sent = 0;
  for (int round = 0; round < 200; ++round) {
    for (uint_fast32_t i = 1 + random() % 12; i > 0; --i) {  // steps of 1 to 36 rows, most in parts
      auto request = ClickRequest(static_cast<int64_t>(1 + random() % 3), random);
      request->sink = sink;
      ASSERT_TRUE(pin->engine().Prepare(*request).ok());
      engine::Submit(pin, std::move(request));
      ++sent;
    }
    const int64_t before = heap::Allocations();
    while (loop.RunOnce()) {
    }
    // The first rounds grow vectors and the pool of answers to the size that they keep.
    if (round >= 100) in_steps += heap::Allocations() - before;
  }
  EXPECT_EQ(in_steps, 0);
  EXPECT_EQ(sink->answers, sent);
  EXPECT_TRUE(sink->ok);
  sink->last = {};
  pin.reset();
  retired.clear();
}

}  // namespace
}  // namespace sluice::infer
