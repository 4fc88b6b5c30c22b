// An encoder as it is served: its head, its tokeniser and what a deployment decides about it.
// Immutable after load.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/description.h"
#include "lm/checkpoint/model_text.h"
#include "lm/encoder/encoder.h"
#include "lm/encoder/encoder_head.h"
#include "lm/encoder/sentence_modules.h"

namespace sluice::lm {

struct EncoderModel {
  struct Options {
    kernels::WeightForm form = kernels::WeightForm::kF32;
    int64_t step_rows_max = 1024;  // tokens that one step computes
    int64_t length_max = 0;        // tokens of a sequence; 0: what the folder says
    int priority_levels = 1;
    int priority_default = 1;
    int64_t queue_requests_max = 8192;
  };

  Encoder encoder;
  EncoderHead head;
  SentenceModules modules;
  ScoreActivation score_activation = ScoreActivation::kAuto;  // never kAuto of a classifier
  std::shared_ptr<const ModelText> text;                      // null: it is asked in tokens
  Options options;
  engine::Description description;
  int64_t length_max = 0;  // tokens of a sequence
  // What a pair of query and key costs, in rows of products: attention grows with the square of a
  // length.
  double pair_units = 0;

  bool is_classifier() const { return !encoder.config().labels.empty(); }
  const std::vector<std::string>& labels() const { return encoder.config().labels; }
  int64_t UnitsOf(int64_t length) const {
    return length + static_cast<int64_t>(static_cast<double>(length) * static_cast<double>(length) *
                                         pair_units);
  }
};

// Of a version folder whose config.json (`config`, its text) is an encoder's. Errors name the file.
base::Result<EncoderModel> LoadEncoderModel(const std::string& folder, const std::string& config,
                                            const EncoderModel::Options& options);

}  // namespace sluice::lm
