#include "lm/decoder/forced_run.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lm/model_folder.h"
#include "tensor/safetensors.h"

namespace sluice::lm {
namespace {

const std::string kFolder = "tests/conformance/decoders/llama";

// All logits of the text, in steps of at most `rows_max`, behind another text.
std::vector<float> LogitsOf(const std::vector<int32_t>& tokens, int64_t rows_max) {
  const auto sources = OpenDecoderFolder(kFolder, "");
  const auto decoder =
      Decoder::Load(*sources->checkpoint, sources->decoder, {.cache_type = tensor::DType::kF32});
  ForcedRun run(*decoder, {.length_max = 128, .rows_max = rows_max});
  run.Begin({3, 1, 4});
  EXPECT_FALSE(run.Next().empty());
  run.Begin(tokens);
  std::vector<float> all;
  for (std::span<const float> rows; !(rows = run.Next()).empty();) {
    EXPECT_LE(rows.size(), static_cast<size_t>(rows_max * decoder->head_width()));
    all.insert(all.end(), rows.begin(), rows.end());
  }
  EXPECT_TRUE(run.Next().empty());
  return all;
}

TEST(ForcedRun, GivesTheLogitsOfEveryPosition) {
  const auto file = tensor::Safetensors::Open(kFolder + "/expected.safetensors");
  ASSERT_TRUE(file.ok());
  const auto ids = file->Find("tokens")->view.span<int32_t>();
  const auto want = file->Find("logits")->view.span<float>();
  const std::vector<float> got = LogitsOf({ids.begin(), ids.end()}, 7);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-4) << i;
}

TEST(ForcedRun, StepsDoNotChangeABit) {
  const std::vector<int32_t> tokens = {5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6};
  EXPECT_EQ(LogitsOf(tokens, 3), LogitsOf(tokens, 64));
  EXPECT_EQ(LogitsOf(tokens, 1), LogitsOf(tokens, 64));
}

}  // namespace
}  // namespace sluice::lm
