// Rewrites ops into simpler ones that the later passes know: Gemm beyond a plain linear layer,
// ReduceL2, Einsum that is a matrix product.
#include <algorithm>
#include <string>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

base::Result<Value*> AddOne(Graph& graph, const char* op, std::vector<Value*> inputs,
                            Node& before) {
  Node* node = graph.AddNode(RequireOp(op), kOpsetMax, std::move(inputs), 1, &before);
  node->name = before.name;
  TRY(InferNode(graph, *node));
  return node->output();
}

base::Result<Value*> AddTranspose(Graph& graph, Value* x, std::vector<int64_t> perm, Node& before) {
  bool ordered = true;
  for (size_t i = 0; i < perm.size(); ++i) ordered = ordered && perm[i] == static_cast<int64_t>(i);
  if (ordered) return x;
  Node* node = graph.AddNode(RequireOp("Transpose"), kOpsetMax, {x}, 1, &before);
  node->name = before.name;
  node->Set("perm", std::move(perm));
  TRY(InferNode(graph, *node));
  return node->output();
}

Value* Scalar(Graph& graph, float value) {
  tensor::Tensor tensor{tensor::DType::kF32, tensor::Shape(), tensor::Buffer::Allocate(4)};
  *tensor.mutable_view().as<float>() = value;
  return graph.AddConstant("scalar", std::move(tensor));
}

// A layer that FormLinear takes as it is.
bool IsPlain(const Node& gemm) {
  const Value* c = gemm.input(2);
  if (gemm.Int("transA", 0) != 0 || gemm.Float("alpha", 1) != 1 || !gemm.input(1)->is_constant())
    return false;
  if (c == nullptr) return true;
  const std::optional<int64_t> width = LastExtent(gemm.output());
  return gemm.Float("beta", 1) == 1 &&
         ((width.has_value() && IsRowConstant(c, *width)) || SameShape(c, gemm.output()));
}

// alpha A' B' + beta C as transposes, a product and elementwise ops.
base::Result<bool> SplitGemm(Graph& graph, Node& gemm) {
  if (gemm.output()->dtype != tensor::DType::kF32 || IsPlain(gemm)) return false;
  if (RankOf(gemm.input(0)) != 2 || RankOf(gemm.input(1)) != 2) return false;
  Value* a = gemm.inputs[0];
  Value* b = gemm.inputs[1];
  if (gemm.Int("transA", 0) != 0) a = TRY(AddTranspose(graph, a, {1, 0}, gemm));
  if (gemm.Int("transB", 0) != 0) b = TRY(AddTranspose(graph, b, {1, 0}, gemm));
  Value* y = TRY(AddOne(graph, "MatMul", {a, b}, gemm));
  const float alpha = gemm.Float("alpha", 1);
  if (alpha != 1) y = TRY(AddOne(graph, "Mul", {y, Scalar(graph, alpha)}, gemm));
  if (Value* c = gemm.input(2)) {
    const float beta = gemm.Float("beta", 1);
    if (beta != 1) c = TRY(AddOne(graph, "Mul", {c, Scalar(graph, beta)}, gemm));
    y = TRY(AddOne(graph, "Add", {y, c}, gemm));
  }
  graph.ReplaceUses(gemm.output(), y);
  graph.Erase(&gemm);
  return true;
}

base::Result<bool> SplitReduceL2(Graph& graph, Node& node) {
  if (node.output()->dtype != tensor::DType::kF32) return false;
  Node* square =
      graph.AddNode(FindOp("", "ReduceSumSquare", node.opset), node.opset, node.inputs, 1, &node);
  square->name = node.name;
  square->attributes = node.attributes;
  TRY(InferNode(graph, *square));
  Value* root = TRY(AddOne(graph, "Sqrt", {square->output()}, node));
  graph.ReplaceUses(node.output(), root);
  graph.Erase(&node);
  return true;
}

