// An encoder: BERT, RoBERTa, ModernBERT over ragged sequences side by side, without padding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/attention.h"
#include "kernels/row_norm.h"
#include "lm/checkpoint/checkpoint.h"
#include "lm/encoder/encoder_config.h"
#include "lm/linear/linear.h"
#include "lm/linear/memory_divider.h"
#include "lm/linear/runner.h"

namespace sluice::lm {

// The rows of a step: sequences one behind the other.
struct EncoderRows {
  std::vector<int32_t> tokens;        // [rows]
  std::vector<int32_t> types;         // [rows] kinds of segments
  std::vector<int32_t> positions;     // [rows]
  std::vector<int32_t> starts = {0};  // [sequences + 1]
  int64_t longest = 0;

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
  int64_t sequences() const { return static_cast<int64_t>(starts.size()) - 1; }
  void Reserve(int64_t rows, int64_t sequences);
  void Clear();
  // `types` is empty where all are 0.
  void Add(std::span<const int32_t> ids, std::span<const int32_t> type_ids);
};

// Immutable after load; any thread may run it, each with its own memory. A sequence's bits do not
// depend on the others.
class Encoder {
 public:
  // Takes the tensors that it names from the checkpoint, whose names may begin with the backbone's
  // own ("bert.", "roberta.", "model."). Errors name the tensor.
  static base::Result<Encoder> Load(const Checkpoint& checkpoint, const EncoderConfig& config,
                                    kernels::WeightForm form);

  const EncoderConfig& config() const { return config_; }
  int64_t weight_bytes() const;
  int64_t parameters() const;  // of all products of a row
  // Work space of a step of that many rows.
  int64_t MemoryBytes(int64_t rows) const;

  // Runs the step. The last hidden states [rows, hidden], without gaps, lie within `memory`. Null:
  // abandoned.
  [[nodiscard]] const float* Run(const EncoderRows& rows, std::byte* memory, Runner& runner) const;

 private:
  struct Norm {
    std::vector<float> scale;  // [hidden]
    std::vector<float> bias;   // [hidden], or empty
  };
  struct Layer {
    Norm attention_norm;     // behind attention, or before it (ModernBERT; none in the first layer)
    Norm feed_forward_norm;  // the same of the other half
    Linear query_key_value;  // [hidden, 3 * hidden]
    Linear attention_output;  // [hidden, hidden]
    Linear up;                // [hidden, feed_forward], or twice as wide where it is gated
    Linear down;              // [feed_forward, hidden]
  };
  // Rows that were prepared for whatever product comes next.
  struct Prepared {
    std::byte* data = nullptr;  // [rows, the widest path's bytes]
    float* scales = nullptr;
    float* zeros = nullptr;
  };
  // Where the values of a step lie. Rows are kernels::GemmRowStride apart where a product reads
  // them.
  struct Space {
    int64_t rows = 0;
    float* stream = nullptr;  // [rows, hidden]
    float* middle = nullptr;  // [rows, hidden] between the halves of a layer
    float* normed = nullptr;  // [rows, hidden] of norms before a half
    float* cos[2] = {};       // [rows, head_dim / 2], of layers without and with a window
    float* sin[2] = {};
    Prepared input;  // of stream, middle or normed
    // One half's or the other's.
    float* heads = nullptr;     // [rows, 3 * hidden]; in bf16 its rows are LowRowBytes apart
    float* turned = nullptr;    // [rows, 2 * hidden] queries and keys, turned
    float* attended = nullptr;  // [rows, hidden]
    Prepared attended_rows;
    float* wide = nullptr;   // [rows, columns of up] of gated layers
    float* inner = nullptr;  // [rows, feed_forward]
    Prepared inner_rows;
    std::byte* scratch = nullptr;
    int64_t bytes = 0;
  };

  base::Result<Layer> LoadLayer(const Checkpoint& checkpoint, int64_t index,
                                kernels::WeightForm form) const;
  base::Status LoadBertLayer(const Checkpoint& checkpoint, const std::string& at,
                             kernels::WeightForm form, Layer& layer) const;
  base::Status LoadModernLayer(const Checkpoint& checkpoint, int64_t index, const std::string& at,
                               kernels::WeightForm form, Layer& layer) const;
  base::Result<Norm> LoadNorm(const Checkpoint& checkpoint, const std::string& name) const;
  base::Status LoadPlaces(const Checkpoint& checkpoint);

  Prepared TakePrepared(MemoryDivider& divider, int64_t rows, int64_t columns) const;
  Space Divide(std::byte* memory, int64_t rows) const;
  [[nodiscard]] bool Embed(const EncoderRows& rows, Space& space, Runner& runner) const;
  [[nodiscard]] bool RunAttention(int64_t index, const EncoderRows& rows, Space& space,
                                  Runner& runner) const;
  [[nodiscard]] bool Attend(int64_t index, const EncoderRows& rows, Space& space,
                            Runner& runner) const;
  [[nodiscard]] bool AttendLow(int64_t index, const EncoderRows& rows, Space& space,
                               Runner& runner) const;
  [[nodiscard]] bool RunFeedForward(const Layer& layer, Space& space, Runner& runner) const;
  // y = norm(x + residual), prepared in space.input for `next` where that takes it so.
  struct NormRows {
    const float* x = nullptr;
    const float* residual = nullptr;
    float* y = nullptr;
    int64_t y_stride = 0;
    const Linear* next = nullptr;
  };
  [[nodiscard]] bool RunNorm(const Norm& norm, const NormRows& rows, Space& space,
                             Runner& runner) const;
  // Queries, keys and values of all rows, as f32.
  kernels::AttentionArgs HeadsOf(int64_t index, const EncoderRows& rows) const;
  bool AttendsLow(const Layer& layer) const;

  EncoderConfig config_;
  std::string prefix_;         // in front of the backbone's tensors
  tensor::Tensor words_;       // [vocabulary, hidden], f32, f16 or bf16
  std::vector<float> places_;  // [types, context_max, hidden]: sums of both embeddings
  Norm embedding_norm_;
  std::vector<Layer> layers_;
  Norm final_norm_;  // ModernBERT
};

}  // namespace sluice::lm
