#include "lm/encoder/encoder_model.h"

#include <algorithm>
#include <utility>

#include "lm/checkpoint/safetensors_checkpoint.h"
#include "lm/generation.h"
#include "lm/task/text_task.h"
#include "lm/task_names.h"

namespace sluice::lm {
namespace {

// How much longer attention takes for an operation than products do, about.
constexpr double kAttentionSlowness = 2;
// Of a step and of a sequence.
constexpr int64_t kRowsMax = 65'536;

void Describe(EncoderModel& model) {
  using tensor::DType;
  engine::Description& description = model.description;
  description.platform = "language_model";
  const bool classifies = model.is_classifier();
  description.tasks = classifies ? std::vector<std::string>{kTaskScore}
                                 : std::vector<std::string>{kTaskEmbed, kTaskScore};
  // The first is enough by itself: a request that tries the model has it alone.
  const std::vector<const char*> ids =
      classifies ? std::vector<const char*>{kItemIds, kItemLengths, kInputIds}
                 : std::vector<const char*>{kInputIds, kLengths, kItemIds, kItemLengths};
  for (const char* name : ids) description.inputs.push_back({name, DType::kI64, {-1}, true});
  if (model.text != nullptr) {
    for (const char* name : {kText, kItems}) {
      description.inputs.push_back({name, DType::kBytes, {-1}, true});
    }
  }
  const int64_t width = model.head.width();
  if (!classifies) description.outputs.push_back({kEmbedding, DType::kF32, {-1, -1}, false});
  description.outputs.push_back({kScores, DType::kF32, {-1, classifies ? width : 1}, !classifies});
  description.outputs.push_back({kTopItems, DType::kI32, {-1}, true});
  if (model.text != nullptr) DescribeTextTasks(description);
  description.batch_reason = "sequences of different requests share steps side by side";
}

}  // namespace

base::Result<EncoderModel> LoadEncoderModel(const std::string& folder, const std::string& config,
                                            const EncoderModel::Options& options) {
  const EncoderConfig parsed = TRY(ParseEncoderConfig(config));
  if (options.step_rows_max > kRowsMax) {
    return base::InvalidArgument("step_tokens_max: expected at most " + std::to_string(kRowsMax) +
                                 ", got " + std::to_string(options.step_rows_max));
  }
  EncoderModel model;
  model.options = options;
  model.modules = TRY(ReadSentenceModules(folder));
  const SafetensorsCheckpoint checkpoint = TRY(SafetensorsCheckpoint::Open(folder));
  model.encoder = TRY(Encoder::Load(checkpoint, parsed, options.form));
  if (parsed.labels.empty()) {
    model.head = TRY(EncoderHead::LoadEmbedding(folder, model.modules, parsed));
  } else {
    model.head = TRY(EncoderHead::LoadClassifier(checkpoint, parsed));
    model.score_activation = model.modules.score_activation.value_or(parsed.score_activation);
    if (model.score_activation == ScoreActivation::kAuto) {
      model.score_activation =
          parsed.labels.size() == 1 ? ScoreActivation::kSigmoid : ScoreActivation::kSoftmax;
    }
  }
  model.text = TRY(ModelText::Load(folder, parsed.vocabulary));
  const int64_t context_max = std::min(parsed.context_max, kRowsMax);
  model.length_max = context_max;
  if (model.modules.length_max > 0) {
    model.length_max = std::min(model.length_max, model.modules.length_max);
  }
  if (options.length_max > 0) model.length_max = std::min(context_max, options.length_max);
  model.pair_units = kAttentionSlowness * 2 * static_cast<double>(parsed.hidden * parsed.layers) /
                     static_cast<double>(model.encoder.parameters());
  Describe(model);
  return model;
}

}  // namespace sluice::lm