// Labels of an Einsum of two operands that is one batched product: at most one label of each kind
// but the batch, and, of a product with one matrix, the right ones.
struct Product {
  std::string batch, left, right, sum;
};

std::optional<Product> AsProduct(const std::string& a, const std::string& b,
                                 const std::string& out) {
  Product product;
  const auto repeats = [](const std::string& labels) {
    return std::any_of(labels.begin(), labels.end(),
                       [&](char c) { return std::count(labels.begin(), labels.end(), c) > 1; });
  };
  if (repeats(a) || repeats(b) || repeats(out)) return std::nullopt;
  const auto has = [](const std::string& labels, char c) {
    return labels.find(c) != std::string::npos;
  };
  for (const char c : out) {
    if (!has(a, c) && !has(b, c)) return std::nullopt;
    (has(a, c) && has(b, c) ? product.batch : has(a, c) ? product.left : product.right) += c;
  }
  for (const char c : a) {
    if (has(out, c)) continue;
    if (!has(b, c)) return std::nullopt;  // a sum over one operand alone
    product.sum += c;
  }
  for (const char c : b) {
    if (!has(out, c) && !has(a, c)) return std::nullopt;
  }
  if (product.left.size() > 1 || product.sum.size() != 1) return std::nullopt;
  if (product.right.size() > 1 && !(product.batch.empty() && product.left.size() == 1))
    return std::nullopt;
  if (product.left.empty() && product.right.empty()) return std::nullopt;
  return product;
}

Value* Integers(Graph& graph, const std::vector<int64_t>& values) {
  const auto count = static_cast<int64_t>(values.size());
  tensor::Tensor tensor{tensor::DType::kI64, tensor::Shape({count}),
                        tensor::Buffer::Allocate(count * 8)};
  std::copy(values.begin(), values.end(), tensor.mutable_view().as<int64_t>());
  return graph.AddConstant("ints", std::move(tensor));
}

// An axis of one element at `axis`.
base::Result<Value*> AddAxis(Graph& graph, Value* x, size_t axis, Node& before) {
  return AddOne(graph, "Unsqueeze", {x, Integers(graph, {static_cast<int64_t>(axis)})}, before);
}

std::vector<int64_t> Permutation(const std::string& from, const std::string& to) {
  std::vector<int64_t> perm;
  for (const char c : to) perm.push_back(static_cast<int64_t>(from.find(c)));
  return perm;
}

// An operand of a product without a sum with the axes of `out`, those that it lacks of one element.
base::Result<Value*> SpreadOver(Graph& graph, Value* x, const std::string& labels,
                                const std::string& out, Node& before) {
  std::string kept;
  std::vector<int64_t> missing;
  for (size_t i = 0; i < out.size(); ++i) {
    if (labels.find(out[i]) == std::string::npos) {
      missing.push_back(static_cast<int64_t>(i));
    } else {
      kept += out[i];
    }
  }
  x = TRY(AddTranspose(graph, x, Permutation(labels, kept), before));
  if (missing.empty()) return x;
  return AddOne(graph, "Unsqueeze", {x, Integers(graph, missing)}, before);
}

// A product of two operands that sums over nothing, as outer products of embeddings are.
base::Result<bool> SplitOuterProduct(Graph& graph, Node& node, const std::string& a,
                                     const std::string& b, const std::string& out) {
  const auto once = [](const std::string& labels) {
    return std::all_of(labels.begin(), labels.end(),
                       [&](char c) { return std::count(labels.begin(), labels.end(), c) == 1; });
  };
  if (!once(a) || !once(b) || !once(out)) return false;
  for (const char c : out) {
    if (a.find(c) == std::string::npos && b.find(c) == std::string::npos) return false;
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (out.find(a[i]) == std::string::npos) return false;
    // What both have must be equally long: a product would repeat one element.
    const size_t in_b = b.find(a[i]);
    if (in_b != std::string::npos && (*node.input(0)->shape)[i] != (*node.input(1)->shape)[in_b])
      return false;
  }
  for (const char c : b) {
    if (out.find(c) == std::string::npos) return false;
  }
  Value* const left = TRY(SpreadOver(graph, node.inputs[0], a, out, node));
  Value* const right = TRY(SpreadOver(graph, node.inputs[1], b, out, node));
  graph.ReplaceUses(node.output(), TRY(AddOne(graph, "Mul", {left, right}, node)));
  graph.Erase(&node);
  return true;
}

