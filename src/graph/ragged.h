// The ragged form of a model: the same answers from packed rows, all tokens of all sequences one
// behind the other, with the offsets where sequences begin. What makes one:
// passes/propagate_ragged.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/ir.h"

namespace sluice::graph {

// What a ragged program takes and gives, in terms of the model's interface.
struct RaggedForm {
  enum class Feed : uint8_t {
    kTokens,     // the model's input without its padding: [1, tokens, ...]
    kSequences,  // the model's input as it is: [sequences, ...]
    kStarts,     // int32 [sequences + 1]: the row at which each sequence begins, then their end
    kPositions,  // int64 [tokens]: the place of each row within its sequence
  };
  struct Input {
    Feed feed = Feed::kTokens;
    int index = -1;  // of the model's input
  };
  enum class Delivery : uint8_t {
    kTokens,     // [1, tokens, ...] for what the model gives as [batch, length, ...]
    kSequences,  // [sequences, ...]
  };

  std::vector<Input> inputs;      // of the program, in its order
  std::vector<Delivery> outputs;  // one a model output
  int mask_input = -1;            // the model's input that tells padding; 0 marks it
  int64_t length_max = 0;         // of a sequence
};

// What the pass found: a program over packed rows, or why there is none.
struct RaggedGraph {
  std::unique_ptr<Graph> graph;  // null: none
  RaggedForm form;
  std::string reason;
};

}  // namespace sluice::graph
