// A language model as it is served: the decoder and what a deployment decides about it. Immutable
// after load.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/description.h"
#include "lm/decoder.h"
#include "lm/generation.h"
#include "lm/model_text.h"

namespace sluice::lm {

// More than any model's context.
inline constexpr int64_t kContextMax = int64_t{1} << 24;

struct LanguageModel {
  struct Options {
    int64_t cache_bytes = int64_t{1} << 30;  // of keys and values
    int64_t step_rows_max = 256;             // tokens that one step computes
    int32_t running_max = 64;                // sequences that hold rows at a time
    int32_t sequences_max = 1024;            // those that wait as well
    int64_t length_max = kContextMax;        // tokens of a request, at most the model's context
    int32_t priority_default = 1;
  };

  Decoder decoder;
  std::shared_ptr<const ModelText> text;  // null: it is asked in tokens
  std::vector<int32_t> end_ids;           // each ends an answer; sorted
  Options options;
  engine::Description description;
  GenerationLimits limits;
  int32_t blocks = 0;  // of the cache
};

// kInvalidArgument when the cache cannot hold a single request of the greatest length.
base::Result<LanguageModel> MakeLanguageModel(Decoder decoder,
                                              std::shared_ptr<const ModelText> text,
                                              std::vector<int32_t> end_ids,
                                              const LanguageModel::Options& options);

}  // namespace sluice::lm
