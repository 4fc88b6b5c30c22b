// A decoder of the Llama kind: RMS norms, grouped attention with rotary embeddings, gated
// feed-forward layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "kernels/cached_attention.h"
#include "lm/checkpoint/checkpoint.h"
#include "lm/decoder/decoder_config.h"
#include "lm/decoder/step_rows.h"
#include "lm/linear/linear.h"
#include "lm/linear/runner.h"

namespace sluice::lm {

// Where the blocks of all layers lie. Layer l of a block begins l * layer_bytes behind its start.
struct CacheMemory {
  std::byte* data = nullptr;  // [blocks, block_bytes], aligned to 64, 64 bytes more behind
  int64_t block_bytes = 0;
  int64_t layer_bytes = 0;
  tensor::DType type = tensor::DType::kF16;
};

// Immutable after load; any thread may run it, each with its own memory.
class Decoder {
 public:
  struct Options {
    LinearForm form = {};  // of all products but the head's, which int4 leaves in int8
    tensor::DType cache_type = tensor::DType::kF16;
    // Tokens of the longest sequence, which some stretched angles depend on; 0: the context.
    int64_t length_max = 0;
  };
  // Takes the tensors that it names from the checkpoint, which it does not need afterwards but for
  // the embedding. Errors name the tensor.
  static base::Result<Decoder> Load(const Checkpoint& checkpoint, const DecoderConfig& config,
                                    const Options& options);

  const DecoderConfig& config() const { return config_; }
  int64_t weight_bytes() const;   // of all; those that lie in the file's memory as they are too
  int64_t product_bytes() const;  // of those that a step reads from end to end
  int64_t parameters() const;     // of all products of a row
  tensor::DType cache_type() const { return options_.cache_type; }
  // Bytes of one cache block in all layers, and of one layer.
  int64_t cache_layer_bytes() const;
  int64_t cache_block_bytes() const { return cache_layer_bytes() * config_.layers; }
  int64_t head_width() const { return head_.n(); }  // logits of a row
  // Work space of a step of that many rows whose head runs over at most `logits` of them at once.
  // The logits lie where the layers had their wide rows.
  int64_t MemoryBytes(int64_t rows, int64_t logits) const;

  // What the layers leave in the work space of a step.
  struct States {
    const float* rows = nullptr;  // [logit_rows + state_rows, hidden], `stride` floats apart
    int64_t stride = 0;
    float* logits = nullptr;       // what RunHead makes
    std::byte* scratch = nullptr;  // for the head
  };
  // Runs the step: keys and values of its rows are in the cache afterwards, and `states` are those
  // of the rows that were asked for, after the last norm. `memory` [MemoryBytes(rows, logits)].
  // False: abandoned.
  [[nodiscard]] bool RunLayers(StepRows& rows, const CacheMemory& cache, std::byte* memory,
                               int64_t logits, States& states, Runner& runner) const;
  // states.logits [count, head_width] of the states from `first` on.
  [[nodiscard]] bool RunHead(const States& states, int64_t first, int64_t count,
                             Runner& runner) const;
  // Some of their columns alone, with the same bits: `logits` [count, columns].
  [[nodiscard]] bool RunHeadColumns(const States& states, int64_t first, int64_t count,
                                    const ColumnPlaces& columns, float* logits,
                                    Runner& runner) const;
  // Both: the logits [logit_rows, head_width], in `memory`, which is that of as many of them at
  // once. Null: abandoned.
  [[nodiscard]] const float* Run(StepRows& rows, const CacheMemory& cache, std::byte* memory,
                                 Runner& runner) const;

