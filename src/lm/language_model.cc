#include "lm/language_model.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sluice::lm {

base::Result<LanguageModel> MakeLanguageModel(Decoder decoder,
                                              std::shared_ptr<const ModelText> text,
                                              std::vector<int32_t> end_ids,
                                              const LanguageModel::Options& options) {
  LanguageModel model;
  const DecoderConfig& config = decoder.config();
  model.options = options;
  model.limits.vocabulary = config.vocabulary;
  const int64_t blocks = std::min<int64_t>(options.cache_bytes / decoder.cache_block_bytes(),
                                           std::numeric_limits<int32_t>::max() / 64);
  // One block is for the copy of a shared one.
  const int64_t held = (blocks - 1) * kernels::kCacheBlockRows;
  const int64_t wanted =
      options.length_max == 0
          ? std::min(config.context_max, std::max(held, kernels::kCacheBlockRows))
          : std::min(std::max(config.context_max, config.context_most), options.length_max);
  if (held < wanted) {
    const int64_t needed = (wanted + kernels::kCacheBlockRows - 1) / kernels::kCacheBlockRows + 1;
    return base::InvalidArgument("the key-value cache of " + std::to_string(options.cache_bytes) +
                                 " bytes holds requests of " +
                                 std::to_string(std::max<int64_t>(0, held)) + " tokens; one of " +
                                 std::to_string(wanted) + " needs " +
                                 std::to_string(needed * decoder.cache_block_bytes()) + " bytes");
  }
  model.limits.length_max = wanted;
  model.blocks = static_cast<int32_t>(blocks);
  model.end_ids = std::move(end_ids);
  std::sort(model.end_ids.begin(), model.end_ids.end());
  using tensor::DType;
  model.description.platform = "language_model";
  const bool has_text = text != nullptr;
  model.description.inputs = {{kInputIds, DType::kI64, {-1}, has_text},
                              {kStopIds, DType::kI64, {-1}, true}};
  model.description.inputs.push_back({kBiasIds, DType::kI64, {-1}, true});
  model.description.inputs.push_back({kBias, DType::kF32, {-1}, true});
  model.description.outputs = {
      {kOutputIds, DType::kI32, {-1}, false},      {kOutputLengths, DType::kI32, {-1}, true},
      {kFinishReasons, DType::kBytes, {-1}, true}, {kLogprobs, DType::kF32, {-1}, true},
      {kTopIds, DType::kI32, {-1, -1}, true},      {kTopLogprobs, DType::kF32, {-1, -1}, true}};
  if (has_text) {
    for (const char* name : {kText, kMessages, kTools}) {
      model.description.inputs.push_back({name, DType::kBytes, {1}, true});
    }
    model.description.inputs.push_back({kStop, DType::kBytes, {-1}, true});
    model.description.outputs.push_back({kText, DType::kBytes, {-1}, false});
    model.description.outputs.push_back({kTokenTexts, DType::kBytes, {-1}, true});
    model.description.outputs.push_back({kTopTexts, DType::kBytes, {-1, -1}, true});
  }
  model.description.batch_reason = "sequences of different requests share steps row by row";
  model.text = std::move(text);
  model.decoder = std::move(decoder);
  return model;
}

}  // namespace sluice::lm
