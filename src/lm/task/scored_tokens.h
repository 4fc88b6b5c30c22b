// Tokens and what is reported of each, and the outputs that say it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lm/checkpoint/model_text.h"
#include "lm/sampler.h"
#include "tensor/tensor.h"

namespace sluice::lm {

// What a request wants to know of its tokens.
struct TokenReport {
  int32_t top = -1;    // the likeliest beside each; negative: no logprobs
  bool texts = false;  // each token's own text
};

class ScoredTokens {
 public:
  explicit ScoredTokens(TokenReport report) : report_(report) {}

  void Reserve(size_t count);
  void Add(const Sample& sample);
  // A token of which nothing is known: the first one of a text.
  void AddUnknown(int32_t token);

  const std::vector<int32_t>& ids() const { return ids_; }
  size_t size() const { return ids_.size(); }
  const TokenReport& report() const { return report_; }
  std::span<const float> logprobs() const { return logprobs_; }
  std::span<const TokenLogprob> top() const { return top_; }  // [size, report().top]

 private:
  TokenReport report_;
  std::vector<int32_t> ids_;
  std::vector<float> logprobs_;
  std::vector<TokenLogprob> top_;  // filled up with token -1 and NaN
};

// Tokens [begin, end) of one of the lists of a reply.
struct TokenRange {
  const ScoredTokens* tokens;
  size_t begin;
};

// The names of outputs; null: none of these is given.
struct TokenOutputNames {
  const char* ids;
  const char* logprobs;
  const char* top_ids;
  const char* top_logprobs;
  const char* texts;
  const char* top_texts;
};

// Appends the outputs of all ranges one behind the other, each to its list's end; `text` may be
// null where no texts are wanted. All lists have the same report.
void AppendTokenOutputs(const TokenOutputNames& names, std::span<const TokenRange> ranges,
                        const ModelText* text, std::vector<tensor::NamedTensor>& outputs);

// [count] or [count / columns, columns] of plain elements.
template <class T>
tensor::Tensor CopiedTensor(tensor::DType dtype, std::span<const T> data, int64_t columns = 0) {
  tensor::Tensor tensor;
  tensor.dtype = dtype;
  const auto count = static_cast<int64_t>(data.size());
  tensor.shape = columns == 0 ? tensor::Shape({count}) : tensor::Shape({count / columns, columns});
  tensor.buffer = tensor::Buffer::Allocate(count * static_cast<int64_t>(sizeof(T)));
  std::copy(data.begin(), data.end(), reinterpret_cast<T*>(tensor.buffer.mutable_data()));
  return tensor;
}

}  // namespace sluice::lm
