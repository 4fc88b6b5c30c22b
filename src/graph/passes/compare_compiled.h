// For tests of passes: the compiled graph against the interpreter on the graph as it was.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "graph/interpreter.h"
#include "graph/test_graph.h"

namespace sluice::graph {

inline tensor::Tensor RandomFloats(const tensor::Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  tensor::Tensor tensor = tensor::Tensor::Allocate(tensor::DType::kF32, shape, 1 << 30).value();
  for (float& x : tensor.mutable_view().span<float>()) x = normal(random);
  return tensor;
}

// In [0, high).
inline tensor::Tensor RandomIds(const tensor::Shape& shape, int64_t high, uint32_t seed) {
  std::mt19937 random(seed);
  tensor::Tensor tensor = tensor::Tensor::Allocate(tensor::DType::kI64, shape, 1 << 30).value();
  for (int64_t& id : tensor.mutable_view().span<int64_t>())
    id = static_cast<int64_t>(random()) % high;
  return tensor;
}

// Compiles, compares with the interpreter on the same inputs, and returns the model for counting.
inline std::shared_ptr<const Model> CompileAndCompare(TestGraph& test,
                                                      const std::vector<tensor::Tensor>& inputs) {
  const std::vector<tensor::Tensor> expected = Interpreter(test.graph()).Run(inputs).value();
  const std::shared_ptr<const Model> model = test.Compile();
  const auto actual = RunCompiled(*model, inputs);
  EXPECT_TRUE(actual.ok()) << actual.error().message;
  if (!actual.ok()) return model;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(expected[i].shape, (*actual)[i].shape);
    const auto e = expected[i].view().span<float>();
    const auto a = (*actual)[i].view().span<float>();
    for (size_t k = 0; k < e.size(); ++k) {
      if (std::isnan(e[k]) && std::isnan(a[k])) continue;
      EXPECT_NEAR(e[k], a[k], 2e-5 + 1e-4 * std::abs(e[k])) << "output " << i << " element " << k;
      if (std::abs(e[k] - a[k]) > 1e-2) return model;  // one is enough to see
    }
  }
  return model;
}

}  // namespace sluice::graph
