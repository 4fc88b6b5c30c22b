// A language model as it is served: the decoder and what a deployment decides about it. Immutable
// after load.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/description.h"
#include "lm/checkpoint/model_text.h"
#include "lm/decoder/decoder.h"
#include "lm/generation.h"
#include "lm/task/rerank.h"
#include "lm/task/scoring.h"

namespace sluice::lm {

struct LanguageModel {
  struct Options {
    int64_t cache_bytes = int64_t{1} << 30;  // of keys and values
    int64_t step_rows_max = 512;             // tokens that one step computes
    int32_t running_max = 64;                // sequences that hold rows at a time
    int32_t sequences_max = 1024;            // those that wait as well
    int64_t length_max = 0;                  // tokens of a request; 0: the model's context, or
                                             // what the cache holds where that is less
    int32_t priority_default = 1;
    // Of embeddings.
    bool embeds = false;  // what the model is for: it is asked for nothing else
    StatePooling pooling = StatePooling::kLast;
    bool normalize = true;
    std::shared_ptr<const SentenceModules> modules = nullptr;  // whose prompts there are
    // Of a prompt that leaves no room for its answer: its beginning is cut off rather than the
    // request refused, where the request does not say.
    bool truncate_left = false;
    // What generation_config.json says about sampling holds where a request does not say.
    bool generation_defaults = true;
  };

  Decoder decoder;
  std::shared_ptr<const ModelText> text;  // null: it is asked in tokens
  std::vector<int32_t> end_ids;           // each ends an answer; sorted
  Options options;
  engine::Description description;
  GenerationLimits limits;
  int32_t blocks = 0;                // of the cache
  std::optional<RerankForm> rerank;  // how it ranks documents; nothing: as it scores items
};

// kInvalidArgument when the cache cannot hold a single request of the length that the options say.
base::Result<LanguageModel> MakeLanguageModel(Decoder decoder,
                                              std::shared_ptr<const ModelText> text,
                                              std::vector<int32_t> end_ids,
                                              const LanguageModel::Options& options);

}  // namespace sluice::lm
