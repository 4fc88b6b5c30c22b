#include "lm/task/scored_tokens.h"

#include <algorithm>
#include <limits>

namespace sluice::lm {
namespace {

constexpr float kUnknown = std::numeric_limits<float>::quiet_NaN();

}  // namespace

void ScoredTokens::Reserve(size_t count) {
  ids_.reserve(count);
  if (report_.top < 0) return;
  logprobs_.reserve(count);
  top_.reserve(count * static_cast<size_t>(report_.top));
}

void ScoredTokens::Add(const Sample& sample) {
  ids_.push_back(sample.token);
  if (report_.top < 0) return;
  logprobs_.push_back(sample.logprob);
  const auto top = static_cast<size_t>(report_.top);
  const size_t known = std::min(top, sample.top.size());
  top_.insert(top_.end(), sample.top.begin(),
              sample.top.begin() + static_cast<std::ptrdiff_t>(known));
  top_.insert(top_.end(), top - known, TokenLogprob{-1, kUnknown});
}

void ScoredTokens::AddUnknown(int32_t token) {
  Sample sample;
  sample.token = token;
  sample.logprob = kUnknown;
  Add(sample);
}

void AppendTokenOutputs(const TokenOutputNames& names, std::span<const TokenRange> ranges,
                        const ModelText* text, std::vector<tensor::NamedTensor>& outputs) {
  using tensor::DType;
  const TokenReport& report = ranges[0].tokens->report();
  std::vector<int32_t> ids, top_ids;
  std::vector<float> logprobs, top_logprobs;
  const auto top = static_cast<size_t>(std::max(report.top, 0));
  for (const TokenRange& range : ranges) {
    const std::span<const int32_t> own = std::span(range.tokens->ids()).subspan(range.begin);
    ids.insert(ids.end(), own.begin(), own.end());
    if (report.top < 0) continue;
    const std::span<const float> own_logprobs = range.tokens->logprobs().subspan(range.begin);
    logprobs.insert(logprobs.end(), own_logprobs.begin(), own_logprobs.end());
    for (const TokenLogprob& one : range.tokens->top().subspan(range.begin * top)) {
      top_ids.push_back(one.token);
      top_logprobs.push_back(one.logprob);
    }
  }
  const auto texts = [&](const std::vector<int32_t>& of) {
    std::vector<std::string> bytes;
    bytes.reserve(of.size());
    for (const int32_t id : of) bytes.push_back(id < 0 ? std::string() : text->TokenBytes(id));
    return bytes;
  };
  const auto count = static_cast<int64_t>(ids.size());
  outputs.push_back({names.ids, CopiedTensor<int32_t>(DType::kI32, ids)});
  if (report.top >= 0) {
    outputs.push_back({names.logprobs, CopiedTensor<float>(DType::kF32, logprobs)});
  }
  if (report.texts) {
    outputs.push_back(
        {names.texts, tensor::Tensor::FromStrings(tensor::Shape({count}), texts(ids))});
  }
  if (top == 0) return;
  outputs.push_back({names.top_ids, CopiedTensor<int32_t>(DType::kI32, top_ids, report.top)});
  outputs.push_back(
      {names.top_logprobs, CopiedTensor<float>(DType::kF32, top_logprobs, report.top)});
  if (report.texts) {
    outputs.push_back({names.top_texts, tensor::Tensor::FromStrings(
                                            tensor::Shape({count, report.top}), texts(top_ids))});
  }
}

}  // namespace sluice::lm
