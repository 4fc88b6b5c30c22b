// The proof against the truth: random small graphs, and whatever is proven gives each row the same
// bits alone as in company.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "graph/batchability.h"
#include "graph/interpreter.h"
#include "graph/test_graph.h"

namespace sluice::graph {
namespace {

using tensor::Shape;
using tensor::Tensor;

// A chain of random nodes over x [B, 4], y [B, 3, 4] and z [B, S]. Null where a node did not fit.
class RandomGraph {
 public:
  explicit RandomGraph(uint32_t seed) : random_(seed) {
    values_.push_back(g_.Input("x", {g_.Symbol("B"), Dim(4)}));
    values_.push_back(g_.Input("y", {g_.Symbol("B"), Dim(3), Dim(4)}));
    values_.push_back(g_.Input("z", {g_.Symbol("B"), g_.Symbol("S")}));
    last_ = values_[Pick(3)];
    const int64_t nodes = 1 + Pick(4);
    for (int64_t i = 0; i < nodes && last_ != nullptr; ++i) {
      last_ = Grow();
      if (last_ != nullptr && last_->dtype != tensor::DType::kF32) last_ = nullptr;
      if (last_ != nullptr && !last_->shape.has_value()) last_ = nullptr;
      if (last_ != nullptr) values_.push_back(last_);
    }
    if (last_ != nullptr) g_.Output("out", last_);
  }
  bool fits() const { return last_ != nullptr; }
  Graph& graph() { return g_.graph(); }

 private:
  using Attributes = TestGraph::Attributes;
  int64_t Pick(int64_t count) {
    return static_cast<int64_t>(random_() % static_cast<uint32_t>(count));
  }
  int64_t Axis() { return Pick(static_cast<int64_t>(last_->shape->size()) + 1) - 1; }
  Value* Any() {
    return Pick(2) == 0 ? last_
                        : values_[static_cast<size_t>(Pick(static_cast<int64_t>(values_.size())))];
  }
  // Null where the types or shapes do not fit.
  Value* Add(const char* op, std::vector<Value*> inputs, Attributes attributes = {}) {
    for (const Value* input : inputs) {
      if (input == nullptr) return nullptr;
    }
    Node* node = g_.graph().AddNode(FindOp("", op, 17), 17, std::move(inputs), 1);
    for (const auto& [key, value] : attributes) node->Set(key, value);
    return InferNode(g_.graph(), *node).ok() ? node->output() : nullptr;
  }
  Value* Count() { return Add("Slice", {Add("Shape", {values_[0]}), g_.Ints({0}), g_.Ints({1})}); }
  std::vector<int64_t> Ints(int64_t low, int64_t high) {
    std::vector<int64_t> ints(last_->shape->size());
    for (int64_t& i : ints) i = low + Pick(high - low + 1);
    return ints;
  }
  Value* Weights() {
    static const std::vector<Shape> shapes = {{4},    {1},       {4, 4}, {3, 1},
                                              {1, 4}, {1, 3, 4}, {3, 4}, {4, 1}};
    return g_.Weights(shapes[static_cast<size_t>(Pick(8))]);
  }
  Value* Grow();

