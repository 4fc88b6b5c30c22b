// The pieces that attention operators are spelled out of (contrib.h): heads, masks, and the
// products around the softmax. Values are names in the body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "graph/onnx/contrib.h"

namespace sluice::graph {

inline constexpr int64_t kContribExtentMax = int64_t{1} << 40;  // of what is computed with here

// The attributes that the operators share.
struct AttentionOptions {
  int64_t heads = 0;
  bool causal = false;
  float masked = -10000;
  float scale = 0;    // 0: one over the root of the width
  float softcap = 0;  // 0: none
};

// Queries, keys and values by heads: [batch, heads, tokens, width].
struct AttentionHeads {
  std::string q, k, v;
  std::optional<int64_t> width;  // of a query, where it is known
};

// [batch, tokens, heads * width] as [batch, heads, tokens, width], and back.
std::string ToHeads(ContribBody& body, const std::string& x, int64_t heads);
std::string FromHeads(ContribBody& body, const std::string& x);
// [batch, heads, tokens, width] with each head `group` times, one behind the other.
std::string RepeatHeads(ContribBody& body, const std::string& x, int64_t heads, int64_t group);
// Numbers 0 to count - 1, i64; `count` is [1].
std::string Iota(ContribBody& body, const std::string& count);

// 0 where `kept`, else the number that is added to masked scores.
std::string AdditiveMask(ContribBody& body, const std::string& kept,
                         const AttentionOptions& options);
// Query i, whose own key is first + i, sees the keys up to that. `first` is [1], or "" for 0.
std::string CausalMask(ContribBody& body, const std::string& first, const std::string& queries,
                       const std::string& keys, const AttentionOptions& options);
// The sum; `a` may be "".
std::string AddMasks(ContribBody& body, const std::string& a, const std::string& b);

// softmax(scale q k^T + mask) v by heads, the scores kept within the soft cap. `mask` may be "".
std::string Attend(ContribBody& body, const AttentionHeads& heads, const std::string& mask,
                   const AttentionOptions& options);

}  // namespace sluice::graph
