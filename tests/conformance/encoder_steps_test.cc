// A step of an encoder from a checkpoint asks the heap for nothing: counted by replacing operator
// new.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "heap/heap_allocations.h"
#include "lm/encoder/encoder_model.h"

namespace sluice::lm {
namespace {

TEST(EncoderSteps, AskTheHeapForNothing) {
  for (const char* name : {"minilm", "bert_dense", "modernbert", "modernbert_reranker"}) {
    const std::string folder = std::string("tests/conformance/sentence_encoders/") + name;
    std::ifstream file(folder + "/config.json");
    const std::string config{std::istreambuf_iterator<char>(file),
                             std::istreambuf_iterator<char>()};
    for (int form = 0; form < kernels::kWeightFormCount; ++form) {
      const auto model =
          LoadEncoderModel(folder, config, {.form = static_cast<kernels::WeightForm>(form)});
      ASSERT_TRUE(model.ok()) << model.error().message;
      EncoderRows rows;
      for (const size_t length : {3, 90, 17}) {
        rows.Add(std::vector<int32_t>(length, 5), {});
      }
      tensor::Buffer memory = tensor::Buffer::Allocate(model->encoder.MemoryBytes(rows.rows()));
      tensor::Buffer more = tensor::Buffer::Allocate(model->head.MemoryBytes(rows.sequences()));
      Runner runner({});
      const int64_t before = heap::Allocations();
      const float* const hidden = model->encoder.Run(rows, memory.mutable_data(), runner);
      const float* const vectors = model->head.Run(hidden, rows, more.mutable_data(), runner);
      EXPECT_EQ(heap::Allocations() - before, 0) << name << " form " << form;
      EXPECT_NE(vectors, nullptr);
    }
  }
}

}  // namespace
}  // namespace sluice::lm
