// What a request for scores or embeddings asks of a decoder, read from its tensors and parameters.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "lm/encoder/encoder_config.h"
#include "lm/encoder/sentence_modules.h"
#include "lm/linear/column_places.h"
#include "lm/task/prompt.h"

namespace sluice::lm {

// Inputs besides a prompt's and task_names.h's.
inline constexpr const char* kLabelTexts = "labels";   // BYTES [n], each one token
inline constexpr const char* kLabelIds = "label_ids";  // I32 or I64 [n]

// Which of the scored come back, and in which order.
struct Ranking {
  int64_t top_k = 0;     // 0: all, in the request's order
  int64_t by_label = 0;  // whose scores decide what is best
};

// One prefix and items behind it.
struct Scoring : Asked {
  enum class Kind : uint8_t {
    kLabels,      // the probabilities of some tokens behind each item
    kLikelihood,  // of the item's own tokens
    kClasses,     // what a classifier's head says
  };
  Scoring() : Asked(Task::kScore) {}
  int64_t row_count() const override {
    return static_cast<int64_t>(prompt.size() + items.tokens.size());
  }

  Kind kind = Kind::kLikelihood;
  TokenLists items;
  std::vector<int32_t> labels;  // of kLabels
  bool over_labels = false;     // probabilities among the labels, else logprobs among all tokens
  ColumnPlaces label_columns;   // of the head; of over_labels
  ScoreActivation activation = ScoreActivation::kNone;  // of what the head says of an item
  bool token_logprobs = false;                          // of kLikelihood
  std::vector<int32_t> first_tokens;  // of the items; of kLikelihood behind a prefix
  bool relevance = false;             // of kLabels: the first one's score alone
  Ranking ranking;
};

enum class StatePooling : uint8_t { kLast, kMean };

// Texts that become vectors.
struct Embedding : Asked {
  Embedding() : Asked(Task::kEmbed) {}
  int64_t row_count() const override { return static_cast<int64_t>(texts.tokens.size()); }

  TokenLists texts;
  StatePooling pooling = StatePooling::kLast;
  int64_t dimensions = 0;  // of a vector
  bool normalize = true;
  bool compares = false;  // no vectors: cosines of the first text's and each other's
  Ranking ranking;        // of these
};

struct ScoringLimits {
  int64_t vocabulary = 0;
  int64_t length_max = 0;  // tokens of prefix and item, or of a text
  int64_t items_max = 4096;
  int64_t labels_max = 1024;
  int64_t tokens_max = int64_t{4} << 20;  // of all items
};

// A model's own side of it.
struct ScoringModel {
  ScoringLimits limits;
  const ModelText* text = nullptr;  // null: asked in tokens
  int64_t classes = 0;              // of a classifier; 0: it is none
  int64_t hidden = 0;
  StatePooling pooling = StatePooling::kLast;
  bool normalize = true;
  const SentenceModules* modules = nullptr;  // whose prompts there are; null: none
};

// The parameter `activation`; `otherwise`: what "auto" means.
base::Status ReadScoreActivation(ParameterReader& reader, ScoreActivation otherwise,
                                 ScoreActivation& out);

// kInvalidArgument says what was expected and what came.
base::Status ReadScoring(const engine::Request& request, const ScoringModel& model, Scoring& out);
base::Status ReadEmbedding(const engine::Request& request, const ScoringModel& model,
                           Embedding& out);
// Scores of an embedding model: `out` compares.
base::Status ReadComparison(const engine::Request& request, const ScoringModel& model,
                            Embedding& out);

}  // namespace sluice::lm
