// What a request asks of an encoder, read from its tensors and parameters; and its answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "lm/encoder/encoder_model.h"
#include "lm/task/scoring.h"
#include "tensor/tensor.h"

namespace sluice::lm {

struct EncoderTask : engine::Prepared {
  // kCosine: scores of an embedding model, whose first sequence is the one that the others are
  // compared with.
  enum class Kind : uint8_t { kEmbed, kCosine, kClassify } kind = Kind::kEmbed;
  std::vector<int32_t> tokens;        // of all sequences
  std::vector<int32_t> types;         // the same; empty: all 0
  std::vector<int32_t> starts = {0};  // [sequences + 1]
  int64_t units = 0;                  // of all sequences
  bool truncated = false;             // a text was cut
  bool complete = false;              // Complete was called
  bool normalize = true;
  ScoreActivation activation = ScoreActivation::kNone;
  Ranking ranking;

  // [sequences, columns]: an embedding or the scores of each; of kCosine normalised embeddings.
  tensor::Tensor vectors;
  tensor::Tensor scores;  // of kCosine: [sequences - 1, 1]

  int64_t sequences() const { return static_cast<int64_t>(starts.size()) - 1; }
  std::span<const int32_t> TokensOf(int64_t sequence) const { return Part(tokens, sequence); }
  std::span<const int32_t> TypesOf(int64_t sequence) const {
    return types.empty() ? std::span<const int32_t>() : Part(types, sequence);
  }
  int64_t LengthOf(int64_t sequence) const {
    const auto at = static_cast<size_t>(sequence);
    return starts[at + 1] - starts[at];
  }

  // Keeps what the head gave for a sequence: cut, normalised, or through the activation. Allocates
  // nothing.
  void SetVector(int64_t sequence, const float* vector);
  // Every sequence is set: what follows from all of them together. Allocates nothing.
  void Complete();
  // The outputs, best first where that was asked for. Takes the tensors.
  std::vector<tensor::NamedTensor> TakeOutputs();

 private:
  std::span<const int32_t> Part(const std::vector<int32_t>& of, int64_t sequence) const {
    return std::span(of).subspan(static_cast<size_t>(starts[static_cast<size_t>(sequence)]),
                                 static_cast<size_t>(LengthOf(sequence)));
  }
};

// Reads the request; the texts become tokens. kInvalidArgument says what was expected and what
// came.
base::Status ReadEncoderTask(const engine::Request& request, const EncoderModel& model,
                             EncoderTask& out);

}  // namespace sluice::lm
