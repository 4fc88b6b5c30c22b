// The bodies of the ranking routes. The first byte chooses the reader.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "serve/rank/embedding_request.h"
#include "serve/rank/rerank_request.h"
#include "serve/rank/score_request.h"
#include "serve/rank/token_request.h"

namespace {

using namespace sluice;

// What was accepted is whole and within its bounds.
void Look(const std::vector<tensor::NamedTensor>& inputs) {
  CHECK(!inputs.empty());
  for (const tensor::NamedTensor& input : inputs) {
    CHECK_EQ(input.tensor.shape.rank(), 1);
    CHECK_GE(input.tensor.shape[0], 1);
    if (input.name.ends_with("lengths")) {
      CHECK(input.tensor.shape[0] <= serve::kRankedMax);
      for (const int32_t length : input.tensor.view().span<int32_t>()) CHECK_GE(length, 1);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t bytes = text.size();
  text.append(64, '\0');
  const std::string_view body = std::string_view(text).substr(0, bytes);
  serve::RequestLimits limits;
  limits.tensor_bytes_max = 16 << 20;
  switch (data[0] % 7) {
    case 0:
    case 1: {
      const auto dialect =
          data[0] % 7 == 0 ? serve::EmbeddingDialect::kOpenAi : serve::EmbeddingDialect::kTei;
      const auto parsed = serve::ParseEmbedding(body, dialect, limits);
      if (parsed.ok()) Look(parsed->inputs);
      break;
    }
    case 2:
    case 3: {
      const auto dialect =
          data[0] % 7 == 2 ? serve::RerankDialect::kCohere : serve::RerankDialect::kJina;
      const auto parsed = serve::ParseRerank(body, dialect, limits);
      if (!parsed.ok()) break;
      CHECK(static_cast<int64_t>(parsed->documents.size()) <= serve::kRankedMax);
      Look(serve::RerankEngineRequest(*parsed).request->inputs);
      break;
    }
    case 4: {
      const auto parsed = serve::ParseScore(body, limits);
      if (!parsed.ok()) break;
      CHECK(static_cast<int64_t>(parsed->asked.size()) <= serve::kScoredPairsMax);
      for (const auto& inputs : parsed->asked) Look(inputs);
      break;
    }
    default: {
      const auto parsed = data[0] % 7 == 5 ? serve::ParseTokenize(body, limits)
                                           : serve::ParseDetokenize(body, limits);
      if (!parsed.ok()) break;
      CHECK(static_cast<int64_t>(parsed->asked.size()) <= serve::kTokenizedTextsMax);
      for (const auto& inputs : parsed->asked) Look(inputs);
    }
  }
  return 0;
}
