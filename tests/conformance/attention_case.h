// Shapes of attention's conformance rows, and operands laid out as a projection leaves them.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/ref/heads_attention.h"

namespace sluice::conformance {

struct AttentionCase {
  int64_t batch, heads, queries, keys, dim, value_dim;
};

inline std::string Name(const AttentionCase& s) {
  return std::to_string(s.batch) + "x" + std::to_string(s.heads) + "x" + std::to_string(s.queries) +
         "x" + std::to_string(s.keys) + " d" + std::to_string(s.dim) + "," +
         std::to_string(s.value_dim);
}

// Over q, k, v and out of [batch, length, heads * dim]; no out yet.
inline kernels::AttentionArgs ArgsOf(const AttentionCase& s, const float* q, const float* k,
                                     const float* v) {
  kernels::AttentionArgs args;
  args.batch = s.batch;
  args.heads = s.heads;
  args.queries = s.queries;
  args.keys = s.keys;
  args.dim = s.dim;
  args.value_dim = s.value_dim;
  args.q = {q, s.queries * s.heads * s.dim, s.dim, s.heads * s.dim};
  args.k = {k, s.keys * s.heads * s.dim, s.dim, s.heads * s.dim};
  args.v = {v, s.keys * s.heads * s.value_dim, s.value_dim, s.heads * s.value_dim};
  args.out_batch = s.queries * s.heads * s.value_dim;
  args.out_head = s.value_dim;
  args.out_row = s.heads * s.value_dim;
  args.scale = 1.0f / std::sqrt(static_cast<float>(s.dim));
  return args;
}

// `count` results, over fives that nobody may leave where a result belongs.
inline std::vector<float> AttentionReference(kernels::AttentionArgs args, int64_t count) {
  std::vector<float> out(static_cast<size_t>(count), 5.0f);
  args.out = out.data();
  kernels::ref::HeadsAttention(args);
  return out;
}

}  // namespace sluice::conformance
