// An imported graph as it is served: the compiled model, its tokenizer if the folder has one, and
// its limits. What several engines of one model version share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "engine/description.h"
#include "graph/model.h"
#include "infer/plan_family.h"
#include "tensor/ledger.h"
#include "text/tokenizer.h"

namespace sluice::infer {

class Planner;
class RaggedPlans;

struct Options {
  std::string model;  // its name, for messages and metadata
  int64_t version = 0;
  std::string model_file = "model.onnx";  // inside the folder
  // Rows that one step may join: -1: proven by the model, kRowsDefault; 0: never joined; above:
  // declared independent.
  int64_t batch_rows_max = -1;
  base::Duration queue_delay_max;  // how long an idle loop may wait for company
  int64_t queue_requests_max = 0;  // 0: the batcher's default
  int priority_levels = 1;
  int priority_default = 1;
  int64_t activation_bytes_max =
      int64_t{512} << 20;  // of a slot's memory; larger steps run in parts, rows apart
  int64_t output_bytes_max = int64_t{1} << 30;  // of one request's answer
  int64_t text_tokens_max = 0;  // of one text, fixed tokens included; 0: what the model takes
  int64_t plan_bytes_max = int64_t{64} << 20;         // of plans kept for later steps
  int64_t answer_idle_bytes_max = int64_t{32} << 20;  // of answers' memory kept for later steps
  // Makes plans beside the loop; outlives the engine. Null: the thread that prepares a request
  // makes them.
  Planner* planner = nullptr;
  tensor::Ledger* ledger = nullptr;  // where plans and answers are reserved; null: nowhere
  graph::CompileOptions compile;

  static constexpr int64_t kRowsDefault = 256;
};

// Immutable but for its plans, and thread-safe; shared by the engines of one model version.
struct ServedModel {
  std::shared_ptr<const graph::Model> graph;
  ServedModel();
  ~ServedModel();
  std::unique_ptr<PlanFamilies> plans;
  std::unique_ptr<RaggedPlans> ragged;               // null: every request runs padded
  std::shared_ptr<const text::Tokenizer> tokenizer;  // null: the model takes its own inputs only
  Options options;
  engine::Description description;
  int64_t rows_max = 0;          // of a step; 0: requests are never joined
  int64_t units_max = 0;         // tokens' worth of work of a step, where `ragged`
  bool rows_open = false;        // larger requests than rows_max are taken, alone
  int64_t text_tokens_max = 0;   // with a tokenizer
  int64_t activation_bytes = 0;  // reserved of a slot's memory

  // Which of the graph's inputs the tokenizer fills; -1: the graph has no such input.
  int ids_input = -1;
  int mask_input = -1;
  int types_input = -1;
  bool TakesFromText(int input) const {
    return tokenizer != nullptr &&
           (input == ids_input || input == mask_input || input == types_input);
  }
};

// Reads a version folder: the model file and, beside it, tokenizer.json if there is one. Errors
// name the file.
base::Result<std::shared_ptr<const ServedModel>> LoadServedModel(const std::string& folder,
                                                                 const Options& options);

}  // namespace sluice::infer