base::Result<bool> SplitEinsum(Graph& graph, Node& node) {
  std::string equation(node.String("equation", ""));
  equation.erase(std::remove(equation.begin(), equation.end(), ' '), equation.end());
  const size_t comma = equation.find(',');
  const size_t arrow = equation.find("->");
  if (node.inputs.size() != 2 || comma == std::string::npos || arrow == std::string::npos ||
      comma > arrow)
    return false;
  if (equation.find('.') != std::string::npos || node.output()->dtype != tensor::DType::kF32)
    return false;
  const std::string a = equation.substr(0, comma);
  const std::string b = equation.substr(comma + 1, arrow - comma - 1);
  const std::string out = equation.substr(arrow + 2);
  if (RankOf(node.input(0)) != static_cast<int>(a.size()) ||
      RankOf(node.input(1)) != static_cast<int>(b.size()))
    return false;
  const std::optional<Product> product = AsProduct(a, b, out);
  if (!product.has_value()) return SplitOuterProduct(graph, node, a, b, out);
  // Several right labels, as those of the experts of a mixture, are one: their extents must be
  // known.
  std::vector<int64_t> extents = {0};
  int64_t columns = 1;
  if (product->right.size() > 1) {
    if (!node.input(1)->is_constant()) return false;
    for (const char c : product->right) {
      extents.push_back(node.input(1)->constant->shape[static_cast<int>(b.find(c))]);
      columns *= extents.back();
    }
  }
  Value* left = TRY(AddTranspose(
      graph, node.inputs[0], Permutation(a, product->batch + product->left + product->sum), node));
  Value* right = TRY(AddTranspose(
      graph, node.inputs[1], Permutation(b, product->batch + product->sum + product->right), node));
  if (product->left.empty()) left = TRY(AddAxis(graph, left, product->batch.size(), node));
  if (product->right.empty()) right = TRY(AddAxis(graph, right, product->batch.size() + 1, node));
  if (product->right.size() > 1)
    right = TRY(AddOne(graph, "Reshape", {right, Integers(graph, {-1, columns})}, node));
  Value* y = TRY(AddOne(graph, "MatMul", {left, right}, node));
  if (product->right.size() > 1)
    y = TRY(AddOne(graph, "Reshape", {y, Integers(graph, extents)}, node));
  if (product->left.empty() || product->right.empty()) {
    const auto axis = static_cast<int64_t>(product->batch.size() + product->left.size());
    y = TRY(AddOne(graph, "Squeeze", {y, Integers(graph, {axis})}, node));
  }
  y = TRY(AddTranspose(graph, y, Permutation(product->batch + product->left + product->right, out),
                       node));
  graph.ReplaceUses(node.output(), y);
  graph.Erase(&node);
  return true;
}

}  // namespace

base::Result<int64_t> Canonicalize(PassContext& context) {
  int64_t changes = 0;
  for (Node* node : context.graph.Nodes()) {
    bool changed = false;
    if (node->Is("Gemm")) changed = TRY(SplitGemm(context.graph, *node));
    if (node->Is("ReduceL2")) changed = TRY(SplitReduceL2(context.graph, *node));
    if (node->Is("Einsum")) changed = TRY(SplitEinsum(context.graph, *node));
    changes += changed ? 1 : 0;
  }
  return changes;
}

}  // namespace sluice::graph