 private:
  struct Expert {
    Linear gate_up;  // [hidden, 2 * expert_feed_forward]
    Linear down;     // [expert_feed_forward, hidden]
  };
  struct Layer {
    std::vector<float> attention_norm;      // [hidden]
    std::vector<float> attention_outer;     // [hidden], of outer norms
    std::vector<float> feed_forward_outer;  // the same
    std::vector<float> query_norm;          // [head_dim], of head norms
    std::vector<float> key_norm;            // the same
    Linear query_key_value;                 // [hidden, (heads + 2 key_heads) * head_dim]
    Linear attention_output;                // [heads * head_dim, hidden]
    std::vector<float> feed_forward_norm;   // [hidden]
    Linear gate_up;                         // [hidden, 2 * feed_forward]
    Linear down;                            // [feed_forward, hidden]
    Linear router;                          // [hidden, experts], of sparse layers alone
    std::vector<Expert> experts;
  };
  // Where the values of a step lie. Rows that a product reads are kernels::GemmRowStride apart,
  // others follow one another without gaps. `stream` and `normed` change places.
  struct Space {
    int64_t rows = 0;
    float* stream = nullptr;    // [rows, hidden] the residual stream
    float* normed = nullptr;    // [rows, hidden]
    float* wide = nullptr;      // [rows, the widest layer]
    float* attended = nullptr;  // [rows, the widest input of a layer back]
    float* cos[2] = {};         // [rows, turned / 2], of layers without and with a window
    float* sin[2] = {};
    int64_t tiles = 0;  // of attention
    // Of sparse layers.
    float* routed = nullptr;    // [rows, hidden] of one expert
    float* said = nullptr;      // [rows, hidden] by one expert
    float* shares = nullptr;    // [rows, experts]: 0 where a token does not ask the expert
    int32_t* asking = nullptr;  // [rows] of one expert
    std::byte* scratch = nullptr;
    float* logits = nullptr;  // of the head, as its scratch: on top of all but the first two
    std::byte* head_scratch = nullptr;
    int64_t bytes = 0;
  };

  base::Result<Layer> LoadLayer(const Checkpoint& checkpoint, int64_t index,
                                const Options& options) const;
  Space Divide(std::byte* memory, int64_t rows, int64_t logits) const;
  base::Status LoadProjections(const Checkpoint& checkpoint, int64_t index, const Options& options,
                               Layer& layer) const;
  base::Result<std::vector<float>> LoadNorm(const Checkpoint& checkpoint, const std::string& name,
                                            int64_t size) const;
  [[nodiscard]] bool RunAttention(int64_t index, const StepRows& rows,
                                  const kernels::CacheLayer& cache, Space& space,
                                  Runner& runner) const;
  [[nodiscard]] bool RunFeedForward(const Layer& layer, Space& space, Runner& runner) const;
  // The two arms of a feed-forward layer over `rows` rows of x, GemmRowStride(hidden) apart, and
  // their gate: space.attended, rows GemmRowStride(gate_up.n() / 2) apart.
  [[nodiscard]] bool RunGate(const Linear& gate_up, const float* x, int64_t rows, Space& space,
                             Runner& runner) const;
  // decoder_experts.cc
  base::Status LoadExperts(const Checkpoint& checkpoint, int64_t index, const Options& options,
                           Layer& layer) const;
  [[nodiscard]] bool RunExperts(const Layer& layer, Space& space, Runner& runner) const;
  [[nodiscard]] bool RunExpert(const Layer& layer, int64_t expert, Space& space,
                               Runner& runner) const;
  // The stream grows by a layer's result, through its outer norm where there is one.
  [[nodiscard]] bool AddToStream(const Linear& linear, const float* x, int64_t x_stride,
                                 const std::vector<float>& outer_norm, Space& space,
                                 Runner& runner) const;
  [[nodiscard]] bool RunNorm(const float* x, int64_t rows, const std::vector<float>& scale,
                             float* y, Runner& runner) const;
  [[nodiscard]] bool PickStates(const StepRows& rows, Space& space, States& states,
                                Runner& runner) const;
  // Of logits [rows, columns], where the model bounds them.
  [[nodiscard]] bool Cap(float* logits, int64_t rows, int64_t columns, Runner& runner) const;
  // The stream's first values.
  [[nodiscard]] bool Embed(const StepRows& rows, Space& space, Runner& runner) const;

  DecoderConfig config_;
  Options options_;
  StoredTensor embedding_;  // [vocabulary, hidden]
  std::vector<Layer> layers_;
  std::vector<float> final_norm_;
  Linear head_;  // [hidden, vocabulary]
};

}  // namespace sluice::lm