  TestGraph g_;
  std::mt19937 random_;
  std::vector<Value*> values_;
  Value* last_ = nullptr;
};

Value* RandomGraph::Grow() {
  const auto rank = static_cast<int64_t>(last_->shape->size());
  switch (Pick(24)) {
    case 0:
      return Add("Tanh", {last_});
    case 1:
      return Add(Pick(2) == 0 ? "Add" : "Mul", {last_, Any()});
    case 2:
      return Add("Sub", {Weights(), last_});
    case 3: {
      std::vector<int64_t> perm(static_cast<size_t>(rank));
      for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
      std::shuffle(perm.begin(), perm.end(), random_);
      return Add("Transpose", {last_}, {{"perm", perm}});
    }
    case 4: {
      static const std::vector<std::vector<int64_t>> shapes = {
          {-1},    {-1, 4},    {-1, 2},    {0, -1},    {4, -1},
          {3, -1}, {-1, 3, 4}, {0, 2, -1}, {1, -1, 4}, {-1, 1}};
      return Add("Reshape", {last_, g_.Ints(shapes[static_cast<size_t>(Pick(10))])});
    }
    case 5:
      return Add("Reshape", {last_, Add("Shape", {Any()})});
    case 6:
      return Add("ReduceSum", {last_, g_.Ints({Axis()})}, {{"keepdims", Pick(2)}});
    case 7:
      return Add("Softmax", {last_}, {{"axis", Axis()}});
    case 8: {
      Value* axis = g_.Ints({Axis()});
      return Add("CumSum", {last_, Add("Squeeze", {axis})});
    }
    case 9:
      return Add("Gather", {last_, g_.Ints({0})}, {{"axis", Axis()}});
    case 10:
      return Add("Concat", {last_, Pick(3) == 0 ? Weights() : Any()}, {{"axis", Axis()}});
    case 11:
      return Add("Slice", {last_, g_.Ints({Pick(2)}), g_.Ints({Pick(2) == 0 ? INT64_MAX : 3}),
                           g_.Ints({Axis()})});
    case 12: {
      std::vector<int64_t> pads = Ints(-1, 1);
      for (const int64_t end : Ints(-1, 1)) pads.push_back(end);
      if (Pick(2) == 0) {
        for (int64_t i = 0; i < rank; ++i)
          pads[static_cast<size_t>(rank + i)] = -pads[static_cast<size_t>(i)];
      }
      return Add("Pad", {last_, g_.Ints(pads)});
    }
    case 13:
      return Add("Tile", {last_, g_.Ints(Ints(1, 2))});
    case 14:
      return Add("Expand", {last_, Add("Shape", {Any()})});
    case 15:
      return Add("Expand", {last_, Count()});
    case 16:
      return Add("MatMul", {last_, Pick(2) == 0 ? Weights() : Any()});
    case 17:
      return Add("MatMul", {Weights(), last_});
    case 18:
      return Add("Flatten", {last_}, {{"axis", Pick(rank + 1)}});
    case 19:
      return Add("Unsqueeze", {last_, g_.Ints({Pick(rank + 1)})});
    case 20:
      return Add("Trilu", {last_});
    case 21:
      return Add("Mul", {last_, Add("Cast", {Count()}, {{"to", int64_t{1}}})});
    case 22:
      return Add("Slice",
                 {Pick(2) == 0 ? last_ : Weights(), g_.Ints({0}), Count(), g_.Ints({Axis()})});
    default:
      return Add("LayerNormalization", {last_, Weights()}, {{"axis", Axis()}});
  }
}

Tensor Normal(const Shape& shape, std::mt19937& random) {
  Tensor tensor = Tensor::Allocate(tensor::DType::kF32, shape, 1 << 20).value();
  std::normal_distribution<float> normal;
  for (float& x : tensor.mutable_view().span<float>()) x = normal(random);
  return tensor;
}

Tensor RowOf(const Tensor& tensor, int64_t row) {
  Tensor one{tensor.dtype, tensor.shape, {}};
  one.shape.set_dim(0, 1);
  const int64_t bytes = one.view().bytes();
  one.buffer = tensor::Buffer::Allocate(bytes);
  std::memcpy(one.buffer.mutable_data(), tensor.buffer.data() + row * bytes,
              static_cast<size_t>(bytes));
  return one;
}

TEST(BatchabilityRandomTest, WhatIsProvenGivesEachRowTheSameBitsAloneAsInABatch) {
  constexpr int64_t kRows = 5;
  int64_t proven = 0;
  for (uint32_t seed = 0; seed < 20000; ++seed) {
    RandomGraph made(seed);
    if (!made.fits() || !ProveBatchability(made.graph()).joinable) continue;
    ++proven;
    for (const int64_t length : {1, 5}) {
      std::mt19937 random(seed);
      const std::vector<Tensor> all = {Normal({kRows, 4}, random), Normal({kRows, 3, 4}, random),
                                       Normal({kRows, length}, random)};
      const auto together = Interpreter(made.graph()).Run(all);
      for (int64_t row = 0; row < kRows; ++row) {
        std::vector<Tensor> one;
        for (const Tensor& tensor : all) one.push_back(RowOf(tensor, row));
        const auto alone = Interpreter(made.graph()).Run(one);
        if (!alone.ok()) continue;
        ASSERT_TRUE(together.ok()) << "seed " << seed << ": " << together.error().message << "\n"
                                   << Dump(made.graph());
        const Tensor expected = RowOf((*together)[0], row);
        ASSERT_EQ(expected.shape, (*alone)[0].shape) << "seed " << seed << "\n"
                                                     << Dump(made.graph());
        ASSERT_EQ(std::memcmp(expected.buffer.data(), (*alone)[0].buffer.data(),
                              static_cast<size_t>(expected.view().bytes())),
                  0)
            << "seed " << seed << " row " << row << "\n"
            << Dump(made.graph());
      }
    }
  }
  EXPECT_GE(proven, 1000) << "too few graphs to tell";
}

}  // namespace
}  // namespace sluice::graph
