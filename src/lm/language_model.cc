#include "lm/language_model.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "lm/task_names.h"

namespace sluice::lm {

namespace {

void Describe(bool has_text, const LanguageModel::Options& options, const DecoderConfig& config,
              engine::Description& out) {
  using tensor::DType;
  out.platform = "language_model";
  if (config.classes > 0) {
    out.tasks = {kTaskScore};
  } else if (options.embeds) {
    out.tasks = {kTaskEmbed, kTaskScore};
  } else {
    out.tasks = {"generate", kTaskScore, kTaskEmbed};
  }
  const auto input = [&](const char* name, DType dtype) {
    out.inputs.push_back({name, dtype, {-1}, true});
  };
  // First what a request in tokens cannot do without: a probe of the model sends that.
  const bool classifies = config.classes > 0;
  out.inputs = {{classifies ? kItemIds : kInputIds, DType::kI64, {-1}, has_text}};
  input(classifies ? kInputIds : kItemIds, DType::kI64);
  for (const char* name : {kStopIds, kBiasIds, kItemLengths, kLabelIds, kLengths}) {
    input(name, DType::kI64);
  }
  input(kBias, DType::kF32);
  if (has_text) {
    input(kText, DType::kBytes);
    for (const char* name : {kMessages, kTools}) {
      out.inputs.push_back({name, DType::kBytes, {1}, true});
    }
    for (const char* name : {kStop, kItems, kLabelTexts}) input(name, DType::kBytes);
  }
  const auto output = [&](const char* name, DType dtype, std::vector<int64_t> dims) {
    out.outputs.push_back({name, dtype, std::move(dims), true});
  };
  if (config.classes == 0 && !options.embeds) {
    out.outputs.push_back({kOutputIds, DType::kI32, {-1}, false});
    output(kOutputLengths, DType::kI32, {-1});
    output(kFinishReasons, DType::kBytes, {-1});
    output(kLogprobs, DType::kF32, {-1});
    output(kTopIds, DType::kI32, {-1, -1});
    output(kTopLogprobs, DType::kF32, {-1, -1});
    output(kPromptIds, DType::kI32, {-1});
    output(kPromptLogprobs, DType::kF32, {-1});
    output(kPromptTopIds, DType::kI32, {-1, -1});
    output(kPromptTopLogprobs, DType::kF32, {-1, -1});
    if (has_text) {
      out.outputs.push_back({kText, DType::kBytes, {-1}, false});
      output(kTokenTexts, DType::kBytes, {-1});
      output(kTopTexts, DType::kBytes, {-1, -1});
      output(kPromptTexts, DType::kBytes, {-1});
      output(kPromptTopTexts, DType::kBytes, {-1, -1});
    }
  }
  if (config.classes == 0) output(kEmbedding, DType::kF32, {-1, -1});
  output(kScores, DType::kF32, {-1, -1});
  output(kTopItems, DType::kI32, {-1});
}

}  // namespace

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
  model.limits.truncate_left = options.truncate_left;
  model.blocks = static_cast<int32_t>(blocks);
  model.end_ids = std::move(end_ids);
  std::sort(model.end_ids.begin(), model.end_ids.end());
  Describe(text != nullptr, model.options, config, model.description);
  model.description.batch_reason = "sequences of different requests share steps row by row";
  model.text = std::move(text);
  model.decoder = std::move(decoder);
  return model;
}

}  // namespace sluice::lm
