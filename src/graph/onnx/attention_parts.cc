#include "graph/onnx/attention_parts.h"

#include <cmath>

namespace sluice::graph {

std::string ToHeads(ContribBody& body, const std::string& x, int64_t heads) {
  const std::string split = body.Make("Reshape", {x, body.IntList({0, 0, heads, -1})});
  return body.Make("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
}

std::string FromHeads(ContribBody& body, const std::string& x) {
  const std::string tokens =
      body.Make("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  return body.Make("Reshape", {tokens, body.IntList({0, 0, -1})});
}

std::string RepeatHeads(ContribBody& body, const std::string& x, int64_t heads, int64_t group) {
  if (group == 1) return x;
  const std::string apart = body.Make("Unsqueeze", {x, body.IntList({2})});
  const std::string many = body.Make("Expand", {apart, body.IntList({1, 1, group, 1, 1})});
  const std::string shape = body.Make("Concat",
                                      {body.Dimension(x, 0), body.IntList({heads * group}),
                                       body.Dimension(x, 2), body.Dimension(x, 3)},
                                      {{"axis", int64_t{0}}});
  return body.Make("Reshape", {many, shape});
}

std::string Iota(ContribBody& body, const std::string& count) {
  const std::string limit = body.Make("Squeeze", {count, body.IntList({0})});
  return body.Make("Range", {body.IntScalar(0), limit, body.IntScalar(1)});
}

std::string AdditiveMask(ContribBody& body, const std::string& kept,
                         const AttentionOptions& options) {
  return body.Make("Where", {kept, body.Number(0, 0), body.Number(options.masked, 0)});
}

std::string CausalMask(ContribBody& body, const std::string& first, const std::string& queries,
                       const std::string& keys, const AttentionOptions& options) {
  std::string last = Iota(body, queries);
  if (!first.empty()) last = body.Make("Add", {last, first});
  const std::string rows = body.Make("Unsqueeze", {last, body.IntList({1})});
  return AdditiveMask(body, body.Make("LessOrEqual", {Iota(body, keys), rows}), options);
}

std::string Attend(ContribBody& body, const AttentionHeads& heads, const std::string& mask,
                   const AttentionOptions& options) {
  const std::string keys =
      body.Make("Transpose", {heads.k}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  std::string scores = body.Make("MatMul", {heads.q, keys});
  if (options.scale != 0 || heads.width.has_value()) {
    const float scale = options.scale != 0
                            ? options.scale
                            : 1 / std::sqrt(static_cast<float>(heads.width.value_or(1)));
    scores = body.Make("Mul", {scores, body.Number(scale, 0)});
  } else {
    const std::string width = body.CastTo(body.Dimension(heads.q, 3), body.Type(0));
    scores = body.Make("Div", {scores, body.Make("Sqrt", {width})});
  }
  if (options.softcap != 0) {
    const std::string cap = body.Number(options.softcap, 0);
    scores = body.Make("Mul", {body.Make("Tanh", {body.Make("Div", {scores, cap})}), cap});
  }
  const std::string weights =
      body.Make("Softmax", {body.AddMaybe(scores, mask)}, {{"axis", int64_t{-1}}});
  return body.Make("MatMul", {weights, heads.v});
}

std::string AddMasks(ContribBody& body, const std::string& a, const std::string& b) {
  if (a.empty()) return b;
  return body.AddMaybe(a, b);
}

}  // namespace sluice::graph
